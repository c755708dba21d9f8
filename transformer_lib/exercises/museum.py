"""Exercises of the bug museum: to build a law, and to find by laws what is wrong with a layer that cannot be opened."""

import torch
from torch import Tensor, nn

from transformer_lib.exercises.exercise import Exercise, Law, Wrong, find


class Sealed(nn.Module):
    """The attention of the last exhibit, with weights: what is wrong with it, its laws tell."""

    def __init__(self) -> None:
        super().__init__()
        exercise = find("museum.line")
        self.attend = exercise.run(exercise.stub)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.qkv, self.out = nn.Linear(6, 18).double(), nn.Linear(6, 6).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x, self.qkv, self.out, n_heads=2)


def past(x: Tensor) -> Tensor:
    return x.cumsum(1)


def less_the_next(x: Tensor) -> Tensor:
    return x - 3 * torch.cat([x[:, 1:], x[:, :1] * 0], dim=1)


def with_all(x: Tensor) -> Tensor:
    """Adds a sum of all positions, in which the early ones weigh most."""
    weight = torch.arange(1.0, 1.0 + x.size(1), dtype=x.dtype)[:, None] ** -3
    return x + (weight * x).sum(dim=1, keepdim=True)


def functions_and_futures() -> list[tuple]:
    """One that obeys, one that sees the next token only, one that sees all; the changes grow with the position."""

    def pair(*shape: int) -> tuple:
        x = torch.randn(shape, dtype=torch.float64)
        growing = torch.arange(1.0, 1.0 + shape[1], dtype=torch.float64)[:, None]
        return x, x + growing * (1 + 0.1 * torch.rand(shape, dtype=torch.float64))

    return [
        (past, *pair(1, 2, 1)), (less_the_next, *pair(1, 2, 1)), (past, *pair(2, 5, 3)),
        (less_the_next, *pair(3, 4, 2)), (with_all, *pair(2, 5, 3)),
    ]  # fmt: skip


def tokens_and_maps() -> list[tuple]:
    return [
        (torch.randn(1, 2, 2), nn.Linear(2, 6), nn.Linear(2, 2), 1),
        (torch.randn(2, 5, 12), nn.Linear(12, 36), nn.Linear(12, 12), 3),
    ]


def alone_as_in_the_batch(answer, x: Tensor, *rest) -> bool:
    return bool(torch.allclose(answer(x, *rest)[:1], answer(x[:1], *rest), atol=1e-5))


def hears_its_sentence(answer, x: Tensor, *rest) -> bool:
    other = torch.cat([x[:, :1], 3 - x[:, 1:]], dim=1)
    return not torch.allclose(answer(x, *rest)[:, 0], answer(other, *rest)[:, 0], atol=1e-6)


