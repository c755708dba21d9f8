"""Models of Hugging Face, converted: the same logits and hidden states in float64, from memory and from files.

Random weights redrawn with standard deviation 0.2, tiny sizes, nothing downloaded. All tests that import
`transformers` are in this file, since the import alone takes many seconds.
"""

import json
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import BATCH, SRC_LEN, TGT_LEN, close, in_float64, ragged, redraw
from torch import Tensor, nn

from transformer_lib import Transformer, causal_mask, greedy_decode, laws, sinusoidal_encoding
from transformer_lib.interop import from_bart, from_bert, from_gpt2, from_marian, marian

pytestmark = pytest.mark.hf

VOCAB, TGT_VOCAB, D_MODEL, HEADS, D_FF, PLACES = 41, 43, 22, 2, 29, 17
MARIAN_PAD = 40


@pytest.fixture(scope="module")
def hf():
    """The `transformers` library, offline and without progress bars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        import transformers

        transformers.utils.logging.disable_progress_bar()
        yield transformers


# Tiny models with redrawn weights, in float64


def finish(theirs: nn.Module) -> nn.Module:
    """Redraw all weights; tables of sinusoids stay what they were."""
    tables = {name: p.clone() for name, p in theirs.named_parameters() if not p.requires_grad}
    redraw(theirs)
    with torch.no_grad():
        for name, table in tables.items():
            theirs.get_parameter(name).copy_(table)
        if hasattr(theirs, "final_logits_bias"):
            theirs.final_logits_bias.normal_()
    return theirs.eval()


def seq2seq_sizes(**changes) -> dict:
    layers = dict(encoder_layers=2, decoder_layers=3, encoder_ffn_dim=D_FF, decoder_ffn_dim=D_FF)
    heads = dict(encoder_attention_heads=HEADS, decoder_attention_heads=HEADS)
    sizes = dict(vocab_size=VOCAB, d_model=D_MODEL, max_position_embeddings=PLACES, forced_eos_token_id=None)
    return {**sizes, **layers, **heads, **changes}


def new_marian(hf, share: bool = True, tie: bool = True, **changes) -> nn.Module:
    sizes = seq2seq_sizes(
        pad_token_id=MARIAN_PAD, decoder_start_token_id=MARIAN_PAD, eos_token_id=0, scale_embedding=True
    )
    words = {} if share else {"decoder_vocab_size": TGT_VOCAB}
    ties = dict(share_encoder_decoder_embeddings=share, tie_word_embeddings=tie)
    theirs = finish(hf.MarianMTModel(hf.MarianConfig(**{**sizes, **words, **ties, **changes})))
    if share and not tie:  # the reference library shares nothing then, whatever it is told
        with torch.no_grad():
            for side in (theirs.model.encoder, theirs.model.decoder):
                side.embed_tokens.weight.copy_(theirs.model.shared.weight)
    return theirs


def new_gpt2(hf, kind: str = "GPT2LMHeadModel", **changes) -> nn.Module:
    sizes = dict(vocab_size=VOCAB, n_embd=D_MODEL, n_head=HEADS, n_layer=3, n_positions=PLACES, n_inner=D_FF)
    return finish(getattr(hf, kind)(hf.GPT2Config(**{**sizes, "bos_token_id": 0, "eos_token_id": 0, **changes})))


def new_bert(hf, kind: str = "BertForMaskedLM", **changes) -> nn.Module:
    sizes = dict(vocab_size=VOCAB, hidden_size=D_MODEL, num_attention_heads=HEADS, num_hidden_layers=3)
    more = dict(intermediate_size=D_FF, max_position_embeddings=PLACES)
    return finish(getattr(hf, kind)(hf.BertConfig(**{**sizes, **more, **changes})))


def new_bart(hf, kind: str = "BartForConditionalGeneration", **changes) -> nn.Module:
    sizes = seq2seq_sizes(decoder_ffn_dim=D_FF + 2, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)
    return finish(getattr(hf, kind)(hf.BartConfig(**{**sizes, **changes})))


# What equality means, for each of them


def random_ids(seq: int, pad_id: int = MARIAN_PAD) -> Tensor:
    """Ragged ids that are neither padding nor EOS in any of the models, then padding."""
    ids = torch.randint(3, MARIAN_PAD, (BATCH, seq))
    return ids.masked_fill(~ragged(seq), pad_id)


def marian_logits(theirs: nn.Module, src: Tensor, tgt: Tensor) -> Tensor:
    """The logits of the reference library; padding of the target is not masked, as it comes last."""
    mask = (src != MARIAN_PAD).long()
    return theirs(src, mask, tgt, decoder_attention_mask=torch.ones_like(tgt)).logits


@torch.no_grad()
def check_marian(theirs: nn.Module, ours: Transformer) -> None:
    src, tgt = random_ids(SRC_LEN), random_ids(TGT_LEN)
    tgt[:, 0] = MARIAN_PAD
    close(ours(src, tgt), marian_logits(theirs, src, tgt))


@torch.no_grad()
def check_gpt2(theirs: nn.Module, ours: nn.Module) -> None:
    ids, body = torch.randint(0, VOCAB, (BATCH, SRC_LEN)), getattr(theirs, "transformer", theirs)
    hidden = ours(body.wte(ids) + body.wpe.weight[:SRC_LEN], causal_mask(SRC_LEN))
    close(hidden, body(ids).last_hidden_state)
    if hasattr(theirs, "lm_head"):
        close(theirs.lm_head(hidden), theirs(ids).logits)


@torch.no_grad()
def check_bert(theirs: nn.Module, ours: nn.Module) -> None:
    ids, body = random_ids(SRC_LEN, pad_id=0), getattr(theirs, "bert", theirs)
    expected = body(ids, attention_mask=(ids != 0).long()).last_hidden_state
    close(ours(body.embeddings(ids), (ids != 0)[:, None, None, :]), expected)


@torch.no_grad()
def check_bart(theirs: nn.Module, ours: tuple[nn.Module, nn.Module]) -> None:
    src, tgt, body = random_ids(SRC_LEN, pad_id=1), random_ids(TGT_LEN, pad_id=1), getattr(theirs, "model", theirs)
    seen: dict[str, Tensor] = {}
    hooks = [
        getattr(body, side).layers[0].register_forward_pre_hook(lambda _, args, side=side: seen.update({side: args[0]}))
        for side in ("encoder", "decoder")
    ]
    real = src != 1
    expected = body(src, real.long(), tgt, decoder_attention_mask=torch.ones_like(tgt))
    for hook in hooks:
        hook.remove()
    encoder, decoder = ours
    memory = encoder(seen["encoder"], real[:, None, None, :])
    close(memory, expected.encoder_last_hidden_state)
    hidden = decoder(seen["decoder"], memory, causal_mask(TGT_LEN), real[:, None, None, :])
    close(hidden, expected.last_hidden_state)


MODELS = {
    "marian": (new_marian, from_marian, check_marian),
    "gpt2": (new_gpt2, from_gpt2, check_gpt2),
    "bert": (new_bert, from_bert, check_bert),
    "bart": (new_bart, from_bart, check_bart),
}
all_models = pytest.mark.parametrize("name", MODELS)


# Equal, from memory


@pytest.mark.no_cover
@in_float64()
@pytest.mark.parametrize("share", [True, False], ids=["one vocabulary", "two vocabularies"])
@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_marian(hf, share: bool, tie: bool) -> None:
    theirs = new_marian(hf, share, tie)
    ours = from_marian(theirs)
    check_marian(theirs, ours)
    assert (ours.config.share_vocab, ours.config.tie_embeddings) == (share, tie)
    assert (ours.config.bos_id, ours.config.pad_id, ours.config.eos_id) == (MARIAN_PAD, MARIAN_PAD, 0)


@in_float64()
@pytest.mark.parametrize("activation", ["relu", "gelu_new", "swish", "silu", "gelu_pytorch_tanh"])
def test_marian_activations(hf, activation: str) -> None:
    theirs = new_marian(hf, activation_function=activation)
    check_marian(theirs, from_marian(theirs))


@in_float64(seed=1)
@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("use_cache", [True, False])
def test_marian_greedy(hf, tie: bool, use_cache: bool) -> None:
    theirs = new_marian(hf, share=False, tie=tie)
    with torch.no_grad():
        theirs.final_logits_bias.mul_(0.3)
        theirs.final_logits_bias[0, 0] = 1.0  # so that some sentences end before the limit
    src = torch.cat([random_ids(SRC_LEN) for _ in range(5)])
    options = dict(num_beams=1, do_sample=False, max_new_tokens=13, suppress_tokens=[MARIAN_PAD])
    expected = theirs.generate(src, attention_mask=(src != MARIAN_PAD).long(), **options)[:, 1:]
    answers = greedy_decode(from_marian(theirs), src, max_new_tokens=13, use_cache=use_cache)
    assert torch.equal(answers, expected)
    ended = (answers == 0).any(dim=1)
    assert ended.any() and not ended.all() and len(answers.unique(dim=0)) > 3


@in_float64()
def test_marian_saved_by_us_is_still_marian(hf, tmp_path) -> None:
    theirs = new_marian(hf)
    order = torch.arange(D_MODEL).view(-1, 2).T.flatten()  # sines first
    with torch.no_grad():
        for side in (theirs.model.encoder, theirs.model.decoder):  # theirs is rounded to float32; a file of ours is not
            close(side.embed_positions.weight.float(), sinusoidal_encoding(PLACES, D_MODEL)[:, order].float())
            side.embed_positions.weight.copy_(sinusoidal_encoding(PLACES, D_MODEL)[:, order])
    from_marian(theirs).save(tmp_path / "model.pt")
    check_marian(theirs, Transformer.load(tmp_path / "model.pt"))


@in_float64()
@pytest.mark.parametrize("kind", ["GPT2Model", "GPT2LMHeadModel", "GPT2ForTokenClassification"])
def test_gpt2(hf, kind: str) -> None:
    theirs = new_gpt2(hf, kind)
    check_gpt2(theirs, from_gpt2(theirs))


@in_float64()
@pytest.mark.parametrize("changes", [{"n_inner": None}, {"layer_norm_epsilon": 0.25}, {"activation_function": "relu"}])
def test_gpt2_settings(hf, changes: dict) -> None:
    theirs = new_gpt2(hf, **changes)
    check_gpt2(theirs, from_gpt2(theirs))


@in_float64()
@pytest.mark.parametrize("kind", ["BertModel", "BertForMaskedLM", "BertForPreTraining", "BertForQuestionAnswering"])
def test_bert(hf, kind: str) -> None:
    theirs = new_bert(hf, kind)
    ours = from_bert(theirs)
    check_bert(theirs, ours)
    assert {part.eps for part in ours.modules() if hasattr(part, "eps")} == {1e-12}


@in_float64()
@pytest.mark.parametrize("changes", [{"layer_norm_eps": 0.25}, {"hidden_act": "gelu_new"}])
def test_bert_settings(hf, changes: dict) -> None:
    theirs = new_bert(hf, **changes)
    check_bert(theirs, from_bert(theirs))


@in_float64()
@pytest.mark.parametrize("kind", ["BartModel", "BartForConditionalGeneration", "BartForSequenceClassification"])
def test_bart(hf, kind: str) -> None:
    theirs = new_bart(hf, kind)
    check_bart(theirs, from_bart(theirs))


# The tests above can fail: a converter with a mistake is caught by them


def swap_heads(theirs: nn.Module, ours: nn.Module) -> None:
    """The heads of one query projection change places."""
    for part in ours.encoder.layers[1].self_attn.q_proj.parameters():
        part.copy_(part.roll(D_MODEL // HEADS, dims=0))


def swap_norms(theirs: nn.Module, ours: nn.Module) -> None:
    """The norms of one decoder layer change places."""
    layer = ours.decoder.layers[2]
    layer.self_attn_residual, layer.cross_attn_residual = layer.cross_attn_residual, layer.self_attn_residual


def forget_transpose(theirs: nn.Module, ours: nn.Module) -> None:
    """A square matrix of GPT-2 is left as it stands, which no shape gives away."""
    weight = ours.layers[0].self_attn.out_proj.weight
    assert torch.equal(weight, theirs.transformer.h[0].attn.c_proj.weight.T)
    weight.copy_(weight.T.clone())


def swap_key_and_value(theirs: nn.Module, ours: nn.Module) -> None:
    """The thirds of GPT-2's fused projection are taken in another order."""
    attention = ours.layers[2].self_attn
    attention.k_proj, attention.v_proj = attention.v_proj, attention.k_proj


