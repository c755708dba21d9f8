"""Positions: the paper's table, which is no weight and is there wherever the module has memory."""

import contracts
import pytest
import torch
from helpers import close, in_float64, tiny_case, tiny_config, tiny_model

from transformer_lib import PositionalEncoding, Transformer, sinusoidal_encoding


def test_the_table_is_the_papers_formula_and_is_added_from_the_offset_on() -> None:
    contracts.check_sinusoids()


# A model made without memory: the table cannot come with the weights, so it must come by itself


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_memory_that_is_new_holds_the_table(dtype: torch.dtype) -> None:
    with torch.device("meta"):
        places = PositionalEncoding(8, 64).to(dtype)
    assert places.encoding.is_meta
    places.to_empty(device="cpu")
    assert torch.equal(places.encoding, sinusoidal_encoding(64, 8).to(dtype))
    moved = places.to("meta")
    assert moved is places and moved.encoding.is_meta


@in_float64()
@pytest.mark.parametrize("assign", [False, True])
def test_a_model_made_without_memory_computes_the_same(assign: bool) -> None:
    model, src, tgt = tiny_case()
    with torch.device("meta"):
        other = Transformer(tiny_config()).eval()
    if not assign:
        other.to_empty(device="cpu")
    other.load_state_dict(model.state_dict(), assign=assign)
    close(other(src, tgt), model(src, tgt))


def test_loading_leaves_a_table_that_is_there_alone() -> None:
    model = tiny_model()
    before = model.positions.encoding
    model.load_state_dict(tiny_model().state_dict(), assign=True)
    assert model.positions.encoding is before
