"""Marian, the paper's architecture in daily use as a translator, turned into our `Transformer`.

Source: Junczys-Dowmunt et al., "Marian: Fast Neural Machine Translation in C++", 2018.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from transformer_lib.config import TransformerConfig
from transformer_lib.interop._names import MARIAN, load, rename
from transformer_lib.interop._source import Settings, read_source, widened
from transformer_lib.positions import sinusoidal_encoding
from transformer_lib.transformer import Transformer

# Modules that read the residual stream (the columns of their weights are its features), and modules that write to it
# (the rows are).
_READERS = {"src_embedding", "tgt_embedding", "q_proj", "k_proj", "v_proj", "fc1", "output"}
_WRITERS = {"out_proj", "fc2", "norm"}


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
        source: the model, or the path of a folder that `save_pretrained` wrote, today or in older versions.

    Returns:
        The model, in evaluation mode, with type and device of the source's tensors.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file is damaged, or a setting or tensor does not fit; the message names it.
    """
    settings, tensors = read_source(source, "marian")
    config, tensors = _config(settings), rename(tensors, MARIAN)
    order = torch.arange(config.d_model).view(2, -1).T.flatten()  # sine of clock 0, its cosine, sine of clock 1, ...
    encoding = _positions(tensors, order, sinusoidal_encoding(config.max_len, config.d_model))
    if "output.bias" in tensors:
        tensors["output.bias"] = tensors["output.bias"].squeeze(0)  # (1, vocab) in Marian
    model = load(Transformer(config), widened(_with_all_ties(tensors, config)))
    if config.tie_embeddings:
        model.output.weight = model.tgt_embedding.weight
    model.positions.encoding = encoding.to(model.output.weight)
    _reorder(model, order.to(model.output.weight.device))
    return model.eval()


def _config(settings: Settings) -> TransformerConfig:
    """Our config of their settings."""
    settings.setdefault("scale_embedding", False)
    settings.require(
        scale_embedding=True,
        decoder_attention_heads=settings["encoder_attention_heads"],  # ours has one number for both
        decoder_ffn_dim=settings["encoder_ffn_dim"],
        normalize_before=False,  # this and the next are in configs of older versions
        normalize_embedding=False,
        add_final_layer_norm=False,
    )
    vocab_size, share_vocab = settings["vocab_size"], settings.get("share_encoder_decoder_embeddings", True)
    return TransformerConfig(
        src_vocab_size=vocab_size,
        tgt_vocab_size=vocab_size if share_vocab else settings.get("decoder_vocab_size") or vocab_size,
        d_model=settings["d_model"],
        n_heads=settings["encoder_attention_heads"],
        n_encoder_layers=settings["encoder_layers"],
        n_decoder_layers=settings["decoder_layers"],
        d_ff=settings["encoder_ffn_dim"],
        max_len=settings["max_position_embeddings"],
        dropout=settings.get("dropout", 0.1),
        share_vocab=share_vocab,
        tie_embeddings=settings.get("tie_word_embeddings", True),
        activation=settings.activation("activation_function", "gelu"),
        pad_id=settings["pad_token_id"],
        bos_id=settings["decoder_start_token_id"],
        eos_id=settings["eos_token_id"],
    )


def _positions(tensors: dict[str, Tensor], order: Tensor, expected: Tensor) -> Tensor:
    """Take the tables of positions out of `tensors`, require that they are the sinusoids, return one in our order."""
    found = [tensors.pop(f"{side}.embed_positions.weight", None) for side in ("encoder", "decoder")]
    tables = [table.cpu() for table in found if table is not None]  # newer files leave them out
    for table in tables:
        worst = (table[:, order] - expected).abs().max().item() if table.shape == expected.shape else math.inf
        if not worst <= max(1e-6, torch.finfo(table.dtype).eps):
            raise ValueError(
                f"embed_positions.weight {tuple(table.shape)} is not the table of sinusoids {tuple(expected.shape)} "
                f"(off by up to {worst:.1e}): Transformer computes its positions and cannot keep others"
            )
    # Without one: the reference library keeps it in float32, whatever the model's type.
    return tables[0][:, order] if tables else expected.float()


def _with_all_ties(tensors: dict[str, Tensor], config: TransformerConfig) -> dict[str, Tensor]:
    """Give each of our names its tensor: what is tied may stand in the source once or several times."""
    src, tgt, output = "src_embedding.weight", "tgt_embedding.weight", "output.weight"
    as_tgt = src if config.share_vocab else tgt
    tied_to = {src: src, tgt: as_tgt, output: as_tgt if config.tie_embeddings else output}
    one = {src: tensors.pop("shared.weight")} if config.share_vocab and "shared.weight" in tensors else {}
    for name in [name for name in tied_to if name in tensors]:
        if not torch.equal(one.setdefault(tied_to[name], tensors[name]).to(tensors[name].device), tensors[name]):
            raise ValueError(f"{name} differs from {tied_to[name]}, to which the config ties it")
    return tensors | {name: one[first] for name, first in tied_to.items() if first in one}


@torch.no_grad()
def _reorder(model: Transformer, order: Tensor) -> None:
    """Put the features of the residual stream into another order, everywhere: the same function.

    What stays inside a module (heads, inner features of the feed-forward network) keeps its order.
    """
    for name, x in model.named_parameters():  # a tied one comes once
        module, kind = name.split(".")[-2:]
        if module in _WRITERS:
            x.copy_(x[order])
        elif module in _READERS and kind == "weight":
            x.copy_(x[:, order])
