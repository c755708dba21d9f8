"""The target may begin with the padding token (Marian, T5): nothing may take that first token for padding."""

import pytest
import torch
from helpers import in_float64, source_ids, tiny_config, tiny_model

import transformer_lib as lib
from transformer_lib import greedy_decode, laws

BOS_IS_PAD = dict(pad_id=0, bos_id=0, eos_id=2)


def twins() -> tuple:
    """A model whose target begins with token 1, and the same model whose target begins with the padding token 0."""
    apart = tiny_model()
    same = tiny_model(**BOS_IS_PAD)
    same.load_state_dict(apart.state_dict())
    with torch.no_grad():
        for model in (apart, same):
            model.tgt_embedding.weight[0] = model.tgt_embedding.weight[1]
            model.output.bias[1] = -50.0  # neither chooses 1
    return apart, same


@in_float64()
@pytest.mark.parametrize("use_cache", [True, False])
def test_bos_equal_to_padding_decodes_the_same(use_cache: bool) -> None:
    apart, same = twins()
    src = source_ids(apart.config)
    expected = greedy_decode(apart, src, max_new_tokens=11)
    assert torch.equal(greedy_decode(same, src, max_new_tokens=11, use_cache=use_cache), expected)
    laws.answer_is_greedy(same, src, expected).require()
    laws.cache_equals_full(same, src, torch.cat([torch.zeros_like(src[:, :1]), expected], dim=1)).require()
    sources = [[token for token in row if token != 0] for row in src.tolist()]
    answers = lib.translate_ids(same, sources, max_new_tokens=11, batch_size=2, use_cache=use_cache)
    assert answers == [[token for token in row if token != 0] for row in expected.tolist()]
    pairs = [(source, [0, *answer]) for source, answer in zip(sources, answers, strict=True)]
    assert lib.exact_match(same, pairs, use_cache=use_cache) == 1.0


def test_bos_equal_to_padding_trains() -> None:
    pairs = [([5, 6, 7], [0, 8, 9, 2]), ([5, 3], [0, 4, 2]), ([9], [0, 2])]
    batches = lib.TokenBatches(pairs, pad_id=0)
    assert batches.take(torch.arange(3)).tgt_ids.tolist() == [[0, 8, 9, 2], [0, 4, 2, 0], [0, 2, 0, 0]]
    model = lib.Transformer(tiny_config(**BOS_IS_PAD, n_encoder_layers=1, n_decoder_layers=1))
    lib.Trainer(model, batches, rate=lambda step: 2e-2).fit(40, show=False)
    assert lib.exact_match(model, pairs) == 1.0
