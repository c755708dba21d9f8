"""Numbers in the prose of chapter 5 that no cell of the page prints."""

import pytest
import torch
from torch import nn

SIZES = [(32, 32, 0.58), (32, 128, 0.91), (128, 32, 0.46), (32, 10, 0.47)]


@pytest.mark.parametrize(("inputs", "outputs", "ratio"), SIZES)
def test_the_small_start_is_0_46_to_0_91_times_as_large(inputs, outputs, ratio):
    torch.manual_seed(0)
    small = torch.stack([nn.Linear(inputs, outputs).weight.detach().std() for _ in range(50)]).mean()
    large = torch.stack([nn.init.xavier_uniform_(torch.empty(outputs, inputs)).std() for _ in range(50)]).mean()
    assert small / large == pytest.approx(ratio, abs=0.01)
