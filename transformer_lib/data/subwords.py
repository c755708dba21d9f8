"""Subwords: text cut into words where they are common, and into pieces of words where they are not (chapter 13).

Byte-pair encoding begins with single letters and joins, again and again, the two neighbours that stand side by side
most often. Source: Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units", 2016.
The work is done by the package `tokenizers`.
"""

from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from transformer_lib.data.vocabulary import BOS, EOS, EOS_ID, PAD, texts

UNKNOWN = "<unk>"  # id 3: a sign that the training text does not have


class Subwords:
    """A vocabulary of pieces of words, and the way to cut a text into them and to join them again.

    A piece that begins a word begins with `▁`. Punctuation and digits stay single. Made by `train` or `load`.

    Example:
        >>> subwords = Subwords.train(["low lower lowest", "new newer newest"], 22)
        >>> subwords.pieces("newest low")
        ['▁ne', 'west', '▁low']
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.encode_special_tokens = True  # a text with "<eos>" in it is a text
        self.tokenizer = tokenizer

    @classmethod
    def train(cls, lines: Iterable[str], size: int) -> "Subwords":
        """Learn `size` pieces from texts; the same texts give the same pieces.

        Raises:
            ValueError: if the texts hold more different signs than there may be pieces, or are one text.
        """
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.NFC()  # type: ignore[assignment]
        words = [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(True)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(words)  # type: ignore[assignment]
        tokenizer.decoder = decoders.Metaspace()  # type: ignore[assignment]
        specials = [PAD, BOS, EOS, UNKNOWN]  # in the order of their ids
        trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False)
        tokenizer.train_from_iterator(texts(lines), trainer)
        if tokenizer.get_vocab_size() > size:
            signs = tokenizer.get_vocab_size() - len(specials)
            raise ValueError(f"size ({size}) must have room for the {signs} different signs of the texts, and 4 more")
        return cls(tokenizer)

    @classmethod
    def load(cls, path: str | Path) -> "Subwords":
        """Read what `to_json` gave."""
        return cls(Tokenizer.from_str(Path(path).read_text(encoding="utf-8")))

    def to_json(self) -> str:
        """Return everything as the text of a file that `load` reads."""
        return self.tokenizer.to_str() + "\n"

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Return the ids of the pieces of a text; nothing is added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def pieces(self, text: str) -> list[str]:
        """Return the pieces of a text."""
        return self.tokenizer.encode(text, add_special_tokens=False).tokens

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the pieces up to the first end-of-sentence.

        Raises:
            ValueError: if an id is outside the vocabulary; an OverflowError if it is below 0.
        """
        ids = list(takewhile(lambda i: i != EOS_ID, ids))
        if max(ids, default=0) >= len(self):  # `tokenizers` would leave it out; it refuses those below 0 by itself
            raise ValueError(f"token id {max(ids)} is outside the vocabulary of {len(self)} pieces")
        return self.tokenizer.decode(ids)