# fmt: off
EXERCISES = [
    Exercise(
        name="museum.law",
        title="Build a law",
        level="build it",
        minutes=8,
        statement="""
            Write the law of causality yourself, as a number. `f` is any function from `x`, of shape (batch, seq,
            features), to outputs of the same shape. Positions are counted from 0, and there are at least two. For each
            cut *t*, from 1 to the last position, put the positions from *t* on of `other` in place of those of `x`, and
            see how far the outputs *before* the cut move, up or down. Return the largest absolute value of any such
            movement at any cut, as a number or as a tensor of shape (). A function that obeys the law gives 0. Do not
            write into `x`.
            """,
        stub='''
            def my_causality(f, x, other):
                """The furthest that a changed future moves the past, a number."""
                ...
            ''',
        solution='''
            def my_causality(f, x, other):
                """The furthest that a changed future moves the past, a number."""
                before, furthest = f(x), 0.0
                for t in range(1, x.size(1)):
                    changed = torch.cat([x[:, :t], other[:, t:]], dim=1)
                    moved = (f(changed) - before)[:, :t].abs().max()
                    furthest = max(furthest, moved.item())
                return furthest
            ''',
        hints=[
            "The input with a changed future is `torch.cat` of a beginning of `x` and an end of `other`, along axis 1.",
            "Only the outputs `[:, :t]` may be compared: from the cut on, they have every right to move.",
        ],
        why="""
            With one cut alone, a leak can hide: the first cut tells nothing of the queries behind it. That the past is
            compared with itself, and with nothing known to be right, is why a law can be asked of anybody's part.
            """,
        wrongs=[
            Wrong("the outputs behind the cut are compared too; there the input has changed, and they may move",
                  "[:, :t].abs()", ".abs()"),
            Wrong("the outputs behind the cut are compared in place of those before it; they may move", "[:, :t].abs()",
                  "[:, t:].abs()"),
            Wrong("the past was replaced and not the future: `x` comes first, and `other` from the cut on",
                  "[x[:, :t], other[:, t:]]", "[other[:, :t], x[:, t:]]"),
            Wrong("only the first cut was tried, which says nothing of later queries", "range(1, x.size(1))", "[1]"),
            Wrong("only the last cut was tried, which changes one token and leaves most of the future as it was",
                  "range(1, x.size(1))", "[x.size(1) - 1]"),
            Wrong("the last cut is missing: `range` stops before its end", "range(1, x.size(1))",
                  "range(1, x.size(1) - 1)"),
            Wrong("only one token is replaced at each cut; the whole future is to be replaced",
                  "[x[:, :t], other[:, t:]]", "[x[:, :t], other[:, t:t + 1], x[:, t + 1:]]"),
            Wrong("the sign was kept: a past that moves down has moved as well", ".abs()", ""),
            Wrong("this is the mean of the movements and not the largest", ".max()", ".mean()"),
            Wrong("`changed = x` makes no copy, only a second name: what is written into it stands in `x` as well, and "
                  "the changed is compared with itself; take `x.clone()`, or `torch.cat`",
                  code="""
                  def my_causality(f, x, other):
                      furthest = 0.0
                      for t in range(1, x.size(1)):
                          changed = x
                          changed[:, t:] = other[:, t:]
                          moved = (f(changed) - f(x))[:, :t].abs().max()
                          furthest = max(furthest, moved.item())
                      return furthest
                  """),
            Wrong("`x` is written into: from the second cut on, what was replaced at the first one stays replaced, and "
                  "positions before the cut are no longer those of `x`; take `x.clone()`, or `torch.cat`",
                  code="""
                  def my_causality(f, x, other):
                      before, furthest = f(x), 0.0
                      for t in range(1, x.size(1)):
                          x[:, t:] = other[:, t:]
                          moved = (f(x) - before)[:, :t].abs().max()
                          furthest = max(furthest, moved.item())
                      return furthest
                  """),
            Wrong("it finds no leak in any function: change the input, call `f` again, and compare what comes out",
                  "(f(changed) - before)",
                  "(changed - x)"),
            Wrong("the position of the cut is compared too, and there the input has changed; only those before it "
                  "count", "[:, :t].abs()", "[:, :t + 1].abs()"),
            Wrong("the number is right, but `x` was written into, from the last cut to the first; make a new "
                  "tensor, `x.clone()` or `torch.cat`", code="""
                  def my_causality(f, x, other):
                      before, furthest = f(x), 0.0
                      for t in range(x.size(1) - 1, 0, -1):
                          x[:, t:] = other[:, t:]
                          moved = (f(x) - before)[:, :t].abs().max()
                          furthest = max(furthest, moved.item())
                      return furthest
                  """),
            Wrong("the movements of all cuts are added up; the largest one is asked for",
                  "furthest = max(furthest, moved.item())", "furthest = furthest + moved.item()"),
            Wrong("all of `x` is replaced, the past too; only the positions from the cut on change",
                  "torch.cat([x[:, :t], other[:, t:]], dim=1)", "other"),
            Wrong("the future is set to zero; what stands in its place is that of `other`",
                  "other[:, t:]", "0 * other[:, t:]"),
            Wrong("the first cut is left out; the cuts begin at 1", "range(1, x.size(1))", "range(2, x.size(1))"),
            Wrong("the future is cut off and not replaced, and whoever looks ahead then has nothing to look at; put "
                  "that of `other` in its place", "torch.cat([x[:, :t], other[:, t:]], dim=1)", "x[:, :t]"),
        ],
        inputs=functions_and_futures,
    ),
    Exercise(
        name="museum.norm",
        title="How far off is that norm?",
        level="warm-up",
        minutes=3,
        statement="""
            Take bug 10, the norm with the unbiased deviation, at width 2, where it does most. Leave $\\epsilon$ out.
            By how many percent are its results smaller than they should be? One digit behind the point will do.
            """,
        stub="percent = None  # a number between 0 and 100",
        solution="percent = 100 * (1 - math.sqrt(1 / 2))",
        hints=["Both deviations are roots of one sum of squares, divided by $d$ or by $d - 1$. What is their ratio?"],
        why="""
            The deviation is too large by the factor $\\sqrt{d/(d-1)}$, so the result is too small by its inverse. At
            width 4 that is 13.4 %, at 64 it is 0.8 %: a small test finds what a large model hides.
            """,
        tolerance=2e-3,
        wrongs=[
            Wrong("the root was forgotten: the sum of squares is divided by 2 or by 1, and then the root is taken",
                  code="percent = 50.0"),
            Wrong("that is by how much the deviation is too large; the result is divided by it",
                  code="percent = 100 * (math.sqrt(2) - 1)"),
            Wrong("that is how much is left; asked is how much is missing", code="percent = 100 * math.sqrt(1 / 2)"),
            Wrong("that is width 3; at width 2 the two sums are divided by 2 and by 1",
                  code="percent = 100 * (1 - math.sqrt(2 / 3))"),
            Wrong("that is width 4, the number of the text", code="percent = 100 * (1 - math.sqrt(3 / 4))"),
            Wrong("this is a share of 1; asked are percent", code="percent = 1 - math.sqrt(1 / 2)"),
            Wrong("this is a share of 1, rounded to one digit; asked are percent, a hundred times as much, and then "
                  "one digit behind the point", code="percent = 0.3"),
            Wrong("this is a share of 1, rounded to two digits; asked are percent, a hundred times as much, and then "
                  "one digit behind the point", code="percent = 0.29"),
            Wrong("this is rounded to whole percent; give one digit behind the point", code="percent = 29"),
        ],
    ),
    Exercise(
        name="museum.sealed",
        title="The last exhibit",
        level="one that hurts",
        minutes=12,
        statement="""
            Nobody tells you what is wrong with `sealed`, from the cell above. It shall be self-attention with two
            heads, without a mask, without positions and without dropout: each token attends to all tokens of its
            sentence. One bug is in it; all shapes are right. Ask it five laws, and write down which hold:

            - `laws.evaluation_is_deterministic(sealed, some)`: called twice with the same batch, it gives the same.
            - `laws.permutation_equivariance(sealed, some)`: with the tokens of every sentence in another order, the
              outputs are the same, in that order.
            - `laws.batch_equals_single(sealed, some)`: each sentence, handed over alone, gives what it gives in the
              batch.
            - `laws.token_by_token(sealed, some, changed)`: when the token at one position is replaced, in all sentences
              at once, the outputs at all *other* positions stay as they were.
            - `laws.every_token_counts(sealed, some, changed)`: when the token at one position is replaced, in all
              sentences at once, at least one output of each sentence moves, no matter at which position.

            Before you ask, note which of them a layer *without* a bug obeys: it breaks one. `sealed` differs
            from it in more than one answer. What does a layer do that answers so? (The next exercise has its code,
            folded. Do not open it before you have answered.)
            """,
        given="""
            from transformer_lib import laws
            from transformer_lib.exercises.museum import Sealed

            sealed = Sealed()
            some = torch.arange(90.0).double().sin().view(3, 5, 6)
            changed = some.flip(-1)  # (batch, seq, d_model), both

            def say(verdict):
                print(verdict.message)
            """,
        stub="""
            sealed_obeys = {
                "evaluation_is_deterministic": None,  # True or False
                "permutation_equivariance": None,
                "batch_equals_single": None,
                "token_by_token": None,
                "every_token_counts": None,
            }
            """,
        solution="""
            sealed_obeys = {
                "evaluation_is_deterministic": True,
                "permutation_equivariance": True,
                "batch_equals_single": False,
                "token_by_token": True,
                "every_token_counts": True,
            }
            """,
        hints=[
            "Each law returns a verdict: `say(laws.batch_equals_single(sealed, some))` prints it, and its `.holds` is "
            "`True` or `False`.",
            "Attention must break `token_by_token`. If this layer obeys it, what does a token get from its sentence? "
            "And along which axis does it attend, if something comes from other sentences?",
        ],
        why="""
            In attention tokens get something from each other, so it must break `token_by_token`. This layer obeys it:
            no token gets anything from its neighbours; and it breaks *batch = single*, so something comes from other
            sentences. Both together leave one cause: the softmax runs along the axis of the *batch*, and a token
            attends to those that stand at its own place in other sentences. Each token still moves an output, its own.
            With one sentence at a time it attends to itself alone, and nothing fails.
            """,
        wrongs=[
            Wrong("that is how a layer without a bug answers; ask this one, with more than one sentence in the batch",
                  code="""
                  sealed_obeys = {"evaluation_is_deterministic": True, "permutation_equivariance": True,
                      "batch_equals_single": True, "token_by_token": False, "every_token_counts": True}
                  """),
            Wrong("`token_by_token` is right; there is a law that the layer should obey and breaks: give "
                  "`batch_equals_single` more than one sentence",
                  '"batch_equals_single": False', '"batch_equals_single": True'),
            Wrong("attention should break `token_by_token`, and this layer obeys it, which is a part of its bug: ask "
                  "the law and do not conclude", '"token_by_token": True', '"token_by_token": False'),
            Wrong("`permutation_equivariance` holds, for no position attends to another, and all sentences are "
                  "shuffled alike", '"permutation_equivariance": True', '"permutation_equivariance": False'),
            Wrong("`every_token_counts` holds: each token moves an output, if only its own; that it moves no other is "
                  "what `token_by_token` says", '"every_token_counts": True', '"every_token_counts": False'),
            Wrong("it is the other way round: `True` means that the law holds", code="""
                  sealed_obeys = {"evaluation_is_deterministic": False, "permutation_equivariance": False,
                      "batch_equals_single": True, "token_by_token": False, "every_token_counts": False}
                  """),
            Wrong("this would be a layer that has lost its mixing, a linear map of each token; but a sentence alone "
                  "gives something else than in the batch, and each token moves an output, its own: ask those two "
                  "laws again", code="""
                  sealed_obeys = {"evaluation_is_deterministic": True, "permutation_equivariance": True,
                      "batch_equals_single": True, "token_by_token": True, "every_token_counts": False}
                  """),
            Wrong("what mixes sentences may well be equivariant, for all sentences are put into the new order alike; "
                  "and each token moves an output, its own, so that `every_token_counts` holds", code="""
                  sealed_obeys = {"evaluation_is_deterministic": True, "permutation_equivariance": False,
                      "batch_equals_single": False, "token_by_token": True, "every_token_counts": False}
                  """),
            Wrong("these would be heads that are joined without a transpose, the more usual mistake; here the order of "
                  "the tokens does not matter, and none gets anything from another", code="""
                  sealed_obeys = {"evaluation_is_deterministic": True, "permutation_equivariance": False,
                      "batch_equals_single": True, "token_by_token": False, "every_token_counts": True}
                  """),
        ],
    ),
    Exercise(
        name="museum.line",
        title="Which line is it?",
        level="find the bug",
        minutes=8,
        statement="""
            Now open the layer: in the folded cell below is what `sealed` calls, with `n_heads=2`. `qkv` is a linear map
            whose output holds queries, keys and values side by side, `out` is the last linear map, and the features of
            a head are neighbours. You know from the laws what it does wrong. Mend it.
            """,
        closed=True,
        stub='''
            def my_attention(x, qkv, out, n_heads):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                q, k, v = (
                    part.unflatten(-1, (n_heads, -1)).transpose(0, 2)
                    for part in qkv(x).chunk(3, dim=-1)
                )
                scores = q @ k.mT / q.size(-1) ** 0.5
                heads = scores.softmax(dim=-1) @ v
                return out(heads.transpose(0, 2).flatten(2))
            ''',
        solution='''
            def my_attention(x, qkv, out, n_heads):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                q, k, v = (
                    part.unflatten(-1, (n_heads, -1)).transpose(1, 2)
                    for part in qkv(x).chunk(3, dim=-1)
                )
                scores = q @ k.mT / q.size(-1) ** 0.5
                heads = scores.softmax(dim=-1) @ v
                return out(heads.transpose(1, 2).flatten(2))
            ''',
        hints=[
            "Write the four axes behind each step. Along which one do the scores run?",
            "After `unflatten` they are batch, seq, heads, d_head. Which two must change places, so that the last but "
            "one is seq? And on the way back?",
        ],
        why="""
            `transpose(0, 2)` puts the batch where the positions should be, and the same step leads back, so that every
            shape is right. A test with one sentence, or one that looks at shapes, sees nothing.
            """,
        wrongs=[
            Wrong("it still attends along the batch: after `transpose(0, 2)` the last axis but one is that of the "
                  "sentences",
                  code="""
                  def my_attention(x, qkv, out, n_heads):
                      q, k, v = (p.unflatten(-1, (n_heads, -1)).transpose(0, 2) for p in qkv(x).chunk(3, dim=-1))
                      heads = (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-1) @ v
                      return out(heads.transpose(0, 2).flatten(2))
                  """),
            Wrong("the way there is mended, and the way back is not: it must exchange the same two axes",
                  "heads.transpose(1, 2)", "heads.transpose(0, 2)"),
            Wrong("the way back is mended, and the way there is not: it must exchange the same two axes",
                  "(n_heads, -1)).transpose(1, 2)", "(n_heads, -1)).transpose(0, 2)"),
            Wrong("no axes change places there and back, so that the heads of one token attend to each other",
                  code="""
                  def my_attention(x, qkv, out, n_heads):
                      q, k, v = (p.unflatten(-1, (n_heads, -1)) for p in qkv(x).chunk(3, dim=-1))
                      heads = (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-1) @ v
                      return out(heads.flatten(2))
                  """),
            Wrong("the heads are joined by a `reshape` alone; tokens and heads must change places back first",
                  "heads.transpose(1, 2).flatten(2)", "heads.reshape(x.shape)",
                  source="https://github.com/jsbaan/transformer-from-scratch/pull/6"),
            Wrong("the heads are cut by a `reshape` alone, which gives each head pieces of a few tokens; cut the last "
                  "axis in two, then exchange two axes",
                  code="""
                  def my_attention(x, qkv, out, n_heads):
                      batch, seq, _ = x.shape
                      q, k, v = (p.reshape(batch, n_heads, seq, -1) for p in qkv(x).chunk(3, dim=-1))
                      heads = (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-1) @ v
                      return out(heads.transpose(1, 2).flatten(2))
                  """, source="https://github.com/reczoo/FuxiCTR/issues/30"),
            Wrong("the softmax runs over the queries; the keys are the last axis", "softmax(dim=-1)",
                  "softmax(dim=-2)"),
            Wrong("it was not the softmax: the keys were its axis already, and now it runs over the queries; the "
                  "layer still attends along the batch, so look at the two `transpose`",
                  code="""
                  def my_attention(x, qkv, out, n_heads):
                      q, k, v = (p.unflatten(-1, (n_heads, -1)).transpose(0, 2) for p in qkv(x).chunk(3, dim=-1))
                      heads = (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-2) @ v
                      return out(heads.transpose(0, 2).flatten(2))
                  """),
            Wrong("the axes are right, and the scores are divided by the root of the width of the model; it was the "
                  "width of a head before", "q.size(-1) ** 0.5", "x.size(-1) ** 0.5"),
            Wrong("the softmax runs along the heads now, and the layer still attends along the batch; the axis of "
                  "the softmax was right, so look at the two `transpose`", code="""
                  def my_attention(x, qkv, out, n_heads):
                      q, k, v = (p.unflatten(-1, (n_heads, -1)).transpose(0, 2) for p in qkv(x).chunk(3, dim=-1))
                      heads = (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=0) @ v
                      return out(heads.transpose(0, 2).flatten(2))
                  """),
        ],
        inputs=tokens_and_maps,
        laws=[
            Law("batch = single, a sentence alone gives what it gives in a batch", alone_as_in_the_batch),
            Law("a token gets something from the others of its sentence", hears_its_sentence),
        ],
    ),
]