def usual_eps(theirs: nn.Module, ours: nn.Module) -> None:
    """The eps of one norm is that of torch, not that of BERT."""
    ours.layers[1].feed_forward_residual.norm.eps = 1e-5


def exact_gelu(theirs: nn.Module, ours: nn.Module) -> None:
    """The exact GELU stands where GPT-2 has its approximation."""
    ours.layers[1].feed_forward.activation = nn.GELU()


@in_float64()
@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("marian", swap_heads),
        ("marian", swap_norms),
        ("gpt2", forget_transpose),
        ("gpt2", swap_key_and_value),
        ("gpt2", exact_gelu),
        ("bert", usual_eps),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_mistakes_are_caught(hf, name: str, mistake) -> None:
    new, convert, check = MODELS[name]
    theirs = new(hf)
    ours = convert(theirs)
    check(theirs, ours)
    with torch.no_grad():
        mistake(theirs, ours)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(theirs, ours)


@in_float64()
@pytest.mark.parametrize(
    ("attribute", "wrong"),
    [
        ("_reordered", lambda state, order: state),  # Marian's features keep their order, our table is ours
        ("_WRITERS", {"out_proj", "fc2"}),  # the norms are forgotten
        ("_READERS", marian._READERS - {"output"}),
        ("_READERS", marian._READERS - {"k_proj"}),
    ],
    ids=["nothing reordered", "norms not", "output not", "keys not"],
)
def test_features_in_the_wrong_order_are_caught(hf, monkeypatch: pytest.MonkeyPatch, attribute: str, wrong) -> None:
    theirs = new_marian(hf)
    check_marian(theirs, from_marian(theirs))
    monkeypatch.setattr(marian, attribute, wrong)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check_marian(theirs, from_marian(theirs))


