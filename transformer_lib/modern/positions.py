"""Order told inside the attention, not added to the tokens: turned queries and keys, a bias, a window (chapter 17)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from transformer_lib.masks import causal_mask


def rotate(x: Float[Tensor, "*batch seq d_head"], offset: int = 0, base: float = 10000.0) -> Tensor:
    r"""Turn the query or key at position $p$, pair by pair, by the angles $p\,\omega_j$ of the clocks of chapter 4.

    The score of two turned vectors depends on the distance of their positions, not on where they stand.
    A pair is feature $j$ and feature $j + d_{head}/2$: the layout of Hugging Face's Llama and of its weights. The paper
    pairs neighbours, $2j$ and $2j+1$; the two differ in the order of the features alone.
    Angles are float64, which Apple's device lacks, and so are made on the CPU.
    Source: Su et al., "RoFormer", 2021, section 3.2.2, equations 14 and 15. Built in chapter 17.

    Args:
        x: queries or keys.
        offset: position of the first of them; with a cache, the number of tokens already seen.
        base: Llama's `rope_theta`: the larger, the slower the slow clocks.

    Raises:
        ValueError: if `d_head` is odd.
    """
    d_head = x.size(-1)
    if d_head % 2 != 0:
        raise ValueError(f"rotary positions need an even d_head, got {d_head}")
    position = torch.arange(offset, offset + x.size(-2), dtype=torch.float64)
    omega = base ** -(torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)  # (d_head / 2,)
    angle = torch.outer(position, omega)  # (seq, d_head / 2)
    cos, sin = angle.cos().to(x), angle.sin().to(x)
    a, b = x.chunk(2, dim=-1)  # (*batch, seq, d_head / 2)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def alibi_bias(n_heads: int, q_len: int, kv_len: int | None = None) -> Float[Tensor, "heads q_len kv_len"]:
    r"""Return what ALiBi adds to the scores: minus the distance, times a slope that each head has for itself.

    Head $h$ of $H$, counted from 1, has the slope $2^{-8h/H}$. Aligned bottom-right, as `causal_mask`; distances to the
    future, which a mask must hide, count as none. Where `n_heads` is no power of two the authors' code has others.
    Source: Press, Smith and Lewis, "Train Short, Test Long", 2022, section 3. Built in chapter 17.
    """
    kv_len = q_len if kv_len is None else kv_len
    slopes = 2.0 ** (-8 * torch.arange(1, n_heads + 1) / n_heads)  # (heads,)
    query, key = torch.arange(kv_len - q_len, kv_len), torch.arange(kv_len)
    distance = (query[:, None] - key).clamp(min=0)  # (q_len, kv_len)
    return -slopes[:, None, None] * distance


def window_mask(q_len: int, kv_len: int | None = None, window: int | None = None) -> Bool[Tensor, "q_len kv_len"]:
    """Allow each query its own position and the `window - 1` before it; without a window, all before it.

    Aligned bottom-right, as `causal_mask`. A token hears from further back through the layers: of `n_layers` of them,
    `n_layers * (window - 1)` positions. Source: Beltagy, Peters and Cohan, "Longformer", 2020, section 3.1; of this
    width in Jiang et al., "Mistral 7B", 2023, section 2. Built in chapter 17.
    """
    mask = causal_mask(q_len, kv_len)
    if window is None:
        return mask
    return mask.triu(mask.size(1) - q_len - window + 1)
