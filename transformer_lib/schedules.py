"""Schedules: the learning rate at each step, counted from 1. All begin small (the warm-up) and end small."""

import math

from transformer_lib._checks import check_number, check_whole


def noam_rate(step: int, d_model: int, warmup: int = 4000) -> float:
    r"""The paper's schedule: a straight climb for `warmup` steps, then a fall as step ** -0.5.

    $$d_{model}^{-0.5} \cdot \min(step^{-0.5},\; step \cdot warmup^{-1.5})$$

    Paper: section 5.3, equation 3, with a warm-up of 4,000 steps. Built in chapter 10.

    Raises:
        ValueError: if `step`, `d_model` or `warmup` is below 1.
    """
    check_whole(1, step=step, d_model=d_model, warmup=warmup)
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)


def inverse_sqrt_rate(step: int, peak: float, warmup: int) -> float:
    """The paper's shape with a height of your choice: `peak` is reached at step `warmup`.

    Raises:
        ValueError: if `step` or `warmup` is below 1, or `peak` is not positive.
    """
    check_whole(1, step=step, warmup=warmup)
    check_number(peak=peak)
    return peak * min(step / warmup, math.sqrt(warmup / step))


def cosine_rate(step: int, peak: float, warmup: int, total: int) -> float:
    """A straight climb to `peak` at step `warmup`, then half a cosine down to zero at step `total`.

    Source: Loshchilov and Hutter, "SGDR", 2016. Built in chapter 10.

    Raises:
        ValueError: if a count is below 1, `peak` is not positive, or `total` is not above `warmup`.
    """
    check_whole(1, step=step, warmup=warmup, total=total)
    check_number(peak=peak)
    if total <= warmup:
        raise ValueError(f"total ({total}) must be above warmup ({warmup}); the climb must end before training does")
    if step < warmup:
        return peak * step / warmup
    done = min(1.0, (step - warmup) / (total - warmup))
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
