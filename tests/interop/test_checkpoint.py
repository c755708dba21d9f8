"""Folders of published weights: the logits and the greedy text of the reference, and a sentence for what does not fit.

Random weights of small sizes, written by the reference library and read without it. Llama and its kin fall back to
float32 in norms and angles; `exact` puts float64 there, as in `tests/modern/test_references.py`.
"""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import BATCH, close, differ, in_float64, redraw
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from transformer_lib import greedy_decode, interop
from transformer_lib.interop import _decoders, _names
from transformer_lib.modern import complete

pytestmark = pytest.mark.hf

VOCAB, HEADS, D_MODEL, D_FF, LAYERS, PLACES, LEN = 41, 6, 60, 29, 2, 17, 7
GROUPS, PAD = 2, 40
SIZES = dict(
    vocab_size=VOCAB, hidden_size=D_MODEL, intermediate_size=D_FF, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
    max_position_embeddings=PLACES,
)  # fmt: skip
LLAMA = dict(num_key_value_heads=GROUPS, rms_norm_eps=1e-3, bos_token_id=1, eos_token_id=2)
CLOCKS = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
KINDS: dict[str, tuple[str, dict]] = {
    "gpt2": ("GPT2LMHeadModel", dict(vocab_size=VOCAB, n_embd=D_MODEL, n_head=HEADS, n_layer=LAYERS, n_positions=PLACES,
                                     n_inner=D_FF, layer_norm_epsilon=1e-3, bos_token_id=0, eos_token_id=0)),
    "bert": ("BertForMaskedLM", {**SIZES, "layer_norm_eps": 1e-3}),
    "llama": ("LlamaForCausalLM", {**SIZES, **LLAMA, **CLOCKS}),
    "mistral": ("MistralForCausalLM", {**SIZES, **LLAMA, **CLOCKS, "sliding_window": 4}),
    "mixtral": ("MixtralForCausalLM", {**SIZES, **LLAMA, **CLOCKS, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3": ("Qwen3ForCausalLM", {**SIZES, **LLAMA, **CLOCKS, "head_dim": D_MODEL // HEADS}),
    "marian": ("MarianMTModel", dict(vocab_size=VOCAB, d_model=D_MODEL, encoder_layers=2, decoder_layers=3,
                                     encoder_attention_heads=HEADS, decoder_attention_heads=HEADS, encoder_ffn_dim=D_FF,
                                     decoder_ffn_dim=D_FF, max_position_embeddings=PLACES, pad_token_id=PAD,
                                     decoder_start_token_id=PAD, eos_token_id=0, scale_embedding=True,
                                     forced_eos_token_id=None)),
}  # fmt: skip
DECODERS = [kind for kind in KINDS if kind not in ("bert", "marian")]
FAMILY = [kind for kind in DECODERS if kind != "gpt2"]  # of Llama


@pytest.fixture(scope="module")
def hf():
    """The `transformers` library, offline and without progress bars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        import transformers

        transformers.utils.logging.disable_progress_bar()
        yield transformers


class Exact:
    """torch, in which float32 means float64."""

    float32 = float = torch.float64

    def __getattr__(self, name: str):
        return getattr(torch, name)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the reference compute in float64 throughout."""

    def change(kind: str) -> None:
        if kind in FAMILY:
            room = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
            monkeypatch.setattr(room, "torch", Exact())
            monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)

    return change


def new(hf, kind: str, **changes) -> nn.Module:
    """A reference with redrawn weights; tables of sinusoids stay."""
    name, settings = KINDS[kind]
    config = getattr(hf, re.sub(r"(LMHead|For|MT).*", "", name) + "Config")(**{**settings, **changes})
    theirs = getattr(hf, name)(config)
    tables = {name: p.clone() for name, p in theirs.named_parameters() if not p.requires_grad}
    redraw(theirs)
    with torch.no_grad():
        for name, p in theirs.named_parameters():
            p.add_(1.0) if "norm" in name and p.dim() == 1 and kind in FAMILY else None
            p.copy_(tables[name]) if name in tables else None
    if kind == "mixtral":
        theirs.set_experts_implementation("eager")
    return theirs.eval()


def write(hf, kind: str, folder: Path, **changes) -> nn.Module:
    """Write a reference to a folder, and return it."""
    theirs = new(hf, kind, **changes)
    theirs.save_pretrained(folder)
    return theirs


def text(low: int = 3) -> Tensor:
    return torch.randint(low, PAD, (BATCH, LEN))


@torch.no_grad()
def check(kind: str, theirs: nn.Module, ours: nn.Module, atol: float = 1e-9) -> None:
    """Logits of both on a random text, for BERT and Marian with padding."""
    ids = text()
    if kind == "bert":
        ids[0, 4:] = 0
        types = torch.randint(0, 2, ids.shape)
        for given in (None, types):
            expected = theirs(ids, (ids != 0).long(), given).logits
            torch.testing.assert_close(ours(ids, given), expected, rtol=0, atol=atol)
    elif kind == "marian":
        ids[0, 4:], begin = PAD, torch.cat([torch.full((BATCH, 1), PAD), text()], dim=1)
        expected = theirs(ids, (ids != PAD).long(), begin).logits
        torch.testing.assert_close(ours(ids, begin), expected, rtol=0, atol=atol)
    else:
        torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=0, atol=atol)


