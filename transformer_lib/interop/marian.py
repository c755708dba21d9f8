"""Marian, the paper's architecture in daily use as a translator, turned into our `Transformer`.

Source: Junczys-Dowmunt et al., "Marian: Fast Neural Machine Translation in C++", 2018.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from transformer_lib.config import TransformerConfig
from transformer_lib.interop._bart import bart_layers
from transformer_lib.interop._ledger import Ledger, fill
from transformer_lib.interop._source import SourceConfig, read_source
from transformer_lib.positions import sinusoidal_encoding
from transformer_lib.transformer import Transformer

# Modules that read the residual stream (the columns of their weights are its features), and modules that write to it
# (the rows are).
_READERS = {"src_embedding", "tgt_embedding", "q_proj", "k_proj", "v_proj", "fc1", "output"}
_WRITERS = {"out_proj", "fc2", "norm"}
_SIDES = ("encoder", "decoder")


def from_marian(source: nn.Module | str | Path) -> Transformer:
    """Turn a `MarianMTModel` of Hugging Face into a `Transformer` that computes the same logits.

    Marian writes the sines of a position first and the cosines after them; we write them in turn.
    So the features of the whole model are put into our order: embeddings, norms, and what each linear
    map reads or writes. The function stays the same, and `Transformer.save` keeps it.

    Marian has three rates of dropout, we have one: its `dropout` is taken. In evaluation mode none matters.
    Marian begins every target with its padding token, so `bos_id` is equal to `pad_id`. `greedy_decode` then answers
    like `generate(num_beams=1)`, given that padding is never chosen and no EOS is forced at the end.

    Example:
        from transformers import MarianTokenizer
        from transformer_lib import greedy_decode, interop
        tokenizer = MarianTokenizer.from_pretrained("opus-mt-en-de")  # a folder, downloaded before
        model = interop.from_marian("opus-mt-en-de")
        ids = greedy_decode(model, tokenizer(["Good morning."], return_tensors="pt").input_ids, max_new_tokens=40)
        print(tokenizer.batch_decode(ids, skip_special_tokens=True))

    Args:
        source: the model, or the path of a folder with `config.json` and its weights, as `save_pretrained`
            writes it (safetensors, in one file or several) or as older versions did (`pytorch_model.bin`).

    Returns:
        The model, in evaluation mode, with type and device of the source's tensors.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file is damaged, the model has something that ours has not, or a tensor is
            missing, surplus, of another shape, or unlike the one it should be tied to.
    """
    settings, tensors = read_source(source, "marian")
    config = _config(settings)
    sizes = config.max_len, config.d_model
    ledger = Ledger(tensors, "model.", passed_over={}, beside=("lm_head.weight", "final_logits_bias"))
    _embeddings(ledger, config)
    bart_layers(ledger, "encoder", config.n_encoder_layers, config.d_model, config.d_ff)
    bart_layers(ledger, "decoder", config.n_decoder_layers, config.d_model, config.d_ff)
    names = [name for name in (f"{side}.embed_positions.weight" for side in _SIDES) if ledger.has(name)]
    table = ledger.take_tied(names, *sizes) if names else None  # newer files leave it out
    state = ledger.close()

    order = torch.arange(config.d_model).view(2, -1).T.flatten()  # sine of clock 0, its cosine, sine of clock 1, ...
    encoding = _check_table(table, order, sinusoidal_encoding(*sizes))
    model = fill(Transformer(config), _reordered(state, order))
    model.positions.encoding.copy_(encoding)
    return model


def _config(settings: SourceConfig) -> TransformerConfig:
    """Our config of their settings."""
    settings.require("scale_embedding", True, default=False)
    for name in ("normalize_before", "normalize_embedding", "add_final_layer_norm"):  # in configs of older versions
        settings.require(name, False, default=False)
    vocab_size, share_vocab = settings.size("vocab_size"), settings.get("share_encoder_decoder_embeddings", True)
    separate = not share_vocab and settings.get("decoder_vocab_size") is not None
    return TransformerConfig(
        src_vocab_size=vocab_size,
        tgt_vocab_size=settings.size("decoder_vocab_size") if separate else vocab_size,
        d_model=settings.size("d_model"),
        n_heads=settings.same_size("encoder_attention_heads", "decoder_attention_heads"),
        n_encoder_layers=settings.size("encoder_layers"),
        n_decoder_layers=settings.size("decoder_layers"),
        d_ff=settings.same_size("encoder_ffn_dim", "decoder_ffn_dim"),
        max_len=settings.size("max_position_embeddings"),
        dropout=settings.number("dropout", 0.1),
        share_vocab=share_vocab,
        tie_embeddings=settings.get("tie_word_embeddings", True),
        activation=settings.activation("activation_function", "gelu"),
        pad_id=settings.get("pad_token_id"),
        bos_id=settings.get("decoder_start_token_id"),
        eos_id=settings.get("eos_token_id"),
    )


def _embeddings(ledger: Ledger, config: TransformerConfig) -> None:
    """File the embeddings and the output layer. What is tied may stand in the source once or more often."""
    src, tgt, output = ["encoder.embed_tokens.weight"], ["decoder.embed_tokens.weight"], ["lm_head.weight"]
    if config.tie_embeddings:
        tgt = [*tgt, *output]
    if config.share_vocab:
        src = ["shared.weight", *src, *tgt]
    state, d_model = ledger.state, config.d_model
    state["src_embedding.weight"] = ledger.take_tied(src, config.src_vocab_size, d_model)
    state["tgt_embedding.weight"] = (
        state["src_embedding.weight"] if config.share_vocab else ledger.take_tied(tgt, config.tgt_vocab_size, d_model)
    )
    state["output.weight"] = (
        state["tgt_embedding.weight"]
        if config.tie_embeddings
        else ledger.take_tied(output, config.tgt_vocab_size, d_model)
    )
    state["output.bias"] = ledger.take("final_logits_bias", 1, config.tgt_vocab_size)[0]


def _check_table(table: Tensor | None, order: Tensor, expected: Tensor) -> Tensor:
    """Require that a table of positions holds the sinusoids; return it in our order."""
    if table is None:
        return expected.float()  # which is how the reference library keeps it, whatever the model's type
    table = table.index_select(1, order.to(table.device))
    worst = (table - expected.to(table.device)).abs().max().item()
    if not worst <= max(1e-6, torch.finfo(table.dtype).eps):
        raise ValueError(
            f"embed_positions.weight is not the table of sinusoids (off by up to {worst:.1e}): "
            "Transformer computes its positions and cannot keep others"
        )
    return table


def _reordered(state: dict[str, Tensor], order: Tensor) -> dict[str, Tensor]:
    """Put the features of the residual stream into another order, everywhere: the same function.

    What stays inside a module (heads, inner features of the feed-forward network) keeps its order.
    """
    changed = {}
    for name, x in state.items():
        module, kind = name.split(".")[-2:]
        if module in _WRITERS:
            x = x.index_select(0, order.to(x.device))
        elif module in _READERS and kind == "weight":
            x = x.index_select(1, order.to(x.device))
        changed[name] = x
    return changed
