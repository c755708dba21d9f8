"""The sentences: read whole, split without sharing, cut into pieces and joined again, scored as others score."""

import functools
import hashlib
import json
import lzma
import zipfile

import pytest
from extract_sentences import TARGET, extract
from hypothesis import given, settings
from hypothesis import strategies as st

from transformer_lib.data import sentences as s
from transformer_lib.data.sentences import Sentence
from transformer_lib.data.subwords import Subwords

read = functools.cache(s.read_sentences)


@pytest.fixture(scope="module")
def german():
    return read("german")


@pytest.fixture(scope="module")
def subwords(german):
    return Subwords.train([line for sentence in german[:3000] for line in sentence[1:]], 900)


def test_the_extract_as_it_was_made(german):
    assert len(german) == 50_390
    assert len({sentence.integration for sentence in german}) == 1_154
    assert german[1] == Sentence("abode", "Failed to connect", "Verbindung fehlgeschlagen")
    turkish = read("turkish")
    assert len(turkish) == 46_955
    assert all(all(sentence) for sentence in [*german, *turkish])
    assert TARGET == s.EXTRACT
    sha256 = hashlib.sha256(lzma.decompress(TARGET.read_bytes()))  # of the text, in whatever way it is packed
    assert sha256.hexdigest() == "92b4d172191a054e1da3b6a3349aca87785b126560224cceef824af391557641"


def test_a_wheel_becomes_lines(tmp_path):
    """What the tool keeps, in which order, and that the same wheel gives the same bytes."""
    texts = {
        "b/en": {"x": {"y": " Set  the\nlamp "}, "z": "No translation", "w": "See https://a.b", "v": "word " * 41},
        "b/de": {"x": {"y": "Lampe einstellen"}, "w": "Siehe https://a.b", "v": "Wort"},
        "b/tr": {"x": {"y": "Lambayı ayarla"}},
        "a/en": {"n": "On", "m": "On", "k": 3, "l": ""},
        "a/de": {"n": "An", "m": "An", "k": "drei", "l": "leer"},
    }
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in texts.items():
            folder, language = name.split("/")
            archive.writestr(f"homeassistant/components/{folder}/translations/{language}.json", json.dumps(content))
        archive.writestr("homeassistant/components/a/strings.json", "{}")
    assert extract(path) == "a\tOn\tAn\t\na\t3\tdrei\t\nb\tSet the lamp\tLampe einstellen\tLambayı ayarla\n"


@pytest.mark.parametrize(
    ("english", "german", "plain"),
    [
        ("Set the lamp", "Lampe einstellen", True),
        ("Lamp", "Lampe", False),
        ("word " * 20, "Wort " * 20, True),
        ("word " * 21, "Wort " * 20, False),
        ("Total volatile organic compounds", "VOC-Gesamtmenge", False),
        ("a b", "c d e f g h", True),
        ("a b", "c d e f g h i", False),
        ("HDMI 2", "HDMI 2", False),
        ("Set {name} now", "Jetzt setzen", False),
        ("Set it now", "{name} jetzt setzen", False),
        ("Press **OK** now", "Jetzt OK", False),
        ("See www.a.b now", "Siehe jetzt", False),
    ],
)
def test_what_is_plain(english, german, plain):
    assert s.is_plain(Sentence("x", english, german)) == plain


def test_bare_texts():
    assert s.bare("Set the  {name}'s Lamp-2!") == s.bare("set, the s: lamp 2") == "set the s lamp 2"


@pytest.mark.parametrize("split", [s.split_by_integration, s.split_at_random])
@pytest.mark.parametrize("language", s.COLUMNS)
def test_parts_share_nothing(split, language):
    parts = split(read(language))
    seen = [{s.bare(sentence.english) for sentence in part} for part in parts]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    for part, keys in zip(parts[1:], seen[1:], strict=True):
        assert len(part) == len(keys) > 100
        assert all(map(s.is_plain, part))
    assert len({sentence[1:] for sentence in parts.train}) == len(parts.train)


