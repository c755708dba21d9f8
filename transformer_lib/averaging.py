"""Averaging: one model whose weights are the mean of several that the same training went through (chapter 12)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from transformer_lib.checkpoint import check_weights


def average_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of each weight over several state dicts, computed in float64.

    The steps of a training go round the lowest place rather than to it, each pulled by its own batch; the mean of a
    few of the last places lies nearer. Paper: section 6.1, which averages the last 5 or 20 checkpoints.
    Built in chapter 12.

    Raises:
        ValueError: if there is none, or they are of different models.
    """
    if len(states) == 0:
        raise ValueError("average_weights needs at least one state dict, got none")
    for state in states:
        check_weights(state, states[0])
    return {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(weight.dtype)
        for name, weight in states[0].items()
    }
