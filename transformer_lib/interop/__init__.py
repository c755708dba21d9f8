"""Doors to other libraries: their modules and folders turned into ours, and ours into theirs: the same function."""

from transformer_lib.interop.bert import Bert
from transformer_lib.interop.checkpoint import load
from transformer_lib.interop.huggingface import from_bart, from_bert, from_gpt2
from transformer_lib.interop.marian import from_marian
from transformer_lib.interop.torch_in import from_torch
from transformer_lib.interop.torch_out import to_torch

__all__ = ["Bert", "from_bart", "from_bert", "from_gpt2", "from_marian", "from_torch", "load", "to_torch"]
