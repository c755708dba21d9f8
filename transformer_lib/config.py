"""`TransformerConfig`: every size and choice of a `Transformer`, in one frozen record (chapter 9)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from transformer_lib._checks import check_share, check_whole, shown

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "gelu_tanh": nn.GELU(approximate="tanh"), "silu": F.silu}


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """All sizes and choices of a `Transformer`.

    The defaults are a small model; the paper's base is
    `d_model=512, n_heads=8, n_encoder_layers=6, n_decoder_layers=6, d_ff=2048`.

    Args:
        src_vocab_size: tokens of the source language.
        tgt_vocab_size: tokens of the target language.
        d_model: width of the tokens.
        n_heads: attention heads; must divide `d_model`.
        n_encoder_layers: layers of the encoder.
        n_decoder_layers: layers of the decoder.
        d_ff: inner width of the feed-forward networks.
        max_len: longest source or target, in tokens.
        dropout: share dropped in training, everywhere.
        norm_first: `True` for pre-norm, `False` for the paper's post-norm.
        tie_embeddings: use the target embedding as output layer too (paper, section 3.4).
        share_vocab: source and target are one vocabulary and one embedding, as in the paper.
        activation: one of `relu`, `gelu`, `gelu_tanh`, `silu`.
        pad_id: id of the padding token.
        bos_id: id that begins every target; may be `pad_id`.
        eos_id: id that ends every target.

    Raises:
        ValueError: if a value does not fit; the message names it.
    """

    src_vocab_size: int
    tgt_vocab_size: int
    d_model: int = 64
    n_heads: int = 4
    n_encoder_layers: int = 2
    n_decoder_layers: int = 2
    d_ff: int = 256
    max_len: int = 64
    dropout: float = 0.1
    norm_first: bool = False
    tie_embeddings: bool = False
    share_vocab: bool = False
    activation: str = "relu"
    pad_id: int = 0
    bos_id: int = 1
    eos_id: int = 2

    def __post_init__(self) -> None:
        sizes = ("src_vocab_size", "tgt_vocab_size", "d_model", "n_heads", "n_encoder_layers", "n_decoder_layers")
        check_whole(1, **{name: getattr(self, name) for name in (*sizes, "d_ff", "max_len")})
        check_share(dropout=self.dropout)
        if self.d_model % self.n_heads != 0:
            raise ValueError(f"d_model ({self.d_model}) must be divisible by n_heads ({self.n_heads})")
        if self.d_model % 2 != 0:
            raise ValueError(f"sinusoidal encoding needs an even d_model, got {self.d_model}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {shown(self.activation)}")
        for name in ("norm_first", "tie_embeddings", "share_vocab"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {shown(getattr(self, name))}")
        if self.share_vocab and self.src_vocab_size != self.tgt_vocab_size:
            found = f"{self.src_vocab_size} and {self.tgt_vocab_size}"
            raise ValueError(f"share_vocab needs src_vocab_size == tgt_vocab_size, got {found}")
        specials = {"pad_id": self.pad_id, "bos_id": self.bos_id, "eos_id": self.eos_id}
        check_whole(0, **specials)
        for name, i in specials.items():
            if i >= self.tgt_vocab_size:
                raise ValueError(f"{name} ({i}) is outside the target vocabulary of {self.tgt_vocab_size} tokens")
        if self.pad_id >= self.src_vocab_size:
            raise ValueError(f"pad_id ({self.pad_id}) is outside the source vocabulary of {self.src_vocab_size} tokens")
        # BOS may be the padding token, as in Marian and T5: it is only ever the first token of a target, which is
        # neither predicted nor hidden by a mask. EOS is predicted, so it must be a token of its own.
        if self.eos_id in (self.pad_id, self.bos_id):
            raise ValueError(f"eos_id must differ from pad_id and bos_id, got {specials}")
