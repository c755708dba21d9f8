"""Half a Transformer: equal to torch's and to the modern model, one law each, files, the loss, and sampling."""

import pytest
import torch
import torch.nn.functional as F
from helpers import close, differ, in_float64, redraw
from torch import nn

from transformer_lib import TokenBatches, Trainer, TransformerConfig, causal_mask, interop, padding_mask
from transformer_lib.modern import DecoderConfig, DecoderModel, add_lora
from transformer_lib.modern.families import LanguageModel, MaskedModel, sample_text

VOCAB, LEN = 17, 7


def config(**changes) -> TransformerConfig:
    sizes = dict(src_vocab_size=VOCAB, tgt_vocab_size=VOCAB, d_model=12, n_heads=3, n_encoder_layers=2, d_ff=20)
    return TransformerConfig(**{**sizes, "max_len": 13, "dropout": 0.0, "norm_first": True, **changes})


def model(kind=LanguageModel, **changes):
    return redraw(kind(config(**changes))).eval()


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(3, VOCAB, shape or (5, LEN))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("kind", [LanguageModel, MaskedModel])
@in_float64()
def test_equal_to_torch(kind, norm_first):
    layer = nn.TransformerEncoderLayer(12, 3, 20, dropout=0.0, batch_first=True, norm_first=norm_first)
    theirs = redraw(
        nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(12) if norm_first else None, enable_nested_tensor=False)
    ).eval()
    ours, rows = model(kind, norm_first=norm_first), ids()
    rows[1, 4:] = 0
    ours.encoder = interop.from_torch(theirs).eval()
    x = ours.positions(ours.embedding(rows))
    if kind is LanguageModel:
        hidden = theirs(x, mask=~causal_mask(LEN), is_causal=True)
    else:
        hidden = theirs(x, src_key_padding_mask=~padding_mask(rows, 0)[:, 0, 0])
    real = rows != 0
    close(ours(rows)[real], ours.output(hidden)[real])


@in_float64()
def test_equal_to_the_modern_model_with_old_parts():
    ours, rows = model(), ids()
    old = DecoderConfig(
        vocab_size=VOCAB, d_model=12, n_heads=3, n_kv_heads=3, n_layers=2, d_ff=20, max_len=13, norm="layer",
        feed_forward="relu", positions="sinusoidal", bias=True, eps=1e-5,
    )  # fmt: skip
    modern = DecoderModel(old)
    nn.init.zeros_(ours.output.bias)
    names = {n.replace("encoder.", "").replace("_residual.norm", "_norm"): w for n, w in ours.state_dict().items()}
    names["embedding.weight"] = names["embedding.weight"] * 12**0.5
    found = modern.load_state_dict(names, strict=False)
    assert found.unexpected_keys == ["output.bias"] and not found.missing_keys
    close(modern(rows), ours(rows))


@in_float64()
def test_one_sees_the_past_the_other_all():
    rows = ids()
    changed = rows.clone()
    changed[:, 4] = (rows[:, 4] - 2) % 14 + 3
    causal, masked = model(), model(MaskedModel)
    assert torch.equal(causal(changed)[:, :4], causal(rows)[:, :4])
    assert differ(causal(changed)[:, 4:], causal(rows)[:, 4:])
    assert differ(masked(changed)[:, :4], masked(rows)[:, :4])
    padded = torch.cat([rows, torch.zeros(5, 2, dtype=torch.long)], dim=1)
    for one in (causal, masked):
        close(one(padded)[:, :LEN], one(rows))


def test_the_untrained_models_know_nothing_and_share_a_table_if_told():
    for kind in (LanguageModel, MaskedModel):
        torch.manual_seed(0)
        tied = kind(config(tie_embeddings=True, src_vocab_size=101, tgt_vocab_size=101, d_model=36))
        assert tied.output.weight is tied.embedding.weight
        rows = torch.randint(3, 101, (40, 12))
        total, number = tied.loss(rows, rows)
        assert number == rows.numel() - (40 if kind is LanguageModel else 0)
        if kind is LanguageModel:
            assert abs(total.item() / int(number) - torch.tensor(101.0).log().item()) < 0.25


@in_float64()
def test_the_losses_ask_what_they_should():
    rows = ids(3, 6)
    rows[1, 4:] = 0
    causal, masked = model(), model(MaskedModel)
    log_probs = causal(rows).log_softmax(-1)
    by_hand = -sum(log_probs[b, i, rows[b, i + 1]] for b in range(3) for i in range(5) if rows[b, i + 1] != 0)
    total, number = causal.loss(torch.zeros(3, 1), rows)
    close(total, by_hand)
    assert number == 13
    smooth, _ = causal.loss(rows, rows, 0.1)
    assert differ(smooth, total)
    targets = torch.zeros_like(rows)
    targets[0, 2], targets[2, 5] = 7, 4
    log_probs = masked(rows).log_softmax(-1)
    total, number = masked.loss(rows, targets)
    close(total, -log_probs[0, 2, 7] - log_probs[2, 5, 4])
    assert number == 2
    assert differ(masked.loss(rows, targets, 0.1)[0], total)


