"""The finished parts of *The Transformer, Piece by Piece*, one concept a file, in the order of the chapters."""

from transformer_lib.attention import (
    MultiHeadAttention,
    SimpleSelfAttention,
    record_attention,
    scaled_dot_product_attention,
)
from transformer_lib.averaging import average_weights
from transformer_lib.batching import Batch, TokenBatches, pad_sequences
from transformer_lib.beam import Hypotheses, beam_hypotheses, beam_search, gnmt_penalty
from transformer_lib.cache import DecoderCache, KVCache, MemoryCache
from transformer_lib.config import TransformerConfig
from transformer_lib.data.vocabulary import Vocabulary
from transformer_lib.decoder import Decoder, DecoderLayer
from transformer_lib.decoding import exact_match, greedy_decode, next_log_probs, translate_ids
from transformer_lib.encoder import Encoder, EncoderLayer
from transformer_lib.evaluation import Evaluation, evaluate, evaluating
from transformer_lib.fast import FastTransformer, Rows, packed_attention
from transformer_lib.layers import FeedForward, LayerNorm, SublayerConnection, TokenEmbedding, layer_norm
from transformer_lib.loss import smoothed_targets, token_loss
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.positions import PositionalEncoding, sinusoidal_encoding
from transformer_lib.sampling import keep_top_k, keep_top_p, sample_decode
from transformer_lib.schedules import cosine_rate, inverse_sqrt_rate, noam_rate
from transformer_lib.training import Trainer
from transformer_lib.transformer import Transformer

__all__ = [
    "Batch",
    "Decoder",
    "DecoderCache",
    "DecoderLayer",
    "Encoder",
    "EncoderLayer",
    "Evaluation",
    "FastTransformer",
    "FeedForward",
    "Hypotheses",
    "KVCache",
    "LayerNorm",
    "MemoryCache",
    "MultiHeadAttention",
    "PositionalEncoding",
    "Rows",
    "SimpleSelfAttention",
    "SublayerConnection",
    "TokenBatches",
    "TokenEmbedding",
    "Trainer",
    "Transformer",
    "TransformerConfig",
    "Vocabulary",
    "average_weights",
    "beam_hypotheses",
    "beam_search",
    "causal_mask",
    "cosine_rate",
    "evaluate",
    "evaluating",
    "exact_match",
    "gnmt_penalty",
    "greedy_decode",
    "inverse_sqrt_rate",
    "keep_top_k",
    "keep_top_p",
    "layer_norm",
    "next_log_probs",
    "noam_rate",
    "packed_attention",
    "pad_sequences",
    "padding_mask",
    "record_attention",
    "sample_decode",
    "scaled_dot_product_attention",
    "sinusoidal_encoding",
    "smoothed_targets",
    "token_loss",
    "translate_ids",
]
