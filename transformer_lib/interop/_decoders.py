"""GPT-2 and the family of Llama as a `DecoderModel`: which setting is which, which tensor is which."""

import re
from typing import Any

import torch
from torch import Tensor

from transformer_lib.interop._names import GPT2_WHOLE, LLAMA, fill, place, split_in_proj
from transformer_lib.interop._source import activation, require
from transformer_lib.modern import DecoderConfig, DecoderModel

# What old files hold beside the weights: the causal mask and its filling, the clocks.
MASK, CLOCKS = r"(transformer\.)?h\.\d+\.attn\.(masked_)?bias", r"model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc)\.weight$")


def build_gpt2(config: dict[str, Any], tensors: dict[str, Tensor]) -> DecoderModel:
    """GPT-2: 2017's norm, biases and feed-forward network before the sum, learned positions, one table for both ends.

    Its matrices lie the other way round than those of `nn.Linear`, and query, key and value are one matrix.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """
    require(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    d_model, heads = config["n_embd"], config["n_head"]
    ours: dict[str, Any] = dict(d_model=d_model, n_heads=heads, n_kv_heads=heads, n_layers=config["n_layer"])
    ours |= dict(d_ff=config.get("n_inner") or 4 * d_model, max_len=config["n_positions"])
    ours |= dict(norm="layer", eps=config.get("layer_norm_epsilon", 1e-5), positions="learned", bias=True)
    ours |= dict(feed_forward=activation(config, "activation_function", "gelu_new"))
    ours |= dict(dropout=config.get("resid_pdrop", 0.1))
    tensors = {name: x.T if TRANSPOSED.search(name) else x for name, x in tensors.items()}
    return _made(config, ours, split_in_proj(place(tensors, GPT2_WHOLE, MASK)), tied=True)


def build_llama(config: dict[str, Any], tensors: dict[str, Tensor]) -> DecoderModel:
    """Llama, Mistral, Mixtral and Qwen3: the defaults of `DecoderConfig`, with what each adds.

    Source: Touvron et al., "LLaMA", 2023; Jiang et al., "Mistral 7B", 2023; Jiang et al., "Mixtral of Experts", 2024.
    """
    require(config, hidden_act="silu", mlp_bias=False, use_sliding_window=False)
    d_model, heads, kind = config["hidden_size"], config["num_attention_heads"], config["model_type"]
    if (d_head := config.get("head_dim")) not in (None, d_model / heads):
        raise ValueError(f"head_dim={d_head} has no counterpart in this library, only hidden_size / heads")
    ours: dict[str, Any] = dict(d_model=d_model, n_heads=heads, n_layers=config["num_hidden_layers"])
    ours |= dict(n_kv_heads=config.get("num_key_value_heads") or heads, d_ff=config["intermediate_size"])
    ours |= dict(rotary_base=_rotary_base(config), bias=config.get("attention_bias", False), qk_norm=kind == "qwen3")
    ours |= dict(max_len=config["max_position_embeddings"], eps=config["rms_norm_eps"])
    if kind in ("mistral", "mixtral"):
        ours |= dict(window=config.get("sliding_window"))
    if kind == "mixtral":
        ours |= dict(n_experts=config["num_local_experts"], top_k=config["num_experts_per_tok"])
        if ours["top_k"] == 1:
            raise ValueError("num_experts_per_tok=1 has no counterpart in this library, only 2 and more")
    return _made(config, ours, place(tensors, LLAMA, CLOCKS), tied=False)


def _rotary_base(config: dict[str, Any]) -> float:
    """The base of the clocks, wherever it stands; a scaling of the angles is refused."""
    told: dict[str, Any] = {}
    for field in ("rope_scaling", "rope_parameters"):  # some files have both
        settings = config.get(field) or {}
        if not isinstance(settings, dict):
            raise ValueError(f"{field}={settings!r} has no counterpart in this library, only settings by name")
        scaling = settings.get("rope_type", settings.get("type", "default"))
        if scaling != "default" or settings.get("partial_rotary_factor", 1.0) != 1.0:
            raise ValueError(
                f"rotary scaling {scaling!r} has no counterpart in this library, only 'default': {settings}"
            )
        told |= settings
    return float(told.get("rope_theta", config.get("rope_theta", 10000.0)))


def _made(config: dict[str, Any], ours: dict[str, Any], tensors: dict[str, Tensor], tied: bool) -> DecoderModel:
    """The model, with tensors that bear our names; `tied` if the config does not say. Where nothing pads, EOS does."""
    eos, pad, tied = config["eos_token_id"], config.get("pad_token_id"), config.get("tie_word_embeddings", tied)
    if not isinstance(eos, int):
        raise ValueError(f"eos_token_id={eos!r} has no counterpart in this library, only one id")
    ends = dict(eos_id=eos, pad_id=eos if pad is None else pad)
    with torch.device("meta"):
        model = DecoderModel(
            DecoderConfig(vocab_size=config["vocab_size"], tie_embeddings=tied, **ours, **ends)  # type: ignore[arg-type]
        )
    return fill(model, tensors, tied)