@in_float64()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
def test_logits_are_those_of_the_reference(hf, exact, tmp_path: Path, kind: str, shards: bool) -> None:
    exact(kind)
    theirs = new(hf, kind)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB" if shards else "1GB")
    assert (len(list(tmp_path.glob("*.safetensors"))) > 2) == shards
    ours = interop.load(tmp_path if shards else str(tmp_path))
    assert not any(part.training for part in ours.modules())
    check(kind, theirs, ours)


@in_float64()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_tied_and_untied(hf, exact, tmp_path: Path, kind: str, tied: bool) -> None:
    exact(kind)
    theirs = write(hf, kind, tmp_path, tie_word_embeddings=tied)
    if kind in ("marian", "bert") and not tied:  # the reference library shares nothing then, whatever it is told
        with torch.no_grad():
            for side in (theirs.model.encoder, theirs.model.decoder) if kind == "marian" else ():
                side.embed_tokens.weight.copy_(theirs.model.shared.weight)
            if kind == "bert":
                theirs.cls.predictions.bias.copy_(theirs.cls.predictions.decoder.bias)
        theirs.save_pretrained(tmp_path)
    ours = interop.load(tmp_path)
    table = ours.tgt_embedding if kind == "marian" else ours.embedding
    assert (ours.output.weight is table.weight) == tied
    check(kind, theirs, ours)


@in_float64()
@pytest.mark.parametrize("kind", DECODERS)
def test_greedy_text_is_that_of_the_reference(hf, tmp_path: Path, kind: str) -> None:
    theirs = write(hf, kind, tmp_path)
    ours, ids = interop.load(tmp_path), torch.cat([text() for _ in range(4)])
    options = dict(max_new_tokens=9, do_sample=False, num_beams=1, pad_token_id=ours.config.pad_id)
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, LEN:]
    answers = complete(ours, ids, max_new_tokens=9)
    assert torch.equal(answers, expected) and len(answers.unique(dim=0)) > 3


@in_float64(seed=1)
def test_greedy_text_of_marian_is_that_of_the_reference(hf, tmp_path: Path) -> None:
    theirs, ids = write(hf, "marian", tmp_path), text()
    options = dict(max_new_tokens=9, do_sample=False, num_beams=1, suppress_tokens=[PAD])
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, 1:]
    assert torch.equal(greedy_decode(interop.load(tmp_path), ids, max_new_tokens=9), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_that_is_stored_is_kept(hf, exact, tmp_path: Path, kind: str) -> None:
    theirs = new(hf, kind).bfloat16()
    theirs.save_pretrained(tmp_path)
    ours = interop.load(tmp_path)
    assert {p.dtype for p in ours.parameters()} == {torch.bfloat16}
    assert all(p.is_contiguous() for p in ours.parameters())
    exact(kind)
    with in_float64():
        if kind == "marian":
            ours.positions.encoding = ours.positions.encoding.double()
            return  # its table of positions is rounded too, in the reference's own way
        if kind in FAMILY:  # whose clocks are made in float32
            fresh = new(hf, kind)
            fresh.load_state_dict(theirs.state_dict())
            theirs = fresh
        check(kind, theirs.double(), ours.double())


# Files that are older, or were written by other programs


@in_float64()
def test_files_of_the_first_gpt2(hf, tmp_path: Path) -> None:
    """They leave the prefix out, and hold the causal mask."""
    theirs = write(hf, "gpt2", tmp_path)
    tensors = {name.removeprefix("transformer."): x for name, x in load_file(tmp_path / "model.safetensors").items()}
    for i in range(LAYERS):
        tensors[f"h.{i}.attn.bias"] = torch.ones(PLACES, PLACES).tril()[None, None]
        tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, tmp_path / "model.safetensors")
    check("gpt2", theirs, interop.load(tmp_path))


