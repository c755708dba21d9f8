"""Exercises of chapter 3: cutting the width into heads, and putting it together again."""

import torch
from torch import Tensor

from transformer_lib.attention import scaled_dot_product_attention
from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def tokens_and_matrices() -> list[tuple]:
    """Sizes that all differ; first two heads, each one number wide."""
    return [
        (torch.randn(1, 2, 2), *torch.randn(4, 2, 2), 2),
        (torch.randn(2, 5, 12), *(torch.randn(4, 12, 12) / 3), 3),
    ]


def heads_and_masks() -> list[tuple]:
    """Sentences of different lengths, so that no two have the same mask."""
    few = torch.tensor([[[True, True], [True, True]], [[True, False], [True, False]]])
    real = torch.arange(5) < torch.tensor([5, 2, 3])[:, None]  # (3, 5)
    masks = real[:, None, :] & torch.ones(5, 5, dtype=torch.bool).tril()
    return [(*torch.randn(3, 2, 2, 2, 1), few), (*torch.randn(3, 3, 2, 5, 4), masks)]


def matrices_to_prune() -> list[tuple]:
    keep = [[0, 2], [1, 2]][int(torch.randint(2, ()))]
    return [(*torch.randn(4, 2, 2), [1], 2), (*torch.randn(4, 12, 12), keep, 3)]


def shuffled_alike(answer, x: Tensor, *others) -> bool:
    first, second = answer(x.flip(1), *others), answer(x, *others)
    first, second = (part[0] if isinstance(part, tuple) else part for part in (first, second))
    return bool(torch.allclose(first, second.flip(1), atol=1e-4))


