"""Schedules: the paper's rate, and two others by hand."""

import math
import re

import pytest
import questions

from transformer_lib import cosine_rate, inverse_sqrt_rate, noam_rate


def test_noam_is_equation_3() -> None:
    questions.noam_is_equation_3()
    assert max(range(1, 9000), key=lambda step: noam_rate(step, 512)) == 4000


def test_shapes_of_the_others() -> None:
    assert [cosine_rate(step, 1.0, 10, 110) for step in (5, 10, 60, 110, 200)] == pytest.approx([0.5, 1, 0.5, 0, 0])
    assert [inverse_sqrt_rate(step, 1.0, 10) for step in (5, 10, 40)] == pytest.approx([0.5, 1, 0.5])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noam_rate(0, 64), "step must be a whole number of at least 1, got 0"),
        (lambda: cosine_rate(1, 0.0, 5, 10), "peak must be a finite number above 0, got 0.0"),
        (lambda: cosine_rate(1, 1e-3, 10, 10), "total (10) must be above warmup (10)"),
        (lambda: inverse_sqrt_rate(1, math.nan, 5), "peak must be a finite number above 0, got nan"),
    ],
)
def test_a_setting_that_is_no_rate_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