@in_float64()
def test_files_of_the_first_bert(hf, tmp_path: Path) -> None:
    """They say gamma and beta, hold the output layer twice, and the parts of another task."""
    theirs = write(hf, "bert", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    for ours, old in {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}.items():
        tensors = {name.replace(ours, old): x for name, x in tensors.items()}
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    tensors["cls.predictions.decoder.bias"] = tensors["cls.predictions.bias"].clone()
    tensors["bert.embeddings.position_ids"] = torch.arange(PLACES)[None]
    tensors |= {"bert.pooler.dense.bias": torch.ones(3), "cls.seq_relationship.weight": torch.ones(2, 3)}
    save_file(tensors, tmp_path / "model.safetensors")
    check("bert", theirs, interop.load(tmp_path))


@in_float64()
@pytest.mark.parametrize("scaling", [None, {"type": "default"}])
def test_files_of_the_first_llama(hf, exact, tmp_path: Path, scaling: dict | None) -> None:
    """The base of the clocks stands beside the sizes, and the clocks among the weights."""
    exact("llama")
    theirs = write(hf, "llama", tmp_path)
    change(tmp_path, {"rope_parameters": None, "rope_theta": 500.0, "rope_scaling": scaling}, {
        f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(5) for i in range(LAYERS)
    })  # fmt: skip
    check("llama", theirs, interop.load(tmp_path))


@in_float64()
def test_a_llama_with_biases_and_without_groups(hf, exact, tmp_path: Path) -> None:
    exact("llama")
    theirs = write(hf, "llama", tmp_path, attention_bias=True, num_key_value_heads=HEADS)
    change(tmp_path, {"num_key_value_heads": None})
    check("llama", theirs, interop.load(tmp_path))


@in_float64()
def test_a_gpt2_whose_inner_width_is_left_to_it(hf, tmp_path: Path) -> None:
    theirs = write(hf, "gpt2", tmp_path, n_inner=None)
    check("gpt2", theirs, interop.load(tmp_path))


@pytest.mark.parametrize(("kind", "name"), [("gpt2", "resid_pdrop"), ("bert", "hidden_dropout_prob")])
def test_the_rate_of_dropout_is_taken(hf, tmp_path: Path, kind: str, name: str) -> None:
    write(hf, kind, tmp_path, **{name: 0.3})
    rates = {part.p for part in interop.load(tmp_path).modules() if isinstance(part, nn.Dropout)}
    assert rates == {0.3}


def change(folder: Path, settings: dict, tensors: dict | None = None) -> None:
    """Change settings and tensors in a folder; what is given as `...` is taken away."""
    config = {**json.loads((folder / "config.json").read_text()), **settings}
    (folder / "config.json").write_text(json.dumps({name: x for name, x in config.items() if x is not ...}))
    found = {**load_file(folder / "model.safetensors"), **(tensors or {})}
    save_file({name: x for name, x in found.items() if x is not ...}, folder / "model.safetensors")


# What does not fit is named


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


LAYER = "transformer.h.1."
FAULTS = [
    ("gpt2", {}, {LAYER + "mlp.c_fc.bias": ...}, 'Missing key(s) in state_dict: "layers.1.feed_forward.fc1.bias"'),
    ("gpt2", {}, {LAYER + "mlp.gate.bias": ones(3)}, 'Unexpected key(s) in state_dict: "layers.1.mlp.gate.bias"'),
    ("gpt2", {}, {LAYER + "attn.c_attn.bias": ones(183)}, "size mismatch for layers.1.self_attn.q_proj.bias"),
    ("gpt2", {}, {"transformer.wte.weight": ...}, '"embedding.weight", "output.weight"'),
    ("gpt2", {}, {"wte.weight": ones(VOCAB, D_MODEL)}, "another tensor, which differs, are both to be embedding.w"),
    ("gpt2", {}, {"lm_head.weight": ones(VOCAB, D_MODEL)}, "the output layer differs from the embedding"),
    ("gpt2", {"n_layer": 1}, {}, 'Unexpected key(s) in state_dict: "layers.1.'),
    ("gpt2", {"n_head": 7}, {}, "d_model (60) must be divisible by n_heads (7)"),
    ("gpt2", {"n_embd": ...}, {}, "lacks 'n_embd'"),
    ("gpt2", {"activation_function": "quick_gelu"}, {}, "activation_function must be one of relu, gelu, "),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, {}, "scale_attn_by_inverse_layer_idx=True has no counterpart"),
    ("gpt2", {"eos_token_id": None}, {}, "eos_token_id=None has no counterpart in this library, only one id"),
    ("gpt2", {"model_type": "gptj"}, {}, "model_type must be one of bert, gpt2, llama, marian, mistral, mixtral, q"),
    ("gpt2", {"model_type": ...}, {}, "got None"),
    ("bert", {}, {"cls.predictions.bias": ...}, 'Missing key(s) in state_dict: "output.bias"'),
    ("bert", {"hidden_act": "tanh"}, {}, "hidden_act must be one of relu"),
    ("bert", {"position_embedding_type": "relative_key"}, {}, "position_embedding_type='relative_key' has no counter"),
    ("bert", {"is_decoder": True}, {}, "is_decoder=True has no counterpart"),
    ("llama", {"rope_parameters": {"rope_type": "llama3"}}, {}, "rotary scaling 'llama3' has no counterpart"),
    ("llama", {"rope_parameters": None, "rope_scaling": {"type": "linear"}}, {}, "rotary scaling 'linear' has no coun"),
    ("llama", {"rope_scaling": {"type": "linear"}}, {}, "rotary scaling 'linear' has no counterpart"),
    ("llama", {"rope_scaling": "strange"}, {}, "rope_scaling='strange' has no counterpart in this library"),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, {}, "'partial_rotary_factor': 0.5"),
    ("llama", {"hidden_act": "gelu"}, {}, "hidden_act='gelu' has no counterpart in this library, only hidden_act='s"),
    ("llama", {"mlp_bias": True}, {}, "mlp_bias=True has no counterpart"),
    ("llama", {"head_dim": 16}, {}, "head_dim=16 has no counterpart"),
    ("llama", {"eos_token_id": [2, 3]}, {}, "eos_token_id=[2, 3] has no counterpart"),
    ("llama", {}, {"model.norm.weight": ...}, 'Missing key(s) in state_dict: "norm.weight"'),
    ("qwen3", {"use_sliding_window": True}, {}, "use_sliding_window=True has no counterpart"),
    ("mixtral", {"num_local_experts": 5}, {}, 'Missing key(s) in state_dict: "layers.0.feed_forward.experts.4.'),
    ("mixtral", {"num_experts_per_tok": 1}, {}, "num_experts_per_tok=1 has no counterpart in this library"),
    ("marian", {"normalize_before": True}, {}, "normalize_before=True has no counterpart"),
    ("marian", {}, {"final_logits_bias": ...}, 'Missing key(s) in state_dict: "output.bias"'),
]