def same_alone(answer, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> bool:
    return bool(torch.allclose(answer(q[:1], k[:1], v[:1], mask[:1]), answer(q, k, v, mask)[:1], atol=1e-4))


def others_write_as_before(answer, w_q, w_k, w_v, w_o, keep: list[int], n_heads: int) -> bool:
    x = torch.randn(5, len(w_q))
    d_head = w_q.size(1) // n_heads

    def heads(*matrices: Tensor) -> Tensor:
        q, k, v = ((x @ matrix).unflatten(1, (-1, d_head)).transpose(0, 1) for matrix in matrices)
        return scaled_dot_product_attention(q, k, v)[0]

    terms = heads(w_q, w_k, w_v) @ w_o.unflatten(0, (n_heads, d_head))  # (n_heads, 5, d_model)
    *narrow, last = answer(w_q, w_k, w_v, w_o, keep, n_heads)
    now = heads(*narrow) @ last.unflatten(0, (-1, d_head))
    return bool(torch.allclose(now.sum(0), terms[keep].sum(0), atol=1e-3))


# fmt: off
EXERCISES = [
    Exercise(
        name="multi-head.feature",
        title="Where does a feature go?",
        level="warm-up",
        minutes=2,
        statement="""
            The width is 12, and there are 3 heads. A token's query, key and value have features 0 to 11, cut as above.
            In which head is feature 7, and in which column of that head? Count both from 0.
            """,
        stub="head_and_column = None  # two whole numbers, such as (0, 0)",
        solution="head_and_column = (7 // 4, 7 % 4)",
        hints=["How wide is a head? Write the features of the three heads in three rows."],
        why="""
            Each head is 4 wide. Features 0 to 3 are head 0, features 4 to 7 are head 1, and 7 is the last of these.
            """,
        wrongs=[
            Wrong("this deals the features out in turn, 0 to head 0, 1 to head 1, and so on; a head has neighbouring "
                  "features", code="head_and_column = (1, 2)"),
            Wrong("both are counted from 1; the first head is head 0, and its first column is column 0",
                  code="head_and_column = (2, 4)"),
            Wrong("the head is counted from 1; the first head is head 0", code="head_and_column = (2, 3)"),
            Wrong("the column is counted from 1; the first column of a head is column 0",
                  code="head_and_column = (1, 4)"),
            Wrong("a head is taken to be 3 wide; 3 is the number of heads, and 12 features in 3 heads make 4 each",
                  code="head_and_column = (2, 1)"),
            Wrong("the head and the column have changed places; the head comes first", code="head_and_column = (3, 1)"),
        ],
    ),
    Exercise(
        name="multi-head.attention",
        title="Build multi-head attention",
        level="build it",
        minutes=10,
        statement="""
            Write it before you read on, with a batch axis in front: the cut into heads, attention in all of them at
            once, and the way back. The four matrices are $W^Q$, $W^K$, $W^V$ and $W^O$; each of the first three holds
            the matrices of all heads side by side, head 0 first, and the last is one more product, with which the
            formula ends; the next section says what for. There are no biases and no mask.
            `scaled_dot_product_attention` may be used: it acts on the last two axes, takes any number of axes before
            them, and returns the output and the weights.
            """,
        stub='''
            def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                """(batch, seq, d_model) -> (batch, seq, d_model).

                The matrices are (d_model, d_model), used as x @ w_q.
                """
                ...
            ''',
        solution="""
            def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                q, k, v = (
                    (x @ matrix).unflatten(-1, (n_heads, -1)).transpose(1, 2)
                    for matrix in (w_q, w_k, w_v)
                )
                heads, _ = scaled_dot_product_attention(q, k, v)
                return heads.transpose(1, 2).flatten(2) @ w_o
            """,
        hints=[
            "`unflatten` and `transpose` cut the table above, without a batch axis. Which axes change places with one?",
            """
            After the cut the shape is (batch, seq, heads, d_head), and (batch, heads, seq, d_head) is what attention
            needs. On the way back it is the reverse, then `flatten`, then $W^O$.
            """,
        ],
        why="The cut takes two steps, and so does the way back: an axis is taken apart, and two axes change places.",
        wrongs=[
            Wrong("the heads are cut without a transpose: `view` or `reshape` to (batch, heads, seq, d_head) deals the "
                  "numbers out as they lie in memory, and each head gets pieces of a few tokens",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      batch, seq, _ = x.shape
                      q, k, v = ((x @ w).view(batch, n_heads, seq, -1) for w in (w_q, w_k, w_v))
                      heads, _ = scaled_dot_product_attention(q, k, v)
                      return heads.transpose(1, 2).flatten(2) @ w_o
                  """, source="https://github.com/reczoo/FuxiCTR/issues/30"),
            Wrong("the cut is right, and the heads are joined without a transpose: before the last two axes are "
                  "joined, the heads of a token must stand next to each other",
                  "heads.transpose(1, 2).flatten(2)", "heads.reshape(x.shape)",
                  source="https://github.com/jsbaan/transformer-from-scratch/pull/6"),
            Wrong("the heads are cut and joined by `view` or `reshape` alone; both need a transpose of the axes of "
                  "tokens and heads",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      batch, seq, _ = x.shape
                      q, k, v = ((x @ w).view(batch, n_heads, seq, -1) for w in (w_q, w_k, w_v))
                      heads, _ = scaled_dot_product_attention(q, k, v)
                      return heads.reshape(x.shape) @ w_o
                  """),
            Wrong("no axes change places, so that the heads of one token attend to each other, and no token to another",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      q, k, v = ((x @ w).unflatten(-1, (n_heads, -1)) for w in (w_q, w_k, w_v))
                      heads, _ = scaled_dot_product_attention(q, k, v)
                      return heads.flatten(2) @ w_o
                  """),
            Wrong("the scores are divided by the root of `d_model`; the dot product is `d_head` wide",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      q, k, v = ((x @ w).unflatten(-1, (n_heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
                      scores = q @ k.transpose(-2, -1) / math.sqrt(x.size(-1))
                      return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2) @ w_o
                  """, source="https://github.com/karpathy/ng-video-lecture/pull/6"),
            Wrong("the scores are not divided; the root of `d_head` belongs under them",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      q, k, v = ((x @ w).unflatten(-1, (n_heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
                      weights = (q @ k.transpose(-2, -1)).softmax(dim=-1)
                      return (weights @ v).transpose(1, 2).flatten(2) @ w_o
                  """),
            Wrong("the last matrix is missing", " @ w_o", ""),
            Wrong("all four matrices are used transposed, as `nn.Linear` and `F.linear` do; here it is `x @ w_q`",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      q, k, v = (F.linear(x, w).unflatten(-1, (n_heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
                      heads, _ = scaled_dot_product_attention(q, k, v)
                      return F.linear(heads.transpose(1, 2).flatten(2), w_o)
                  """),
            Wrong("the number of heads and the width of a head have changed places: `unflatten` makes `n_heads` "
                  "columns of what should be `n_heads` heads", "(n_heads, -1)", "(-1, n_heads)"),
            Wrong("the features are dealt out to the heads in turn; head 0 has the first `d_head` of them",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      q, k, v = ((x @ w).unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2) for w in (w_q, w_k, w_v))
                      heads, _ = scaled_dot_product_attention(q, k, v)
                      return heads.permute(0, 2, 3, 1).flatten(2) @ w_o
                  """),
            Wrong("there is only one head, over the whole width",
                  code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      return scaled_dot_product_attention(x @ w_q, x @ w_k, x @ w_v)[0] @ w_o
                  """),
            Wrong("`view` cannot join axes that have changed places; use `reshape` or `flatten`",
                  ".flatten(2)", ".view(x.shape)"),
            Wrong("attention returns two things, the output and the weights; take the first", "heads, _ =", "heads ="),
            Wrong("the values are the tokens themselves; they go through `w_v`, as queries and keys go through "
                  "theirs", code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      w_v = torch.eye(x.size(-1))
                      q, k, v = ((x @ w).unflatten(-1, (n_heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
                      heads, _ = scaled_dot_product_attention(q, k, v)
                      return heads.transpose(1, 2).flatten(2) @ w_o
                  """),
            Wrong("there is no softmax: the scores themselves weigh the values", code="""
                  def my_multi_head(x, w_q, w_k, w_v, w_o, n_heads):
                      q, k, v = ((x @ w).unflatten(-1, (n_heads, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
                      scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
                      return (scores @ v).transpose(1, 2).flatten(2) @ w_o
                  """),
        ],
        given="from transformer_lib.attention import scaled_dot_product_attention",
        inputs=tokens_and_matrices,
        laws=[Law("shuffle the tokens, and the outputs are shuffled the same way and otherwise unchanged",
                  shuffled_alike)],
        more=True,
    ),
    Exercise(
        name="multi-head.fold",
        title="Batch and heads in one axis",
        level="find the bug",
        minutes=8,
        statement="""
            Some functions take one axis in front and not two, so this code folds sentences and heads into one axis,
            attends, and unfolds it again. Each sentence has a mask of its own, which goes to all its heads. With one
            sentence the function is right, and with one head as well. With two of each it is wrong, and every shape
            fits. One thing is wrong with it. Mend it.
            """,
        stub='''
            def my_folded_attention(q, k, v, mask):
                """Output, (batch, n_heads, seq, d_head).

                q, k, v: like the output. mask: (batch, seq, seq), boolean.
                """
                batch, n_heads, seq, d_head = q.shape
                q = q.reshape(batch * n_heads, seq, d_head)
                k = k.reshape(batch * n_heads, seq, d_head)
                v = v.reshape(batch * n_heads, seq, d_head)
                mask = mask.repeat(n_heads, 1, 1)
                output, _ = scaled_dot_product_attention(q, k, v, mask)
                return output.view(batch, n_heads, seq, d_head)
            ''',
        solution="""
            def my_folded_attention(q, k, v, mask):
                batch, n_heads, seq, d_head = q.shape
                q = q.reshape(batch * n_heads, seq, d_head)
                k = k.reshape(batch * n_heads, seq, d_head)
                v = v.reshape(batch * n_heads, seq, d_head)
                mask = mask.repeat_interleave(n_heads, dim=0)
                output, _ = scaled_dot_product_attention(q, k, v, mask)
                return output.view(batch, n_heads, seq, d_head)
            """,
        hints=[
            "Two sentences, two heads. In which order do the four tables lie after `reshape`? And the four masks?",
            "`repeat` lays whole copies one behind the other, as NumPy's `tile` does (NumPy's `repeat` does something "
            "else), so the masks come in the order 0, 1, 0, 1. Look up `repeat_interleave`.",
        ],
        why="""
            After the fold come all heads of sentence 0, then all heads of sentence 1. `repeat` puts the whole list of
            masks behind itself, so that head 1 of sentence 0 got the mask of sentence 1. A sentence then depends on its
            neighbours in the batch, and a test with one sentence does not show it.
            """,
        wrongs=[
            Wrong("the masks still come in the order of sentences 0, 1, 0, 1, and the folded heads belong to sentences "
                  "0, 0, 1, 1", "mask.repeat_interleave(n_heads, dim=0)", "torch.cat([mask] * n_heads)"),
            Wrong("`repeat_interleave` without `dim` makes one long row of all entries; say `dim=0`, the axis of the "
                  "sentences", "(n_heads, dim=0)", "(n_heads)"),
            Wrong("the mask is gone: padding and future are seen", "k, v, mask)\n    return", "k, v)\n    return"),
            Wrong("every sentence gets the mask of sentence 0", "mask.repeat_interleave(n_heads, dim=0)", "mask[:1]"),
            Wrong("a pair is permitted only if all sentences permit it; each sentence has a mask of its own",
                  "mask.repeat_interleave(n_heads, dim=0)", "mask.all(dim=0)"),
            Wrong("the order is right, but the mask is inverted: `True` means that a query may look", "k, v, mask)\n",
                  "k, v, ~mask)\n"),
            Wrong("the order is right, but the mask is transposed: its rows are the queries", "k, v, mask)\n",
                  "k, v, mask.mT)\n"),
            Wrong("the heads come first in the fold now, and the sentences in the unfolding; both must have one order",
                  code="""
                  def my_folded_attention(q, k, v, mask):
                      n_heads = q.size(1)
                      folded = [t.transpose(0, 1).flatten(0, 1) for t in (q, k, v)]
                      output, _ = scaled_dot_product_attention(*folded, mask.repeat(n_heads, 1, 1))
                      return output.view(q.shape)
                  """),
            Wrong("the unfolding was mended, and it was right: the queries are folded with the sentences first; only "
                  "the masks come in another order",
                  code="""
                  def my_folded_attention(q, k, v, mask):
                      batch, n_heads = q.shape[:2]
                      folded = [t.flatten(0, 1) for t in (q, k, v)]
                      mask = mask.repeat(n_heads, 1, 1)
                      output, _ = scaled_dot_product_attention(*folded, mask)
                      return output.unflatten(0, (n_heads, batch)).transpose(0, 1)
                  """),
            Wrong("the fold puts the heads first now, and the masks still come with the sentences first",
                  code="""
                  def my_folded_attention(q, k, v, mask):
                      n_heads = q.size(1)
                      folded = [t.transpose(0, 1).flatten(0, 1) for t in (q, k, v)]
                      output, _ = scaled_dot_product_attention(*folded, mask.repeat_interleave(n_heads, dim=0))
                      return output.unflatten(0, (n_heads, -1)).transpose(0, 1)
                  """),
            Wrong("the mask is made longer along the axis of the queries; it takes a mask for each head of each "
                  "sentence, along `dim=0`", "mask.repeat_interleave(n_heads, dim=0)", "mask.repeat(1, n_heads, 1)"),
        ],
        given="from transformer_lib.attention import scaled_dot_product_attention",
        inputs=heads_and_masks,
        laws=[Law("a sentence comes out the same alone and in a batch", same_alone)],
    ),
    Exercise(
        name="multi-head.prune",
        title="Take heads out",
        level="one that hurts",
        minutes=15,
        statement="""
            Some heads can be removed with little harm. Do it, and make the matrices smaller: return $W^Q$, $W^K$, $W^V$
            and $W^O$ for a module that has only the heads in `keep`. Each head that stays must write what it wrote
            before, and the output keeps its width. The matrices are used as `x @ w_q` and `heads @ w_o`, where `heads`
            holds the outputs of all heads side by side; each head is `d_model / n_heads` wide, and there are no biases.
            """,
        stub='''
            def my_pruned(w_q, w_k, w_v, w_o, keep, n_heads):
                """Four smaller matrices, as a tuple.

                Each of the four is (d_model, d_model). keep: a list of numbers
                of heads, from the smallest to the largest, such as [0, 2].
                """
                ...
            ''',
        solution="""
            def my_pruned(w_q, w_k, w_v, w_o, keep, n_heads):
                d_head = w_q.size(1) // n_heads
                kept = torch.cat([
                    torch.arange(head * d_head, (head + 1) * d_head)
                    for head in keep
                ])
                return w_q[:, kept], w_k[:, kept], w_v[:, kept], w_o[kept]
            """,
        hints=[
            "Which part of `w_q` does head 0 use: rows, or columns? And which part of `w_o`?",
            "First make a list of all features that stay, `d_head` for each head. Then index with it.",
        ],
        why="""
            A head owns columns of the first three matrices, and rows of the last one, through which it writes. The
            terms of the heads are added, so taking one out leaves the others as they were.
            """,
        wrongs=[
            Wrong("the heads are silenced, and still there: what they own must be cut away, not set to zero",
                  code="""
                  def my_pruned(w_q, w_k, w_v, w_o, keep, n_heads):
                      stays = torch.zeros(n_heads)
                      stays[keep] = 1
                      stays = stays.repeat_interleave(len(w_q) // n_heads)
                      return w_q * stays, w_k * stays, w_v * stays, w_o * stays[:, None]
                  """),
            Wrong("the heads in `keep` are the ones that were removed", "for head in keep",
                  "for head in range(n_heads) if head not in keep"),
            Wrong("each head gets one feature, as if the number of a head were that of a column; a head owns `d_head` "
                  "columns", "torch.arange(head * d_head, (head + 1) * d_head)", "torch.tensor([head])"),
            Wrong("the features are dealt out in turn, every third to the same head or so; those of a head are "
                  "neighbours", "torch.arange(head * d_head, (head + 1) * d_head)",
                  "torch.arange(head, len(w_q), n_heads)"),
            Wrong("the columns of $W^O$ are cut; those are the features of the output, and a head owns its rows",
                  "w_o[kept]", "w_o[:, kept]"),
            Wrong("$W^O$ is as large as before; the rows of the removed heads have nothing left to multiply",
                  "w_o[kept]", "w_o"),
            Wrong("the rows of all four are cut; the rows of the first three belong to the features of `x`, and a "
                  "head owns columns of them", "w_q[:, kept], w_k[:, kept], w_v[:, kept]",
                  "w_q[kept], w_k[kept], w_v[kept]"),
            Wrong("rows and columns have changed places, as in the weights of `nn.Linear`, which are stored "
                  "transposed; here it is `x @ w_q`", "w_q[:, kept], w_k[:, kept], w_v[:, kept], w_o[kept]",
                  "w_q[kept], w_k[kept], w_v[kept], w_o[:, kept]"),
            Wrong("the features are dealt out in turn, every `n_heads`-th to the same head, and stay in their "
                  "order; the features of a head are neighbours, `d_head` of them",
                  "return w_q",
                  "kept = torch.tensor([i for i in range(len(w_q)) if i % n_heads in keep])\n    return w_q"),
            Wrong("a head is taken to be `n_heads` wide; its width is `d_model` divided by `n_heads`",
                  "w_q.size(1) // n_heads", "n_heads"),
            Wrong("the first heads are kept, as many as `keep` names; it says which",
                  "for head in keep", "for head in range(len(keep))"),
        ],
        inputs=matrices_to_prune,
        laws=[Law("each head that stays adds the term that it added before", others_write_as_before)],
    ),
]
