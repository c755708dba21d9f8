"""A mixture of experts in its smallest form: a router, several feed-forward networks, a queue for each (chapter 17)."""

import contextlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from transformer_lib.modern.layers import SwiGLU


class Routing(NamedTuple):
    """Which experts each token goes to."""

    probs: Float[Tensor, "tokens experts"]  # the router's opinion
    chosen: Int[Tensor, "tokens top_k"]  # the likeliest experts
    share: Float[Tensor, "tokens top_k"]  # what each of them counts for
    kept: Bool[Tensor, "tokens top_k"]  # False: the queue of that expert was full, and the token was dropped there

    @property
    def dropped(self) -> int:
        """How many of the `tokens * top_k` places in queues there was no room for."""
        return int((~self.kept).sum())


class Router(nn.Module):
    """Send every token to the `top_k` experts that a linear map likes best.

    With a `capacity` each expert takes at most `capacity * tokens * top_k / n_experts` tokens of a call, first choices
    before second ones, in the order of the tokens. What one token gets then depends on the others, later ones too: it
    is for training in even pieces, and breaks causality; without it (`None`) nothing is dropped.
    The share of an only choice is its probability, as in Switch: scaled to one it would not depend on the router,
    and the loss would not teach it. Those of several sum to one, as in Mixtral: a softmax over the chosen alone.
    Source: Shazeer et al., 2017, section 2.1; Fedus, Zoph and Shazeer, "Switch Transformers", 2021, section 2.2;
    Jiang et al., "Mixtral of Experts", 2024, section 2.1.
    """

    def __init__(self, d_model: int, n_experts: int, top_k: int, capacity: float | None = None) -> None:
        super().__init__()
        if not 1 <= top_k <= n_experts:
            raise ValueError(f"top_k ({top_k}) must be at least 1 and at most n_experts ({n_experts})")
        self.top_k, self.capacity = top_k, capacity
        self.gate = nn.Linear(d_model, n_experts, bias=False)

    def forward(self, tokens: Float[Tensor, "tokens d_model"]) -> Routing:
        """Choose, and count who still finds room."""
        probs = self.gate(tokens).softmax(dim=-1)  # (tokens, experts)
        share, chosen = probs.topk(self.top_k, dim=-1)  # (tokens, top_k)
        if self.top_k > 1:
            share = share / share.sum(dim=-1, keepdim=True)
        if self.capacity is None:
            everyone = torch.ones_like(chosen, dtype=torch.bool)
            return Routing(probs, chosen, share, everyone)
        room = math.ceil(self.capacity * chosen.numel() / probs.size(1))
        queue = chosen.T.flatten()  # all first choices queue before all second ones
        place = F.one_hot(queue, probs.size(1)).cumsum(dim=0).gather(1, queue[:, None])  # 1: the first of its queue
        kept = (place <= room).view(self.top_k, -1).T
        return Routing(probs, chosen, share, kept)


class MixtureOfExperts(nn.Module):
    """Several `SwiGLU` networks, of which every token passes through `top_k`: more weights for the same work.

    A token that all its experts dropped gets zeros, and only the residual connection carries it on.
    Source: as `Router`. Built in chapter 17. Counterpart: `MixtralSparseMoeBlock`.
    """

    def __init__(
        self, d_model: int, d_ff: int, n_experts: int, top_k: int, capacity: float | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.router = Router(d_model, n_experts, top_k, capacity)
        self.experts = nn.ModuleList(SwiGLU(d_model, d_ff, dropout) for _ in range(n_experts))

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """Let the chosen experts work on each token, and add up what they say by their shares."""
        tokens = x.reshape(-1, x.size(-1))  # (tokens, d_model)
        routing = self.router(tokens)
        output = torch.zeros_like(tokens)
        for i, expert in enumerate(self.experts):
            row, choice = ((routing.chosen == i) & routing.kept).nonzero(as_tuple=True)
            share = routing.share[row, choice, None]
            output = output.index_add(0, row, expert(tokens[row]) * share)
        return output.view_as(x)


def load_balance(*routings: Routing) -> Float[Tensor, ""]:
    r"""Return the loss that keeps all experts busy, added to the model's with a small factor, such as 0.01.

    $$n \sum_i f_i P_i$$

    $f_i$ is the share of tokens that chose expert $i$, $P_i$ the mean of its probability, over the tokens of all
    routings. It is `top_k` when both are even. Gradients flow through $P$ alone, for a choice has none.
    Source: Fedus, Zoph and Shazeer, 2021, section 2.2, equations 4 to 6; over `top_k` choices and all layers as
    Hugging Face's `load_balancing_loss_func` of Mixtral. Built in chapter 17.
    """
    probs = torch.cat([routing.probs for routing in routings])  # (tokens, experts)
    chosen = torch.cat([routing.chosen for routing in routings])  # (tokens, top_k)
    counts = F.one_hot(chosen, probs.size(1)).sum(dim=1)  # (tokens, experts)
    f = counts.to(probs.dtype).mean(dim=0)  # (experts,)
    return probs.size(1) * (f * probs.mean(dim=0)).sum()


@contextlib.contextmanager
def record_routing(model: nn.Module) -> Iterator[dict[str, Routing]]:
    """Record what every `Router` in `model` decided in its latest call, by name, with gradients.

    Raises:
        ValueError: if `model` holds no `Router`.
    """
    routers = {name: module for name, module in model.named_modules() if isinstance(module, Router)}
    if not routers:
        raise ValueError(f"{type(model).__name__} holds no Router to record")
    found: dict[str, Routing] = {}

    def recorder(name: str):
        return lambda module, inputs, routing: found.update({name: routing})

    hooks = [module.register_forward_hook(recorder(name)) for name, module in routers.items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
