"""The parts around attention: norm, residual connection, feed-forward, embedding."""

import contracts
import pytest
import torch

from transformer_lib import LayerNorm, layer_norm


@pytest.mark.parametrize("part", ["layer_norm", "residual", "feed_forward", "embedding"])
def test_it_is_torchs_or_the_papers(part: str) -> None:
    getattr(contracts, f"check_{part}")()


@pytest.mark.usefixtures("without_shape_checks")
def test_a_width_that_the_formula_would_broadcast_is_refused() -> None:
    x, wide = torch.randn(2, 5, 8), torch.ones(300)
    message = r"x of shape \(2, 5, 8\) needs weight and bias of shape \(d_model,\), got"
    for weight, bias in ((1, 1), (8, 1), (9, 8), (8, 9)):
        with pytest.raises(ValueError, match=message):
            layer_norm(x, torch.ones(weight), torch.ones(bias))
    assert LayerNorm(300)(wide).shape == layer_norm(wide, wide, wide).shape == (300,)
