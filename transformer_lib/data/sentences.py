"""The book's sentence task: texts of a user interface, from English to German and to Turkish (chapter 13).

`Set the target temperature.` is `Zieltemperatur einstellen.` The texts are those of Home Assistant 2026.11.0,
translated by its community; its notice is in `interface_text.NOTICE`, beside the extract of which
`tools/extract_sentences.py` tells how it is made.
"""

import functools
import hashlib
import lzma
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from transformer_lib._progress import progress
from transformer_lib.data.subwords import Subwords
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID

EXTRACT = Path(__file__).parent / "interface_text.tsv.xz"
COLUMNS = {"german": 2, "turkish": 3}  # of the extract; 0 is the integration, 1 the English text


class Sentence(NamedTuple):
    """A text of one integration (the part of the program for one kind of device), and its translation."""

    integration: str
    english: str
    translation: str


class Split(NamedTuple):
    """Sentences in three parts; nothing English in one is in another, whatever its capitals and punctuation."""

    train: list[Sentence]
    dev: list[Sentence]
    test: list[Sentence]


class Score(NamedTuple):
    """How near translations come to the people's, from 0 to 1; papers write them times 100."""

    bleu: float
    chrf: float


def read_sentences(language: str = "german") -> list[Sentence]:
    """Read the sentences that are translated to `language`, "german" or "turkish"."""
    column = COLUMNS[language]
    rows = [line.split("\t") for line in lzma.decompress(EXTRACT.read_bytes()).decode("utf-8").splitlines()]
    return [Sentence(row[0], row[1], row[column]) for row in rows if row[column]]


@functools.cache  # each text is asked for at several places
def bare(english: str) -> str:
    """Return a text without capitals, punctuation and placeholders, to find those that are almost the same."""
    return " ".join(re.findall(r"\w+", re.sub(r"\{.*?\}", " ", english).lower()))


def is_plain(sentence: Sentence) -> bool:
    """Say whether a sentence may be tested with: 2 to 20 words, no placeholders or marks for layout, and translated."""
    english, translation = sentence.english, sentence.translation
    words, translated = len(english.split()), len(translation.split())
    return (
        2 <= words <= 20
        and max(words, translated) <= 3 * min(words, translated)
        and english != translation
        and not re.search(r"[{}<>`\[\]\\]|\*\*|www\.", english + translation)
    )


def split_by_integration(sentences: Sequence[Sentence]) -> Split:
    """Hold out whole integrations, one in twenty by the hash of its name; a fifth of those for development.

    Held-out texts that some integration of the training part has too are left out, and so are those that are not
    plain. This is the honest split: integrations of the same kind share their turns of phrase.
    """
    return _split(sentences, lambda sentence: sentence.integration)


def split_at_random(sentences: Sequence[Sentence]) -> Split:
    """Hold out texts wherever they come from, one in twenty by the hash of the text; a fifth for development."""
    return _split(sentences, lambda sentence: bare(sentence.english))


def _split(sentences: Sequence[Sentence], name_of: Callable[[Sentence], str]) -> Split:
    """Draw 0 to 99 from the hash of a name; hold out 0, 20, ..., 80: 0 for development, the others for the test."""
    pairs = [(s, int(hashlib.sha1(name_of(s).encode()).hexdigest(), 16) % 100) for s in sentences]
    train = {(s.english, s.translation): s for s, remainder in reversed(pairs) if remainder % 20}
    taken = {bare(sentence.english) for sentence in train.values()}
    parts = Split(list(train.values())[::-1], [], [])
    for part, chosen in ((parts.test, (20, 40, 60, 80)), (parts.dev, (0,))):
        for sentence, remainder in pairs:
            if remainder in chosen and bare(sentence.english) not in taken and is_plain(sentence):
                taken.add(bare(sentence.english))
                part.append(sentence)
    return parts


def encode_pairs(sentences: Sequence[Sentence], subwords: Subwords, max_len: int) -> list[tuple[list[int], list[int]]]:
    """Return source ids and target ids of each sentence that fits; a target begins with BOS and ends with EOS."""
    pairs = [
        (subwords.encode(sentence.english), [BOS_ID, *subwords.encode(sentence.translation), EOS_ID])
        for sentence in progress(sentences, "encoding")
    ]
    return [(source, target) for source, target in pairs if source and max(len(source), len(target) - 1) <= max_len]


def score(answers: Sequence[str], sentences: Sequence[Sentence]) -> Score:
    """Compare translations with the people's by sacreBLEU, all sentences together.

    Raises:
        ValueError: if there are no sentences, or not one answer for each.
    """
    if not sentences or len(answers) != len(sentences):
        raise ValueError(f"score needs an answer for each sentence, got {len(answers)} for {len(sentences)}")
    from sacrebleu.metrics.bleu import BLEU  # not above: who asks for one sentence need not load it
    from sacrebleu.metrics.chrf import CHRF

    references = [[sentence.translation for sentence in sentences]]
    bleu, chrf = (metric.corpus_score(list(answers), references).score / 100 for metric in (BLEU(), CHRF()))
    return Score(bleu, chrf)
