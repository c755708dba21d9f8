"""The encoder: layer by layer what torch's is."""

import contracts
import pytest
from helpers import SRC_LEN, TGT_LEN, close, in_float64, ragged, redraw, torch_layer_options, vectors
from torch import nn

from transformer_lib import causal_mask
from transformer_lib.interop import from_torch

both_norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post", "pre"])
activations = pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])


@both_norms
@activations
def test_a_layer_equals_torchs(norm_first: bool, activation: str) -> None:
    contracts.check_encoder_layer(norm_first=norm_first, activation=activation)


@both_norms
@activations
def test_the_stacks_of_encoder_and_decoder_equal_torchs(norm_first: bool, activation: str) -> None:
    contracts.check_stacks(norm_first, activation)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@in_float64()
def test_pre_norm_stacks_equal_nn_transformer() -> None:
    options = torch_layer_options(norm_first=True, activation="gelu")
    theirs = redraw(nn.Transformer(**options, num_encoder_layers=2, num_decoder_layers=3))
    encoder, decoder = from_torch(theirs)
    tgt, src = vectors(TGT_LEN, SRC_LEN)
    pad, late = ragged()[:, None, None, :], ~ragged()
    masks = dict(tgt_mask=~causal_mask(TGT_LEN), src_key_padding_mask=late, memory_key_padding_mask=late)
    close(decoder(tgt, encoder(src, pad), causal_mask(TGT_LEN), pad), theirs(src, tgt, **masks))
