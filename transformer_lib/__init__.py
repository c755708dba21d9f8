"""The finished parts of *The Transformer, Piece by Piece*, in the order of the book.

The model, how it learns and how it speaks are loaded at once. Every other part is a wing of its own, loaded when it is
used: `data`, `fast`, `modern`, `distributed`, `recipes`, `interop`, `laws`, `notebook` (see README.md).
"""

# ruff: noqa: I001 (imports stand in the order of the book)

import importlib
from typing import TYPE_CHECKING, Any

# Chapters 1 and 3: attention. Chapter 2: masks. Chapter 4: positions. Chapters 5 and 6: the parts around attention.
from transformer_lib.attention import (
    MultiHeadAttention,
    SimpleSelfAttention,
    record_attention,
    scaled_dot_product_attention,
)
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.positions import PositionalEncoding, sinusoidal_encoding
from transformer_lib.layers import FeedForward, LayerNorm, SublayerConnection, TokenEmbedding, layer_norm

# Chapters 7 to 9: the whole model. Chapter 11 speeds it up by caches.
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.cache import DecoderCache, KVCache, MemoryCache
from transformer_lib.config import TransformerConfig
from transformer_lib.transformer import Transformer, evaluating

# Chapter 10: how it learns.
from transformer_lib.data.batches import Batch, TokenBatches, pad_sequences
from transformer_lib.data.vocabulary import Vocabulary
from transformer_lib.loss import Evaluation, evaluate, smoothed_targets, token_loss
from transformer_lib.schedules import cosine_rate, inverse_sqrt_rate, noam_rate
from transformer_lib.training import Trainer

# Chapters 10 and 11: how it speaks.
from transformer_lib.decoding import exact_match, greedy_decode, next_log_probs, translate_ids
from transformer_lib.sampling import draw_tokens, keep_top_k, keep_top_p, sample_decode
from transformer_lib.beam import Hypotheses, beam_hypotheses, beam_search, gnmt_penalty
from transformer_lib.beam import beam_is_over, beam_step, rank_hypotheses

# What lives in a wing and is known by a short name too: chapters 12 and 14.
IN_WINGS = {"average_weights": "recipes", "FastTransformer": "fast", "Rows": "fast", "packed_attention": "fast"}
if TYPE_CHECKING:
    from transformer_lib.fast import FastTransformer, Rows, packed_attention
    from transformer_lib.recipes import average_weights


def __getattr__(name: str) -> Any:
    """Load a wing when one of its names is first asked for."""
    if name in IN_WINGS:
        return getattr(importlib.import_module(f"transformer_lib.{IN_WINGS[name]}"), name)
    raise AttributeError(f"module 'transformer_lib' has no attribute {name!r}")


# fmt: off
__all__ = [
    "Batch", "Decoder", "DecoderCache", "DecoderLayer", "Encoder", "EncoderLayer", "Evaluation", "FastTransformer",
    "FeedForward", "Hypotheses", "KVCache", "LayerNorm", "MemoryCache", "MultiHeadAttention", "PositionalEncoding",
    "Rows", "SimpleSelfAttention", "SublayerConnection", "TokenBatches", "TokenEmbedding", "Trainer", "Transformer",
    "TransformerConfig", "Vocabulary", "average_weights", "beam_hypotheses", "beam_is_over", "beam_search", "beam_step",
    "causal_mask", "cosine_rate", "draw_tokens", "evaluate", "evaluating", "exact_match", "gnmt_penalty",
    "greedy_decode", "inverse_sqrt_rate", "keep_top_k", "keep_top_p", "layer_norm", "next_log_probs", "noam_rate",
    "packed_attention", "pad_sequences", "padding_mask", "rank_hypotheses", "record_attention", "sample_decode",
    "scaled_dot_product_attention", "sinusoidal_encoding", "smoothed_targets", "token_loss", "translate_ids",
]
