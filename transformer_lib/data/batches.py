"""Batches: sentences of similar length side by side, padded to the longest, about equally many tokens in each."""

import operator
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor


class Batch(NamedTuple):
    """Padded ids of a few sentence pairs; `tgt_ids` begins with BOS and ends with EOS."""

    src_ids: Int[Tensor, "batch src_len"]
    tgt_ids: Int[Tensor, "batch tgt_len"]

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on another device."""
        return Batch(self.src_ids.to(device), self.tgt_ids.to(device))


class Ragged:
    """Token ids in lists (or tensors, arrays), laid end to end: a long one among short ones costs no padding."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        rows = [list(map(operator.index, sequence)) for sequence in sequences]
        self.lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        if (self.lengths == 0).any():
            raise ValueError(f"sequence {self.lengths.tolist().index(0)} is empty; drop it or keep at least one token")
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.ids = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.int64)

    def padded(self, rows: Int[Tensor, " batch"], pad_id: int) -> Int[Tensor, "batch seq"]:
        """Return some of the sequences as the rows of one tensor, no wider than the longest of them."""
        lengths = self.lengths[rows].unsqueeze(1)  # (batch, 1)
        place = torch.arange(int(lengths.max()))  # (seq,)
        found = (self.starts[rows].unsqueeze(1) + place).clamp(max=len(self.ids) - 1)  # (batch, seq)
        return self.ids[found].masked_fill(place >= lengths, pad_id)


def pad_sequences(sequences: Sequence[Sequence[int]], pad_id: int = 0) -> Int[Tensor, "batch seq"]:
    """Write sequences of different lengths as the rows of one tensor, `pad_id` behind the short ones.

    Raises:
        ValueError: if there is no sequence, or one is empty.
    """
    if len(sequences) == 0:
        raise ValueError("pad_sequences needs at least one sequence, got none")
    return Ragged(sequences).padded(torch.arange(len(sequences)), pad_id)


class TokenBatches:
    """The training pairs, dealt out anew in every epoch.

    An epoch shuffles the pairs, sorts them by length (so that a batch needs little padding), cuts the row into batches
    of at most `batch_tokens` target tokens, padding included, and shuffles the batches. The order depends on `seed` and
    the number of the epoch alone, so that a training that was interrupted can go on at the same place.

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
        if len(pairs) == 0:
            raise ValueError("pairs must hold at least one sentence pair, got none")
        self.batch_tokens, self.pad_id, self.seed = batch_tokens, pad_id, seed
        self.sources, self.targets = Ragged([src for src, _ in pairs]), Ragged([tgt for _, tgt in pairs])
        longest = int(self.targets.lengths.max()) - 1
        if longest > batch_tokens:
            raise ValueError(f"batch_tokens ({batch_tokens}) must hold the longest target, which has {longest} tokens")

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.sources.lengths)

    def cut(self, order: Int[Tensor, " pairs"]) -> list[Tensor]:
        """Cut a row of pair numbers into batches that fit, keeping the order."""
        batches: list[list[int]] = []
        longest = 0
        for i, length in zip(order.tolist(), (self.targets.lengths[order] - 1).tolist(), strict=True):
            longest = max(longest, length)
            if not batches or (len(batches[-1]) + 1) * longest > self.batch_tokens:
                batches.append([])
                longest = length
            batches[-1].append(i)
        return [torch.tensor(batch) for batch in batches]

    def take(self, rows: Int[Tensor, " batch"]) -> Batch:
        """Return the pairs `rows` as one batch, no wider than its longest pair."""
        return Batch(self.sources.padded(rows, self.pad_id), self.targets.padded(rows, self.pad_id))

    def epoch(self, epoch: int) -> list[Tensor]:
        """Return the batches of an epoch as lists of pair numbers, to be handed to `take`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self), generator=generator)
        keys = self.targets.lengths[order] * (int(self.sources.lengths.max()) + 1) + self.sources.lengths[order]
        batches = self.cut(order[keys.argsort(stable=True)])
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def in_order(self) -> list[Tensor]:
        """Return batches that go through the pairs once, as they stand: for evaluation."""
        return self.cut(torch.arange(len(self)))
