"""The layers of GPT-2, BERT and BART, turned into our `Encoder` and `Decoder`.

Their embeddings and heads are not ours (learned positions, token types, a norm after the embedding), so they stay
outside: embed with the reference library, run our layers, get the same hidden states.
Each takes a model of Hugging Face, or the path of the folder in which one was saved; see `from_marian`.
"""

import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from transformer_lib.config import ACTIVATIONS
from transformer_lib.decoder import Decoder
from transformer_lib.encoder import Encoder
from transformer_lib.interop._bart import bart_layers
from transformer_lib.interop._ledger import Ledger, fill
from transformer_lib.interop._source import read_source
from transformer_lib.layers import LayerNorm

# What is not needed for the layers: pattern of names -> why.
_GPT2_PASSED_OVER = {
    r"wte\.weight|wpe\.weight": "embeddings of tokens and positions come before the layers",
    r"lm_head\.weight|score\.weight|classifier\..*|qa_outputs\..*|multiple_choice_head\..*": "heads come after them",
    r"h\.\d+\.attn\.(bias|masked_bias)": "the causal mask and its filling, which old files hold",
}
_BERT_PASSED_OVER = {
    r"embeddings\..*": "embeddings, their norm and old files' position_ids come before the layers",
    r"pooler\..*|cls\..*|classifier\..*|qa_outputs\..*": "poolers and heads come after them",
}
_BART_PASSED_OVER = {
    r"shared\.weight|(encoder|decoder)\.embed_(tokens|positions)\.weight": "embeddings come before the layers",
    r"(encoder|decoder)\.layernorm_embedding\.(weight|bias)": "the norm after the embedding, likewise",
    r"lm_head\.weight|final_logits_bias|classification_head\..*|qa_outputs\..*": "heads come after them",
}


def from_gpt2(source: nn.Module | str | Path) -> Encoder:
    """Turn the layers of GPT-2, up to and including its last norm, into an `Encoder`.

    GPT-2 is a decoder without a source to look at: our encoder's layers, pre-norm, called with `causal_mask`.
    `resid_pdrop` becomes our one rate of dropout.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.

    Example:
        from transformers import GPT2LMHeadModel
        theirs = GPT2LMHeadModel.from_pretrained("gpt2-folder")  # a folder, downloaded before
        x = theirs.transformer.wte(ids) + theirs.transformer.wpe.weight[: ids.size(1)]  # (batch, seq, d_model)
        logits = theirs.lm_head(interop.from_gpt2("gpt2-folder")(x, causal_mask(ids.size(1))))

    Args:
        source: `GPT2Model`, a model with a head around it such as `GPT2LMHeadModel`, or the path of a folder.

    Returns:
        The encoder, in evaluation mode: embedded tokens `(batch, seq, d_model)` to hidden states of that shape.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file, setting or tensor does not fit; the message names it.
    """
    config, tensors = read_source(source, "gpt2")
    config.require("scale_attn_weights", True, default=True)
    config.require("scale_attn_by_inverse_layer_idx", False, default=False)
    config.require("add_cross_attention", False, default=False)
    n_layers, d_model = config.size("n_layer"), config.size("n_embd")
    d_ff = 4 * d_model if config.get("n_inner") is None else config.size("n_inner")
    ledger = Ledger(tensors, "transformer.", _GPT2_PASSED_OVER)
    for i in range(n_layers):
        ours, theirs = f"layers.{i}", f"h.{i}"
        # GPT-2 keeps its matrices the other way round than nn.Linear, and query, key and value in one.
        maps = {
            f"{theirs}.attn.c_attn": ([f"{ours}.self_attn.{part}_proj" for part in "qkv"], d_model, d_model),
            f"{theirs}.attn.c_proj": ([f"{ours}.self_attn.out_proj"], d_model, d_model),
            f"{theirs}.mlp.c_fc": ([f"{ours}.feed_forward.fc1"], d_model, d_ff),
            f"{theirs}.mlp.c_proj": ([f"{ours}.feed_forward.fc2"], d_ff, d_model),
        }
        for name, (parts, d_in, d_out) in maps.items():
            weights = ledger.take(f"{name}.weight", d_in, len(parts) * d_out).T.chunk(len(parts))
            biases = ledger.take(f"{name}.bias", len(parts) * d_out).chunk(len(parts))
            for part, weight, bias in zip(parts, weights, biases, strict=True):
                ledger.state |= {f"{part}.weight": weight, f"{part}.bias": bias}
        ledger.norm(f"{ours}.self_attn_residual.norm", f"{theirs}.ln_1", d_model)
        ledger.norm(f"{ours}.feed_forward_residual.norm", f"{theirs}.ln_2", d_model)
    ledger.norm("norm", "ln_f", d_model)
    state = ledger.close()
    activation = ACTIVATIONS[config.activation("activation_function", "gelu_new")]
    dropout, eps = config.number("resid_pdrop", 0.1), config.number("layer_norm_epsilon", 1e-5)
    encoder = Encoder(n_layers, d_model, config.size("n_head"), d_ff, dropout, norm_first=True, activation=activation)
    return fill(_with_eps(encoder, eps), state)


