"""Models of Hugging Face, converted: the same logits and hidden states in float64, from memory and from files.

Random weights redrawn with standard deviation 0.2, tiny sizes, nothing downloaded. All tests that import
`transformers` are in this file, since the import alone takes many seconds.
"""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import BATCH, SRC_LEN, TGT_LEN, close, in_float64, ragged, redraw
from torch import Tensor, nn

from transformer_lib import Transformer, causal_mask, greedy_decode, laws, sinusoidal_encoding
from transformer_lib.interop import from_bart, from_bert, from_gpt2, from_marian

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
    sizes = seq2seq_sizes(pad_token_id=MARIAN_PAD, decoder_start_token_id=MARIAN_PAD, eos_token_id=0)
    words = {"scale_embedding": True} | ({} if share else {"decoder_vocab_size": TGT_VOCAB})
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


def random_ids(seq: int, pad_id: int = MARIAN_PAD) -> Tensor:
    """Ragged ids that are neither padding nor EOS in any of the models, then padding."""
    ids = torch.randint(3, MARIAN_PAD, (BATCH, seq))
    return ids.masked_fill(~ragged(seq), pad_id)


@torch.no_grad()
def check_marian(theirs: nn.Module, ours: Transformer) -> None:
    """The reference does not mask the padding of the target, as it comes last."""
    src, tgt = random_ids(SRC_LEN), random_ids(TGT_LEN)
    tgt[:, 0] = MARIAN_PAD
    expected = theirs(src, (src != MARIAN_PAD).long(), tgt, decoder_attention_mask=torch.ones_like(tgt))
    close(ours(src, tgt), expected.logits)


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
    seen: list[Tensor] = []
    first = [side.layers[0] for side in (body.encoder, body.decoder)]
    hooks = [layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])) for layer in first]
    real = src != 1
    expected = body(src, real.long(), tgt, decoder_attention_mask=torch.ones_like(tgt))
    for hook in hooks:
        hook.remove()
    encoder, decoder = ours
    memory = encoder(seen[0], real[:, None, None, :])
    close(memory, expected.encoder_last_hidden_state)
    hidden = decoder(seen[1], memory, causal_mask(TGT_LEN), real[:, None, None, :])
    close(hidden, expected.last_hidden_state)


MODELS = {
    "marian": (new_marian, from_marian, check_marian),
    "gpt2": (new_gpt2, from_gpt2, check_gpt2),
    "bert": (new_bert, from_bert, check_bert),
    "bart": (new_bart, from_bart, check_bart),
}
all_models = pytest.mark.parametrize("name", MODELS)


def write(theirs: nn.Module, folder: Path, kind: str = "safetensors") -> None:
    """Write a model as the reference library does, or as it once did."""
    theirs.save_pretrained(folder, max_shard_size="20KB" if kind == "safetensors shards" else "1GB")
    if kind.startswith("bin"):
        (folder / "model.safetensors").unlink()
        state = list(theirs.state_dict().items())
        files = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
        files = files if kind == "bin shards" else ["pytorch_model.bin"]
        for i, file in enumerate(files):
            torch.save(dict(state[i :: len(files)]), folder / file)
    number = {"safetensors": [1], "safetensors shards": range(3, 99)}.get(kind, [0])
    assert len(list(folder.glob("*.safetensors"))) in number


@in_float64()
@all_models
@pytest.mark.parametrize("kind", ["safetensors", "safetensors shards", "bin", "bin shards"])
def test_files(hf, tmp_path: Path, name: str, kind: str) -> None:
    new, convert, check = MODELS[name]
    theirs = new(hf)
    write(theirs, tmp_path, kind)
    check(theirs, convert(tmp_path if kind == "bin" else str(tmp_path)))