# Equal, from files


def write_safetensors(theirs: nn.Module, folder: Path) -> None:
    theirs.save_pretrained(folder)
    assert (folder / "model.safetensors").is_file()


def write_shards(theirs: nn.Module, folder: Path) -> None:
    theirs.save_pretrained(folder, max_shard_size="20KB")
    assert not (folder / "model.safetensors").exists() and len(list(folder.glob("*.safetensors"))) > 2


def write_bin(theirs: nn.Module, folder: Path) -> None:
    theirs.config.save_pretrained(folder)
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")


def write_bin_shards(theirs: nn.Module, folder: Path) -> None:
    theirs.config.save_pretrained(folder)
    state = theirs.state_dict()
    places = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(state)}
    for place in set(places.values()):
        torch.save({name: x for name, x in state.items() if places[name] == place}, folder / place)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))


@in_float64()
@all_models
@pytest.mark.parametrize("write", [write_safetensors, write_shards, write_bin, write_bin_shards])
def test_files(hf, tmp_path: Path, name: str, write) -> None:
    new, convert, check = MODELS[name]
    theirs = new(hf)
    write(theirs, tmp_path)
    check(theirs, convert(tmp_path))
    check(theirs, convert(str(tmp_path)))


@in_float64()
@pytest.mark.parametrize("share", [True, False], ids=["one vocabulary", "two vocabularies"])
@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_marian_files_with_other_ties(hf, tmp_path: Path, share: bool, tie: bool) -> None:
    theirs = new_marian(hf, share, tie)
    write_safetensors(theirs, tmp_path)
    check_marian(theirs, from_marian(tmp_path))


