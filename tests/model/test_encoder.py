"""The encoder: layer by layer what torch's is."""

import contracts
import pytest

from transformer_lib import Decoder, Encoder, laws

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


@pytest.mark.parametrize("make", [lambda: Encoder(3, 8, 2, 5), lambda: Decoder(3, 8, 2, 5)])
def test_layers_do_not_start_alike(make) -> None:
    laws.layers_are_distinct(make().layers).require()
