"""Batches: sentences of similar length side by side, padded to the longest, about equally many tokens in each."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from transformer_lib._checks import check_positive


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
        ValueError: if there is no sequence, or one is empty or holds only padding.
    """
    if len(sequences) == 0:
        raise ValueError("pad_sequences needs at least one sequence, got none")
    for i, sequence in enumerate(sequences):
        if all(token == pad_id for token in sequence):
            raise ValueError(f"sequence {i} holds no token but padding; drop it or keep at least one token")
    length = max(map(len, sequences))
    return torch.tensor([[*sequence, *[pad_id] * (length - len(sequence))] for sequence in sequences])


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
        if len(pairs) == 0:
            raise ValueError("pairs must hold at least one sentence pair, got none")
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
        src_len, tgt_len = int(self.src_lengths[rows].max()), int(self.tgt_lengths[rows].max())
        return Batch(self.src_ids[rows, :src_len], self.tgt_ids[rows, :tgt_len])

    def epoch(self, epoch: int) -> list[Tensor]:
        """Return the batches of an epoch as lists of pair numbers, to be handed to `take`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self), generator=generator)
        keys = self.tgt_lengths[order] * (int(self.src_lengths.max()) + 1) + self.src_lengths[order]
        batches = self.cut(order[keys.argsort(stable=True)])
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]

    def in_order(self) -> list[Tensor]:
        """Return batches that go through the pairs once, as they stand: for evaluation."""
        return self.cut(torch.arange(len(self)))
