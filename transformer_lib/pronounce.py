"""Say from the command line how English words are pronounced, by the model of chapter 12.

    python -m transformer_lib.pronounce transformer
    python -m transformer_lib.pronounce --model runs/pronounce/model.safetensors attention is all you need

Without a word, each line of the standard input is one. The answer is in the 39 phonemes of the CMU Pronouncing
Dictionary: `physics` is `F IH Z IH K S`. Nothing is looked up: the model reads the letters.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transformer_lib._command import answer_all
from transformer_lib.data import pronunciation
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from transformer_lib.decoding import translate_ids
from transformer_lib.packing import unpack
from transformer_lib.recipe import PACKAGED
from transformer_lib.transformer import Transformer

MODEL = PACKAGED / "pronounce" / "model.safetensors"
ACCEPTED = "Write an English word, such as: transformer"


def pronounce(word: str, model: Transformer) -> list[str]:
    """Return the phonemes of a word, as the model would say it.

    Raises:
        ValueError: if the word is empty, holds a sign that is not in the dictionary, or is longer than the model reads.
    """
    source = pronunciation.encode_word(word)
    longest = model.config.max_len
    if len(source) > longest:
        raise ValueError(f"{word.strip():.40} has {len(source)} letters; the model reads words of at most {longest}")
    (answer,) = translate_ids(model, [source], max_new_tokens=longest)
    return pronunciation.phoneme_vocabulary().decode(answer)


def load(path: str | Path | None = None) -> Transformer:
    """Load a model that pronounces: the packaged one, or one that `transformer_lib.train pronounce` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not hold a Transformer of letters and phonemes.
    """
    path = MODEL if path is None else path
    model = unpack(path)
    config = model.config
    have = (config.src_vocab_size, config.tgt_vocab_size, config.pad_id, config.bos_id, config.eos_id)
    sizes = (len(pronunciation.letter_vocabulary()), len(pronunciation.phoneme_vocabulary()))
    want = (*sizes, PAD_ID, BOS_ID, EOS_ID)
    if have != want:
        raise ValueError(
            f"{path} holds a Transformer with {have} letters, phonemes, pad, bos and eos; needed are {want}"
        )
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 2 if a word or the model was not accepted."""
    parser = argparse.ArgumentParser(
        prog="python -m transformer_lib.pronounce", description="Say how English words are pronounced."
    )
    parser.add_argument("word", nargs="*", help="an English word, or several (default: lines of standard input)")
    parser.add_argument(
        "--model", metavar="PATH", help="a model that transformer_lib.train wrote (default: the packaged)"
    )
    options = parser.parse_args(arguments)
    try:
        model = load(options.model)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return answer_all(lambda word: " ".join(pronounce(word, model)), options.word, ACCEPTED)


if __name__ == "__main__":
    sys.exit(main())
