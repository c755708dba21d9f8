"""Exercises of chapter 18: weights that others have trained, and what is trained beside them."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def fused() -> list[tuple]:
    """The matrices and biases of three projections in one, in two widths."""
    return [(torch.randn(d, 3 * d), torch.randn(3 * d)) for d in (2, 5)]


def adapters() -> list[tuple]:
    """A square map, in which a product the wrong way round would fit, and one that is not square."""
    return [
        (torch.randn(3, 3), torch.randn(1, 3), torch.randn(3, 1), 2.0),
        (torch.randn(6, 6), torch.randn(6, 6), torch.randn(6, 6), 3.0),
        (torch.randn(5, 7), torch.randn(2, 7), torch.randn(5, 2), 6.0),
    ]


def projections() -> list[tuple]:
    """Weights of queries and their number of heads. (With two features a head there is nothing to move.)"""
    return [
        (torch.randn(6, 2), 1),
        (torch.randn(12, 12), 2),
        (torch.randn(8 * 6, 8 * 6), 6),
    ]


def projects_alike(answer, weight: Tensor, bias: Tensor) -> bool:
    """The three linear maps together are the one product."""
    x = torch.randn(4, len(weight))
    weights, biases = answer(weight, bias)
    return torch.allclose((x @ weights.mT).transpose(0, 1).flatten(1) + biases.flatten(), x @ weight + bias, atol=1e-4)


def moves_rows_only(answer, weight: Tensor, n_heads: int) -> bool:
    return torch.equal(answer(weight, n_heads).sort(dim=0).values, weight.sort(dim=0).values)


SAME_PRODUCT = Law("the three together compute what `x @ weight + bias` computes", projects_alike)
SAME_ROWS = Law("every row is still there, as it was", moves_rows_only)

# fmt: off
EXERCISES = [
    Exercise(
        name="weights.shards",
        title="How many files?",
        level="warm-up",
        minutes=3,
        statement="""
            A model of 8 billion parameters is published in bfloat16, two bytes each, and no file may be larger than 5
            GB (5 billion bytes). How many files are there at least?
            """,
        stub="files = None  # a whole number",
        solution="import math\n\nfiles = math.ceil(8e9 * 2 / 5e9)",
        hints=["How many bytes are all parameters together? The last file need not be full."],
        why="""
            16 GB are three full files and one with the rest. The header of each counts too, but it is a few thousand
            bytes. A tensor is never cut, so it can be one more when a large one does not fit into what is left.
            """,
        wrongs=[
            Wrong("that leaves the rest out: three files hold 15 GB, and there are 16", code="files = 3"),
            Wrong("that counts one byte a parameter; bfloat16 has 16 bits", code="files = 2"),
            Wrong("that counts four bytes a parameter, as float32 has; bfloat16 has two", code="files = 7"),
            Wrong("the quotient is right, but a file is whole: the rest needs one too", code="files = 3.2"),
            Wrong("that counts bits, and the limit is in bytes", code="files = 26"),
        ],
    ),
    Exercise(
        name="weights.split",
        title="Build the cut through c_attn",
        level="build it",
        minutes=10,
        statement="""
            GPT-2 computes query, key and value as `x @ weight + bias`, with a weight of shape `(d_model, 3 * d_model)`;
            the first third of what comes out is the query, the second the key, the third the value. Return what three
            `nn.Linear` of ours hold: their weights, stacked in this order into `(3, d_model, d_model)`, and their
            biases, `(3, d_model)`. (`nn.Linear` computes `x @ weight.T + bias`.)
            """,
        stub='''
            def my_split(weight, bias):
                """(d_model, 3 * d_model), (3 * d_model,)
                -> (3, d_model, d_model), (3, d_model)."""
                ...
            ''',
        solution='''
            def my_split(weight, bias):
                """(d_model, 3 * d_model), (3 * d_model,)
                -> (3, d_model, d_model), (3, d_model)."""
                weights = torch.stack([w.T for w in weight.chunk(3, dim=1)])
                return weights, torch.stack(bias.chunk(3))
            ''',
        hints=[
            "Which axis of `weight` has the three parts side by side: the rows or the columns?",
            "`chunk(3, dim=1)` cuts the columns. Each part is still the other way round than `nn.Linear` has it.",
        ],
        why="""
            A matrix of one part is square, so a forgotten transpose fits everywhere, and `load_state_dict` is content
            with it. What sees it is a comparison of outputs.
            """,
        wrongs=[
            Wrong("the parts are right, but still the other way round: `nn.Linear` multiplies by its weight "
                  "*transposed*; no shape tells you, for they are square", "w.T for w in", "w for w in"),
            Wrong("the rows were cut into three; query, key and value lie side by side in the columns", code="""
                  def my_split(weight, bias):
                      rows = weight.reshape(3, weight.size(0), weight.size(0))
                      return rows, bias.reshape(3, -1)
                  """),
            Wrong("the order is key, query, value; GPT-2 has the query first", code="""
                  def my_split(weight, bias):
                      order = torch.tensor([1, 0, 2])
                      weights = torch.stack([w.T for w in weight.chunk(3, dim=1)])
                      return weights[order], torch.stack(bias.chunk(3))[order]
                  """),
            Wrong("the order is value, key, query; GPT-2 has the query first", code="""
                  def my_split(weight, bias):
                      weights = torch.stack([w.T for w in weight.chunk(3, dim=1)])
                      return weights.flip(0), torch.stack(bias.chunk(3)).flip(0)
                  """),
            Wrong("every third column was taken, as if query, key and value took turns; each is one block of columns",
                  code="""
                  def my_split(weight, bias):
                      weights = torch.stack([weight[:, i::3].T for i in range(3)])
                      return weights, torch.stack([bias[i::3] for i in range(3)])
                  """),
            Wrong("the weights are right, and the biases take turns; each is one block", "torch.stack(bias.chunk(3))",
                  "bias.view(-1, 3).T"),
        ],
        inputs=fused,
        laws=[SAME_PRODUCT],
    ),
    Exercise(
        name="weights.merge",
        title="Build the merged matrix",
        level="build it",
        minutes=8,
        statement="""
            An adapter is trained, and the model goes to people who know nothing of adapters. Return one matrix $W'$ for
            an `nn.Linear` that computes what $W x + \\frac{\\alpha}{r} B A x$ does. `down` is $A$, as an `nn.Linear`
            holds it, `up` is $B$.
            """,
        stub='''
            def my_merged(weight, down, up, alpha):
                """(d_out, d_in), (rank, d_in), (d_out, rank), a number
                -> (d_out, d_in)."""
                ...
            ''',
        solution='''
            def my_merged(weight, down, up, alpha):
                """(d_out, d_in), (rank, d_in), (d_out, rank), a number
                -> (d_out, d_in)."""
                rank = down.size(0)
                return weight + alpha / rank * up @ down
            ''',
        hints=[
            "$Wx + cBAx$ is $(W + cBA)x$. Which axis of `down` is the rank?",
            "`up @ down` is of the shape of `weight`.",
        ],
        why="""
            After that nobody can tell the adapter from the matrix, and using it costs nothing. The way back is the
            same with a minus, as long as one has kept `down` and `up`.
            """,
        wrongs=[
            Wrong("the adapter is added with a factor of 1; the formula has alpha / rank", "alpha / rank * up", "up"),
            Wrong("the factor is alpha; it is divided by the rank", "alpha / rank * up", "alpha * up"),
            Wrong("that is what the adapter adds, and the old matrix is missing", "weight + alpha", "alpha"),
            Wrong("the factor is divided by the number of features that come in; the rank is the other axis of `down`",
                  "down.size(0)", "down.size(1)"),
            Wrong("what is added is the other way round: `up @ down` leads from the features that come in to those "
                  "that go out, and needs no transpose", code="""
                  def my_merged(weight, down, up, alpha):
                      added = alpha / down.size(0) * (up @ down)
                      return weight + (added.T if len(added) == len(added.T) else added)
                  """),
            Wrong("the factor multiplies the old matrix too; only what the adapter adds is scaled",
                  "weight + alpha / rank * up @ down", "alpha / rank * (weight + up @ down)"),
        ],
        inputs=adapters,
    ),
    Exercise(
        name="weights.rotary",
        title="The same clocks in another order",
        level="one that hurts",
        minutes=20,
        statement="""
            Rotary positions turn the features of a query in pairs. The paper, and Meta's own files of Llama, pair
            neighbours: in each head feature 0 with 1, 2 with 3, and so on. Hugging Face, and we, pair feature $j$ with
            $j + d_{head}/2$. Put the rows of a `q_proj` of the first kind into such an order that ours computes the
            same scores: the first of each pair come first, in their order, then the second of each, and this in each
            head for itself. (`k_proj` is treated the same way, and `v_proj` is not turned at all.)
            """,
        stub='''
            def my_halves(weight, n_heads):
                """(n_heads * d_head, d_model) -> the same, rows in order."""
                ...
            ''',
        solution='''
            def my_halves(weight, n_heads):
                """(n_heads * d_head, d_model) -> the same, rows in order."""
                heads = weight.view(n_heads, -1, 2, weight.size(1))
                return heads.transpose(1, 2).reshape(weight.shape)
            ''',
        hints=[
            "For one head of six rows the new order is 0, 2, 4, 1, 3, 5. The second head begins at row 6.",
            "View the rows as (heads, pairs, 2, d_model). Which two axes change places?",
        ],
        why="""
            Scores are sums over features, so queries and keys may be put in any order, as long as it is the same. What
            must not happen is that one of the two libraries turns what was never a pair.
            """,
        wrongs=[
            Wrong("the rows were put in order across all heads, so that the heads are mixed; each head is ordered for "
                  "itself", "weight.view(n_heads, -1", "weight.view(1, -1"),
            Wrong("that is the way back, from halves to neighbours: 0, 3, 1, 4, 2, 5 in a head of six", code="""
                  def my_halves(weight, n_heads):
                      heads = weight.view(n_heads, 2, -1, weight.size(1))
                      return heads.transpose(1, 2).reshape(weight.shape)
                  """),
            Wrong("the second of each pair come first; that turns the pairs the other way", code="""
                  def my_halves(weight, n_heads):
                      heads = weight.view(n_heads, -1, 2, weight.size(1))
                      return heads.transpose(1, 2).flip(1).reshape(weight.shape)
                  """),
            Wrong("nothing has moved: after the view two axes must change places before the rows are joined again",
                  ".transpose(1, 2)", ""),
            Wrong("each head was turned back to front; what is asked for is first halves, then second ones", code="""
                  def my_halves(weight, n_heads):
                      heads = weight.view(n_heads, -1, weight.size(1))
                      return heads.flip(1).reshape(weight.shape)
                  """),
            Wrong("the heads are in the middle: rows are head by head, so the view begins with the heads", code="""
                  def my_halves(weight, n_heads):
                      rows = weight.view(-1, 2, n_heads, weight.size(1))
                      return rows.transpose(0, 1).reshape(weight.shape)
                  """),
        ],
        inputs=projections,
        laws=[SAME_ROWS],
    ),
]
