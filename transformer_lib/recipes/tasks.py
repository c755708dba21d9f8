"""Tasks: texts in, texts out, and how well a model does: chapters 10, 12. (13: `sentence_tasks`, 16: `text_task`.)"""

import functools
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from transformer_lib.data import numbers, pronunciation, sentences
from transformer_lib.data.pronunciation import Entry
from transformer_lib.data.vocabulary import BOS_ID, EOS_ID, PAD_ID
from transformer_lib.decoding import exact_match, translate_ids
from transformer_lib.recipes.recipe import PACKAGED
from transformer_lib.recipes.sentence_tasks import Sentences
from transformer_lib.recipes.text_task import Text
from transformer_lib.transformer import Transformer

Pairs = list[tuple[list[int], list[int]]]
EVERYDAY = {*range(1000), *range(1000, numbers.LIMIT, 1000)}  # numbers that people type


@runtime_checkable  # the tests check annotations as the library runs
class Task(Protocol):
    """What a training and the command ask of a task."""

    hint: str  # what a text may be
    Model: type[Any]  # the class of its models
    one_word: bool  # whether a text is one word, so that several on a command line are several texts
    vocab_sizes: tuple[int, int]  # tokens of the source and of the target
    files: dict[str, str]  # names and contents: what has to stand beside a model for its ids to mean something

    def train_pairs(self) -> Pairs:
        """Source ids and target ids of every pair to train on."""
        ...

    def measure(self, model: Transformer) -> dict[str, float]:
        """How well a model does on some pairs that are not trained on: quick, to look at now and then."""
        ...

    def examine(self, model: Transformer) -> dict[str, float]:
        """How well a model does on all pairs that are not trained on."""
        ...

    def answer(self, text: str, model: Transformer) -> str:
        """What a model makes of a text; if it is not accepted, a `ValueError` says what is."""
        ...


class Numbers:
    """English number words to German (chapter 10), trained as there, only longer."""

    hint = numbers.ACCEPTED
    Model = Transformer
    one_word = False

    def __init__(self, folder: Path | None = None) -> None:
        self.english, self.german = numbers.english_vocabulary(), numbers.german_vocabulary()
        self.vocab_sizes, self.files = (len(self.english), len(self.german)), {}

    @functools.cached_property
    def split(self) -> tuple[list[numbers.NumberPair], list[numbers.NumberPair]]:
        """10,000 numbers to train on, and 1,000 others."""
        return numbers.split_numbers(10_000, 1_000, seed=0)

    def train_pairs(self) -> Pairs:
        """The training numbers, and those that people type.

        People type short and round numbers, which chance seldom draws. So all below 1,000 and all whole thousands
        are added, but for the unseen ones, and the numbers of a single word twenty times.
        """
        everyday = EVERYDAY.difference(pair.number for part in self.split for pair in part)
        more = numbers.spell([*sorted(everyday), *20 * numbers.SINGLE_WORDS])
        return numbers.encode_pairs([*self.split[0], *more])

    @functools.cached_property
    def watched(self) -> Pairs:
        """200 numbers to look at in training, which are neither trained on nor among the unseen."""
        known = EVERYDAY.union(pair.number for part in self.split for pair in part)
        others = [number for number in numbers.draw_numbers(300, seed=1) if number not in known]
        return numbers.encode_pairs(numbers.spell(others[:200]))

    def measure(self, model: Transformer) -> dict[str, float]:
        """Share of the watched numbers without a mistake."""
        return {"exact_match": exact_match(model, self.watched)}

    def examine(self, model: Transformer) -> dict[str, float]:
        """Share of 1,000 unseen numbers without a mistake."""
        return {"exact_match": exact_match(model, numbers.encode_pairs(self.split[1]))}

    def answer(self, text: str, model: Transformer) -> str:
        """The German word for a number in English words, or in digits."""
        source = self.english.encode(numbers.read_tokens(text))
        (answer,) = translate_ids(model, [source], max_new_tokens=min(24, model.config.max_len))
        return numbers.join_german(self.german.decode(answer))


class Pronounce:
    """English spelling to pronunciation (chapter 12), split by the place of a word in the dictionary."""

    hint = "Write an English word, such as: transformer"
    Model = Transformer
    one_word = True

    def __init__(self, folder: Path | None = None) -> None:
        self.letters, self.phonemes = pronunciation.letter_vocabulary(), pronunciation.phoneme_vocabulary()
        self.vocab_sizes, self.files = (len(self.letters), len(self.phonemes)), {}

    @functools.cached_property
    def split(self) -> pronunciation.Split:
        """The dictionary in three parts."""
        return pronunciation.split_by_index(pronunciation.read_dictionary())

    def train_pairs(self) -> Pairs:
        """Spelling and phonemes of the training words."""
        return pronunciation.encode_pairs(self.split.train)

    def measure(self, model: Transformer) -> dict[str, float]:
        """Word and phoneme error on 1,000 words of the development part, evenly taken."""
        return self.score(model, self.split.dev[::6][:1000])

    def examine(self, model: Transformer) -> dict[str, float]:
        """Word and phoneme error on the whole development and test parts."""
        parts = {"dev": self.split.dev, "test": self.split.test}
        scores = {part: self.score(model, entries) for part, entries in parts.items()}
        return {f"{part}_{name}": value for part, score in scores.items() for name, value in score.items()}

    def answer(self, text: str, model: Transformer) -> str:
        """The phonemes of a word, as the model would say it; capitals do not matter."""
        word, longest = text.strip().lower().replace("\u2019", "'"), model.config.max_len
        if not 0 < len(word) <= longest:
            raise ValueError(f"{word[:40]!r} has {len(word)} letters; write a word of 1 to {longest}")
        source = self.letters.encode(list(word))
        (answer,) = translate_ids(model, [source], max_new_tokens=longest)
        return " ".join(self.phonemes.decode(answer))

    def score(self, model: Transformer, entries: list[Entry]) -> dict[str, float]:
        """Word and phoneme error of greedy answers."""
        sources = [self.letters.encode(list(entry.word)) for entry in entries]
        answers = translate_ids(model, sources, max_new_tokens=model.config.max_len)
        return pronunciation.score([self.phonemes.decode(answer) for answer in answers], entries)._asdict()


TASKS: dict[str, Any] = {
    "numbers": Numbers,
    "pronounce": Pronounce,
    "sentences": Sentences,
    "sentences_random": functools.partial(Sentences, split_by=sentences.split_at_random),
    "sentences_turkish": functools.partial(Sentences, language="turkish"),
    "text": Text,
}


def load(task: str, path: str | Path | None = None) -> Any:
    """Load the model of a task: the packaged one, or one that was trained for it.

    Raises:
        FileNotFoundError: if there is no such file, or none beside it that the task needs.
        ValueError: if the file does not hold a model of the task's kind and tokens.
    """
    path = PACKAGED / task / "model.safetensors" if path is None else Path(path)
    about = TASKS[task](path.parent)
    model = about.Model.load(path)
    config, want = model.config, (*about.vocab_sizes, PAD_ID, BOS_ID, EOS_ID)
    have = (config.src_vocab_size, config.tgt_vocab_size, config.pad_id, config.bos_id, config.eos_id)
    if have != want:
        names = "(source tokens, target tokens, pad, bos, eos)"
        raise ValueError(f"{path} holds a {about.Model.__name__} with {names} = {have}; the task {task} needs {want}")
    return model
