"""Low-rank adapters: a trained model learns something new in few numbers, and keeps all that it was (chapter 18)."""

import copy
from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from transformer_lib._checks import check_number, check_whole


class LoRA(nn.Module):
    r"""A linear map that stays as it is, and beside it a thin one that learns.

    $$W x + b + \frac{\alpha}{r}\, B A x$$

    $A$ (`down`) leads to `rank` features, $B$ (`up`) back. $B$ begins with zeros, so that nothing changes at first.
    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1. Built in chapter 18.
    Counterpart: `peft.LoraConfig`.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        check_whole(1, rank=rank)
        check_number(alpha=alpha)
        self.linear = linear.requires_grad_(False)
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        self.scale = alpha / rank
        self.to(linear.weight)  # its type and device

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Add what the thin map says to what the old one says."""
        return self.linear(x) + self.scale * self.up(self.down(x))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return one linear map that computes the same."""
        linear = copy.deepcopy(self.linear)
        linear.weight += self.scale * self.up.weight @ self.down.weight
        return linear


def add_lora(model: nn.Module, rank: int, alpha: float, names: Collection[str]) -> nn.Module:
    """Freeze a model, and give an adapter to each of its linear maps that bears one of `names`, such as `q_proj`.

    Raises:
        ValueError: if there is none.
    """
    model.requires_grad_(False)
    found = [name for name, part in model.named_modules() if name.split(".")[-1] in names]
    if not found:
        raise ValueError(f"{type(model).__name__} holds nothing that is called {' or '.join(names)}")
    for name in found:
        model.set_submodule(name, LoRA(model.get_submodule(name), rank, alpha))  # type: ignore[arg-type]
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Put one linear map in the place of each that has an adapter: the same function, and the old names."""
    for name, part in list(model.named_modules()):
        if isinstance(part, LoRA):
            model.set_submodule(name, part.merged())
    return model
