"""Kernels: the operations of the fast model that a CPU does sooner in another way than the usual one (chapter 14).

Each gives what the usual one gives, but for rounding, and dropout for which numbers it drops.
"""

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

ROWS = 32  # so many rows of a product are worth the copies that oneDNN asks for
CACHED = 2**19  # numbers; a result that is larger leaves the processor's cache, and copying it takes too long


def drop(x: Float[Tensor, "..."], p: float) -> Float[Tensor, "..."]:
    """Set a share `p` of `x` to zero, with 16 random bits of the CPU for an element, where torch asks for 64.

    The share is `p` rounded to a multiple of 1/65536, and what is left is scaled by that, in the type of `x`.
    On other devices it is torch's own dropout.
    """
    dropped = round(p * 65536)
    if not 0 < dropped < 65536 or x.device.type != "cpu":
        return F.dropout(x, p)
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    keep = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 32768
    return x * keep.to(x.dtype).mul_(65536 / (65536 - dropped))


class FastDropout(nn.Dropout):
    """A `torch.nn.Dropout` that calls `drop`."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Drop features of `x`, in training mode only."""
        return drop(x, self.p) if self.training else x


class FastLinear(nn.Linear):
    """A `torch.nn.Linear` that lets oneDNN multiply where that is quicker: in decoding, on a CPU with AVX-512.

    In float32 PyTorch asks MKL, which leaves the widest instructions of processors that are not Intel's unused. oneDNN
    uses what there is, and asks for copies of `x` and the result.
    """

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        """Return the linear map of `x`."""
        if torch.compiler.is_compiling() or not self.suits_onednn(x):
            return super().forward(x)
        return F.linear(x.to_mkldnn(), self.weight, self.bias).to_dense()

    def suits_onednn(self, x: Float[Tensor, "... d_in"]) -> bool:
        """Whether oneDNN can multiply, and is the quicker one."""
        if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or not wide_instructions():
            return False
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        rows = x.numel() // self.in_features
        fits = x.dim() == 3 and x.size(-1) == self.in_features and rows >= ROWS
        return plain and fits and rows * self.out_features <= CACHED


@functools.cache  # asked at every product; no process sees the answer change
def wide_instructions() -> bool:
    """Whether oneDNN is there, and the CPU has AVX-512."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
