"""The book's first real task: English number words to German, 0 to 999,999, spelled by `num2words`.

`three hundred twenty one` is four tokens; its translation *dreihunderteinundzwanzig* is one written word, cut into the
five morphemes `drei hundert ein und zwanzig`. Units and tens change places.
"""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from transformer_lib._checks import check_whole, shown
from transformer_lib._progress import progress
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, Vocabulary, texts

LIMIT = 1_000_000  # the first number that is too large: above it German writes several words
EXAMPLE = 321  # the running example; never among the training numbers

ENGLISH = [
    *("zero one two three four five six seven eight nine ten eleven twelve".split()),
    *("thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()),
    *("twenty thirty forty fifty sixty seventy eighty ninety hundred thousand".split()),
]
GERMAN = [
    *("null ein eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf".split()),
    *("dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn".split()),
    *("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert tausend und".split()),
]
SINGLE_WORDS = [*range(21), *range(30, 100, 10)]  # numbers that are one English word
ACCEPTED = "Write an English number from zero to 999,999 in words, such as: three hundred twenty one"
BEYOND = {"minus", "negative", "point", "million", "billion", "trillion"}
MORPHEMES = re.compile("|".join(sorted(GERMAN, key=len, reverse=True)))  # longest first: "eins" before "ein"


class NumberPair(NamedTuple):
    """A number, its English tokens and its German tokens."""

    number: int
    english: list[str]
    german: list[str]


def english_vocabulary() -> Vocabulary:
    """The 30 English number words and the special tokens: 33 ids."""
    return Vocabulary(ENGLISH)


def german_vocabulary() -> Vocabulary:
    """The 32 German morphemes and the special tokens: 35 ids."""
    return Vocabulary(GERMAN)


def split_english(text: str) -> list[str]:
    """Cut English number words into tokens; capitals, hyphens, commas and "and" do not matter."""
    return [word for word in re.split(r"[\s,\-\u2010-\u2015]+", text.lower()) if word not in ("", "and")]


def split_german(word: str) -> list[str]:
    """Cut a German number word into its morphemes.

    Raises:
        ValueError: if something is left over.
    """
    tokens = MORPHEMES.findall(word)
    if "".join(tokens) != word:
        raise ValueError(f"{word!r} is not made of German number morphemes; known are {', '.join(GERMAN)}")
    return tokens


def join_german(tokens: Sequence[str]) -> str:
    """Write the morphemes as the one word that German makes of them."""
    return "".join(texts(tokens))


def number_pair(number: int) -> NumberPair:
    """Spell one number in both languages.

    Raises:
        ValueError: if it is not a whole number from 0 to 999,999.
    """
    if number not in range(LIMIT):
        raise ValueError(f"number must be a whole number from 0 to {LIMIT - 1:,}, got {shown(number)}")
    from num2words import num2words  # knows 60 languages, and takes a while to load them

    german = num2words(number, lang="de").replace("einstausend", "eintausend")  # num2words errs in 101,000 and its like
    return NumberPair(number, split_english(num2words(number, lang="en")), split_german(german))


def read_english(tokens: Sequence[str]) -> int:
    """Return the number that English tokens say, or some other if they say none."""
    thousands, value = 0, 0
    for token in tokens:
        if token == "thousand":
            thousands, value = thousands + 1000 * value, 0
        elif token == "hundred":
            value *= 100
        else:
            i = ENGLISH.index(token)
            value += i if i <= 20 else 10 * (i - 18)
    return thousands + value


def read_tokens(text: str) -> list[str]:
    """Return the tokens of a number in English words (or in digits, which are spelled out first).

    Raises:
        ValueError: if it is not a number from 0 to 999,999; the message says what is accepted.
    """
    tokens = split_english(text)
    if not tokens:
        raise ValueError(f"There is nothing to translate. {ACCEPTED}.")
    if re.fullmatch(r"-?\d+|-?\d{1,3}(,\d{3})+", text.strip(), re.ASCII):
        return number_pair(int(text.strip().replace(",", ""))).english
    for token in tokens:
        if token in BEYOND:
            raise ValueError(f"A number with '{token}' is out of range. {ACCEPTED}.")
        if token not in ENGLISH:
            known = ", ".join(ENGLISH)
            raise ValueError(f"The word {token[:40]!r} is unknown. {ACCEPTED}. The known words are: {known}.")
    number = read_english(tokens)
    if number >= LIMIT or number_pair(number).english != tokens:
        said = " ".join(tokens)[:80]
        raise ValueError(f"'{said}' is not how English says a number from 0 to {LIMIT - 1:,}. {ACCEPTED}.")
    return tokens


def draw_numbers(n: int, seed: int) -> list[int]:
    """Draw `n` different numbers, in random order: three in a hundred below 1,000, the others anywhere above.

    Drawn evenly from the whole range, only ten of 10,000 would be below 1,000: too few to learn short numbers from.

    Raises:
        ValueError: if `n` is below 1 or above 33,366, which needs more than 1,000 numbers below 1,000.
    """
    generator = random.Random(seed)
    n_small = max(1, n * 3 // 100)
    numbers = generator.sample(range(1000), n_small) + generator.sample(range(1000, LIMIT), n - n_small)
    generator.shuffle(numbers)
    return numbers


def spell(numbers: Sequence[int]) -> list[NumberPair]:
    """Spell numbers in both languages, as `number_pair` does: 3,000 take about a second."""
    return [number_pair(number) for number in progress(numbers, "spelling")]


def split_numbers(n_train: int, n_test: int, seed: int) -> tuple[list[NumberPair], list[NumberPair]]:
    """Return training and test pairs that share no number.

    Two rules beside chance: the 28 numbers that are a single word are always trained on (nobody can infer that `zero`
    is *null*), and the running example, 321, is always the first test pair.

    Raises:
        ValueError: if `n_train` is below 28, or a size does not fit `draw_numbers`.
    """
    check_whole(1, n_test=n_test)
    if n_train < len(SINGLE_WORDS):
        raise ValueError(f"n_train must be at least {len(SINGLE_WORDS)}, the numbers of a single word, got {n_train}")
    fixed = {EXAMPLE, *SINGLE_WORDS}
    drawn = [number for number in draw_numbers(n_train + n_test, seed) if number not in fixed]
    train = [*SINGLE_WORDS, *drawn[: n_train - len(SINGLE_WORDS)]]
    test = [EXAMPLE, *drawn[n_train - len(SINGLE_WORDS) :][: n_test - 1]]
    return spell(train), spell(test)


def encode_pairs(pairs: Sequence[NumberPair]) -> list[tuple[list[int], list[int]]]:
    """Return source ids and target ids of each pair; a target begins with BOS and ends with EOS."""
    english, german = english_vocabulary(), german_vocabulary()
    return [(english.encode(pair.english), [BOS_ID, *german.encode(pair.german), EOS_ID]) for pair in pairs]
