"""What every chapter sets before it begins, so that stored and fresh outputs agree on any machine."""

import os

import torch
from matplotlib import pyplot as plt

from transformer_lib.notebook.plotting import STYLE


def setup() -> None:
    """Seed torch, print three decimals, draw in the book's style, and use one thread (or `BOOK_THREADS`)."""
    plt.style.use(STYLE)
    torch.set_num_threads(int(os.environ.get("BOOK_THREADS", "1")))
    torch.set_printoptions(precision=3, sci_mode=False, linewidth=100)
    torch.manual_seed(0)
