"""What every test starts from: the same seed, float32, one thread."""

import pytest
import torch


@pytest.fixture(autouse=True)
def fresh_torch():
    """Seed torch before each test, and undo what a test did to its defaults."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_printoptions(profile="default")
