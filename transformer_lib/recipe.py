"""Recipes: everything that decides a training, in one file of settings (chapter 12).

A recipe is a TOML file with the tables `model`, `training` and `watching`. One recipe and one seed give one model, on
one machine and number of threads.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from transformer_lib._checks import (
    check_count,
    check_number,
    check_path,
    check_positive,
    check_probability,
    check_type,
    shown,
)
from transformer_lib.config import TransformerConfig

PACKAGED = Path(__file__).parent / "recipes"
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Training:
    """How the weights are moved: see `Trainer` and `cosine_rate`.

    `fast` takes the `FastTransformer` of chapter 14; with `precision` "bfloat16" products are computed in 16 bits,
    while weights and their steps stay in 32 (mixed precision, chapter 15).
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
        check_positive(steps=self.steps, batch_tokens=self.batch_tokens, warmup=self.warmup)
        check_number("peak_rate", self.peak_rate)
        check_probability("smoothing", self.smoothing)
        check_number("weight_decay", self.weight_decay, zero=True)
        check_type("fast", self.fast, bool)
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
        check_positive(every=self.every, measure=self.measure, average=self.average)
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

    def __post_init__(self) -> None:
        check_count(seed=self.seed)
        check_positive(threads=self.threads)

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
    check_path(path)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no recipe at {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        for name, kind in (("training", Training), ("watching", Watching)):
            content[name] = _make(kind, content.get(name), name)
        return _make(Recipe, content, "recipe")
    except ValueError as error:  # a mistake in the TOML is one too
        raise ValueError(f"{path}: {error}") from None


def _make(kind: type, settings: Any, name: str) -> Any:
    """Make a dataclass of a table of settings, naming those that are missing or unknown."""
    if not isinstance(settings, dict):
        raise ValueError(f"{name} must be a table of settings, got {shown(settings)}")
    fields = dataclasses.fields(kind)
    missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in settings]
    unknown = sorted(settings.keys() - {f.name for f in fields})
    faults = [("lacks", missing), ("has the unknown", unknown)]
    told = [f"{fault} {', '.join(names)}" for fault, names in faults if names]
    if told:
        raise ValueError(f"{name} {' and '.join(told)}")
    return kind(**settings)
