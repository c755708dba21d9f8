"""Judging an answer: not attempted yet, right, or wrong, and then what is probably wrong with it.

The answer and the solution are called with the same new random inputs, the smallest first. A wrong answer is known
when it does what a wrong answer of the catalogue does, on all of them. Of any other one tells the smallest input on
which it differs, both values, and a law that it breaks.
"""

import copy
import ctypes
import inspect
import linecache
import os
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, Literal

import torch

from transformer_lib.exercises import record
from transformer_lib.exercises.compare import difference, is_changed, kind, shown
from transformer_lib.exercises.exercise import Exercise, find

SECONDS = 5.0  # of computing that one call may take, and ten times as much of waiting; a right answer needs thousandths
NOT_THE_READERS = tuple(f"{folder}{os.sep}" for folder in (sysconfig.get_path("stdlib"), __file__.rsplit(os.sep, 2)[0]))


@dataclass(frozen=True)
class Judgement:
    """What is said to an answer: `state` is one of three, `says` a sentence."""

    state: Literal["not attempted", "right", "wrong"]
    says: str


@dataclass(frozen=True)
class Outcome:
    """What a call came to: a value, an error, or, without either, no end in time."""

    value: Any = None
    error: BaseException | None = None
    ended: bool = True
    changed: tuple[str, ...] = ()  # the inputs that were written into


def check(name: str, answer: object) -> None:
    """Say in one line whether an answer is right, and if not, what is probably wrong with it.

    Args:
        name: that of the exercise, such as "masks.causal".
        answer: the function or the value that the exercise asks for.

    Raises:
        ValueError: there is no exercise of this name.
    """
    judgement = judge(find(name), answer)
    remark = record.keep(name) if judgement.state == "right" else ""
    print(f"{name}: {judgement.says}{remark}")


def judge(exercise: Exercise, answer: object) -> Judgement:
    """Compare an answer with the solution and, if it is wrong, with the wrong answers that are known."""
    if answer is None or answer is ... or is_same(answer, exercise.run(exercise.stub)):
        return Judgement("not attempted", "not attempted yet.")
    with torch.random.fork_rng(devices=[]):  # the random numbers of the notebook stay as they are
        torch.seed()
        fault = find_fault(exercise, answer)
    return Judgement("wrong", f"not yet: {fault}.") if fault else Judgement("right", "right.")


def find_fault(exercise: Exercise, answer: object) -> str | None:
    """Say what is wrong with an answer, in words that follow a colon."""
    solution = exercise.run(exercise.solution)
    if exercise.inputs is None:
        fault = difference(solution, answer, exercise)
        known = (w.says for w in exercise.wrongs if not difference(exercise.run(w.code), answer, exercise))
        return fault and next(known, fault)
    if not callable(answer):
        return f"a function is asked for, and this is {kind(answer)}; hand over the function itself, without calling it"
    trials = [tuple(inputs) for inputs in exercise.inputs()]
    outcomes = []
    for inputs in trials:
        outcomes.append(call(answer, inputs, exercise.use))
        if not outcomes[-1].ended:
            break
    expected = [call(solution, inputs, exercise.use).value for inputs in trials]
    faults = [fault_of(outcome, value, exercise) for outcome, value in zip(outcomes, expected, strict=False)]
    if not any(faults):
        return None
    for wrong in exercise.wrongs if len(outcomes) == len(trials) else ():
        function = exercise.run(wrong.code)
        others = (call(function, inputs, exercise.use) for inputs in trials)
        if all(is_alike(outcome, other, exercise) for outcome, other in zip(outcomes, others, strict=True)):
            return wrong.says
    first = next(i for i, fault in enumerate(faults) if fault)
    where = described(solution, trials[first])
    broken = broken_law(exercise, answer, trials[first]) if outcomes[first].error is None else ""
    return f"{faults[first]}, for {where}{broken}" if where else f"{faults[first]}{broken}"