def test_the_splits_as_they_were_measured(german):
    by_integration, at_random = s.split_by_integration(german), s.split_at_random(german)
    assert [len(part) for part in by_integration] == [34_678, 162, 1_631]
    assert [len(part) for part in at_random] == [35_324, 266, 1_127]
    names = [{sentence.integration for sentence in part} for part in by_integration]
    assert not names[0] & (names[1] | names[2])
    assert not names[1] & names[2]
    for remainders, part in (({0}, by_integration.dev), ({20, 40, 60, 80}, by_integration.test)):
        hashes = {int(hashlib.sha1(sentence.integration.encode()).hexdigest(), 16) % 100 for sentence in part}
        assert hashes <= remainders
    again = s.split_by_integration(german[::-1])
    assert {x[1:] for x in again.train} == {x[1:] for x in by_integration.train}


def test_pieces_join_to_the_text(subwords, german):
    assert len(subwords) == 900
    for sentence in german[:3000:7]:
        for text in sentence[1:]:
            ids = subwords.encode(text)
            assert subwords.decode(ids) == text
            assert [subwords.tokenizer.token_to_id(piece) for piece in subwords.pieces(text)] == ids
            assert min(ids) > 3
    assert subwords.pieces("Set 23") == ["▁Set", "▁", "2", "3"]
    assert subwords.decode([*subwords.encode("Lamp"), 2, *subwords.encode("off")]) == "Lamp"
    assert subwords.decode([]) == ""


@settings(max_examples=50)
@given(st.text(max_size=30))
def test_any_text_can_be_cut(subwords, text):
    ids = subwords.encode(text)
    assert all(3 <= i < 900 for i in ids)
    assert isinstance(subwords.decode(ids), str)


def test_special_tokens_in_a_text_are_text(subwords):
    assert not {0, 1, 2} & set(subwords.encode("a <eos> b <pad> <bos>"))
    for i, error in ((-1, OverflowError), (900, ValueError)):  # the first one is of the package
        with pytest.raises(error, match=r"too small|900 is outside the vocabulary of 900 pieces"):
            subwords.decode([5, i])
    assert subwords.decode([]) == subwords.decode([2, 900]) == ""
    again = Subwords(subwords.tokenizer.from_str(subwords.to_json()))
    assert not {0, 1, 2} & set(again.encode("a <eos> b <pad> <bos>"))


def test_the_same_texts_give_the_same_pieces(german):
    lines = [sentence.translation for sentence in german[:2000]]
    assert Subwords.train(lines, 500).to_json() == Subwords.train(iter(lines), 500).to_json()


def test_what_subwords_refuse():
    with pytest.raises(ValueError, match=r"size \(5\) must have room for the 4 different signs of the texts"):
        Subwords.train(["abc"], 5)
    with pytest.raises(ValueError, match="tokens must be a list of texts"):
        Subwords.train("abc", 50)


def test_pairs(subwords):
    short, long = Sentence("x", "Set", "Setzen"), Sentence("x", "Set " * 9, "Setzen")
    ((source, target),) = s.encode_pairs([short, long, Sentence("x", "", "leer")], subwords, 8)
    assert source == subwords.encode("Set")
    assert target == [1, *subwords.encode("Setzen"), 2]
    fits = len(subwords.encode("Setzen")) + 1
    assert len(s.encode_pairs([short], subwords, fits)) == 1
    assert s.encode_pairs([short], subwords, fits - 1) == []


def test_scores():
    pair = [Sentence("x", "a", "Die Lampe ist heute aus."), Sentence("x", "b", "Das Licht ist an.")]
    assert s.score([sentence.translation for sentence in pair], pair) == pytest.approx((1.0, 1.0))
    assert s.score(["", ""], pair) == (0.0, 0.0)
    bleu, chrf = s.score(["Die Lampe ist heute an.", "Das Licht ist an."], pair)
    assert 0.5 < bleu < 0.95
    assert 0.8 < chrf < 1.0
    message = r"score needs an answer for each sentence, got \d for \d"
    for answers, part in (([], []), (["x"], pair)):
        with pytest.raises(ValueError, match=message):
            s.score(answers, part)
