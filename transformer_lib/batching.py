"""Batches: sentences of similar length side by side, padded to the longest, about equally many tokens in each."""

import operator
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from transformer_lib._checks import check_count, check_ids, check_positive


class Batch(NamedTuple):
    """Padded ids of a few sentence pairs; `tgt_ids` begins with BOS and ends with EOS."""

    src_ids: Int[Tensor, "batch src_len"]
    tgt_ids: Int[Tensor, "batch tgt_len"]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return Batch(self.src_ids.to(device), self.tgt_ids.to(device))


def pad_sequences(sequences: Sequence[Sequence[int]], pad_id: int = 0) -> Int[Tensor, "batch seq"]:
    """Write sequences of different lengths as the rows of one tensor, `pad_id` behind the short ones.

    Raises:
        ValueError: if there is no sequence, one is empty or holds only padding, or a token is no id.
    """
    check_count(pad_id=pad_id)
    rows = whole_numbers(sequences)
    if not rows:
        raise ValueError("pad_sequences needs at least one sequence, got none")
    for i, row in enumerate(rows):
        if all(token == pad_id for token in row):
            raise ValueError(f"sequence {i} holds no token but padding; drop it or keep at least one token")
    length = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (length - len(row))] for row in rows])


def whole_numbers(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the sequences (lists, tensors, arrays) as lists of ids.

    Raises:
        ValueError: if they are not sequences of whole numbers from 0.
    """
    try:
        rows = [[operator.index(token) for token in sequence] for sequence in sequences]
    except TypeError as error:
        raise ValueError(f"sequences must be a list of lists of token ids, whole numbers; {error}") from None
    for i, row in enumerate(rows):
        if row and not 0 <= min(row) <= max(row) < 2**31:
            raise ValueError(f"sequence {i} holds {min(row)} to {max(row)}; token ids are whole numbers from 0")
    return rows


def check_pairs(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> None:
    """Require a list of at least one pair `(source ids, target ids)`, the targets with BOS and EOS."""
    if not isinstance(pairs, Sequence) or len(pairs) == 0:
        kind = "none" if isinstance(pairs, Sequence) else f"{type(pairs).__name__}; make a list of it"
        raise ValueError(f"pairs must hold at least one sentence pair, got {kind}")
    for i, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(hasattr(ids, "__len__") for ids in pair):
            raise ValueError(f"pair {i} must be (source ids, target ids), got {pair!r:.60}")
        if len(pair[1]) < 2:
            raise ValueError(f"the target of pair {i} must hold BOS and at least one token more, got {pair[1]!r:.60}")


def check_rows(name: str, rows: Tensor, pairs: int) -> None:
    """Require the numbers of pairs, one after the other, on the CPU as the pairs are."""
    check_ids(name, rows, pairs)
    if rows.dim() != 1 or rows.device.type != "cpu":
        raise ValueError(f"{name} must be one row on the CPU, got shape {tuple(rows.shape)} on {rows.device}")


class TokenBatches:
    """The training pairs, dealt out anew in every epoch.

    An epoch shuffles the pairs, sorts them by length (so that a batch needs little padding), cuts
    the row into batches of at most `batch_tokens` target tokens, padding included, and shuffles the
    batches. The order depends on `seed` and the number of the epoch alone, so that a training that
    was interrupted can go on at the same place.

    Args:
        pairs: source ids and target ids (with BOS and EOS) of each sentence pair.
        batch_tokens: target tokens in a batch, BOS not counted.
        pad_id: id of the padding token.
        seed: decides the order.

    Raises:
        ValueError: if there are no pairs, one is empty, or one alone is longer than `batch_tokens`.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
        *,
        batch_tokens: int = 1024,
        pad_id: int = 0,
        seed: int = 0,
    ) -> None:
        check_positive(batch_tokens=batch_tokens)
        check_count(pad_id=pad_id, seed=seed)
        check_pairs(pairs)
        pad_sequences([tgt[1:] for _, tgt in pairs], pad_id)  # a target needs a token that can be learnt
        self.pad_id = pad_id
        self.seed = seed
        self.batch_tokens = batch_tokens
        self.src_ids = pad_sequences([src for src, _ in pairs], pad_id)  # (pairs, longest source)
        self.tgt_ids = pad_sequences([tgt for _, tgt in pairs], pad_id)  # (pairs, longest target)
        self.src_lengths = torch.tensor([len(src) for src, _ in pairs])
        self.tgt_lengths = torch.tensor([len(tgt) for _, tgt in pairs])
        longest = int(self.tgt_lengths.max()) - 1
        if longest > batch_tokens:
            raise ValueError(f"batch_tokens ({batch_tokens}) must hold the longest target, which has {longest} tokens")

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.src_ids)

    def cut(self, order: Tensor) -> list[Tensor]:
        """Cut a row of pair numbers into batches that fit, keeping the order."""
        check_rows("order", order, len(self))
        batches: list[list[int]] = []
        longest = 0
        for i, length in zip(order.tolist(), (self.tgt_lengths[order] - 1).tolist(), strict=True):
            longest = max(longest, length)
            if not batches or (len(batches[-1]) + 1) * longest > self.batch_tokens:
                batches.append([])
                longest = length
            batches[-1].append(i)
        return [torch.tensor(batch) for batch in batches]

    def take(self, rows: Tensor) -> Batch:
        """Return the pairs `rows` as one batch, no wider than its longest pair."""
        check_rows("rows", rows, len(self))
        check_positive(rows=len(rows))
        src_len, tgt_len = int(self.src_lengths[rows].max()), int(self.tgt_lengths[rows].max())
        return Batch(self.src_ids[rows, :src_len], self.tgt_ids[rows, :tgt_len])

    def epoch(self, epoch: int) -> list[Tensor]:
        """Return the batches of an epoch as lists of pair numbers, to be handed to `take`."""
        check_count(epoch=epoch)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self), generator=generator)
        keys = self.tgt_lengths[order] * (int(self.src_lengths.max()) + 1) + self.src_lengths[order]
        batches = self.cut(order[keys.argsort(stable=True)])
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def in_order(self) -> list[Tensor]:
        """Return batches that go through the pairs once, as they stand: for evaluation."""
        return self.cut(torch.arange(len(self)))