def from_bert(source: nn.Module | str | Path) -> Encoder:
    """Turn the layers of BERT into an `Encoder`.

    They are the paper's encoder layers, post-norm, with GELU. `hidden_dropout_prob` becomes our one rate of dropout.
    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2019.

    Example:
        from transformers import BertModel
        theirs = BertModel.from_pretrained("bert-folder")  # a folder, downloaded before
        x, mask = theirs.embeddings(ids), padding_mask(ids, theirs.config.pad_token_id)
        hidden = interop.from_bert("bert-folder")(x, mask)  # (batch, seq, d_model)

    Args:
        source: `BertModel`, a model with a head around it such as `BertForMaskedLM`, or the path of a folder.

    Returns:
        The encoder, in evaluation mode: embedded tokens `(batch, seq, d_model)` to hidden states of that shape.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file, setting or tensor does not fit; the message names it.
    """
    config, tensors = read_source(source, "bert")
    config.require("is_decoder", False, default=False)
    config.require("add_cross_attention", False, default=False)
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError(
            f"position_embedding_type ({config.get('position_embedding_type')!r}) has no counterpart in this library, "
            "only 'absolute'"
        )
    n_layers, d_model = config.size("num_hidden_layers"), config.size("hidden_size")
    d_ff = config.size("intermediate_size")
    ledger = Ledger(_new_names(tensors), "bert.", _BERT_PASSED_OVER)
    for i in range(n_layers):
        ours, theirs = f"layers.{i}", f"encoder.layer.{i}"
        for a, b in {"q_proj": "query", "k_proj": "key", "v_proj": "value"}.items():
            ledger.linear(f"{ours}.self_attn.{a}", f"{theirs}.attention.self.{b}", d_model, d_model)
        ledger.linear(f"{ours}.self_attn.out_proj", f"{theirs}.attention.output.dense", d_model, d_model)
        ledger.norm(f"{ours}.self_attn_residual.norm", f"{theirs}.attention.output.LayerNorm", d_model)
        ledger.linear(f"{ours}.feed_forward.fc1", f"{theirs}.intermediate.dense", d_ff, d_model)
        ledger.linear(f"{ours}.feed_forward.fc2", f"{theirs}.output.dense", d_model, d_ff)
        ledger.norm(f"{ours}.feed_forward_residual.norm", f"{theirs}.output.LayerNorm", d_model)
    state = ledger.close()
    activation = ACTIVATIONS[config.activation("hidden_act", "gelu")]
    dropout, eps = config.number("hidden_dropout_prob", 0.1), config.number("layer_norm_eps", 1e-12)
    encoder = Encoder(n_layers, d_model, config.size("num_attention_heads"), d_ff, dropout, activation=activation)
    return fill(_with_eps(encoder, eps), state)


def from_bart(source: nn.Module | str | Path) -> tuple[Encoder, Decoder]:
    """Turn the layers of BART into an `Encoder` and a `Decoder`.

    They are the paper's, post-norm, with GELU. `dropout` becomes our one rate of dropout.
    Source: Lewis et al., "BART: Denoising Sequence-to-Sequence Pre-training", 2020.

    Example:
        from transformers import BartModel
        theirs = BartModel.from_pretrained("bart-folder")  # a folder, downloaded before
        encoder, decoder = interop.from_bart("bart-folder")
        memory = encoder(x, mask)  # x: theirs.encoder's tokens, positions and layernorm_embedding, added up

    Args:
        source: `BartModel`, a model with a head such as `BartForConditionalGeneration`, or the path of a folder.

    Returns:
        Encoder and decoder, in evaluation mode: embedded tokens `(batch, seq, d_model)` to hidden states of that shape.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file, setting or tensor does not fit; the message names it.
    """
    config, tensors = read_source(source, "bart")
    for name in ("normalize_before", "add_final_layer_norm"):  # in configs of older versions
        config.require(name, False, default=False)
    d_model, dropout = config.size("d_model"), config.number("dropout", 0.1)
    activation = ACTIVATIONS[config.activation("activation_function", "gelu")]
    names = ("layers", "attention_heads", "ffn_dim")
    sizes = {side: [config.size(f"{side}_{name}") for name in names] for side in ("encoder", "decoder")}
    ledger = Ledger(tensors, "model.", _BART_PASSED_OVER)
    for side, (n_layers, _, d_ff) in sizes.items():
        bart_layers(ledger, side, n_layers, d_model, d_ff)
    state = ledger.close()
    parts: list[Any] = []
    for kind, (side, (n_layers, n_heads, d_ff)) in zip((Encoder, Decoder), sizes.items(), strict=True):
        part = {name.removeprefix(f"{side}."): x for name, x in state.items() if name.startswith(f"{side}.")}
        parts.append(fill(kind(n_layers, d_model, n_heads, d_ff, dropout, activation=activation), part))
    return parts[0], parts[1]


def _new_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first files of BERT say gamma and beta for the weight and bias of a norm, as TensorFlow does."""
    old = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    renamed = {
        re.sub("|".join(map(re.escape, old)), lambda match: old[match[0]], name): x for name, x in tensors.items()
    }
    if len(renamed) < len(tensors):
        raise ValueError("tensors hold norms under both their old names (gamma, beta) and their new (weight, bias)")
    return renamed


def _with_eps(encoder: Encoder, eps: float) -> Encoder:
    """Replace the `eps` of all norms."""
    for part in encoder.modules():
        if isinstance(part, LayerNorm):
            part.eps = LayerNorm(1, eps).eps  # refuses an eps that is not above 0
    return encoder
