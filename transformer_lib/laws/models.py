"""Laws of layers and models: their modes, their caches, how they begin."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib.laws._frame import Verdict, call, exact, fault_between, undisturbed


def _check_module(module: object) -> None:
    if not isinstance(module, nn.Module):  # a function has no mode that could be switched
        raise ValueError(f"module must be an nn.Module, got {type(module).__name__}; the mode of others is not known")


def train_equals_eval(module: nn.Module, *inputs, tolerance: float | None = None) -> Verdict:
    """With every dropout set to 0, training and evaluation compute the same.

    Ask it of a module that was built with `dropout=0` (of a function a `ValueError`), with the inputs of its `forward`.
    Of several outputs the first is compared, relative to its largest number. First stated in chapter 3.
    """
    _check_module(module)
    outputs = [call(module, *inputs, training=mode) for mode in (False, True)]
    fault = fault_between("between evaluation and training", *outputs, tolerance)
    cause = "a dropout that the argument does not reach, or a mask that is applied in one mode only"
    return Verdict.of("training = evaluation", fault, "both modes compute the same", cause)


def evaluation_is_deterministic(module: nn.Module, *inputs) -> Verdict:
    """In evaluation mode two calls agree to the last bit: dropout is off.

    Ask it of a module that was built with any dropout (of a function a `ValueError`), with the inputs of its `forward`.
    Of several outputs the first is compared. First stated in chapter 3.
    """
    _check_module(module)
    outputs = [call(module, *inputs, training=False, seed=seed) for seed in (0, 1)]
    fault = fault_between("between two calls in evaluation mode", *outputs, 0.0)
    cause = "a functional dropout that is not told the mode: dropout_p=p in place of p if self.training else 0"
    return Verdict.of("determinism in evaluation", fault, "two calls in evaluation mode agree to the bit", cause)


def cache_equals_full(model: Any, src_ids: Tensor, tgt_ids: Tensor, *, tolerance: float | None = None) -> Verdict:
    """Decoding in pieces with a cache gives the logits of one full pass.

    The pieces of `tgt_ids` are single tokens, then chunks of two and three, then all tokens but the last. The model has
    the methods `encode`, `decode` and `new_cache` of `Transformer` (one of Hugging Face gets them from `HuggingFace`),
    and is asked in evaluation mode. `tolerance` is relative to the largest logit. First stated in chapter 8.
    """
    with undisturbed(model, training=False):
        memory, memory_mask = model.encode(src_ids)
        full, fault = model.decode(tgt_ids, memory, memory_mask), None
        for size in (1, 2, 3, tgt_ids.size(1) - 1):
            cache = model.new_cache()
            pieces = [model.decode(ids, memory, memory_mask, cache) for ids in tgt_ids.split(size, dim=1)]
            words = f"decoding {size} token{'s' * (size > 1)} at a time"
            if fault := fault_between(words, full, torch.cat(pieces, dim=1), tolerance):
                break
    promise = "decoding in pieces gives the logits of one full pass"
    cause = "positions that start from 0 at every step, or a causal mask aligned top-left (torch's is_causal=True)"
    return Verdict.of("cache = full pass", fault, promise, cause)


def layers_are_distinct(layers: Iterable[nn.Module]) -> Verdict:
    """The layers of a stack are different layers: they share no weights, and do not begin as copies.

    Ask it before training, of at least two layers of one kind with weights (else a `ValueError`). Weights that are all
    the same number (a fresh bias, a fresh norm) do not count. First stated in chapter 7.
    """
    stack = [dict(layer.named_parameters()) for layer in layers]
    pairs = [
        (i, j, name) for i, j in itertools.combinations(range(len(stack)), 2) for name in stack[i] if name in stack[j]
    ]
    if not pairs:
        raise ValueError(f"layers must hold at least two layers of one kind, with weights, got {len(stack)} without")
    fault = None
    for i, j, name in pairs:
        a, b = stack[i][name], stack[j][name]
        if a is b or (torch.equal(a, b) and (a != a.flatten()[0]).any()):
            fault = f"layers {i} and {j} {'share' if a is b else 'begin with the same'} {name}"
            break
    promise = "no two layers share weights or begin with the same ones"
    cause = "one layer put in the list several times, or copies of one layer (copy.deepcopy)"
    return Verdict.of("distinctness of layers", fault, promise, cause)


def untrained_loss(logits: Tensor, targets: Tensor | None = None) -> Verdict:
    """A model that has learned nothing is as surprised as if all tokens were equally likely: by ln(vocab), within 5 %.

    First stated in chapter 6.

    Args:
        logits: of an untrained model, `(..., vocab)`, before any softmax; of shares a `ValueError`.
        targets: the tokens that came next, `(...)`; without them every token is taken as target once.
    """
    vocab, scores = logits.size(-1), exact(logits)
    if (scores >= 0).all() and ((scores.sum(-1) - 1).abs() <= 1e-3).all():
        raise ValueError("logits must come before any softmax, got rows that sum to one; such a loss is always near it")
    surprise = -scores.log_softmax(dim=-1)
    if targets is not None:
        surprise = surprise.gather(-1, targets.cpu().unsqueeze(-1).long())
    loss, wanted = surprise.mean().item(), math.log(vocab)
    fault = None if abs(loss - wanted) <= 0.05 * wanted else f"the loss is {loss:.3g}, ln({vocab}) is {wanted:.3g}"
    promise = f"the loss is {loss:.2f}, ln({vocab}) is {wanted:.2f}"
    cause = "weights that start too large, such as an embedding with standard deviation 1 tied to the output"
    return Verdict.of("uncertainty at the start", fault, promise, cause)
