"""Laws: what a correct part must obey whatever its weights, as functions that take anybody's part.

Each law calls your function, layer or model with inputs that must not make a difference (or must), compares
the outputs, and returns a `Verdict`: print it, test `verdict.holds`, or call `verdict.require()` in a test.
A verdict that the law is violated says where, by how much, and what the usual cause is. Nothing is left behind:
no gradients, inputs are copied, and the random state and the mode and buffers of a module are restored. A law
refuses a question that could not fail, such as a future that equals the past, with a `ValueError`.

They are asked of a reader's own class, of torch's modules and, through `HuggingFace`, of a Hugging Face model
just as well as of this library, of which they import nothing.
"""

from transformer_lib.laws._frame import LawViolation, Verdict
from transformer_lib.laws.adapter import HuggingFace
from transformer_lib.laws.attention import dead_rows_are_zero, scores_are_scaled, weights_are_shares
from transformer_lib.laws.models import (
    cache_equals_full,
    evaluation_is_deterministic,
    layers_are_distinct,
    train_equals_eval,
    untrained_loss,
)
from transformer_lib.laws.parts import distance_decides, normalises, sizes_balance
from transformer_lib.laws.sequences import (
    batch_equals_single,
    causality,
    every_token_counts,
    padding_invariance,
    permutation_equivariance,
    token_by_token,
)
from transformer_lib.laws.training import answer_is_greedy, loss_adds_up, targets_are_distributions

# In the order in which the chapters state them.
LAWS = (
    permutation_equivariance, weights_are_shares, scores_are_scaled,  # 1
    causality, padding_invariance, dead_rows_are_zero,  # 2
    batch_equals_single, train_equals_eval, evaluation_is_deterministic,  # 3
    distance_decides,  # 4
    normalises,  # 5
    token_by_token, sizes_balance, untrained_loss,  # 6
    layers_are_distinct,  # 7
    every_token_counts, cache_equals_full,  # 8
    targets_are_distributions, loss_adds_up, answer_is_greedy,  # 10
)  # fmt: skip

__all__ = [
    "LAWS", "HuggingFace", "LawViolation", "Verdict", "answer_is_greedy", "batch_equals_single", "cache_equals_full",
    "causality", "dead_rows_are_zero", "distance_decides", "evaluation_is_deterministic", "every_token_counts",
    "layers_are_distinct", "loss_adds_up", "normalises", "padding_invariance", "permutation_equivariance",
    "scores_are_scaled", "sizes_balance", "targets_are_distributions", "token_by_token", "train_equals_eval",
    "untrained_loss", "weights_are_shares",
]  # fmt: skip