def test_a_trainer_trains_both(without_shape_checks):  # whose annotation says Transformer
    rows = [[1, *ids(5).tolist(), 2] for _ in range(30)]
    for kind, pairs in ((LanguageModel, [([1], row) for row in rows]), (MaskedModel, [(row, row) for row in rows])):
        torch.manual_seed(0)
        trainer = Trainer(kind(config()), TokenBatches(pairs, batch_tokens=60), rate=lambda step: 1e-2)
        history = trainer.fit(40, every=20)
        assert history[-1]["loss"] < history[0]["loss"]


def test_files(tmp_path):
    for kind in (LanguageModel, MaskedModel):
        saved, rows = model(kind, norm_first=False), ids()
        saved.save(tmp_path / "model.safetensors")
        loaded = kind.load(tmp_path / "model.safetensors")
        assert type(loaded) is kind and not loaded.training and loaded.config == saved.config
        assert torch.equal(loaded(rows), saved(rows))
        add_lora(saved, rank=2, alpha=2.0, names=["q_proj"])
        with pytest.raises(ValueError, match=r"differ in encoder.layers.0.self_attn.q_proj.bias, .*; merge adapters"):
            saved.save(tmp_path / "model.safetensors")
        assert torch.equal(kind.load(tmp_path / "model.safetensors")(rows), loaded(rows))
    with pytest.raises(FileNotFoundError):
        LanguageModel.load(tmp_path / "none.safetensors")
    from transformer_lib import Transformer

    Transformer(config(share_vocab=True)).save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors does not hold a LanguageModel: "):
        LanguageModel.load(tmp_path / "other.safetensors")


def test_bad_ids_are_told(without_shape_checks):
    with pytest.raises(ValueError, match="ids must"):
        model()(ids(5)[0])


def test_sampling_draws_by_probability_and_ends():
    one, start = model(), torch.full((4000, 1), 1)
    chance = torch.Generator().manual_seed(0)
    drawn = sample_text(one, start, max_new_tokens=1, temperature=1.5, generator=chance)[:, 0]
    logits = one(start[:1])[0, -1].detach() / 1.5
    logits[[0, 1]] = -torch.inf
    expected = logits.softmax(-1)
    assert (drawn.bincount(minlength=VOCAB) / 4000 - expected).abs().max() < 0.03
    few = sample_text(one, start, max_new_tokens=1, top_k=3, generator=chance)[:, 0].unique()
    assert set(few.tolist()) == set(expected.topk(3).indices.tolist())
    share = expected.sort(descending=True).values.cumsum(0)
    cut = sample_text(one, start, max_new_tokens=1, temperature=1.5, top_p=0.5, generator=chance)[:, 0].unique()
    assert len(cut) == int((share < 0.5).sum()) + 1
    long = sample_text(one, start[:50], max_new_tokens=12, generator=chance)
    assert not (long == 1).any() and (long == 2).any()
    for row in long.tolist():
        if 2 in row:
            assert not any(row[row.index(2) + 1 :])
    with torch.no_grad():
        one.output.bias[2] = 99.0
    assert sample_text(one.train(), start[:3], max_new_tokens=5).tolist() == [[2]] * 3
    assert one.training
    for wrong in ({"max_new_tokens": 0}, {"max_new_tokens": 1, "temperature": 0.0}):
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            sample_text(one, start, **wrong)


@in_float64()
def test_the_special_ids_are_those_of_the_config():
    special = {"pad_id": 5, "bos_id": 6, "eos_id": 7}
    rows = torch.randint(8, VOCAB, (3, 6))
    rows[1, 4:] = 5
    causal, masked = model(**special), model(MaskedModel, **special)
    close(masked(rows)[1, :4], masked(rows[1:2, :4])[0])
    assert [int(one.loss(rows, rows)[1]) for one in (causal, masked)] == [13, 16]
    with torch.no_grad():
        causal.output.bias[[5, 6, 7]] = torch.tensor([99.0, 99.0, 50.0])
    assert sample_text(causal, rows[:2, :3], max_new_tokens=3).tolist() == [[7]] * 2


def test_an_output_of_its_own_starts_small_and_has_the_one_vocabulary():
    torch.manual_seed(0)
    one = LanguageModel(config(src_vocab_size=101, tgt_vocab_size=40, d_model=36))
    assert one.output.weight.shape == (101, 36) and not one.output.bias.any()
    assert abs(6 * one.output.weight.std().item() - 0.4) < 0.03


def test_layers_activation_and_dropout_are_those_of_the_config():
    one = LanguageModel(config(n_decoder_layers=3, activation="gelu", dropout=0.3))
    assert len(one.encoder.layers) == 2
    assert {layer.feed_forward.activation for layer in one.encoder.layers} == {F.gelu}
    assert [part.p for part in one.modules() if isinstance(part, nn.Dropout)] == [0.3] * 7  # positions, 3 in each layer