@in_float64()
@all_models
def test_the_reference_library_reads_the_same_file(hf, tmp_path: Path, name: str) -> None:
    new, convert, check = MODELS[name]
    write_safetensors(new(hf), tmp_path)
    theirs = type(new(hf)).from_pretrained(tmp_path, local_files_only=True)
    assert {p.dtype for p in theirs.parameters()} == {torch.float64}
    check(theirs, convert(tmp_path))


@all_models
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_type_and_mode(hf, tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    new, convert, _ = MODELS[name]
    theirs = new(hf).to(dtype).train()
    write_safetensors(theirs, tmp_path)
    for source in (theirs, tmp_path):
        ours = convert(source)
        for part in ours if isinstance(ours, tuple) else (ours,):
            assert {x.dtype for x in (*part.parameters(), *part.buffers())} == {dtype}
            assert not any(module.training for module in part.modules())


@in_float64()
@all_models
def test_weights_are_copied_not_shared(hf, name: str) -> None:
    new, convert, _ = MODELS[name]
    theirs = new(hf)
    ours = convert(theirs)
    modules = ours if isinstance(ours, tuple) else (ours,)
    before = [{key: value.clone() for key, value in module.state_dict().items()} for module in modules]
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    for module, old in zip(modules, before, strict=True):
        assert all(torch.equal(value, old[key]) for key, value in module.state_dict().items())


@in_float64()
def test_bert_files_with_old_names(hf, tmp_path: Path) -> None:
    """The first files of BERT call the weights of a norm gamma and beta, and hold position_ids."""
    theirs = new_bert(hf)
    theirs.config.save_pretrained(tmp_path)
    state = dict(theirs.state_dict()) | {"bert.embeddings.position_ids": torch.arange(PLACES)}
    for ours, old in {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}.items():
        state = {name.replace(ours, old): x for name, x in state.items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    check_bert(theirs, from_bert(tmp_path))
    both = state | {"bert.embeddings.LayerNorm.weight": torch.ones(D_MODEL)}
    torch.save(both, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="both their old names"):
        from_bert(tmp_path)


@in_float64()
def test_gpt2_files_with_the_causal_mask(hf, tmp_path: Path) -> None:
    """The first files of GPT-2 hold it, and leave the prefix out."""
    theirs = new_gpt2(hf)
    theirs.config.save_pretrained(tmp_path)
    state = dict(theirs.transformer.state_dict())
    for i in range(3):
        state[f"h.{i}.attn.bias"] = torch.ones(PLACES, PLACES).tril()[None, None]
        state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(state, tmp_path / "pytorch_model.bin")
    check_gpt2(theirs, from_gpt2(tmp_path))


@in_float64()
def test_marian_files_of_older_versions(hf, tmp_path: Path) -> None:
    """They hold the tables of positions and every copy of the embedding, and leave newer settings out."""
    theirs = new_marian(hf)
    write_bin(theirs, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("share_encoder_decoder_embeddings", "tie_word_embeddings", "decoder_vocab_size"):
        del config[name]
    old = {"static_position_embeddings": True, "normalize_before": False, "bad_words_ids": [[MARIAN_PAD]]}
    (tmp_path / "config.json").write_text(json.dumps(config | old))
    assert "model.encoder.embed_positions.weight" in torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    check_marian(theirs, from_marian(tmp_path))


# What does not fit is named, and nothing is half-loaded


class Stub(nn.Module):
    """A model with other settings or tensors than it had."""

    def __init__(self, theirs: nn.Module, settings: dict | None = None) -> None:
        super().__init__()
        values = {**theirs.config.to_dict(), **(settings or {})}
        self.config = SimpleNamespace(to_dict=lambda: {k: v for k, v in values.items() if v != "absent"})
        self.tensors = {name: x.clone() for name, x in theirs.state_dict().items()}

    def state_dict(self) -> dict[str, Tensor]:
        return self.tensors


LAYER = "model.decoder.layers.1."
TENSOR_FAULTS = [
    ("marian", {LAYER + "fc1.bias": None}, f"1 missing ({LAYER}fc1.bias, expected shape (29,))"),
    ("marian", {LAYER + "fc1.bias": torch.ones(31)}, f"({LAYER}fc1.bias, expected (29,), got (31,))"),
    ("marian", {LAYER + "fc1.weight": torch.ones(22, 29)}, f"({LAYER}fc1.weight, expected (29, 22), got (22, 29))"),
    ("marian", {LAYER + "fc9.bias": torch.ones(31)}, f"1 surplus ({LAYER}fc9.bias (31,))"),
    (
        "marian",
        {"model.encoder.layers.2.fc1.bias": torch.ones(29)},
        "1 surplus (model.encoder.layers.2.fc1.bias (29,))",
    ),
    ("marian", {"model.layernorm_embedding.bias": torch.ones(22)}, "1 surplus (model.layernorm_embedding.bias (22,))"),
    ("marian", {"final_logits_bias": None}, "1 missing (final_logits_bias, expected shape (1, 41))"),
    ("marian", {LAYER + "fc1.bias": torch.ones(29, dtype=torch.int8)}, f"({LAYER}fc1.bias, expected floating-point"),
    (
        "marian",
        {LAYER + "fc1.bias": torch.ones(29).to_sparse()},
        "expected floating-point numbers, got torch.sparse_coo",
    ),
    ("marian", {LAYER + "fc1.bias": torch.ones(29, device="meta")}, "expected floating-point numbers, got no values"),
    (
        "marian",
        {"lm_head.weight": torch.ones(41, 22)},
        "1 different from what they are tied to (lm_head.weight from model.shared.weight)",
    ),
    (
        "marian",
        {"model.encoder.embed_tokens.weight": torch.ones(41, 22), "model.shared.weight": None},
        "2 different from what they are tied to (model.decoder.embed_tokens.weight from model.encoder.embed_tok",
    ),
    (
        "marian",
        {f"model.{side}.embed_tokens.weight": None for side in ("encoder", "decoder")}
        | {"model.shared.weight": None, "lm_head.weight": None},
        "1 missing (model.shared.weight, expected shape (41, 22))",
    ),
    (
        "marian",
        {"model.encoder.embed_positions.weight": torch.ones(17, 22)},
        "(model.decoder.embed_positions.weight from model.encoder.embed_po",
    ),
    (
        "marian",
        {f"model.{side}.embed_positions.weight": torch.ones(17, 22) for side in ("encoder", "decoder")},
        "embed_positions.weight is not the table of sinusoids (off by up to 2.0e+00)",
    ),
    ("gpt2", {"transformer.ln_f.weight": None}, "1 missing (transformer.ln_f.weight, expected shape (22,))"),
    ("gpt2", {"transformer.h.1.attn.c_attn.weight": torch.ones(66, 22)}, "expected (22, 66), got (66, 22)"),
    ("gpt2", {"h.1.ln_1.weight": torch.ones(22)}, "1 surplus (h.1.ln_1.weight (22,))"),
    ("gpt2", {"transformer.h.3.ln_1.weight": torch.ones(22)}, "1 surplus (transformer.h.3.ln_1.weight (22,))"),
    (
        "bert",
        {"bert.encoder.layer.0.output.LayerNorm.bias": None},
        "1 missing (bert.encoder.layer.0.output.LayerNorm.b",
    ),
    (
        "bert",
        {"bert.encoder.layer.0.crossattention.self.key.bias": torch.ones(22)},
        "1 surplus (bert.encoder.layer.0.cro",
    ),
    (
        "bart",
        {"model.decoder.layers.0.encoder_attn.k_proj.bias": None},
        "1 missing (model.decoder.layers.0.encoder_attn",
    ),
    ("bart", {"model.encoder.layer_norm.weight": torch.ones(22)}, "1 surplus (model.encoder.layer_norm.weight (22,))"),
]


@in_float64()
@pytest.mark.parametrize(("name", "changes", "message"), TENSOR_FAULTS, ids=range(len(TENSOR_FAULTS)))
def test_tensors_that_do_not_fit_are_named(hf, name: str, changes: dict, message: str) -> None:
    new, convert, _ = MODELS[name]
    source = Stub(new(hf))
    convert(source)  # it is the change that is refused
    tensors = source.tensors | changes
    source.tensors = {key: x for key, x in tensors.items() if x is not None}
    with pytest.raises(ValueError, match=re.escape(message)):
        convert(source)


@in_float64()
def test_many_faults_are_counted(hf) -> None:
    source = Stub(new_marian(hf), {"decoder_layers": 2, "d_model": 26})
    with pytest.raises(
        ValueError, match=r"^tensors do not fit the config: 86 of another shape \(.*; \.\.\.\), 26 surplus"
    ):
        from_marian(source)
    with pytest.raises(ValueError, match="1000 missing") as caught:
        from_marian(Stub(new_marian(hf), {"decoder_layers": 10**8}))
    assert len(str(caught.value)) < 400


SETTING_FAULTS = [
    ("marian", {"model_type": "bart"}, "config has model_type 'bart', from_marian needs 'marian'; use from_bart"),
    ("marian", {"model_type": "t5"}, "config has model_type 't5', from_marian needs 'marian'"),
    ("marian", {"model_type": "absent"}, "config has model_type None, from_marian needs 'marian'"),
    ("marian", {"scale_embedding": False}, "scale_embedding=False has no counterpart"),
    ("marian", {"scale_embedding": "absent"}, "scale_embedding=False has no counterpart"),
    ("marian", {"normalize_before": True}, "normalize_before=True has no counterpart"),
    ("marian", {"decoder_attention_heads": 11}, "encoder_attention_heads (2) and decoder_attention_heads (11) must be"),
    ("marian", {"encoder_ffn_dim": 31}, "encoder_ffn_dim (31) and decoder_ffn_dim (29) must be equal"),
    ("marian", {"activation_function": "quick_gelu"}, "activation_function must be one of relu, gelu, gelu_new, "),
    ("marian", {"activation_function": None}, "activation_function must be one of relu, gelu, gelu_new, "),
    ("marian", {"d_model": "absent"}, "config of model_type 'marian' has no d_model"),
    ("marian", {"d_model": "22"}, "d_model must be a whole number of at least 1, got '22'"),
    ("marian", {"dropout": "high"}, "dropout must be a number, got 'high'"),
    ("marian", {"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ("marian", {"tie_word_embeddings": 1}, "tie_embeddings must be True or False, got 1"),
    ("marian", {"eos_token_id": [0, 1]}, "eos_id must be a whole number of at least 0, got [0, 1]"),
    ("marian", {"pad_token_id": None}, "pad_id must be a whole number of at least 0, got None"),
    ("marian", {"eos_token_id": MARIAN_PAD}, "eos_id must differ from pad_id and bos_id"),
    ("gpt2", {"n_layer": 0}, "n_layer must be a whole number of at least 1, got 0"),
    ("gpt2", {"n_head": 3}, "d_model (22) must be divisible by n_heads (3)"),
    ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights=False has no counterpart"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True has no counterpart"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention=True has no counterpart"),
    ("gpt2", {"layer_norm_epsilon": 0}, "eps must be "),
    ("bert", {"is_decoder": True}, "is_decoder=True has no counterpart"),
    ("bert", {"add_cross_attention": True}, "add_cross_attention=True has no counterpart"),
    (
        "bert",
        {"position_embedding_type": "relative_key"},
        "position_embedding_type ('relative_key') has no counterpart",
    ),
    ("bert", {"layer_norm_eps": "small"}, "layer_norm_eps must be a number, got 'small'"),
    ("bart", {"add_final_layer_norm": True}, "add_final_layer_norm=True has no counterpart"),
    ("bart", {"model_type": "mbart"}, "config has model_type 'mbart', from_bart needs 'bart'"),
]


@in_float64()
@pytest.mark.usefixtures("without_shape_checks")  # the messages are for those who run without
@pytest.mark.parametrize(("name", "settings", "message"), SETTING_FAULTS, ids=range(len(SETTING_FAULTS)))
def test_settings_that_do_not_fit_are_named(hf, name: str, settings: dict, message: str) -> None:
    new, convert, _ = MODELS[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        convert(Stub(new(hf), settings))


# Damaged and hostile files


class Intruder:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def replace_weights(folder: Path, content: bytes, name: str = "pytorch_model.bin") -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)


def write_index(folder: Path, index: object) -> None:
    replace_weights(folder, json.dumps(index).encode(), "model.safetensors.index.json")


def cut(path: Path, end: int) -> None:
    path.write_bytes(path.read_bytes()[:end])


def save_bin(folder: Path, content: object) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


FILE_FAULTS = [
    (lambda f: (f / "config.json").unlink(), FileNotFoundError, "no config.json in"),
    (lambda f: cut(f / "config.json", 40), ValueError, "config.json is not valid JSON"),
    (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), ValueError, "config.json is not valid JSON"),
    (lambda f: (f / "config.json").write_text("[" * 10**5), ValueError, "config.json is not valid JSON"),
    (lambda f: (f / "config.json").write_text("[1]"), ValueError, "config.json must hold a JSON object, got list"),
    (lambda f: (f / "config.json").write_text("{}"), ValueError, "config has model_type None"),
    (
        lambda f: (f / "model.safetensors").unlink(),
        FileNotFoundError,
        "looked for model.safetensors, model.safetensors.i",
    ),
    (lambda f: cut(f / "model.safetensors", -1), ValueError, "model.safetensors is damaged"),
    (lambda f: cut(f / "model.safetensors", 1000), ValueError, "model.safetensors is damaged"),
    (lambda f: cut(f / "model.safetensors", 0), ValueError, "model.safetensors is damaged"),
    (lambda f: replace_weights(f, b""), ValueError, "pytorch_model.bin is damaged or holds more than tensors"),
    (lambda f: replace_weights(f, b"junk" * 99), ValueError, "pytorch_model.bin is damaged or holds more than tensors"),
    (lambda f: save_bin(f, [torch.ones(2)]), ValueError, "must hold a dictionary from names to tensors"),
    (lambda f: save_bin(f, {1: torch.ones(2)}), ValueError, "must hold a dictionary from names to tensors"),
    (lambda f: save_bin(f, {"x": 1}), ValueError, "must hold a dictionary from names to tensors"),
    (lambda f: save_bin(f, {"x": torch.ones(2)}), ValueError, "1 surplus (x (2,))"),
    (lambda f: save_bin(f, {"x": Intruder(f / "intruded")}), ValueError, "damaged or holds more than tensors"),
    (
        lambda f: replace_weights(f, pickle.dumps(Intruder(f / "intruded"))),
        ValueError,
        "damaged or holds more than tensors",
    ),
    (lambda f: write_index(f, {}), ValueError, "has no weight_map"),
    (lambda f: write_index(f, {"weight_map": {"x": 3}}), ValueError, "has no weight_map"),
    (lambda f: write_index(f, {"weight_map": {"x": "a.safetensors"}}), FileNotFoundError, "no a.safetensors in"),
    (lambda f: write_index(f, {"weight_map": {"x": "../a.safetensors"}}), ValueError, "not in its own folder"),
]


@pytest.fixture(scope="module")
def saved_gpt2(hf, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt2")
    write_safetensors(new_gpt2(hf), folder)
    return folder


@pytest.mark.parametrize(("damage", "error", "message"), FILE_FAULTS, ids=range(len(FILE_FAULTS)))
def test_damaged_files(saved_gpt2: Path, tmp_path: Path, damage, error: type[Exception], message: str) -> None:
    folder = shutil.copytree(saved_gpt2, tmp_path / "copy")
    from_gpt2(folder)
    damage(folder)
    with pytest.raises(error, match=re.escape(message)):
        from_gpt2(folder)
    assert not (folder / "intruded").exists()


def test_the_intruder_would_intrude(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Intruder(tmp_path / "intruded")))
    assert (tmp_path / "intruded").exists()


def test_shards_must_be_what_the_index_says(hf, tmp_path: Path) -> None:
    write_shards(new_gpt2(hf), tmp_path)
    path = tmp_path / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name = min(index["weight_map"])
    path.write_text(json.dumps({"weight_map": {k: v for k, v in index["weight_map"].items() if k != name}}))
    with pytest.raises(ValueError, match=rf"disagree about 1 tensors, such as {name}"):
        from_gpt2(tmp_path)
    path.write_text(json.dumps({"weight_map": {**index["weight_map"], "transformer.z": index["weight_map"][name]}}))
    with pytest.raises(ValueError, match=r"disagree about 1 tensors, such as transformer\.z"):
        from_gpt2(tmp_path)


def test_a_path_that_is_no_folder(saved_gpt2: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none", saved_gpt2 / "model.safetensors"):
        with pytest.raises(FileNotFoundError, match="give the one that holds config"):
            from_gpt2(path)


# The laws, asked of models of another library


@pytest.mark.parametrize("new", [new_marian, new_bart])
def test_the_laws_hold_for_a_model_of_hugging_face(hf, new) -> None:
    theirs = new(hf)
    model = laws.HuggingFace(theirs)
    src, tgt = random_ids(SRC_LEN, model.config.pad_id), random_ids(TGT_LEN, model.config.pad_id)
    other = 3 + (tgt - 2) % 30
    laws.causality(lambda tgt: model(src, tgt), tgt, other).require()
    laws.cache_equals_full(model, src, tgt).require()
    laws.batch_equals_single(model, src, tgt).require()
    undropped = new(hf, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    laws.train_equals_eval(laws.HuggingFace(undropped), src, tgt).require()
    laws.evaluation_is_deterministic(model, src, tgt).require()
    mask = (src != model.config.pad_id)[:, None, None]
    theirs.set_attn_implementation("eager")  # the only one that tells its weights
    maps = theirs(src, mask[:, 0, 0].long(), tgt, output_attentions=True).cross_attentions
    assert len(maps) == 3
    for weights in maps:
        laws.weights_are_shares(weights, mask).require()
    options = dict(num_beams=1, do_sample=False, max_new_tokens=6, forced_eos_token_id=None)
    bad_words = [[token] for token in {model.config.pad_id, model.config.bos_id} - {model.config.eos_id}]
    answer = theirs.generate(src, attention_mask=mask[:, 0, 0].long(), bad_words_ids=bad_words, **options)[:, 1:]
    laws.answer_is_greedy(model, src, answer, max_new_tokens=6).require()


def test_a_law_sees_what_is_broken_in_a_model_of_hugging_face(hf, monkeypatch: pytest.MonkeyPatch) -> None:
    model = laws.HuggingFace(new_marian(hf))
    src, tgt = random_ids(SRC_LEN), random_ids(TGT_LEN)
    decode = model.model.forward
    forgetful = lambda **inputs: decode(**{**inputs, "past_key_values": None})  # noqa: E731
    monkeypatch.setattr(model.model, "forward", forgetful)
    assert not laws.cache_equals_full(model, src, tgt)
