"""Doors to other libraries: their modules turned into ours, and ours into theirs, computing the same function."""

from transformer_lib.interop.huggingface import from_bart, from_bert, from_gpt2
from transformer_lib.interop.marian import from_marian
from transformer_lib.interop.torch_in import from_torch
from transformer_lib.interop.torch_out import to_torch

__all__ = ["from_bart", "from_bert", "from_gpt2", "from_marian", "from_torch", "to_torch"]
