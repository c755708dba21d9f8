"""The task of chapter 13: English sentences to German, and its variants."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformer_lib.beam import beam_search
from transformer_lib.data import sentences
from transformer_lib.data.sentences import Sentence
from transformer_lib.data.subwords import Subwords
from transformer_lib.decoding import translate_ids
from transformer_lib.transformer import Transformer

SplitBy = Callable[[Sequence[Sentence]], sentences.Split]


class Sentences:
    """English texts of a user interface to German or Turkish (the `language`), split by integration (chapter 13).

    Split at random it is an easier task than it looks, as chapter 13 shows. The pieces are learnt from the training
    part, or read from the folder of a model that was trained with them.
    """

    hint = "Write an English sentence, such as: Turn on the light"
    Model = Transformer
    one_word = False
    size = 3000  # pieces, of both languages together
    max_len = 64  # pieces of the longest text to train on

    def __init__(
        self, folder: Path | None = None, language: str = "german", split_by: SplitBy = sentences.split_by_integration
    ) -> None:
        self.folder, self.language, self.split_by = folder, language, split_by

    @functools.cached_property
    def split(self) -> sentences.Split:
        """The texts in three parts."""
        return self.split_by(sentences.read_sentences(self.language))

    @functools.cached_property
    def subwords(self) -> Subwords:
        """The pieces."""
        if self.folder is not None:
            return Subwords.load(self.folder / "subwords.json")
        lines = [line for sentence in self.split.train for line in (sentence.english, sentence.translation)]
        return Subwords.train(lines, self.size)

    @property
    def vocab_sizes(self) -> tuple[int, int]:
        """The pieces, which both languages share."""
        return len(self.subwords), len(self.subwords)

    def train_pairs(self) -> list[tuple[list[int], list[int]]]:
        """Both sides of the training sentences, but of the longest."""
        return sentences.encode_pairs(self.split.train, self.subwords, self.max_len)

    def measure(self, model: Transformer) -> dict[str, float]:
        """BLEU and chrF of greedy answers on the development part."""
        return self.score(model, self.split.dev)

    def examine(self, model: Transformer) -> dict[str, float]:
        """BLEU and chrF on the test part, greedy and with a beam of four."""
        test, beam = self.split.test, {"decode": beam_search, "beam_size": 4}
        scores = {"greedy": self.score(model, test), "beam_4": self.score(model, test, **beam)}
        return {f"{way}_{name}": x for way, score in scores.items() for name, x in score.items()}

    def answer(self, text: str, model: Transformer) -> str:
        """The translation of a text, by a beam of four."""
        text = text.strip()
        pieces = len(self.subwords.encode(text))
        if not 0 < pieces <= model.config.max_len:
            raise ValueError(f"{text[:40]!r} is {pieces} pieces; write a text of 1 to {model.config.max_len}")
        (answer,) = self.translate(model, [text], decode=beam_search, beam_size=4)
        return answer

    @property
    def files(self) -> dict[str, str]:
        """The pieces, as a file."""
        return {"subwords.json": self.subwords.to_json()}

    def translate(self, model: Transformer, lines: Sequence[str], **options: Any) -> list[str]:
        """Return the translation of each text; `options` say how to decode, as in `translate_ids`.

        Texts of similar length are decoded side by side.
        """
        sources = [self.subwords.encode(line) for line in lines]
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        ids = translate_ids(model, [sources[i] for i in order], max_new_tokens=model.config.max_len, **options)
        answers = dict(zip(order, ids, strict=True))
        return [self.subwords.decode(answers[i]) for i in range(len(sources))]

    def score(self, model: Transformer, part: list[Sentence], **options: Any) -> dict[str, float]:
        """BLEU and chrF of the translations of a part; `options` say how to decode, as in `translate_ids`."""
        answers = self.translate(model, [sentence.english for sentence in part], **options)
        return sentences.score(answers, part)._asdict()
