"""The task of chapter 16: write on from the beginning of a text of a user interface."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from transformer_lib.data import sentences
from transformer_lib.data.batches import pad_sequences
from transformer_lib.data.subwords import Subwords
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID
from transformer_lib.loss import token_loss
from transformer_lib.modern.families import LanguageModel, sample_text
from transformer_lib.transformer import evaluating


class Texts(NamedTuple):
    """English texts in three parts; nothing in one is in another, whatever its capitals and punctuation."""

    train: list[str]
    dev: list[str]
    test: list[str]


@functools.cache
def read_texts() -> Texts:
    """The English side of the sentences of chapter 13, plain ones only, each once, split by integration as there."""
    parts = sentences.split_by_integration(sentences.read_sentences())
    once = {sentences.bare(s.english): s.english for s in reversed(parts.train) if sentences.is_plain(s)}
    dev, test = ([sentence.english for sentence in part] for part in (parts.dev, parts.test))
    return Texts(list(once.values())[::-1], dev, test)


def encode_texts(texts: Sequence[str], subwords: Subwords) -> list[list[int]]:
    """Return the ids of each text, BOS before and EOS behind."""
    return [[BOS_ID, *subwords.encode(text), EOS_ID] for text in texts]


@torch.no_grad()
def bits_per_character(
    model: LanguageModel, texts: Sequence[str], subwords: Subwords, temperature: float = 1.0
) -> float:
    """Return the bits that a model needs for texts and their ends, all together, by the number of their characters.

    Its logits are divided by `temperature` first: above 1, it is taken to be less sure than it says.
    """
    nats, rows = 0.0, sorted(encode_texts(texts, subwords), key=len)
    device = next(model.parameters()).device
    with evaluating(model):
        for i in range(0, len(rows), 128):
            ids = pad_sequences(rows[i : i + 128], model.config.pad_id).to(device)
            logits = model(ids[:, :-1]) / temperature
            nats += token_loss(logits, ids[:, 1:], pad_id=model.config.pad_id)[0].item()
    return nats / math.log(2) / sum(map(len, texts))


class Text:
    """English texts of a user interface, written on from their beginning (chapter 16)."""

    hint = "Write the beginning of a text, such as: Unable to"
    one_word = False
    Model = LanguageModel
    size = 1000  # pieces
    max_len = 96  # more than any text of the data has

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    @functools.cached_property
    def subwords(self) -> Subwords:
        """The pieces: learnt from the training part, or read from the folder of a model that was trained with them."""
        if self.folder is not None:
            return Subwords.load(self.folder / "subwords.json")
        return Subwords.train(read_texts().train, self.size)

    @property
    def vocab_sizes(self) -> tuple[int, int]:
        """The pieces; there is one language."""
        return len(self.subwords), len(self.subwords)

    @property
    def files(self) -> dict[str, str]:
        """The pieces, as a file."""
        return {"subwords.json": self.subwords.to_json()}

    def train_pairs(self) -> list[tuple[list[int], list[int]]]:
        """The texts as targets; a language model has no source, and gets BOS alone."""
        return [([BOS_ID], row) for row in encode_texts(read_texts().train, self.subwords)]

    def measure(self, model: LanguageModel) -> dict[str, float]:
        """Bits per character of the development part."""
        return {"bits_per_character": bits_per_character(model, read_texts().dev, self.subwords)}

    def examine(self, model: LanguageModel) -> dict[str, float]:
        """Bits per character of the test part."""
        return {"bits_per_character": bits_per_character(model, read_texts().test, self.subwords)}

    def answer(self, text: str, model: LanguageModel) -> str:
        """A text that begins so: each piece drawn from the nucleus of 0.9, by the same chance each time."""
        ids = [BOS_ID, *self.subwords.encode(text.strip())]
        if (room := model.config.max_len - len(ids)) < 1:
            raise ValueError(f"{text[:40]!r} is {len(ids) - 1} pieces; write at most {model.config.max_len - 2}")
        generator = torch.Generator().manual_seed(0)
        (more,) = sample_text(model, torch.tensor([ids]), max_new_tokens=room, top_p=0.9, generator=generator).tolist()
        return self.subwords.decode([*ids[1:], *more])