@pytest.mark.no_cover
@in_float64()
@pytest.mark.parametrize("share", [True, False], ids=["one vocabulary", "two vocabularies"])
@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
def test_marian(hf, tmp_path: Path, share: bool, tie: bool) -> None:
    theirs = new_marian(hf, share, tie)
    write(theirs, tmp_path)
    for source in (theirs, tmp_path):
        ours = from_marian(source)
        check_marian(theirs, ours)
        assert (ours.config.share_vocab, ours.config.tie_embeddings) == (share, tie)
        assert (ours.src_embedding is ours.tgt_embedding) == share
        assert (ours.output.weight is ours.tgt_embedding.weight) == tie
        assert (ours.config.bos_id, ours.config.pad_id, ours.config.eos_id) == (MARIAN_PAD, MARIAN_PAD, 0)


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
def test_marian_saved_by_us_is_still_marian(hf, tmp_path: Path) -> None:
    theirs = new_marian(hf)
    order = torch.arange(D_MODEL).view(-1, 2).T.flatten()  # sines first
    with torch.no_grad():
        for side in (theirs.model.encoder, theirs.model.decoder):  # theirs is rounded to float32; a file of ours is not
            close(side.embed_positions.weight.float(), sinusoidal_encoding(PLACES, D_MODEL)[:, order].float())
            side.embed_positions.weight.copy_(sinusoidal_encoding(PLACES, D_MODEL)[:, order])
    from_marian(theirs).save(tmp_path / "model.safetensors")
    check_marian(theirs, Transformer.load(tmp_path / "model.safetensors"))


VARIANTS = {
    "marian": [{"activation_function": a} for a in ("relu", "gelu_new", "swish", "silu", "gelu_pytorch_tanh")],
    "gpt2": [
        *({"kind": f"GPT2{kind}"} for kind in ("Model", "LMHeadModel", "ForTokenClassification")),
        *({"n_inner": None}, {"layer_norm_epsilon": 0.25}, {"activation_function": "relu"}),
    ],
    "bert": [
        *({"kind": f"Bert{kind}"} for kind in ("Model", "ForMaskedLM", "ForPreTraining", "ForQuestionAnswering")),
        *({"layer_norm_eps": 0.25}, {"hidden_act": "gelu_new"}),
    ],
    "bart": [{"kind": f"Bart{kind}"} for kind in ("Model", "ForConditionalGeneration", "ForSequenceClassification")],
}


@in_float64()
@pytest.mark.parametrize(("name", "changes"), [(name, c) for name, all_of in VARIANTS.items() for c in all_of], ids=str)
def test_settings_and_heads(hf, name: str, changes: dict) -> None:
    new, convert, check = MODELS[name]
    theirs = new(hf, **changes)
    ours = convert(theirs)
    check(theirs, ours)
    if name == "bert":
        assert {m.eps for m in ours.modules() if hasattr(m, "eps")} == {theirs.config.layer_norm_eps}


@in_float64()
def test_bert_files_with_old_names(hf, tmp_path: Path) -> None:
    """The first files of BERT call the weights of a norm gamma and beta, and hold position_ids."""
    theirs = new_bert(hf)
    write(theirs, tmp_path, "bin")
    state = dict(theirs.state_dict()) | {"bert.embeddings.position_ids": torch.arange(PLACES)}
    for ours, old in {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}.items():
        state = {name.replace(ours, old): x for name, x in state.items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    check_bert(theirs, from_bert(tmp_path))


@in_float64()
def test_gpt2_files_with_the_causal_mask(hf, tmp_path: Path) -> None:
    """The first files of GPT-2 hold it, and leave the prefix out."""
    theirs = new_gpt2(hf)
    write(theirs, tmp_path, "bin")
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
    write(theirs, tmp_path, "bin")
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("share_encoder_decoder_embeddings", "tie_word_embeddings", "decoder_vocab_size"):
        del config[name]
    old = {"static_position_embeddings": True, "normalize_before": False, "bad_words_ids": [[MARIAN_PAD]]}
    (tmp_path / "config.json").write_text(json.dumps(config | old))
    assert "model.encoder.embed_positions.weight" in torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    check_marian(theirs, from_marian(tmp_path))


def values(converted: nn.Module | tuple[nn.Module, ...]) -> list[Tensor]:
    """A copy of all parameters and buffers of what a converter made."""
    modules = converted if isinstance(converted, tuple) else (converted,)
    assert not any(part.training for module in modules for part in module.modules())
    tensors = [x.detach() for module in modules for x in (*module.parameters(), *module.buffers())]
    assert all(x.is_contiguous() for x in tensors)  # or no file of safetensors takes it
    return [x.clone() for x in tensors]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(a, b, strict=True))


