"""Recipes: everything that decides a training, in one file of settings (chapter 12).

A recipe is a TOML file with the tables `model`, `training` and `watching`. One recipe and one seed give one model, on
one machine and number of threads.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from transformer_lib._checks import check_number, check_share, check_whole, shown
from transformer_lib.config import TransformerConfig

PACKAGED = Path(__file__).parent
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclasses.dataclass(frozen=True)
class Training:
    """How the weights are moved: see `Trainer` and `cosine_rate`.

    `fast` takes the `FastTransformer` of chapter 14; with `precision` "bfloat16" products are computed in 16 bits,
    while weights and their steps stay in 32 (mixed precision, chapter 15). "auto" takes what is quicker on the machine
    where the training begins.
    """

    steps: int
    batch_tokens: int
    peak_rate: float
    warmup: int
    smoothing: float = 0.0
    weight_decay: float = 0.01
    fast: bool = False  # the same numbers in less time, but for dropout, which drops others
    precision: str = "float32"

    def __post_init__(self) -> None:
        check_whole(1, steps=self.steps, batch_tokens=self.batch_tokens, warmup=self.warmup)
        check_number(peak_rate=self.peak_rate)
        check_share(smoothing=self.smoothing)
        check_number(weight_decay=self.weight_decay, zero=True)
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {shown(self.precision)}")
        if self.warmup >= self.steps:
            raise ValueError(f"warmup ({self.warmup}) must be below steps ({self.steps})")


@dataclasses.dataclass(frozen=True)
class Watching:
    """When the log gets a line, when the model is measured, and how many of the measured ones are averaged."""

    every: int
    measure: int
    average: int

    def __post_init__(self) -> None:
        check_whole(1, every=self.every, measure=self.measure, average=self.average)
        if self.measure % self.every != 0:
            raise ValueError(f"measure ({self.measure}) must be a multiple of every ({self.every})")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A task, a seed, and the settings of the model and its training."""

    task: str
    seed: int
    threads: int
    model: dict[str, Any]  # settings of `TransformerConfig`; the task adds the sizes of the vocabularies
    training: Training
    watching: Watching
    hours: float | None = None  # what it takes at most on ordinary machines; one that takes longer is told so

    def __post_init__(self) -> None:
        check_whole(0, seed=self.seed)
        check_whole(1, threads=self.threads)
        if self.hours is not None:
            check_number(hours=self.hours)

    def config(self, src_vocab_size: int, tgt_vocab_size: int) -> TransformerConfig:
        """Return the model's configuration for two vocabularies."""
        sizes = {"src_vocab_size": src_vocab_size, "tgt_vocab_size": tgt_vocab_size}
        return _make(TransformerConfig, {**sizes, **self.model}, "model")


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TOML, or a setting is missing, unknown or out of range; the message names it.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    try:
        content = tomllib.loads(text)
        for name, kind in (("model", dict), ("training", Training), ("watching", Watching)):
            content[name] = _make(kind, content.get(name), name)
        return _make(Recipe, content, "recipe")
    except ValueError as error:  # a mistake in the TOML is one too
        raise ValueError(f"{path}: {error}") from None


def _make(kind: type, settings: Any, name: str) -> Any:
    """Make a dataclass of a table of settings."""
    try:
        return kind(**settings)
    except TypeError as error:  # Python names the settings that are missing, one that is unknown, or what is no table
        raise ValueError(f"{name}: {str(error).removeprefix(f'{kind.__name__}.__init__() ')}") from None
