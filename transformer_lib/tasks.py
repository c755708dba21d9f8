"""Tasks that a recipe can name: the pairs to train on, and how well a model does on others."""

from typing import Any, Protocol

from transformer_lib.beam import beam_search
from transformer_lib.data import pronunciation, sentences
from transformer_lib.data.pronunciation import Entry, Score
from transformer_lib.data.sentences import Sentence
from transformer_lib.data.subwords import Subwords
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

    def files(self) -> dict[str, str]:
        """What has to be published beside a model for its ids to mean something: names and contents of files."""
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

    def files(self) -> dict[str, str]:
        """Nothing: letters and phonemes are known."""
        return {}

    def score(self, model: Transformer, entries: list[Entry]) -> Score:
        """Word and phoneme error of greedy answers."""
        letters, phonemes = pronunciation.letter_vocabulary(), pronunciation.phoneme_vocabulary()
        sources = [letters.encode(list(entry.word)) for entry in entries]
        answers = translate_ids(model, sources, max_new_tokens=model.config.max_len)
        return pronunciation.score([phonemes.decode(answer) for answer in answers], entries)


class Translate:
    """English texts of a user interface to German, split by integration; the pieces are learnt from the training part.

    Subclasses say what is different.
    """

    language = "german"
    split_by = staticmethod(sentences.split_by_integration)
    size = 3000  # pieces, of both languages together
    max_len = 64  # pieces of the longest text to train on

    def __init__(self) -> None:
        self.split = self.split_by(sentences.read_sentences(self.language))
        lines = [line for sentence in self.split.train for line in (sentence.english, sentence.translation)]
        self.subwords = Subwords.train(lines, self.size)
        self.src_vocab_size = self.tgt_vocab_size = len(self.subwords)

    def train_pairs(self) -> list[tuple[list[int], list[int]]]:
        """Both sides of the training sentences, but of the longest."""
        return sentences.encode_pairs(self.split.train, self.subwords, self.max_len)

    def measure(self, model: Transformer) -> dict[str, float]:
        """BLEU and chrF of greedy answers on the development part."""
        return self.score(model, self.split.dev)

    def examine(self, model: Transformer) -> dict[str, float]:
        """BLEU and chrF on the test part, greedy and with a beam of four."""
        ways = {"greedy": {}, "beam_4": {"decode": beam_search, "beam_size": 4}}
        scores = {way: self.score(model, self.split.test, **options) for way, options in ways.items()}
        return {f"{way}_{name}": value for way, score in scores.items() for name, value in score.items()}

    def files(self) -> dict[str, str]:
        """The pieces."""
        return {"subwords.json": self.subwords.to_json()}

    def score(self, model: Transformer, part: list[Sentence], **options: Any) -> dict[str, float]:
        """BLEU and chrF of the translations of a part; `options` say how to decode, as in `translate_ids`."""
        answers = sentences.translate_texts(model, self.subwords, [sentence.english for sentence in part], **options)
        return sentences.score(answers, part)._asdict()


class TranslateAtRandom(Translate):
    """The same texts split at random: an easier task than it looks, as chapter 13 shows."""

    split_by = staticmethod(sentences.split_at_random)


class TranslateTurkish(Translate):
    """English to Turkish, split by integration."""

    language = "turkish"


TASKS = {
    "pronounce": Pronounce,
    "translate": Translate,
    "translate_random": TranslateAtRandom,
    "translate_turkish": TranslateTurkish,
}
