"""The parts around attention: norm, residual connection, feed-forward, embedding."""

import contracts
import pytest
import torch

from transformer_lib import LayerNorm, layer_norm


def test_layer_norm_equals_torchs() -> None:
    contracts.check_layer_norm()


def test_the_residual_connection_is_the_papers_or_pre_norm() -> None:
    contracts.check_residual()


def test_feed_forward_equals_torchs_linear_maps() -> None:
    contracts.check_feed_forward()


def test_the_embedding_is_torchs_times_the_square_root_of_the_width() -> None:
    contracts.check_embedding()


@pytest.mark.usefixtures("without_shape_checks")
def test_a_width_that_the_formula_would_broadcast_is_refused() -> None:
    x, wide = torch.randn(2, 5, 8), torch.ones(300)
    message = r"x of shape \(2, 5, 8\) needs weight and bias of shape \(d_model,\), got"
    for weight, bias in ((1, 1), (8, 1), (9, 8)):
        with pytest.raises(ValueError, match=message):
            layer_norm(x, torch.ones(weight), torch.ones(bias))
    assert LayerNorm(300)(wide).shape == layer_norm(wide, wide, wide).shape == (300,)
