"""Comparing what an answer gives with what is right, in words that a reader understands."""

from typing import Any

import torch
from torch import Tensor

from transformer_lib import _checks
from transformer_lib.exercises.exercise import Exercise

MOST = 60  # letters that a value is told in


def difference(expected: Any, found: Any, exercise: Exercise) -> str | None:
    """Say how what was found differs from what was expected, or `None`."""
    if exercise.more and isinstance(found, tuple) and not isinstance(expected, tuple) and found:
        found = found[0]
    tolerance = exercise.tolerance
    if isinstance(found, Tensor) and found.is_floating_point():  # of half precision no more than it can hold
        tolerance = max(tolerance, 2 * torch.finfo(found.dtype).eps)
    if isinstance(expected, Tensor):
        return tensor_difference(expected, found, tolerance)
    if isinstance(expected, dict) and isinstance(found, dict):
        faults = {name: difference(expected[name], found.get(name), exercise) for name in expected}
        return next((f"{name}: {fault}" for name, fault in faults.items() if fault), None)
    if isinstance(expected, tuple | list):
        if not isinstance(found, tuple | list):
            return f"{len(expected)} values are asked for, and this is {kind(found)}"
        if exercise.more and isinstance(expected, tuple):
            found = found[: len(expected)]
        if len(found) != len(expected):
            return f"{len(expected)} values are asked for, and there are {len(found)}: {shown(found)}"
        faults = [difference(right, mine, exercise) for right, mine in zip(expected, found, strict=True)]
        return next((f"of {len(faults)} values number {i}: {fault}" for i, fault in enumerate(faults) if fault), None)
    if isinstance(found, Tensor) and found.numel() == 1 and not found.is_meta:
        found = found.item()
    if isinstance(expected, bool | str) or not isinstance(expected, int | float):
        same = type(found) is type(expected) and found == expected
        return None if same else f"{shown(found)} is not right"
    if isinstance(found, bool) or not isinstance(found, int | float):
        return f"a number is asked for, and this is {kind(found)}"
    allowed = tolerance * max(1, abs(expected)) if isinstance(expected, float) else 0
    return None if abs(found - expected) <= allowed else f"{shown(found)} is not right"


def tensor_difference(expected: Tensor, found: Any, tolerance: float) -> str | None:
    """Say how a tensor differs from the one expected: in kind, shape, or where and by how much."""
    if not isinstance(found, Tensor):
        return f"a tensor is asked for, and this is {kind(found)}"
    if found.device != expected.device:
        places = f"the answer lies on {found.device}, and the input on {expected.device}"
        return f"{places}; make new tensors where the inputs are"
    if found.shape != expected.shape:
        return f"the shape is {tuple(found.shape)}, and {tuple(expected.shape)} is right"
    for kinds, words in (
        (Tensor.is_floating_point, "a tensor of real numbers"),
        (lambda t: t.dtype == torch.bool, "a boolean mask"),
    ):
        if kinds(expected) != kinds(found):
            asked = words if kinds(expected) else f"{expected.dtype}"
            return f"the answer is of type {found.dtype}, and {asked} is what is asked for"
    right, mine = (part.detach().double() for part in (expected, found))
    wrong = ~torch.isclose(mine, right, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not wrong.any():
        return None
    at = tuple(wrong.nonzero()[0].tolist())
    return f"at {list(at)} it has {shown(found[at].item())}, and {shown(expected[at].item())} is right"


def is_changed(old: object, new: object) -> bool:
    """Whether a call wrote into its input."""
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        return not (old.shape == new.shape and torch.allclose(old.double(), new.double(), 0, 0, equal_nan=True))
    return isinstance(old, list | dict) and isinstance(new, list | dict) and repr(old) != repr(new)


def shown(value: object) -> str:
    """Tell a value in a few words."""
    if isinstance(value, Tensor):
        few = value.numel() <= 4 and value.device.type == "cpu"
        return shown(value.tolist()) if few else f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        text = ", ".join(shown(part) for part in value[:MOST])
        text = f"[{text}]" if isinstance(value, list) else f"({text})"
        return text if len(text) <= MOST else f"{text[: MOST - 3]}..."
    if isinstance(value, float):
        value = float(f"{value:.4g}")
    plain = value is None or isinstance(value, str | int | float | dict)
    return _checks.shown(value, MOST) if plain else kind(value)


def kind(value: object) -> str:
    """What a value is, with its article."""
    name = type(value).__name__
    vowels = "AEFHILMNORSX" if name[:2].isupper() else "aeiouAEIOU"  # an SGD, an int
    return "None" if value is None else f"{'an' if name[0] in vowels else 'a'} {name}"