@all_models
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_is_kept_to_the_bit_in_copies(hf, tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    new, convert, _ = MODELS[name]
    theirs = new(hf)
    expected = [x.to(dtype) for x in values(convert(theirs))]
    write(theirs.to(dtype).train(), tmp_path)
    ours = convert(theirs)
    for parameter in theirs.parameters():
        nn.init.zeros_(parameter)
    assert same(values(ours), expected) and same(values(convert(tmp_path)), expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # when torch imports its compiler
@all_models
def test_the_compilers_wrapper_leaves_no_trace(hf, name: str) -> None:
    """Nothing need be compiled for that."""
    new, convert, _ = MODELS[name]
    theirs = new(hf)
    assert same(values(convert(torch.compile(theirs))), values(convert(theirs)))


@pytest.mark.no_cover
@in_float64()
@all_models
def test_a_wrong_weight_or_setting_is_seen(hf, name: str) -> None:
    """The tests above can fail."""
    new, convert, check = MODELS[name]
    theirs = new(hf)
    ours = convert(theirs)
    whole = nn.ModuleList(ours if isinstance(ours, tuple) else [ours])
    wrong = [(p, "data", p.data.roll(1, dims=0)) for path, p in whole.named_parameters() if "k_proj.bias" not in path]
    for attribute, value in (("eps", 1e-6), ("n_heads", 11)):
        wrong.append((next(part for part in whole.modules() if hasattr(part, attribute)), attribute, value))
    for place, attribute, value in wrong:  # a bias of keys adds the same to all scores of a query: no softmax sees it
        right = getattr(place, attribute)
        setattr(place, attribute, value)
        with pytest.raises(AssertionError, match="Tensor-likes are not close"):
            check(theirs, ours)
        setattr(place, attribute, right)
    check(theirs, ours)


# What does not fit is named, and nothing is half-loaded


def changed(theirs: nn.Module, changes: dict) -> nn.Module:
    """A model with other settings or tensors than it had; `None` takes one away."""
    settings, tensors = theirs.config.to_dict(), dict(theirs.state_dict())
    for name, value in changes.items():
        place = tensors if "." in name or name in tensors else settings
        place[name] = value
        if value is None:
            del place[name]
    source = nn.Module()
    source.config, source.state_dict = SimpleNamespace(to_dict=lambda: settings), lambda: tensors
    return source


def ones(*shape: int, **options) -> Tensor:
    return torch.ones(shape, **options)


FC1, OUR_FC1 = "model.decoder.layers.1.fc1.", "decoder.layers.1.feed_forward.fc1"
TABLE = "embed_positions.weight"
FAULTS = [
    ("marian", {FC1 + "bias": None}, f'Missing key(s) in state_dict: "{OUR_FC1}.bias"'),
    ("marian", {FC1 + "weight": ones(29, 24)}, f"size mismatch for {OUR_FC1}.weight"),  # more features than there are
    ("marian", {FC1 + "gain": ones(31)}, f'Unexpected key(s) in state_dict: "{OUR_FC1}.gain"'),
    ("marian", {FC1 + "bias": ones(29, dtype=torch.int8)}, f'the parameter named "{OUR_FC1}.bias"'),
    ("marian", {"final_logits_bias": None}, 'Missing key(s) in state_dict: "output.bias"'),
    ("marian", {"final_logits_bias": ones(2, 41)}, "size mismatch for output.bias"),
    ("marian", {"lm_head.weight": ones(41, 22)}, "output.weight differs from tgt_embedding.weight, to which"),
    ("marian", {"model.encoder.embed_tokens.weight": ones(41, 22)}, "tgt_embedding.weight differs from src_embedding"),
    ("marian", {f"model.encoder.{TABLE}": ones(17, 22)}, f"encoder.{TABLE} (17, 22) is not the table of sinusoids"),
    ("marian", {f"model.decoder.{TABLE}": ones(16, 22)}, f"decoder.{TABLE} (16, 22) is not the table of sinusoids (17"),
    ("gpt2", {"transformer.h.1.attn.c_attn.weight": ones(66, 22)}, "size mismatch for layers.1.self_attn.q_proj.w"),
    ("bart", {"model.decoder.layers.0.encoder_attn.k_proj.bias": None}, '"decoder.layers.0.cross_attn.k_proj.bias"'),
    ("bart", {"model.encoder.layer_norm.weight": ones(22)}, '"encoder.layer_norm.weight"'),
    ("marian", {"model_type": "bart"}, "from_marian needs a model of type 'marian', got 'bart'"),
    ("marian", {"decoder_layers": 2}, 'Unexpected key(s) in state_dict: "decoder.layers.2.'),
    ("marian", {"decoder_attention_heads": 11}, "decoder_attention_heads=11 has no counterpart in this library"),
    ("marian", {"scale_embedding": None}, "scale_embedding=False has no counterpart in this library, only scale_emb"),
    ("marian", {"normalize_before": True}, "normalize_before=True has no counterpart"),
    ("marian", {"activation_function": "quick_gelu"}, "activation_function must be one of relu, gelu, "),
    ("marian", {"eos_token_id": MARIAN_PAD}, "eos_id must differ from pad_id and bos_id"),
    ("gpt2", {"n_head": 3}, "d_model (22) must be divisible by n_heads (3)"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True has no counterpart"),
    ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' has no counterpart"),
    ("bart", {"add_final_layer_norm": True}, "add_final_layer_norm=True has no counterpart"),
]


@in_float64()
@pytest.mark.parametrize(("name", "changes", "message"), FAULTS, ids=range(len(FAULTS)))
def test_what_does_not_fit_is_named(hf, name: str, changes: dict, message: str) -> None:
    new, convert, _ = MODELS[name]
    theirs = new(hf)
    convert(changed(theirs, {}))  # it is the change that is refused
    with pytest.raises((ValueError, RuntimeError), match=re.escape(message)):
        convert(changed(theirs, changes))


def test_files_that_are_missing_and_code_in_a_file(hf, tmp_path: Path) -> None:
    write(new_gpt2(hf), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=f"neither .* nor pytorch_model.bin.index.json in {tmp_path}; give a f"):
        from_gpt2(tmp_path)
    torch.save({"x": Path()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model.bin is damaged, or not what its name says: Weights only load"):
        from_gpt2(tmp_path)


def test_old_files_of_which_one_is_missing_damaged_or_doubled(hf, tmp_path: Path) -> None:
    theirs = new_gpt2(hf)
    write(theirs, tmp_path, "bin shards")
    files = sorted(path.name for path in tmp_path.glob("*.bin"))
    where = {name: file for file in files for name in torch.load(tmp_path / file, weights_only=True)}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    from_gpt2(tmp_path)
    torch.save(theirs.state_dict(), tmp_path / files[1])
    with pytest.raises(ValueError, match=f"stands in {files[1]} and in another file of"):
        from_gpt2(tmp_path)
    (tmp_path / files[1]).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{files[1]} is damaged, or not what its name says: "):
        from_gpt2(tmp_path)
    (tmp_path / files[1]).unlink()
    with pytest.raises(FileNotFoundError, match=f"the index in .* names {files[1]}, which is not there"):
        from_gpt2(tmp_path)


@pytest.mark.filterwarnings("ignore:.*past_key_values:FutureWarning")
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


@pytest.mark.filterwarnings("ignore:.*past_key_values:FutureWarning")
def test_a_law_sees_what_is_broken_in_a_model_of_hugging_face(hf, monkeypatch: pytest.MonkeyPatch) -> None:
    model = laws.HuggingFace(new_marian(hf))
    src, tgt = random_ids(SRC_LEN), random_ids(TGT_LEN)
    decode = model.model.forward
    forgetful = lambda **inputs: decode(**{**inputs, "past_key_values": None})  # noqa: E731
    monkeypatch.setattr(model.model, "forward", forgetful)
    assert not laws.cache_equals_full(model, src, tgt)
