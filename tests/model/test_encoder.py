"""The encoder: layer by layer what torch's is."""

import contracts
import pytest
from helpers import SRC_LEN, TGT_LEN, close, in_float64, ragged, torch_transformer, vectors

from transformer_lib import Decoder, Encoder, causal_mask, laws
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


@in_float64()
def test_pre_norm_stacks_equal_nn_transformer() -> None:
    theirs = torch_transformer(norm_first=True)
    encoder, decoder = from_torch(theirs)
    tgt, src = vectors(TGT_LEN, SRC_LEN)
    pad, late = ragged()[:, None, None, :], ~ragged()
    masks = dict(tgt_mask=~causal_mask(TGT_LEN), src_key_padding_mask=late, memory_key_padding_mask=late)
    close(decoder(tgt, encoder(src, pad), causal_mask(TGT_LEN), pad), theirs(src, tgt, **masks))


@pytest.mark.parametrize("make", [lambda: Encoder(3, 8, 2, 5), lambda: Decoder(3, 8, 2, 5)])
def test_layers_do_not_start_alike(make) -> None:
    laws.layers_are_distinct(make().layers).require()
