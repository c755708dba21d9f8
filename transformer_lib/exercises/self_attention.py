"""Exercises of chapter 1: one head, from scores to the weighted mean."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def queries_keys_values() -> list[tuple]:
    return [
        (torch.randn(1, 2), torch.randn(2, 2), torch.randn(2, 1)),
        (torch.randn(3, 4), torch.randn(7, 4), torch.randn(7, 5)),
    ]


def values_of_width_one() -> list[tuple]:
    return [
        (torch.randn(1, 2), torch.randn(2, 2), torch.randn(2, 1)),
        (torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 1)),
    ]


def tokens_and_matrices() -> list[tuple]:
    return [
        (torch.randn(1, 2, 1), *torch.randn(3, 1, 1)),
        (torch.randn(2, 5, 3), torch.randn(3, 4), torch.randn(3, 4), torch.randn(3, 6)),
    ]


def keeps_ones(answer, query: Tensor, key: Tensor, value: Tensor) -> bool:
    output = answer(query, key, torch.ones_like(value))
    output = output[0] if isinstance(output, tuple) else output
    return bool(torch.allclose(output, torch.ones(len(query), value.size(1)).to(output), atol=1e-4))


def shifted_values_change_nothing(answer, query: Tensor, key: Tensor, value: Tensor) -> bool:
    return bool(torch.allclose(answer(query, key, value + 3), answer(query, key, value), atol=1e-4))


def sentences_are_apart(answer, x: Tensor, *matrices: Tensor) -> bool:
    return bool(torch.allclose(answer(x[:1], *matrices), answer(x, *matrices)[:1], atol=1e-4))


# fmt: off
EXERCISES = [
    Exercise(
        name="self-attention.hundred",
        title="A shorter phrase",
        level="warm-up",
        minutes=3,
        statement="""
            Take the *one* away: *three hundred twenty*. Queries, keys and values are made by the same three matrices
            as above, and the dot products are again divided by 2. What amount does *hundred* receive now? Two decimals
            are enough.
            """,
        stub="amount_received = None  # a number",
        solution="amount_received = (3 * math.exp(2) + 1 + 2) / (math.exp(2) + 2)",
        hints=[
            "Write down the three scores of *hundred*. One of them is 2.",
            "The weights are 7.389, 1 and 1, each divided by their sum. The amounts are 3, 1 and 2.",
        ],
        why="""
            The scores are 2, 0 and 0. Nobody shares the weight of the unit any more, so *three* gets 0.787 of it, where
            it had 0.440.
            """,
        wrongs=[
            Wrong("this is the answer of the whole phrase; without *one* there are three scores, and only one of them "
                  "is 2", code="amount_received = (4 * math.exp(2) + 3) / (2 * math.exp(2) + 2)"),
            Wrong("the weights are those of the four tokens, without the one of *one*, so that they do not sum to one; "
                  "make a softmax of three scores",
                  code="amount_received = (3 * math.exp(2) + 3) / (2 * math.exp(2) + 2)"),
            Wrong("this is what comes from *three*; *hundred* gets a share of its own amount and of that of *twenty* "
                  "too", code="amount_received = 3 * math.exp(2) / (math.exp(2) + 2)"),
            Wrong("this is *three hundred*; *twenty* has been left out, and a score of 0 still has a weight",
                  code="amount_received = (3 * math.exp(2) + 1) / (math.exp(2) + 1)"),
            Wrong("a score of 0 is not a weight of 0: the softmax takes *e* to the power of the score, and *e* to the "
                  "power of 0 is 1, so *hundred* and *twenty* count too", code="amount_received = 3"),
            Wrong("the dot product 4 was not divided by 2; the score of *three* is 2",
                  code="amount_received = (3 * math.exp(4) + 3) / (math.exp(4) + 2)"),
            Wrong("the weights do not sum to one: divide by the sum of the three powers of *e*",
                  code="amount_received = 3 * math.exp(2) + 3"),
            Wrong("this is the weight of *three*; the output multiplies each amount by its weight, and adds up",
                  code="amount_received = math.exp(2) / (math.exp(2) + 2)"),
            Wrong("this is the plain mean of the amounts; the weights are not equal", code="amount_received = 2"),
            Wrong("these are the scores times the amounts; the softmax is missing", code="amount_received = 6"),
        ],
        tolerance=0.004,
    ),
    Exercise(
        name="self-attention.attend",
        title="Attention without loops",
        level="build it",
        minutes=6,
        statement="""
            Write the formula without the loops: the scores of all pairs, the softmax along each row, the weighted sum
            of the values. Three lines are enough. There may be more keys than queries, and the values may be wider than
            the keys. Return the output; the weights may follow it.
            """,
        stub='''
            def my_attend(query, key, value):
                """(queries, d), (keys, d), (keys, d_v) -> (queries, d_v)."""
                ...
            ''',
        solution="""
            def my_attend(query, key, value):
                scores = query @ key.T / math.sqrt(query.size(-1))
                weights = scores.softmax(dim=-1)
                return weights @ value
            """,
        hints=[
            "The scores have the shape (queries, keys). Which product of `query` and `key` has it?",
            "Three steps: `query @ key.T`, divided by the root of the width of a query; `softmax(dim=-1)`; `@ value`.",
        ],
        why="""
            Each of the two loops has become a matrix product, the first over all pairs of query and key, the second
            over the keys whose values are added up.
            """,
        wrongs=[
            Wrong("the scores are not divided by the root of *d*, the width of a query",
                  " / math.sqrt(query.size(-1))", ""),
            Wrong("the softmax runs down the columns, over the queries; each query shares its weight among the keys, "
                  "so it belongs on the last axis", "softmax(dim=-1)", "softmax(dim=0)",
                  source="https://github.com/nerminnuraydogan/vision-transformer/issues/1"),
            Wrong("the division comes after the softmax, so that the weights no longer sum to one; divide the scores",
                  code="""
                  def my_attend(query, key, value):
                      weights = (query @ key.T).softmax(dim=-1)
                      return weights / math.sqrt(query.size(-1)) @ value
                  """, source="https://github.com/FrancescoSaverioZuppichini/ViT/issues/2"),
            Wrong("the scores are divided by *d*; it is the root of *d* that is asked for", "math.sqrt(query.size(-1))",
                  "query.size(-1)"),
            Wrong("the scores are divided by the root of the number of keys; *d* is the width of a query, its last "
                  "axis", "query.size(-1)", "key.size(0)"),
            Wrong("the scores are divided by the root of the number of queries (`len` gives that); *d* is the width of "
                  "a query, its last axis", "query.size(-1)", "len(query)"),
            Wrong("the scores are divided by the root of the width of a value; *d* is the width of a query and of a "
                  "key", "query.size(-1)", "value.size(-1)"),
            Wrong("the scores are multiplied by the root, and must be divided by it", " / math", " * math"),
            Wrong("there is no softmax: scores may be negative and do not sum to one", "scores.softmax(dim=-1)",
                  "scores"),
            Wrong("these are the weights; what is asked for is the weighted sum of the values", " @ value", ""),
            Wrong("the keys are not transposed: the product needs one key in each column", "key.T", "key"),
            Wrong("the exponentials are not divided by their sum, so that the weights of a query do not sum to one",
                  "scores.softmax(dim=-1)", "scores.exp()"),
            Wrong("the exponentials are divided by the sum of the whole table; each row has a sum of its own, "
                  "`sum(dim=-1, keepdim=True)`", "scores.softmax(dim=-1)", "scores.exp() / scores.exp().sum()"),
            Wrong("each row has its own sum, but without `keepdim=True` the sums are a row and not a column, and "
                  "divide the wrong numbers", "scores.softmax(dim=-1)", "scores.exp() / scores.exp().sum(dim=-1)"),
        ],
        inputs=queries_keys_values,
        laws=[Law("the weights of a query sum to one, so where all values are 1 every output is 1", keeps_ones)],
        more=True,
    ),
    Exercise(
        name="self-attention.batch",
        title="The head that got a batch axis",
        level="find the bug",
        minutes=6,
        statement="""
            This head was written for one sentence, `(seq_len, width)`, and it was right. Then a batch axis came in
            front, and `k.T` became `k.transpose(1, 2)`. It still runs, and what comes out has the right shape. Two
            things are wrong with it. Mend both.
            """,
        stub='''
            def my_head(x, query_matrix, key_matrix, value_matrix):
                """(batch, seq_len, width) -> (batch, seq_len, d_v).

                Two matrices are (width, d), the last one is (width, d_v).
                """
                q = x @ query_matrix
                k = x @ key_matrix
                v = x @ value_matrix
                scores = q @ k.transpose(1, 2) / math.sqrt(q.size(1))
                return scores.softmax(dim=1) @ v
            ''',
        solution="""
            def my_head(x, query_matrix, key_matrix, value_matrix):
                q = x @ query_matrix
                k = x @ key_matrix
                v = x @ value_matrix
                scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
                return scores.softmax(dim=-1) @ v
            """,
        hints=[
            "Axis 1 was the last one of two. What is it of three?",
            "Write the shapes of `q` and of `scores` beside their lines, and look up axis 1 in each.",
        ],
        why="""
            Axes that are counted from the end keep their meaning when something comes in front. A reader who trained
            an image model with such a softmax measured no loss in its pictures; *Break it* below has the link.
            """,
        wrongs=[
            Wrong("neither axis has moved: the softmax still runs over the queries, and the root is still that of the "
                  "number of tokens",
                  code="""
                  def my_head(x, query_matrix, key_matrix, value_matrix):
                      q, k, v = x @ query_matrix, x @ key_matrix, x @ value_matrix
                      scores = q @ k.transpose(-2, -1) / math.sqrt(x.size(-2))
                      return scores.softmax(dim=-2) @ v
                  """),
            Wrong("the softmax still runs over the queries: axis 1 of `(batch, queries, keys)`; the keys are the last "
                  "axis", "softmax(dim=-1)", "softmax(dim=1)",
                  source="https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146"),
            Wrong("the root is still that of the number of tokens, axis 1 of `(batch, seq_len, d)`; the width of a "
                  "query is its last axis", "q.size(-1)", "q.size(1)"),
            Wrong("the root is that of the width of a token; what is divided is a dot product of queries and keys, and "
                  "their width is that of `q`", "q.size(-1)", "x.size(-1)",
                  source="https://github.com/karpathy/ng-video-lecture/pull/6"),
            Wrong("the root is that of the number of sentences, axis 0; the width of a query is its last axis",
                  "q.size(-1)", "q.size(0)"),
            Wrong("the softmax runs over the sentences of the batch, axis 0; the keys are the last axis",
                  "softmax(dim=-1)", "softmax(dim=0)"),
            Wrong("`k.T` turns all the axes round, the batch too; only the last two change places, `k.transpose(-2, "
                  "-1)`", "k.transpose(-2, -1)", "k.permute(2, 1, 0)"),
            Wrong("the division is gone; the scores are divided by the root of the width of a query",
                  " / math.sqrt(q.size(-1))", ""),
            Wrong("the root is that of the width of a value; a dot product is as wide as queries and keys",
                  "q.size(-1)", "v.size(-1)"),
            Wrong("`transpose(0, 1)` exchanges sentences and tokens; of the keys the last two axes change places",
                  "k.transpose(-2, -1)", "k.transpose(0, 1)"),
        ],
        inputs=tokens_and_matrices,
        laws=[Law("a sentence comes out the same alone and in a batch", sentences_are_apart)],
    ),
    Exercise(
        name="self-attention.gradient",
        title="The gradient at a query, by hand",
        level="one that hurts",
        minutes=20,
        statement="""
            In the section on the root of *d*, `backward` told us how fast the output changes when a query moves, and
            that this is zero where one key has all the weight. Compute it yourself, without `backward`, and see why.
            The attention is that of the formula: the scores are divided by $\\sqrt{d}$, with *d* the width of a query.
            Each value is a single number, so each query has one number as its output. Return, for each query, the
            gradient of its output with respect to the query.
            """,
        stub='''
            def my_gradient(query, key, value):
                """(queries, d), (keys, d), (keys, 1) -> (queries, d)."""
                ...
            ''',
        solution="""
            def my_gradient(query, key, value):
                root = math.sqrt(query.size(-1))
                weights = (query @ key.T / root).softmax(dim=-1)
                output = weights @ value  # (queries, 1)
                by_score = weights * (value.T - output)  # (queries, keys)
                return by_score @ key / root
            """,
        hints=[
            """
            One query. When score *j* rises, weight *j* rises by $w_j(1 - w_j)$, and every other weight $w_i$ falls by
            $w_i w_j$. Add up what that does to the output $o = \\sum_i w_i v_i$, and simplify: one term is
            $w_j v_j$, and the rest is $-w_j$ times something that you know.
            """,
            """
            The output changes with score *j* by $w_j (v_j - o)$. And score *j* changes with the query by the key *j*,
            divided by the root of *d*.
            """,
        ],
        why="""
            What pulls at the query is how far each value lies from the output, times its weight. If one key has all
            the weight, its value *is* the output, and all other weights are zero: nothing pulls. If all values are
            equal, nothing pulls either.
            """,
        wrongs=[
            Wrong("the output is not subtracted: when one weight rises the others fall, for they sum to one",
                  "(value.T - output)", "value.T"),
            Wrong("each weight is taken to depend on its own score alone; it falls when another score rises",
                  "(value.T - output)", "(1 - weights) * value.T"),
            Wrong("the root of *d* is missing at the end: a score is the dot product divided by it, and so is its "
                  "gradient", "by_score @ key / root", "by_score @ key"),
            Wrong("the weights are those of scores that were not divided by the root of *d*", "(query @ key.T / root)",
                  "(query @ key.T)"),
            Wrong("what is subtracted is the plain mean of the values; it must be the weighted one, the output",
                  "value.T - output", "value.T - value.mean()"),
            Wrong("the values stand in a column, one row a key, and the weights have a column for each key; transpose "
                  "them, `value.T`", "value.T - output", "value - output"),
            Wrong("the weights are missing: a key with little weight pulls little",
                  "weights * (value.T - output)", "value.T - output"),
            Wrong("this is the gradient with respect to the scores, (queries, keys); one step is left, from the scores "
                  "to the query", " @ key / root", ""),
            Wrong("the sign is wrong: a value that is larger than the output pulls the query towards its key",
                  "value.T - output", "output - value.T"),
            Wrong("this is the gradient at the keys, one row a key; the query is asked for",
                  "by_score @ key / root", "by_score.T @ query / root"),
            Wrong("the gradient is divided by *d*, and it is the root of *d* that the scores were divided by",
                  "by_score @ key / root", "by_score @ key / root**2"),
            Wrong("this is the gradient of the mean of the outputs; each query has an output of its own, so take "
                  "their sum", "by_score @ key / root", "by_score @ key / root / len(query)"),
        ],
        inputs=values_of_width_one,
        laws=[Law("when all values rise by 3 so does the output, and no gradient changes",
                  shifted_values_change_nothing)],
    ),
]
