"""Masks: who may look at whom, entry by entry, and the way round that torch's own shortcut goes."""

import contracts
import pytest
import torch

from transformer_lib import causal_mask, padding_mask


def test_every_entry_is_that_of_the_definition() -> None:
    contracts.check_masks()


def test_masks_are_made_where_they_are_used() -> None:
    assert causal_mask(3, device="meta").device.type == "meta"
    ids = torch.zeros(2, 3, dtype=torch.int64, device="meta")
    assert padding_mask(ids, 0).device.type == "meta"


def test_a_query_needs_its_own_position_among_the_keys() -> None:
    with pytest.raises(ValueError, match="causal mask needs 0 <= q_len <= kv_len, got q_len=3 and kv_len=2"):
        causal_mask(3, 2)
