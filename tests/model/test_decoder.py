"""The decoder: layer by layer what torch's is (its stack: see test_encoder.py), and its gradients."""

import contracts
import pytest
import torch
from helpers import in_float64, redraw

from transformer_lib import Decoder, DecoderCache, DecoderLayer, causal_mask


@pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_a_layer_equals_torchs(norm_first: bool, activation: str) -> None:
    contracts.check_decoder_layer(norm_first=norm_first, activation=activation)


@in_float64()
def test_gradients_are_those_of_the_function() -> None:
    x, memory = (torch.randn(1, n, 4, requires_grad=True) for n in (3, 2))
    layer = redraw(DecoderLayer(4, 2, 5, 0.0, norm_first=True))
    assert torch.autograd.gradcheck(lambda x, memory: layer(x, memory, causal_mask(3)), (x, memory))


def test_a_cache_of_another_depth_is_refused() -> None:
    x = torch.randn(2, 1, 8)
    with pytest.raises(ValueError, match="zip"):
        Decoder(3, 8, 2, 5)(x, x, cache=DecoderCache(2, 9))
