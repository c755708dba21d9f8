"""Translate English number words to German from the command line, by the model of chapter 10.

    python -m transformer_lib.translate "three hundred twenty one"
    python -m transformer_lib.translate --model mine.pt "three hundred twenty one"
    python -m transformer_lib.translate --train mine.pt

Without a text, each line of the standard input is translated. The package brings a small trained model along;
`--train` makes it anew, in about a minute.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from transformer_lib._checks import check_positive
from transformer_lib._command import answer_all
from transformer_lib.batching import TokenBatches
from transformer_lib.checkpoint import check_target
from transformer_lib.config import TransformerConfig
from transformer_lib.data import numbers
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from transformer_lib.decoding import exact_match, translate_ids
from transformer_lib.schedules import cosine_rate
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer

PACKAGED = Path(__file__).parent / "data" / "numbers_en_de.pt"
ACCEPTED = "Write an English number from zero to 999,999 in words, such as: three hundred twenty one"
BEYOND = {"minus", "negative", "point", "million", "billion", "trillion"}
STEPS = 1500


def read_tokens(text: str) -> list[str]:
    """Return the tokens of a number in English words (or in digits, which are spelled out first).

    Raises:
        ValueError: if it is not a number from 0 to 999,999; the message says what is accepted.
    """
    tokens = numbers.split_english(text)
    if not tokens:
        raise ValueError(f"There is nothing to translate. {ACCEPTED}.")
    if re.fullmatch(r"-?\d+|-?\d{1,3}(,\d{3})+", text.strip(), re.ASCII):
        digits = text.strip().replace(",", "")
        if len(digits) <= 6 and digits[0] != "-":
            return numbers.number_pair(int(digits)).english
        raise ValueError(f"{digits[:40]} is out of range. {ACCEPTED}.")
    beyond = [token for token in tokens if token in BEYOND]
    if beyond:
        raise ValueError(f"A number with '{beyond[0]}' is out of range. {ACCEPTED}.")
    unknown = [token for token in tokens if token not in numbers.ENGLISH]
    if unknown:
        known = ", ".join(numbers.ENGLISH)
        raise ValueError(f"The word {unknown[0][:40]!r} is unknown. {ACCEPTED}. The known words are: {known}.")
    try:
        numbers.read_english(tokens)
    except ValueError as error:
        raise ValueError(f"{error}. {ACCEPTED}.") from None
    return tokens


def translate(text: str, model: Transformer) -> str:
    """Return the German word for a number in English words.

    Raises:
        ValueError: if `text` is not a number from 0 to 999,999.
    """
    source = numbers.english_vocabulary().encode(read_tokens(text))
    (answer,) = translate_ids(model, [source], max_new_tokens=min(24, model.config.max_len))
    return numbers.join_german(numbers.german_vocabulary().decode(answer))


def load(path: str | Path | None = None) -> Transformer:
    """Load a number translator: the packaged one, or one written by `Transformer.save`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not hold a Transformer of the two number vocabularies.
    """
    path = PACKAGED if path is None else path
    model = Transformer.load(path)
    have = (model.config.src_vocab_size, model.config.tgt_vocab_size)
    want = (len(numbers.english_vocabulary()), len(numbers.german_vocabulary()))
    if have != want:
        raise ValueError(f"{path} holds a Transformer for vocabularies of {have} tokens; number words need {want}")
    specials = (model.config.pad_id, model.config.bos_id, model.config.eos_id)
    if specials != (PAD_ID, BOS_ID, EOS_ID):
        raise ValueError(f"{path} holds a Transformer with pad, bos and eos {specials}; number words need (0, 1, 2)")
    return model


def train(path: str | Path, steps: int) -> float:
    """Train a translator as chapter 10 does, only longer, and write it in half precision.

    People type short and round numbers, which chance seldom draws. So all below 1,000 and all whole
    thousands are added, but for the unseen ones, and the numbers of a single word twenty times.

    Returns:
        Its exact match on 1,000 unseen numbers.
    """
    check_positive(steps=steps)
    check_target(path)
    drawn, unseen = numbers.split_numbers(10_000, 1_000, seed=0)
    hidden, seen = {pair.number for pair in unseen}, {pair.number for pair in drawn}
    everyday = {*range(1000), *range(1000, numbers.LIMIT, 1000)} - hidden - seen
    more = [numbers.number_pair(number) for number in [*sorted(everyday), *20 * numbers.SINGLE_WORDS]]
    torch.manual_seed(0)
    sizes = (len(numbers.english_vocabulary()), len(numbers.german_vocabulary()))
    model = Transformer(TransformerConfig(src_vocab_size=sizes[0], tgt_vocab_size=sizes[1], max_len=24, dropout=0.0))
    batches = TokenBatches(numbers.encode_pairs([*drawn, *more]), batch_tokens=1024)
    warmup = max(1, steps // 10)
    Trainer(model, batches, rate=lambda step: cosine_rate(step, 3e-3, warmup, steps)).fit(steps, every=10)
    model.half().save(path)
    return exact_match(Transformer.load(path), numbers.encode_pairs(unseen))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 if a text or a file was not accepted."""
    parser = argparse.ArgumentParser(
        prog="python -m transformer_lib.translate", description="Translate English number words to German."
    )
    parser.add_argument(
        "text", nargs="*", help="a number from 0 to 999,999 in words (default: lines of standard input)"
    )
    parser.add_argument(
        "--model", metavar="PATH", help="a model written by Transformer.save (default: the packaged one)"
    )
    parser.add_argument("--train", metavar="PATH", help="train a model (about a minute), write it to PATH, and stop")
    options = parser.parse_args(arguments)
    if options.train is not None and (options.text or options.model is not None):
        parser.error("--train stands alone: it takes neither a text nor --model")
    try:
        if options.train is not None:
            share = train(options.train, STEPS)
            print(f"wrote {options.train}: {share:.1%} of 1,000 unseen numbers come out without a mistake")
            return 0
        model = load(options.model)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    given = [" ".join(options.text)] if options.text else []
    return answer_all(lambda text: translate(text, model), given, ACCEPTED)


if __name__ == "__main__":
    sys.exit(main())
