"""What an exercise is: its text, its answer, and the wrong answers that are known, each with its diagnosis."""

import ast
import importlib
import math
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# Each chapter with exercises, by the first half of their names, in the order of the book. The file here has its name.
CHAPTERS = {
    "self-attention": "01_self_attention",
    "masks": "02_masks",
    "multi-head": "03_multi_head_attention",
    "positions": "04_positional_encoding",
    "residuals": "05_residuals_and_layer_norm",
    "feed-forward": "06_feed_forward_and_embeddings",
    "encoder": "07_encoder",
    "decoder": "08_decoder",
    "transformer": "09_transformer",
    "training": "10_training",
    "museum": "bug_museum",
    "decoding": "11_decoding",
    "pronunciation": "12_pronunciation",
    "translation": "13_translation",
    "speed": "14_speed",
    "processes": "15_more_than_one_machine",
    "reading": "19_reading_the_model",
    "weights": "18_real_weights",
    "todays-parts": "17_todays_parts",
    "families": "16_three_families",
}
LEVELS = ("warm-up", "build it", "find the bug", "one that hurts")


def plain(text: str) -> str:
    """The text without the indentation of the code around it."""
    return textwrap.dedent(text).strip()


def folded(title: str, text: str) -> str:
    """A part that stays closed on the page, in Jupyter and in Colab until the reader opens it."""
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


@dataclass
class Wrong:
    """A wrong answer that is known, and what its author is told.

    Args:
        says: the probable cause and what to do, in one sentence that begins small and ends without a full stop.
        old, new: the wrong answer is the solution with `old`, which occurs once, replaced by `new`; or
        code: the whole of it, or with `old` and `new` what they are replaced in.
        source: the link to a thread in which somebody made this mistake, if there is one.
    """

    says: str
    old: str = ""
    new: str = ""
    code: str = ""
    source: str = ""


@dataclass
class Law:
    """Something that any right answer obeys: a sentence, and `holds(answer, *inputs)`, which asks it of a function."""

    says: str
    holds: Callable[..., bool]


@dataclass
class Exercise:
    """One question of a chapter. Its texts may be indented as the code around them is.

    Args:
        name: `chapter.exercise`; the chapter is one of `CHAPTERS`.
        title, level, minutes: how it is announced; the level is one of `LEVELS`.
        statement: Markdown, what is asked.
        stub: the code that the reader goes on with. What it defines or assigns last is what is checked.
        solution: the code that is right, by the same name.
        wrongs: at least four wrong answers.
        hints: Markdown, each a little more than the one before.
        why: Markdown below the solution: what to learn from it, or where a number comes from.
        inputs: makes the arguments of the calls to compare, the smallest first, new ones each time. None for an
            answer that is a value.
        use: how a function is asked, `use(answer, *inputs)`, where its value is not all that counts; it returns a
            dictionary of what to compare, by names that a reader understands.
        given: code of the chapter that the answers use, such as imports; not shown.
        laws: what a wrong answer that is not known may break.
        more: whether a right answer may return further values behind the right one.
        tolerance: how far a number may be off, relative to its size and absolutely.
        closed: whether the stub stays folded until the reader opens it, for it tells what an exercise before it asks.
    """

    name: str
    title: str
    level: str
    minutes: int
    statement: str
    stub: str
    solution: str
    wrongs: Iterable[Wrong]
    hints: Iterable[str] = ()
    why: str = ""
    inputs: Callable[[], Iterable[tuple]] | None = None
    use: Callable[..., dict[str, Any] | None] | None = None
    given: str = ""
    laws: Iterable[Law] = ()
    more: bool = False
    tolerance: float = 1e-4
    closed: bool = False

    def __post_init__(self) -> None:
        for text in ("statement", "stub", "solution", "why", "given"):
            setattr(self, text, plain(getattr(self, text)))
        self.hints = [plain(hint) for hint in self.hints]
        for wrong in self.wrongs:
            code = plain(wrong.code) or self.solution
            if wrong.old and code.count(wrong.old) != 1:
                raise ValueError(f"{self.name}: {wrong.old!r} must occur once in the solution")
            wrong.code = code.replace(wrong.old, wrong.new) if wrong.old else code

    @property
    def announced(self) -> str:
        """The statement, with its level and minutes before it."""
        return f"*{self.level[0].upper()}{self.level[1:]}, {self.minutes} minutes.* {self.statement}"

    @property
    def asked(self) -> str:
        """The name that the stub defines or assigns last: that of the answer."""
        last = ast.parse(self.stub).body[-1]
        if isinstance(last, ast.Assign) and isinstance(last.targets[0], ast.Name):
            return last.targets[0].id
        if isinstance(last, ast.FunctionDef):
            return last.name
        raise ValueError(f"{self.name}: the stub must end with a function or an assignment")

    def run(self, code: str) -> Any:
        """Return what `code` calls by the name of the answer."""
        names = {"torch": torch, "nn": nn, "F": nn.functional, "math": math}
        exec(self.given, names)
        exec(compile(code, self.name, "exec"), names)
        return names[self.asked]


def exercises(chapter: str) -> list[Exercise]:
    """Return the exercises of a chapter of `CHAPTERS`, in the order of the book."""
    return importlib.import_module(f"transformer_lib.exercises.{chapter.replace('-', '_')}").EXERCISES


def find(name: str) -> Exercise:
    """Return the exercise of that name.

    Raises:
        ValueError: there is none; the message names those of the chapter.
    """
    chapter = str(name).partition(".")[0]
    if chapter not in CHAPTERS:
        raise ValueError(f"there is no exercise {name!r}: its name begins with one of {', '.join(CHAPTERS)}")
    found = {exercise.name: exercise for exercise in exercises(chapter)}
    if name not in found:
        raise ValueError(f"there is no exercise {name!r}; those of its chapter are {', '.join(found)}")
    return found[name]
