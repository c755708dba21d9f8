"""Today's parts beside those of Hugging Face: random weights, float64, the same numbers to 1e-9; and the whole a Llama.

The references fall back to float32 in norms, angles and routers, whatever the model's type. `exact` puts float64 there,
and changes nothing else; that the unchanged reference agrees to the digits of float32 is asked too.
"""

import importlib

import pytest
import torch
from helpers import BATCH, in_float64, redraw
from torch import Tensor, nn

from transformer_lib.interop._names import rename
from transformer_lib.modern import DecoderConfig, DecoderModel, alibi_bias, complete, load_balance, record_routing

pytestmark = pytest.mark.hf

VOCAB, HEADS, GROUPS, D_HEAD, D_FF, LAYERS, LEN = 41, 6, 2, 10, 29, 3, 13
LLAMA = {
    r"^model\.": "",
    "embed_tokens": "embedding",
    r"self_attn\.o_proj": "self_attn.out_proj",
    "mlp": "feed_forward",
    "input_layernorm": "self_attn_norm",
    "post_attention_layernorm": "feed_forward_norm",
    "lm_head": "output",
    r"feed_forward\.gate\.weight": "feed_forward.router.gate.weight",
}


class Exact:
    """torch, in which float32 means float64."""

    float32 = float = torch.float64

    def __getattr__(self, name: str):
        return getattr(torch, name)


@pytest.fixture
def hf(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import transformers

    return transformers


def exact(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    room = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    monkeypatch.setattr(room, "torch", Exact())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


# Kind: what its config has beside the sizes, and what ours has.
KINDS: dict[str, tuple[dict, dict]] = {
    "llama": ({"attention_bias": False}, {}),
    "mistral": ({"sliding_window": 4}, {"window": 4}),
    "qwen3": ({}, {"qk_norm": True}),
    "mixtral": (
        {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
        {"n_experts": 4, "top_k": 2},
    ),
}


def pair(hf, kind: str, **changes) -> tuple[nn.Module, DecoderModel]:
    """A model of the reference with redrawn weights, and ours with the same."""
    theirs, ours = KINDS[kind]
    name = kind.capitalize()
    config = getattr(hf, f"{name}Config")(
        vocab_size=VOCAB, hidden_size=HEADS * D_HEAD, intermediate_size=D_FF, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=GROUPS, head_dim=D_HEAD, max_position_embeddings=64,
        rms_norm_eps=1e-3, rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        pad_token_id=0, bos_token_id=1, eos_token_id=2,
        tie_word_embeddings=changes.get("tie_embeddings", False), **theirs,
    )  # fmt: skip
    reference = redraw(getattr(hf, f"{name}ForCausalLM")(config)).double().eval()
    if kind == "mixtral":
        reference.set_experts_implementation("eager")  # the other one has no float64
    for key, p in reference.named_parameters():
        if "norm" in key:
            p.data.add_(1.0)
    sizes = dict(vocab_size=VOCAB, d_model=HEADS * D_HEAD, n_heads=HEADS, n_kv_heads=GROUPS, n_layers=LAYERS, d_ff=D_FF)
    model = DecoderModel(DecoderConfig(**sizes, rotary_base=500.0, eps=1e-3, **ours, **changes)).eval()
    state = rename(reference.state_dict(), LLAMA)
    for key in [key for key in state if ".experts." in key]:  # they keep all experts in one tensor
        for i, x in enumerate(state.pop(key)):
            begin, kind_of = key.rsplit(".", 1)
            if kind_of == "gate_up_proj":
                state[f"{begin}.{i}.gate_proj.weight"], state[f"{begin}.{i}.up_proj.weight"] = x.chunk(2)
            else:
                state[f"{begin}.{i}.down_proj.weight"] = x
    model.load_state_dict(state)
    return reference, model


def text(seq: int = LEN) -> Tensor:
    return torch.randint(3, VOCAB, (BATCH, seq))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_logits_and_greedy_text_are_those_of_the_reference(hf, monkeypatch, kind: str) -> None:
    with in_float64():
        (reference, model), ids = pair(hf, kind), text()
        torch.testing.assert_close(model(ids), reference(ids).logits, rtol=0, atol=1e-4)
        options = dict(max_new_tokens=12, do_sample=False, num_beams=1, suppress_tokens=[0])
        expected = reference.generate(ids, attention_mask=torch.ones_like(ids), **options)[:, LEN:]
        assert torch.equal(complete(model, ids, max_new_tokens=12), expected)
        exact(monkeypatch, kind)
        reference, model = pair(hf, kind)
        torch.testing.assert_close(model(ids), reference(ids).logits, rtol=0, atol=1e-9)


@torch.no_grad()
def test_each_layer_is_that_of_the_reference(hf, monkeypatch) -> None:
    with in_float64():
        exact(monkeypatch, "llama")
        reference, model = pair(hf, "llama")
        ids, seen = text(), {}
        for side, whole in (("theirs", reference.model), ("ours", model)):
            for i, layer in enumerate(whole.layers):
                for part in (layer, layer.self_attn, layer.mlp if side == "theirs" else layer.feed_forward):
                    key = (side, i, len([k for k in seen if k[:2] == (side, i)]))
                    seen[key] = None
                    part.register_forward_hook(lambda m, a, out, key=key: seen.update({key: out}))
        reference(ids), model(ids)
        for (side, i, j), out in seen.items():
            if side == "theirs":
                out = out[0] if isinstance(out, tuple) else out
                torch.testing.assert_close(seen["ours", i, j], out, rtol=0, atol=1e-9)


@torch.no_grad()
def test_a_tied_model_is_tied(hf, monkeypatch) -> None:
    with in_float64():
        exact(monkeypatch, "llama")
        reference, model = pair(hf, "llama", tie_embeddings=True)
        assert model.embedding.weight is model.output.weight
        ids = text()
        torch.testing.assert_close(model(ids), reference(ids).logits, rtol=0, atol=1e-9)


@torch.no_grad()
def test_the_balance_is_that_of_mixtral(hf, monkeypatch) -> None:
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    with in_float64():
        exact(monkeypatch, "mixtral")
        reference, model = pair(hf, "mixtral")
        ids = text()
        with record_routing(model) as found:
            model(ids)
        logits = reference(ids, output_router_logits=True).router_logits
        expected = load_balancing_loss_func(logits, 4, 2)
        torch.testing.assert_close(load_balance(*found.values()), expected.double(), rtol=0, atol=1e-9)


def test_the_bias_is_that_of_bloom_but_for_what_softmax_does_not_see(hf) -> None:
    """Bloom's has the place of the key alone: in every row the two differ by one number."""
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    for heads in (4, 8):
        theirs = build_alibi_tensor(torch.ones(1, LEN), heads, torch.float32).view(heads, 1, LEN)
        gap = (theirs - alibi_bias(heads, LEN)).masked_fill(~torch.ones(LEN, LEN, dtype=torch.bool).tril(), torch.nan)
        spread = gap.nan_to_num(nan=-1e9).amax(-1) - gap.nan_to_num(nan=1e9).amin(-1)
        assert spread.abs().max() < 1e-5