@pytest.mark.parametrize(("kind", "settings", "tensors", "message"), FAULTS, ids=range(len(FAULTS)))
def test_what_does_not_fit_is_named(hf, tmp_path: Path, kind: str, settings: dict, tensors: dict, message: str) -> None:
    write(hf, kind, tmp_path)
    change(tmp_path, {})
    interop.load(tmp_path)  # it is the change that is refused
    change(tmp_path, settings, tensors)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        interop.load(tmp_path)
    assert "\n" not in str(error.value)


def shards(hf, folder: Path) -> list[str]:
    """The names of the files that a model was written to."""
    new(hf, "gpt2").save_pretrained(folder, max_shard_size="40KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return sorted({*index["weight_map"].values()})


def test_files_that_are_missing_or_damaged(hf, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no config.json in .*; give a folder that save_pretrained"):
        interop.load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(FileNotFoundError, match=r"there is neither model.safetensors nor model.safetensors.index.json"):
        interop.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"model.safetensors is damaged, or not what its name says: "):
        interop.load(tmp_path)
    for content, why in (("{", "is damaged, .*: Expecting"), ("[]", "is damaged: it holds nothing by name")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=f"config.json {why}"):
            interop.load(tmp_path)


def test_an_index_and_its_files(hf, tmp_path: Path) -> None:
    files = shards(hf, tmp_path)
    interop.load(tmp_path)
    first, second = (load_file(tmp_path / file) for file in files[:2])
    name, other = min(first), min(second)
    save_file({**second, name: first[name]}, tmp_path / files[1])
    with pytest.raises(ValueError, match=f"{name} stands in {files[1]} and in another file"):
        interop.load(tmp_path)
    save_file({n: x for n, x in second.items() if n != other} | {"none.such": ones(1)}, tmp_path / files[1])
    with pytest.raises(ValueError, match=f"the index in .* and its files differ in {min(other, 'none.such')}"):
        interop.load(tmp_path)
    (tmp_path / files[1]).unlink()
    with pytest.raises(FileNotFoundError, match=f"names {files[1]}, which is not there"):
        interop.load(tmp_path)


def test_bert_refuses_what_it_cannot_read(hf, tmp_path: Path) -> None:
    write(hf, "bert", tmp_path)
    ours = interop.load(tmp_path)
    with pytest.raises(ValueError, match="a text of 18 tokens exceeds the 17 places that the model knows"):
        ours(torch.ones(1, 18, dtype=torch.long))


@pytest.mark.usefixtures("without_shape_checks")
def test_bert_wants_whole_numbers(hf, tmp_path: Path) -> None:
    write(hf, "bert", tmp_path)
    with pytest.raises(ValueError, match="ids must have shape"):
        interop.load(tmp_path)(torch.ones(3, dtype=torch.long))


def test_the_reference_library_is_not_needed(hf, tmp_path: Path) -> None:
    write(hf, "llama", tmp_path)
    code = f"import sys; from transformer_lib import interop; interop.load({str(tmp_path)!r}); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "transformers" not in run.stdout.split() and "transformer_lib" in run.stdout.split()


# Mistakes, each seen by the comparison


def key_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found = _names.split_in_proj(tensors)
    swap = {"q_proj": "k_proj", "k_proj": "q_proj"}
    return {re.sub("[qk]_proj", lambda part: swap[part[0]], name): x for name, x in found.items()}


def gate_and_up_swapped(tensors: dict, names: dict, unused: str = "") -> dict[str, Tensor]:
    return place(tensors, {**names, "gate_proj": "up_proj_", "up_proj": "gate_proj", "up_proj_": "up_proj"}, unused)


place = _names.place
MISTAKES = [
    ("gpt2", _decoders, "split_in_proj", key_first),
    ("gpt2", _decoders, "TRANSPOSED", re.compile(r"\.(c_attn|c_fc)\.weight$|mlp\.c_proj\.weight$")),  # a square one
    ("llama", _decoders, "place", gate_and_up_swapped),
    ("llama", _decoders, "_rotary_base", lambda config: 10000.0),
]


@in_float64()
@pytest.mark.parametrize(("kind", "room", "name", "bug"), MISTAKES, ids=range(len(MISTAKES)))
def test_the_mistake_is_caught(hf, exact, monkeypatch, tmp_path: Path, kind: str, room, name: str, bug) -> None:
    exact(kind)
    theirs = write(hf, kind, tmp_path)
    check(kind, theirs, interop.load(tmp_path))
    monkeypatch.setattr(room, name, bug)
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(kind, theirs, interop.load(tmp_path))


def test_what_is_tied_is_one_matrix_after_a_step(hf, tmp_path: Path) -> None:
    write(hf, "gpt2", tmp_path)
    ours, before = interop.load(tmp_path), interop.load(tmp_path)
    ours(text()).sum().backward()
    with torch.no_grad():
        ours.output.weight -= ours.output.weight.grad
    assert differ(ours.embedding.weight, before.embedding.weight)
    close(ours.embedding.weight, ours.output.weight)
