"""Tasks that a recipe can name: the pairs to train on, and how well a model does on others."""

from typing import Protocol

from transformer_lib.data import pronunciation
from transformer_lib.data.pronunciation import Entry, Score
from transformer_lib.decoding import translate_ids
from transformer_lib.transformer import Transformer


class Task(Protocol):
    """What `transformer_lib.train` asks of a task."""

    src_vocab_size: int
    tgt_vocab_size: int

    def train_pairs(self) -> list[tuple[list[int], list[int]]]:
        """Source ids and target ids of every pair to train on."""
        ...

    def measure(self, model: Transformer) -> dict[str, float]:
        """How well a model does on some pairs that are not trained on: quick, to look at now and then."""
        ...

    def examine(self, model: Transformer) -> dict[str, float]:
        """How well a model does on all pairs that are not trained on."""
        ...


class Pronounce:
    """English spelling to pronunciation, split by the place of a word in the dictionary."""

    def __init__(self) -> None:
        self.src_vocab_size = len(pronunciation.letter_vocabulary())
        self.tgt_vocab_size = len(pronunciation.phoneme_vocabulary())
        self.split = pronunciation.split_by_index(pronunciation.read_dictionary())

    def train_pairs(self) -> list[tuple[list[int], list[int]]]:
        """Spelling and phonemes of the training words."""
        return pronunciation.encode_pairs(self.split.train)

    def measure(self, model: Transformer) -> dict[str, float]:
        """Word and phoneme error on 1,000 words of the development part, evenly taken."""
        return self.score(model, self.split.dev[::6][:1000])._asdict()

    def examine(self, model: Transformer) -> dict[str, float]:
        """Word and phoneme error on the whole development and test parts."""
        parts = {"dev": self.split.dev, "test": self.split.test}
        scores = {part: self.score(model, entries)._asdict() for part, entries in parts.items()}
        return {f"{part}_{name}": value for part, score in scores.items() for name, value in score.items()}

    def score(self, model: Transformer, entries: list[Entry]) -> Score:
        """Word and phoneme error of greedy answers."""
        letters, phonemes = pronunciation.letter_vocabulary(), pronunciation.phoneme_vocabulary()
        sources = [letters.encode(list(entry.word)) for entry in entries]
        answers = translate_ids(model, sources, max_new_tokens=model.config.max_len)
        return pronunciation.score([phonemes.decode(answer) for answer in answers], entries)


TASKS = {"pronounce": Pronounce}
