"""An account of every tensor of a source: each is taken once, or passed over for a reason, or is an error."""

import functools
import re
from typing import TypeVar

import torch
from torch import Tensor, nn

SHOWN = 3  # faults of a kind that a message lists
MANY = 1000  # faults after which counting on is of no use
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Module = TypeVar("Module", bound=nn.Module)


class Ledger:
    """Takes tensors out of a source and files them under our names; `close` raises if anything did not fit.

    Args:
        tensors: all tensors of the source, by name.
        prefix: what stands before the names in models with a head; it may be missing.
        passed_over: pattern of names (without the prefix) that are not needed, and why.
        beside: names that never have the prefix.
    """

    def __init__(
        self, tensors: dict[str, Tensor], prefix: str, passed_over: dict[str, str], beside: tuple[str, ...] = ()
    ) -> None:
        self.prefix = prefix if any(name.startswith(prefix) for name in tensors) else ""
        self.beside = beside
        patterns = "|".join(passed_over) or "$."
        self.rest = {
            name: tensor
            for name, tensor in tensors.items()
            if not re.fullmatch(patterns, name.removeprefix(self.prefix))
        }
        self.state: dict[str, Tensor] = {}
        self.faults: dict[str, list[str]] = {}  # by kind

    def has(self, name: str) -> bool:
        """Whether the source holds this tensor."""
        return self.full(name) in self.rest

    def full(self, name: str) -> str:
        """The name that the source uses."""
        return name if name in self.beside else self.prefix + name

    def take(self, name: str, *shape: int) -> Tensor:
        """Take a tensor of the source, which must have this shape and hold floating-point numbers."""
        name = self.full(name)
        tensor = self.rest.pop(name, None)
        if tensor is None:
            self._fault("missing", f"{name}, expected shape {shape}")
        elif tuple(tensor.shape) != shape:
            self._fault("of another shape", f"{name}, expected {shape}, got {tuple(tensor.shape)}")
        elif tensor.dtype not in FLOATS or tensor.layout != torch.strided or tensor.is_meta:
            kind = "no values" if tensor.is_meta else f"{tensor.layout} {tensor.dtype}"
            self._fault("of another kind", f"{name}, expected floating-point numbers, got {kind}")
        else:
            return tensor
        return torch.empty([6] * len(shape), device="meta")  # stands in for it, so that other faults are found too

    def take_tied(self, names: list[str], *shape: int) -> Tensor:
        """Take a tensor that stands in the source under one or more of `names`, the same each time."""
        present = [name for name in names if self.has(name)] or names[:1]
        first, *others = [self.take(name, *shape) for name in present]
        for name, other in zip(present[1:], others, strict=True):
            if not (first.is_meta or other.is_meta) and not torch.equal(first, other.to(first)):
                self._fault("different from what they are tied to", f"{self.full(name)} from {self.full(present[0])}")
        return first

    def linear(self, ours: str, theirs: str, d_out: int, d_in: int) -> None:
        """File weight and bias of a linear map."""
        self.state[f"{ours}.weight"] = self.take(f"{theirs}.weight", d_out, d_in)
        self.state[f"{ours}.bias"] = self.take(f"{theirs}.bias", d_out)

    def norm(self, ours: str, theirs: str, d_model: int) -> None:
        """File weight and bias of a layer norm."""
        self.state[f"{ours}.weight"] = self.take(f"{theirs}.weight", d_model)
        self.state[f"{ours}.bias"] = self.take(f"{theirs}.bias", d_model)

    def _fault(self, kind: str, what: str) -> None:
        self.faults.setdefault(kind, []).append(what)
        if sum(map(len, self.faults.values())) >= MANY:
            self.close()

    def close(self) -> dict[str, Tensor]:
        """Return everything under our names.

        Raises:
            ValueError: if a tensor was missing, did not fit, or was left over.
        """
        if self.rest:
            self.faults["surplus"] = [f"{name} {tuple(x.shape)}" for name, x in self.rest.items()]
        if self.faults:
            kinds = [
                f"{len(all_of)} {kind} ({'; '.join(all_of[:SHOWN])}{'; ...' if len(all_of) > SHOWN else ''})"
                for kind, all_of in self.faults.items()
            ]
            raise ValueError(f"tensors do not fit the config: {', '.join(kinds)}")
        return self.state


def fill(module: Module, state: dict[str, Tensor]) -> Module:
    """Give `module` the values, type and device of `state`; put it into evaluation mode."""
    dtype = functools.reduce(torch.promote_types, (x.dtype for x in state.values()))
    module.to(device=next(iter(state.values())).device, dtype=dtype)
    module.load_state_dict(state)
    return module.eval()
