"""Laws of layers and models: their modes, their caches, how they begin."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib.laws._checks import check_methods, check_module, check_tensor, described
from transformer_lib.laws._frame import Verdict, copies, fault_between, first_of, undisturbed, verdict


def train_equals_eval(module: nn.Module, *inputs, tolerance: float | None = None) -> Verdict:
    """With every dropout set to 0, training and evaluation compute the same.

    First stated in chapter 3.

    Args:
        module: built with `dropout=0`; its mode is restored. Of several outputs the first one is compared.
        *inputs: for its `forward`.
        tolerance: relative to the largest output.

    Raises:
        ValueError: if it is no module, or gives no tensor.
    """
    check_module(module)
    outputs = []
    for training in (False, True):
        with undisturbed(module, training=training):
            outputs.append(first_of(module(*copies(inputs)), "module").clone())
    evaluated, trained = outputs
    fault = fault_between(evaluated, trained, tolerance)
    fault = fault and f"between evaluation and training, {fault}"
    cause = "a dropout that the argument does not reach, or a mask that is applied in one mode only"
    return verdict("training = evaluation", fault, "both modes compute the same", cause)


def evaluation_is_deterministic(module: nn.Module, *inputs) -> Verdict:
    """In evaluation mode two calls agree to the last bit: dropout is off.

    First stated in chapter 3.

    Args:
        module: built with any dropout; its mode is restored. Of several outputs the first one is compared.
        *inputs: for its `forward`.

    Raises:
        ValueError: if it is no module, or gives no tensor.
    """
    check_module(module)
    with undisturbed(module, training=False):  # the random state moves on between the two calls
        first, second = (first_of(module(*copies(inputs)), "module").clone() for _ in range(2))
    fault = fault_between(first, second, 0.0)
    fault = fault and f"between two calls in evaluation mode, {fault}"
    cause = "a functional dropout that is not told the mode: dropout_p=p in place of p if self.training else 0"
    return verdict("determinism in evaluation", fault, "two calls in evaluation mode agree to the bit", cause)


def cache_equals_full(model: Any, src_ids: Tensor, tgt_ids: Tensor, *, tolerance: float | None = None) -> Verdict:
    """Decoding in pieces with a cache gives the logits of one full pass.

    The pieces are single tokens, then chunks of two and three, then all tokens but the last. The model
    is asked in evaluation mode. First stated in chapter 8.

    Args:
        model: with the methods `encode`, `decode` and `new_cache` of `Transformer`; a Hugging Face model gets
            them from `HuggingFace`.
        src_ids: `(batch, src_len)`.
        tgt_ids: `(batch, tgt_len)`, at least two tokens each.
        tolerance: relative to the largest logit.

    Raises:
        ValueError: if there are fewer than two target tokens.
    """
    check_tensor("src_ids", src_ids, "(batch, src_len)", 2)
    check_tensor("tgt_ids", tgt_ids, "(batch, tgt_len)", 2)
    tgt_len, fault = tgt_ids.size(1), None
    if tgt_len < 2:
        raise ValueError(f"tgt_ids needs at least 2 tokens to be decoded in pieces, got {tgt_len}")
    check_methods(model, "encode", "decode", "new_cache")
    if len(src_ids) != len(tgt_ids):
        raise ValueError(
            f"src_ids and tgt_ids must share a batch axis, got {len(src_ids)} and {len(tgt_ids)} sequences"
        )
    with undisturbed(model, training=False):
        memory, memory_mask = model.encode(src_ids)
        full = model.decode(tgt_ids, memory, memory_mask)
        check_tensor("what decode returns", full, "(batch, tgt_len, vocab)", 3, numbers=True)
        for size in dict.fromkeys(min(size, tgt_len - 1) for size in (1, 2, 3, tgt_len - 1)):
            cache = model.new_cache()
            pieces = [model.decode(ids, memory, memory_mask, cache) for ids in tgt_ids.split(size, dim=1)]
            fault = fault_between(full, torch.cat(pieces, dim=1), tolerance)
            if fault:
                fault = f"decoding {size} token{'s' * (size > 1)} at a time, {fault}"
                break
    promise = "decoding in pieces gives the logits of one full pass"
    cause = "positions that start from 0 at every step, or a causal mask aligned top-left (torch's is_causal=True)"
    return verdict("cache = full pass", fault, promise, cause)


def layers_are_distinct(layers: Iterable[nn.Module]) -> Verdict:
    """The layers of a stack are different layers: they share no weights, and do not begin as copies.

    Weights that are all the same number (a fresh bias, a fresh norm) do not count. First stated in chapter 7.

    Args:
        layers: the layers of a stack, before training; at least two of one kind.

    Raises:
        ValueError: if there are fewer than two layers, or no two of them have weights that could be compared.
    """
    layers = list(layers) if isinstance(layers, Iterable) and not isinstance(layers, nn.ModuleDict) else [layers]
    if not all(isinstance(layer, nn.Module) for layer in layers) or len(layers) < 2:
        kinds = ", ".join(type(layer).__name__ for layer in layers)
        raise ValueError(
            f"layers must hold at least two layers with weights, got {len(layers)} ({kinds}); hand in a list"
        )
    stack = [{n: p for n, p in layer.named_parameters() if p.numel() > 1} for layer in layers]
    if len(stack) < 2 or not any(stack):
        raise ValueError(f"layers must hold at least two layers with weights, got {len(stack)}")
    kinds = [{(n, p.shape) for n, p in layer.items()} for layer in stack]
    if not any(a & b for i, a in enumerate(kinds) for b in kinds[:i]):
        raise ValueError(
            "layers must hold at least two layers of one kind, got none that have the same weights to compare"
        )
    fault = None
    for j, later in enumerate(stack):
        for i, earlier in enumerate(stack[:j]):
            for name in [name for name in earlier if name in later]:
                a, b = earlier[name].detach(), later[name].detach()
                if earlier[name] is later[name]:
                    fault = fault or f"layers {i} and {j} share {name}"
                elif a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b) and (a != a.flatten()[0]).any():
                    fault = fault or f"layers {i} and {j} begin with the same {name}"
    promise = "no two layers share weights or begin with the same ones"
    cause = "one layer put in the list several times, or copies of one layer (copy.deepcopy)"
    return verdict("distinctness of layers", fault, promise, cause)


def untrained_loss(logits: Tensor, targets: Tensor | None = None) -> Verdict:
    """A model that has learned nothing is as surprised as if all tokens were equally likely: by ln(vocab), within 5 %.

    First stated in chapter 6.

    Args:
        logits: of an untrained model, `(..., vocab)`, before any softmax.
        targets: the tokens that came next, `(...)`; without them every token is taken as target once.

    Raises:
        ValueError: if the vocabulary has fewer than 2 tokens, or the targets do not fit.
    """
    check_tensor("logits", logits, "(..., vocab)", 1, numbers=True)
    if targets is not None:
        check_tensor("targets", targets, "(...), as the logits before their last axis", 0)
    vocab = logits.size(-1)
    if vocab < 2 or (targets is not None and targets.shape != logits.shape[:-1]):
        shape = None if targets is None else tuple(targets.shape)
        raise ValueError(
            f"logits must have shape (..., vocab) and targets (...), got {tuple(logits.shape)} and {shape}"
        )
    if not logits.numel():
        raise ValueError(f"logits must hold numbers, got shape {tuple(logits.shape)}")
    if targets is not None and (targets.is_floating_point() or targets.min() < 0 or targets.max() >= vocab):
        raise ValueError(f"targets must be ids from 0 to {vocab - 1}, got {described(targets)}; leave out ignored ones")
    if (logits >= 0).all() and ((logits.double().sum(-1) - 1).abs() <= 1e-3).all():
        raise ValueError("logits must come before any softmax, got rows that sum to one; such a loss is always near it")
    surprise = -logits.detach().double().log_softmax(dim=-1)
    if targets is not None:
        surprise = surprise.gather(-1, targets.unsqueeze(-1).long())
    loss, wanted = surprise.mean().item(), math.log(vocab)
    fault = None if abs(loss - wanted) <= 0.05 * wanted else f"the loss is {loss:.3g}, ln({vocab}) is {wanted:.3g}"
    promise = f"the loss is {loss:.2f}, ln({vocab}) is {wanted:.2f}"
    cause = "weights that start too large, such as an embedding with standard deviation 1 tied to the output"
    return verdict("uncertainty at the start", fault, promise, cause)
