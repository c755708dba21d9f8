"""The same numbers sooner (chapter 14): nothing is computed for padding, and little else twice."""

from transformer_lib.fast.attention import FastAttention, PackedMask, Rows, packed_attention
from transformer_lib.fast.model import FastTransformer

__all__ = ["FastAttention", "FastTransformer", "PackedMask", "Rows", "packed_attention"]
