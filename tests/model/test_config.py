"""The configuration: what a model can be made of is said once, here, by name."""

import re

import pytest
from helpers import tiny_config

from transformer_lib import TransformerConfig

pytestmark = pytest.mark.usefixtures("without_shape_checks")  # whose annotations would say it first

CONFIG = [
    ({"src_vocab_size": 0}, "src_vocab_size must be a whole number of at least 1, got 0"),
    ({"tgt_vocab_size": -1}, "tgt_vocab_size must be a whole number of at least 1, got -1"),
    ({"d_model": 30, "n_heads": 4}, "d_model (30) must be divisible by n_heads (4)"),
    ({"d_model": 9, "n_heads": 3}, "sinusoidal encoding needs an even d_model, got 9"),
    ({"d_model": 8.0}, "d_model must be a whole number of at least 1, got 8.0"),
    ({"n_heads": True}, "n_heads must be a whole number of at least 1, got True"),
    ({"n_encoder_layers": 0}, "n_encoder_layers must be a whole number of at least 1, got 0"),
    ({"n_decoder_layers": 0}, "n_decoder_layers must be a whole number of at least 1, got 0"),
    ({"d_ff": 0}, "d_ff must be a whole number of at least 1, got 0"),
    ({"max_len": 0}, "max_len must be a whole number of at least 1, got 0"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ({"dropout": "high"}, "dropout must be at least 0 and below 1, got 'high'"),
    ({"activation": "tanh"}, "activation must be one of relu, gelu, gelu_tanh, silu, got 'tanh'"),
    ({"norm_first": "no"}, "norm_first must be True or False, got 'no'"),
    ({"tie_embeddings": 1}, "tie_embeddings must be True or False, got 1"),
    ({"share_vocab": True}, "share_vocab needs src_vocab_size == tgt_vocab_size, got 41 and 37"),
    ({"pad_id": 37}, "pad_id (37) is outside the target vocabulary of 37 tokens"),
    ({"bos_id": -1}, "bos_id must be a whole number of at least 0, got -1"),
    ({"eos_id": 2.5}, "eos_id must be a whole number of at least 0, got 2.5"),
    ({"pad_id": 30, "src_vocab_size": 30}, "pad_id (30) is outside the source vocabulary of 30 tokens"),
    ({"eos_id": 1}, "eos_id must differ from pad_id and bos_id, got {'pad_id': 0, 'bos_id': 1, 'eos_id': 1}"),
    ({"eos_id": 0}, "eos_id must differ from pad_id and bos_id, got {'pad_id': 0, 'bos_id': 1, 'eos_id': 0}"),
]


@pytest.mark.parametrize(("changes", "message"), CONFIG, ids=range(len(CONFIG)))
def test_a_value_that_does_not_fit_is_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        tiny_config(**changes)


def test_it_has_no_positional_arguments_and_no_setters() -> None:
    with pytest.raises(TypeError):
        TransformerConfig(10, 10)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        tiny_config().d_model = 3  # type: ignore[misc]
