"""Marian, the paper's architecture in daily use as a translator, turned into our `Transformer`.

Source: Junczys-Dowmunt et al., "Marian: Fast Neural Machine Translation in C++", 2018.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib.config import TransformerConfig
from transformer_lib.interop._names import MARIAN, load, rename
from transformer_lib.interop._source import activation, read_source, require
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
        FileNotFoundError: if a file is not there; the message names it.
        ValueError: if a file is damaged, or a setting, or a tensor beside the weights, does not fit; it is named.
        RuntimeError: if a weight does not fit; torch names it.
    """
    return build_marian(*read_source(source, "marian"))


def build_marian(settings: dict[str, Any], tensors: dict[str, Tensor]) -> Transformer:
    """A `Transformer` of the settings and tensors of a `MarianMTModel`."""
    config, tensors = _config(settings), rename(tensors, MARIAN)
    order = torch.arange(config.d_model).view(2, -1).T.flatten()  # sine of clock 0, its cosine, sine of clock 1, ...
    encoding = sinusoidal_encoding(config.max_len, config.d_model).float()  # as the reference library keeps it
    _take_positions(tensors, order, encoding)
    if "output.bias" in tensors:
        tensors["output.bias"] = tensors["output.bias"].squeeze(0)  # (1, vocab) in Marian
    _tie(tensors, config)
    model = load(Transformer(config), tensors)
    if config.tie_embeddings:
        model.output.weight = model.tgt_embedding.weight
    model.positions.encoding = encoding.to(model.output.weight)
    _reorder(model, order)
    return model.eval()


def _config(settings: dict[str, Any]) -> TransformerConfig:
    """Our config of their settings."""
    require(
        {"scale_embedding": False} | settings,
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
        activation=activation(settings, "activation_function", "gelu"),
        pad_id=settings["pad_token_id"],
        bos_id=settings["decoder_start_token_id"],
        eos_id=settings["eos_token_id"],
    )


def _take_positions(tensors: dict[str, Tensor], order: Tensor, expected: Tensor) -> None:
    """Take the tables of positions out of `tensors`, which newer files leave out; they must be the sinusoids."""
    for name in [name for name in tensors if name.endswith("embed_positions.weight")]:
        table = tensors.pop(name)
        slack = max(1e-6, torch.finfo(table.dtype).eps)
        if table.shape != expected.shape or not torch.allclose(table[:, order].cpu().float(), expected, atol=slack):
            raise ValueError(
                f"{name} {tuple(table.shape)} is not the table of sinusoids {tuple(expected.shape)}: "
                "Transformer computes its positions and cannot keep others"
            )


def _tie(tensors: dict[str, Tensor], config: TransformerConfig) -> None:
    """Give each of our names its tensor: what is tied may stand in the source once or several times."""
    src, tgt, output = "src_embedding.weight", "tgt_embedding.weight", "output.weight"
    for name, first, tied in ((tgt, src, config.share_vocab), (output, tgt, config.tie_embeddings)):
        if tied and first in tensors and not torch.equal(tensors.setdefault(name, tensors[first]), tensors[first]):
            raise ValueError(f"{name} differs from {first}, to which the config ties it")


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
