"""The running example: `three hundred twenty one`, four tokens of four whole numbers each.

Each token says what it is and how much: features `unit`, `tens`, `hundred`, `amount`.
The German answer, *dreihunderteinundzwanzig*, says the one before the twenty.
"""

import torch
from torch import Tensor, nn

from transformer_lib.attention import SimpleSelfAttention

TOKENS = ["three", "hundred", "twenty", "one"]
FEATURES = ["unit", "tens", "hundred", "amount"]
GERMAN = ["drei", "hundert", "ein", "und", "zwanzig"]

VECTORS = [
    [1, 0, 0, 3],  # three
    [0, 0, 1, 1],  # hundred
    [0, 1, 0, 2],  # twenty
    [1, 0, 0, 1],  # one
]

# Rows are what goes in (a feature of the token), columns what comes out: q = x @ QUERY.
QUERY = [  # what am I looking for? units look for tens and hundreds, tens and hundreds look for units
    [0, 4, 4, 0],
    [4, 0, 0, 0],
    [4, 0, 0, 0],
    [0, 0, 0, 0],
]
KEY = [  # what am I? the kind of number, not how much
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 0, 0],
]
VALUE = [  # what do I tell? how much I am
    [0, 0, 0, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 1],
]


def vectors() -> Tensor:
    """The four tokens as one batch, `(1, 4, 4)`."""
    return torch.tensor([VECTORS], dtype=torch.get_default_dtype())


def attention() -> SimpleSelfAttention:
    """The head of chapter 1, with its whole-number weights."""
    head = SimpleSelfAttention(len(FEATURES))
    for linear, weight in ((head.query, QUERY), (head.key, KEY), (head.value, VALUE)):
        nn.init.zeros_(linear.bias)
        linear.weight = nn.Parameter(torch.tensor(weight, dtype=linear.weight.dtype).T)  # nn.Linear keeps it transposed
    return head
