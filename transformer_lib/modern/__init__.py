"""What came after 2017 (chapters 16 to 18): today's parts, a decoder-only language model of them, adapters."""

from transformer_lib.modern.adapters import LoRA, add_lora, merge_lora
from transformer_lib.modern.attention import GroupedQueryAttention, RollingCache
from transformer_lib.modern.experts import MixtureOfExperts, Router, Routing, load_balance, record_routing
from transformer_lib.modern.families import LanguageModel, MaskedModel, sample_text
from transformer_lib.modern.layers import RMSNorm, SwiGLU, rms_norm
from transformer_lib.modern.model import DecoderBlock, DecoderConfig, DecoderModel
from transformer_lib.modern.positions import alibi_bias, rotate, window_mask
from transformer_lib.modern.writing import complete

__all__ = [
    "DecoderBlock",
    "DecoderConfig",
    "DecoderModel",
    "GroupedQueryAttention",
    "LanguageModel",
    "LoRA",
    "MaskedModel",
    "MixtureOfExperts",
    "RMSNorm",
    "RollingCache",
    "Router",
    "Routing",
    "SwiGLU",
    "add_lora",
    "alibi_bias",
    "complete",
    "load_balance",
    "merge_lora",
    "record_routing",
    "rms_norm",
    "rotate",
    "sample_text",
    "window_mask",
]
