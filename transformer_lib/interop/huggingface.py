"""The layers of GPT-2, BERT and BART, turned into our `Encoder` and `Decoder`.

Their embeddings and heads are not ours (learned positions, token types, a norm after the embedding), so they stay
outside: embed with the reference library, run our layers, get the same hidden states.
Each takes a model of Hugging Face, bare or with a head, or the path of the folder in which one was saved, and refuses
what `from_marian` does. What it returns is in evaluation mode, from embedded tokens `(batch, seq, d_model)` to hidden
states of that shape.
"""

from pathlib import Path
from typing import Any

from torch import nn

from transformer_lib.config import ACTIVATIONS
from transformer_lib.decoder import Decoder
from transformer_lib.encoder import Encoder
from transformer_lib.interop._names import BART, BERT, GPT2, load, rename, set_eps, split_in_proj
from transformer_lib.interop._source import activation, read_source, require

# Patterns of the tensors that do not belong to the layers: embeddings before them, poolers and heads after them.
_GPT2_UNUSED = (
    r"(transformer\.)?w[tp]e\.weight|(lm_head|score|classifier|qa_outputs|multiple_choice_head)\..*"
    r"|(transformer\.)?h\.\d+\.attn\.(masked_)?bias"  # the causal mask and its filling, which old files hold
)
_BERT_UNUSED = r"(bert\.)?(embeddings|pooler)\..*|(cls|classifier|qa_outputs)\..*"
_BART_UNUSED = (
    r"(model\.)?(shared|(encoder|decoder)\.(embed_tokens|embed_positions|layernorm_embedding))\..*"
    r"|lm_head\.weight|final_logits_bias|(classification_head|qa_outputs)\..*"
)


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
    """
    config, tensors = read_source(source, "gpt2", _GPT2_UNUSED)
    require(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    sizes = config["n_layer"], config["n_embd"], config["n_head"], config.get("n_inner") or 4 * config["n_embd"]
    bend = ACTIVATIONS[activation(config, "activation_function", "gelu_new")]
    encoder = Encoder(*sizes, config.get("resid_pdrop", 0.1), norm_first=True, activation=bend)
    # GPT-2 keeps its matrices the other way round than nn.Linear.
    tensors = {name: x.T if x.dim() == 2 else x for name, x in tensors.items()}
    set_eps(encoder, config.get("layer_norm_epsilon", 1e-5))
    return load(encoder, split_in_proj(rename(tensors, GPT2))).eval()


def from_bert(source: nn.Module | str | Path) -> Encoder:
    """Turn the layers of BERT into an `Encoder`.

    They are the paper's encoder layers, post-norm, with GELU. `hidden_dropout_prob` becomes our one rate of dropout.
    Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", 2019.

    Example:
        from transformers import BertModel
        theirs = BertModel.from_pretrained("bert-folder")  # a folder, downloaded before
        x, mask = theirs.embeddings(ids), padding_mask(ids, theirs.config.pad_token_id)
        hidden = interop.from_bert("bert-folder")(x, mask)  # (batch, seq, d_model)
    """
    config, tensors = read_source(source, "bert", _BERT_UNUSED)
    require(config, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")
    sizes = [config[n] for n in ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")]
    bend = ACTIVATIONS[activation(config, "hidden_act", "gelu")]
    encoder = Encoder(*sizes, config.get("hidden_dropout_prob", 0.1), activation=bend)
    set_eps(encoder, config.get("layer_norm_eps", 1e-12))
    return load(encoder, rename(tensors, BERT)).eval()


def from_bart(source: nn.Module | str | Path) -> tuple[Encoder, Decoder]:
    """Turn the layers of BART into an `Encoder` and a `Decoder`.

    They are the paper's, post-norm, with GELU. `dropout` becomes our one rate of dropout.
    Source: Lewis et al., "BART: Denoising Sequence-to-Sequence Pre-training", 2020.

    Example:
        from transformers import BartModel
        theirs = BartModel.from_pretrained("bart-folder")  # a folder, downloaded before
        encoder, decoder = interop.from_bart("bart-folder")
        memory = encoder(x, mask)  # x: theirs.encoder's tokens, positions and layernorm_embedding, added up
    """
    config, tensors = read_source(source, "bart", _BART_UNUSED)
    require(config, normalize_before=False, add_final_layer_norm=False)  # in configs of older versions
    bend = ACTIVATIONS[activation(config, "activation_function", "gelu")]
    parts: Any = nn.ModuleDict()
    for side, kind in (("encoder", Encoder), ("decoder", Decoder)):
        sizes = [config[n] for n in (f"{side}_layers", "d_model", f"{side}_attention_heads", f"{side}_ffn_dim")]
        parts[side] = kind(*sizes, config.get("dropout", 0.1), activation=bend)
    load(parts, rename(tensors, BART)).eval()
    return parts["encoder"], parts["decoder"]