def call(function: Callable, inputs: Sequence, use: Callable | None = None) -> Outcome:
    """Call a function with copies of the inputs (`use` says how), in a thread of its own that can be given up."""
    copies = copy.deepcopy(inputs)
    found: list[Outcome] = []
    seed = torch.initial_seed() % 2**31

    def work() -> None:
        try:
            torch.manual_seed(seed)  # what draws by chance draws the same for all
            value = use(function, *copies) if use else function(*copies)
            changed = [i for i, (old, new) in enumerate(zip(inputs, copies, strict=True)) if is_changed(old, new)]
            names = [*inspect.signature(function).parameters] if changed else []
            found.append(Outcome(value, changed=tuple(names[i] if i < len(names) else str(i) for i in changed)))
        except BaseException as error:  # whatever it is, the reader is told
            found.append(Outcome(error=error))

    thread = threading.Thread(target=work, daemon=True)
    begin, computed = time.monotonic(), time.process_time()
    thread.start()
    while thread.is_alive() and max(time.process_time() - computed, (time.monotonic() - begin) / 10) < SECONDS:
        thread.join(0.05)
    if found:
        return found[0]
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
    return Outcome(ended=False)


def fault_of(outcome: Outcome, expected: object, exercise: Exercise) -> str | None:
    """Say what is wrong with the outcome of a call."""
    if not outcome.ended:
        return f"it had not ended after {SECONDS:g} seconds (does its loop come to an end?)"
    if outcome.error is not None:
        return f"it raises {type(outcome.error).__name__}{place(outcome.error)}: {first_line(outcome.error)}"
    if outcome.value is None and expected is not None:
        return "it returns nothing; is a `return` missing?"
    fault = difference(expected, outcome.value, exercise)
    if fault is None and outcome.changed:
        return f"the answer is right, but its input {outcome.changed[0]} is no longer what it was; work on a copy"
    return fault


def is_alike(one: Outcome, other: Outcome, exercise: Exercise) -> bool:
    """Whether two wrong answers did the same."""
    if one.error or other.error or not other.ended:
        return (type(one.error), str(one.error), one.ended) == (type(other.error), str(other.error), other.ended)
    if (one.value is None) != (other.value is None):
        return False
    return bool(one.changed) == bool(other.changed) and not difference(other.value, one.value, exercise)


def broken_law(exercise: Exercise, answer: Callable, inputs: Sequence) -> str:
    """Name the first law that an answer breaks; one that cannot be asked of it is not broken."""
    for law in exercise.laws:
        outcome = call(lambda *args, law=law: law.holds(answer, *args), inputs)
        if outcome.ended and outcome.error is None and not outcome.value:
            return f". It breaks a law: {law.says}"
    return ""


def is_same(answer: object, stub: object) -> bool:
    """Whether an answer is what the stub is: the same value, or the same code, which nobody has gone on with."""
    code, other = getattr(answer, "__code__", None), getattr(stub, "__code__", None)
    if isinstance(code, CodeType) and isinstance(other, CodeType):
        return same_code(code, other)
    return type(answer) is type(stub) and code is None and repr(answer) == repr(stub)


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether two codes do the same, wherever they were written."""
    if (one.co_code, one.co_names, len(one.co_consts)) != (other.co_code, other.co_names, len(other.co_consts)):
        return False
    return all(
        same_code(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else a == b
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )


def place(error: BaseException) -> str:
    """Name the line of the reader's code at which an error came up, where it can be read."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(NOT_THE_READERS)]
    frames = [frame for frame in frames if "site-packages" not in frame.filename]
    line = linecache.getline(frames[-1].filename, frames[-1].lineno or 0).strip() if frames else ""
    return f" at `{line}`" if line else ""


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["without a word"])[0].rstrip(".")


def described(function: Callable, inputs: Sequence) -> str:
    """Tell the inputs of a call by their names: a number as it is, a tensor by its shape or, when small, its values."""
    return ", ".join(f"{n} = {shown(v)}" for n, v in zip(inspect.signature(function).parameters, inputs, strict=False))
