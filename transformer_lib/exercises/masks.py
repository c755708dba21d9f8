"""Exercises of chapter 2: who may look at whom."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def lengths() -> list[tuple]:
    return [(1,), (2,), (int(torch.randint(3, 9, ())),)]


def token_ids() -> list[tuple]:
    """Rows with and without padding, at the end and at the beginning."""
    few = torch.tensor([[3, 0]])
    ids = torch.randint(1, 9, (2, 5))
    ids[0, 3:] = 0
    ids[1, :1] = 0
    return [(few, 0), (ids, 0), (torch.where(ids == 0, 7, ids % 7), 7)]


def scores_and_masks() -> list[tuple]:
    """One row that is alive, one that is dead, one with a large forbidden score; then several, and these with rows that
    are far apart and still larger forbidden scores."""
    mask = torch.rand(4, 5) < 0.6
    mask[:, 2] = True
    mask[:, 3] = mask[1] = False
    far = torch.randn(4, 5) + torch.tensor([[-200.0], [0.0], [0.0], [200.0]])
    return [
        (torch.randn(1, 2), torch.randn(2, 1), torch.tensor([[True, False]])),
        (torch.randn(1, 2), torch.randn(2, 1), torch.tensor([[False, False]])),
        (torch.randn(1, 3) + torch.tensor([0.0, 0.0, 30.0]), torch.randn(3, 1), torch.tensor([[True, True, False]])),
        (torch.randn(4, 5), torch.randn(5, 3), mask),
        (torch.where(mask, far, 400.0), torch.randn(5, 3), mask),
    ]


def output_and_gradients(answer, scores: Tensor, values: Tensor, mask: Tensor) -> dict:
    scores, values = scores.requires_grad_(), values.requires_grad_()
    output = answer(scores, values, mask)
    output.sum().backward()
    return {
        "the output": output,
        "the gradient of the scores": scores.grad,
        "the gradient of the values": values.grad,
    }


def sees_no_future(answer, *sizes) -> bool:
    return not answer(*sizes).bool().triu(1).any()


def dead_rows_are_zero(answer, scores: Tensor, values: Tensor, mask: Tensor) -> bool:
    return not answer(scores, values, mask)[~mask.any(-1)].any()


NO_FUTURE = Law("causality, a query sees no key that comes later", sees_no_future)

# fmt: off
EXERCISES = [
    Exercise(
        name="masks.count",
        title="Count the permissions",
        level="warm-up",
        minutes=2,
        statement="""
            A language model reads *drei hundert pad pad*: four tokens, of which the last two are padding. Both masks
            are at work, the causal one and the one for the padding, and a pair of query and key is permitted when both
            permit it. How many of the 16 pairs are? Count the rows of the pads too.
            """,
        stub="pairs = None  # a whole number",
        solution="pairs = 1 + 2 + 2 + 2",
        hints=["Write down the four rows. Which columns can hold a 1 at all?"],
        why="""
            The padding forbids two columns and no row. In the two columns that are left, the first query sees one
            key, and each later one both. The pads are queries like any other; what they compute, nobody reads.
            """,
        wrongs=[
            Wrong("that is the causal mask alone, 1 + 2 + 3 + 4; the pads are keys that nobody may see",
                  code="pairs = 10"),
            Wrong("that is the padding mask alone, two columns of four; the first query may not see the second key yet",
                  code="pairs = 8"),
            Wrong("the rows of the pads were left out; a padding mask forbids keys, and a pad is still a query",
                  code="pairs = 3"),
            Wrong("the diagonal was left out; a token may look at itself, and only what comes later is forbidden",
                  code="pairs = 5"),
            Wrong("these are the pairs that are forbidden", code="pairs = 9"),
            Wrong("these are the pairs of the two real tokens, and one of them looks ahead; the rows of the pads "
                  "count too", code="pairs = 4"),
            Wrong("that is what the causal mask forbids; asked is what both masks permit", code="pairs = 6"),
        ],
    ),
    Exercise(
        name="masks.causal",
        title="Build the causal mask",
        level="build it",
        minutes=5,
        statement="""
            Write the function before you read on. It gets a length and returns a square table of booleans, one row a
            query and one column a key. An entry is `True` where the query may look: at itself, and at all that
            stands before it.
            """,
        stub='''
            def my_causal_mask(length):
                """The table of permissions, (length, length), boolean."""
                ...
            ''',
        solution="""
            def my_causal_mask(length):
                square = torch.ones(length, length, dtype=torch.bool)
                return square.tril()
            """,
        hints=[
            "Query *i* may look at key *j* when *j* is not larger than *i*. Which triangle of the table is that?",
            "`torch.arange(length)` compared with itself, once as a column and once as a row, or `tril`.",
        ],
        wrongs=[
            Wrong("the mask is inverted: `True` means that a query may look, and yours says `True` where it may not",
                  ".tril()", ".tril().logical_not()", source="https://github.com/rasbt/LLMs-from-scratch/issues/1061"),
            Wrong("the mask is transposed: rows are queries and columns are keys, and yours lets each query see itself "
                  "and what comes later", ".tril()", ".triu()", source="https://github.com/pytorch/examples/issues/649"),
            Wrong("the diagonal is missing: a token may look at itself, and the first one has nobody else", ".tril()",
                  ".tril(-1)"),
            Wrong("each query sees one key too many, the next token, which is the one that it shall predict", ".tril()",
                  ".tril(1)"),
            Wrong("the places are right, but the answer holds numbers; a mask is boolean, so compare with `== 1` or "
                  "say `dtype=torch.bool`", "square.tril()", "square.tril().float()"),
            Wrong("this is what is added to the scores, zero and minus infinity; the book's masks are permissions, "
                  "booleans", "square.tril()", "torch.zeros(length, length).masked_fill(~square.tril(), -math.inf)"),
            Wrong("everything is permitted, the future too", ".tril()", ""),
            Wrong("there is one axis too many in front; the table is (length, length)",
                  "square.tril()", "square.tril()[None]"),
            Wrong("the places are right, but the answer holds whole numbers; a mask is boolean, so say "
                  "`dtype=torch.bool`", "square.tril()", "square.tril().int()"),
            Wrong("the places are right, but this is a list; `torch.tensor` makes a tensor of it",
                  "square.tril()", "square.tril().tolist()"),
            Wrong("each query sees itself alone; it may also look at all that stands before it",
                  "square.tril()", "square.tril() & square.triu()"),
        ],
        inputs=lengths,
        laws=[NO_FUTURE],
    ),
    Exercise(
        name="masks.padding",
        title="The padding of the wrong side",
        level="find the bug",
        minutes=6,
        statement="""
            This function shall make the mask of a batch: no token may attend to padding, and none to what comes later.
            As always, `True` permits. The function runs, and the mask has the right shape. Two things are wrong with
            it. Mend both.
            """,
        stub='''
            def my_mask(ids, pad_id):
                """(batch, seq) -> (batch, 1, seq, seq), boolean."""
                real = (ids != pad_id)[:, None, :, None]
                seq = ids.size(1)
                not_later = torch.ones(seq, seq, dtype=torch.bool).tril()
                return real | not_later
            ''',
        solution='''
            def my_mask(ids, pad_id):
                """(batch, seq) -> (batch, 1, seq, seq), boolean."""
                real = (ids != pad_id)[:, None, None, :]
                seq = ids.size(1)
                not_later = torch.ones(seq, seq, dtype=torch.bool).tril()
                return real & not_later
            ''',
        hints=[
            "Which axis belongs to the keys? Print the mask of one short row.",
            "Must a pair be permitted by one of the two masks, or by both?",
        ],
        why="""
            On the axis of the queries, the padding mask forbids a pad to look, and lets everybody look at the pads.
            With `|`, a pair is permitted when one of the masks permits it.
            """,
        wrongs=[
            Wrong("the padding is still on the axis of the queries: a pad may not look, and everybody may look at it",
                  "[:, None, None, :]", "[:, None, :, None]"),
            Wrong("a pair is permitted when either mask permits it; it takes both, `&`", "real &", "real |"),
            Wrong("`and` and `or` want one truth value on each side, and these are tables of them; `&` joins them "
                  "entry by entry", "real &", "real and"),
            Wrong("the whole mask is inverted, as `nn.MultiheadAttention` wants it; here `True` permits",
                  "real & not_later", "~(real & not_later)"),
            Wrong("the padding mask is inverted: only the pads may be seen", "ids != pad_id", "ids == pad_id"),
            Wrong("the padding is 0 here, whatever `pad_id` says", "ids != pad_id", "ids != 0"),
            Wrong("keys and queries are both taken for padding, so that the rows of the pads are dead; only the keys "
                  "must be real", "return real &", "return (ids != pad_id)[:, None, :, None] & real &"),
            Wrong("the triangle is the wrong way up: each query sees what comes later", ".tril()", ".triu()"),
            Wrong("the causal mask is gone: a token may look ahead", "real & not_later",
                  "real & torch.ones_like(not_later)"),
            Wrong("the axis of the heads is missing: between batch and keys stand two new axes, (batch, 1, 1, seq)",
                  "[:, None, None, :]", "[:, None, :]"),
        ],
        inputs=token_ids,
    ),
    Exercise(
        name="masks.dead",
        title="Attention that survives a dead row",
        level="one that hurts",
        minutes=12,
        statement="""
            Write the second half of attention, from the scores on. `scores` and `mask` are (q_len, kv_len), `values`
            are (kv_len, d); the scores are finite and already divided, and `True` in the mask permits. Keep two
            promises. A forbidden key gets the weight 0, and its score has no influence on the other weights. A row in
            which nothing is permitted gives zeros, and with such a row, too, every *gradient* is a number, not NaN:
            that of the scores and that of the values.

            float32 is enough. Write yours before you read on: the next cells compare four ways.
            """,
        stub='''
            def my_attention(scores, values, mask):
                """Output, (q_len, d); scores and mask are (q_len, kv_len)."""
                ...
            ''',
        solution="""
            def my_attention(scores, values, mask):
                lowest = torch.finfo(scores.dtype).min
                weights = scores.masked_fill(~mask, lowest).softmax(dim=-1)
                return weights.masked_fill(~mask, 0.0) @ values
            """,
        hints=[
            "In a dead row, minus infinity makes 0/0. What if the fill were a number that is merely very small?",
            "Then a dead row has equal weights. Which second step makes them zero, and leaves all others as they are?",
        ],
        why="""
            In a row that is alive the fill is so far below the others that its weight is exactly zero, and the second
            step changes nothing. In a dead row all weights are equal, and the second step removes them, with their
            gradient. To repair NaN in the *output* is too late: the gradient of the values is a product with the
            weights, which are still NaN.
            """,
        wrongs=[
            Wrong("a row in which nothing is permitted gets NaN: a softmax over minus infinity alone is 0/0",
                  code="""
                  def my_attention(scores, values, mask):
                      return scores.masked_fill(~mask, -math.inf).softmax(-1) @ values
                  """, source="https://github.com/pytorch/pytorch/issues/41508"),
            Wrong("the mask is multiplied by minus infinity, and where a key is permitted that is 0 times infinity, "
                  "NaN; fill the forbidden places with `masked_fill`",
                  code="""
                  def my_attention(scores, values, mask):
                      scores = scores + (~mask).float() * -math.inf
                      return scores.softmax(dim=-1) @ values
                  """),
            Wrong("zeros at the end do not help: the mask is multiplied by minus infinity, and where a key is "
                  "permitted that is 0 times infinity, NaN; fill the forbidden places with `masked_fill`",
                  code="""
                  def my_attention(scores, values, mask):
                      scores = scores + (~mask).float() * -math.inf
                      weights = scores.softmax(dim=-1).masked_fill(~mask, 0.0)
                      return weights @ values
                  """),
            Wrong("the output is right, but in a dead row the gradient is NaN: repairing a NaN in the output leaves it "
                  "in the weights, and the gradient of the values is a product with those",
                  code="""
                  def my_attention(scores, values, mask):
                      weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
                      return (weights @ values).nan_to_num(0.0)
                  """),
            Wrong("the mask comes after the softmax: the weights no longer sum to one, and a forbidden key still "
                  "counts in the denominator",
                  code="""
                  def my_attention(scores, values, mask):
                      return scores.softmax(dim=-1).masked_fill(~mask, 0.0) @ values
                  """),
            Wrong("the mask comes after the softmax: a large forbidden score has pressed the others to zero by then, "
                  "and no division brings them back; fill the scores first",
                  code="""
                  def my_attention(scores, values, mask):
                      weights = scores.softmax(dim=-1) * mask
                      total = weights.sum(dim=-1, keepdim=True)
                      return weights / (total + 1e-9) @ values
                  """),
            Wrong("the mask comes after the softmax, and each row is then divided by its own sum: where a large "
                  "forbidden score has pressed the others to zero, that is 0/0; fill the scores first",
                  code="""
                  def my_attention(scores, values, mask):
                      weights = scores.softmax(dim=-1) * mask
                      total = weights.sum(dim=-1, keepdim=True)
                      return torch.where(total > 0, weights / total, 0.0) @ values
                  """),
            Wrong("*e* to the power of a large score is infinite; take off the largest permitted score of each row "
                  "first, or use `softmax`, which does so",
                  code="""
                  def my_attention(scores, values, mask):
                      shares = scores.exp() * mask
                      total = shares.sum(dim=-1, keepdim=True)
                      return shares / total.clamp(min=1e-9) @ values
                  """),
            Wrong("*e* to the power of a large score is infinite: one largest score of the whole table does not hold "
                  "it down where forbidden scores or other rows are far larger; take that of the permitted ones, row "
                  "by row",
                  code="""
                  def my_attention(scores, values, mask):
                      shares = torch.exp(scores - scores.detach().amax()) * mask
                      total = shares.sum(dim=-1, keepdim=True)
                      return shares / total.clamp(min=1e-30) @ values
                  """),
            Wrong("a row in which nothing is permitted gives the mean of all values, which are forbidden",
                  ".masked_fill(~mask, 0.0)", ""),
            Wrong("the mask is inverted: the permitted keys are filled", "scores.masked_fill(~mask",
                  "scores.masked_fill(mask"),
            Wrong("the forbidden scores are 0, and *e* to the power of 0 is 1: they take a share",
                  code="""
                  def my_attention(scores, values, mask):
                      return (scores * mask).softmax(dim=-1) @ values
                  """),
            Wrong("the softmax runs over the queries; it belongs over the keys, the last axis",
                  ".softmax(dim=-1)", ".softmax(dim=-2)"),
            Wrong("the scores are cut off from the gradient; no `detach` and no `.data` on the way",
                  "scores.masked_fill", "scores.detach().masked_fill"),
            Wrong("this writes into `scores`, which autograd forbids; `masked_fill` without the underscore makes a "
                  "new tensor", "scores.masked_fill(", "scores.masked_fill_("),
            Wrong("a row in which nothing is permitted gives the mean of its values: what is added is the same for "
                  "all of them; set the forbidden weights to 0 afterwards", code="""
                  def my_attention(scores, values, mask):
                      return (scores + ~mask * -1e9).softmax(dim=-1) @ values
                  """),
        ],
        inputs=scores_and_masks,
        use=output_and_gradients,
        laws=[Law("a dead row gives zeros", dead_rows_are_zero)],
    ),
]
