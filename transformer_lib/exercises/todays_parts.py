"""Exercises of chapter 17: the parts that came after 2017."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def vectors() -> list[tuple]:
    return [
        (torch.randn(1, 2, 4), 0),
        (torch.randn(1, 3, 4), 2),
        (torch.randn(2, 5, 6), 7),
        (torch.randn(3, 4, 8), 1),
    ]


def score_stays(answer, x: Tensor, offset: int) -> bool:
    """Query and key of one place each, both moved on by five."""
    here, there = (answer(x[:1], start)[0] for start in (offset, offset + 5))
    return torch.allclose(here @ here.T, there @ there.T, atol=1e-3)


def heads_and_groups() -> list[tuple]:
    def draw(batch: int, heads: int, groups: int, q_len: int, kv_len: int, d_head: int) -> tuple:
        return torch.randn(batch, heads, q_len, d_head), *torch.randn(2, batch, groups, kv_len, d_head)

    return [draw(1, 4, 2, 1, 3, 2), draw(2, 6, 3, 2, 5, 4), draw(2, 6, 2, 3, 3, 5), draw(1, 8, 4, 4, 2, 3)]


def preferences() -> list[tuple]:
    """Logits of a router that likes the first expert best, so that its queue gets too long; no two are equal."""
    sizes = [(3, 2, 1, 1), (6, 3, 2, 3), (8, 4, 2, 3), (9, 4, 3, 5)]
    return [
        (torch.randn(tokens, experts) + torch.arange(experts, 0, -1) * 0.8, top_k, room)
        for tokens, experts, top_k, room in sizes
    ]


# fmt: off
EXERCISES = [
    Exercise(
        name="todays-parts.turn",
        title="Build the turn",
        level="build it",
        minutes=10,
        statement="""
            Write rotary positions before you read on. `x` holds queries, or keys, of consecutive positions, the first
            of which is `offset`. Pair $j$ is feature $j$ and feature $j + d_{head}/2$; at position $p$ it is turned by
            $p\\,\\omega_j$ with $\\omega_j = 10000^{-2j/d_{head}}$, as in the formula above.
            """,
        stub='''
            def my_turn(x, offset):
                """(batch, seq, d_head) -> the same shape, turned."""
                ...
            ''',
        solution='''
            def my_turn(x, offset):
                """(batch, seq, d_head) -> the same shape, turned."""
                seq, d_head = x.shape[-2:]
                position = torch.arange(offset, offset + seq)
                omega = 10000 ** (-2 * torch.arange(d_head // 2) / d_head)
                angle = position[:, None] * omega  # (seq, d_head / 2)
                cos, sin = angle.cos(), angle.sin()
                a, b = x.chunk(2, dim=-1)
                return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
            ''',
        hints=[
            "Two tables of shape `(seq, d_head / 2)`, the cosines and the sines of all angles, do for the whole batch.",
            "`x.chunk(2, dim=-1)` gives the first features of all pairs and the second ones; `torch.cat` joins them.",
        ],
        why="""
            Nothing here is learned, and no vector changes its length. Query and key are turned, values are not: what a
            token hands over does not depend on where it stands.
            """,
        wrongs=[
            Wrong("the pairs are neighbours, features 2j and 2j + 1; that is the paper's layout, and here the partner "
                  "of feature j stands half a head further on", code="""
                  def my_turn(x, offset):
                      seq, d_head = x.shape[-2:]
                      position = torch.arange(offset, offset + seq)
                      omega = 10000 ** (-2 * torch.arange(d_head // 2) / d_head)
                      angle = position[:, None] * omega
                      cos, sin = angle.cos(), angle.sin()
                      a, b = x[..., 0::2], x[..., 1::2]
                      pairs = [a * cos - b * sin, b * cos + a * sin]
                      return torch.stack(pairs, dim=-1).flatten(-2)
                  """),
            Wrong("the two layouts are mixed: the partner stands half a head further on, but the angles are laid out "
                  "for neighbours, so that the two of a pair turn at different speeds", code="""
                  def my_turn(x, offset):
                      seq, d_head = x.shape[-2:]
                      position = torch.arange(offset, offset + seq)
                      omega = 10000 ** (-2 * torch.arange(d_head // 2) / d_head)
                      angle = (position[:, None] * omega).repeat_interleave(2, dim=1)
                      a, b = x.chunk(2, dim=-1)
                      return x * angle.cos() + torch.cat([-b, a], dim=-1) * angle.sin()
                  """, source="https://github.com/huggingface/transformers/issues/47328"),
            Wrong("the first position is 0 whatever the offset; with a cache every new token would stand at the "
                  "beginning", "torch.arange(offset, offset + seq)", "torch.arange(seq)",
                  source="https://github.com/lucidrains/rotary-embedding-torch/issues/11"),
            Wrong("it turns the other way round; two such vectors have the right score, but not with one that another "
                  "program has turned", "angle.cos(), angle.sin()", "angle.cos(), -angle.sin()"),
            Wrong("one sign is wrong, so that this is no turn and changes the length of the vector",
                  "a * cos - b * sin", "a * cos + b * sin"),
            Wrong("the exponent is -j / d_head; the clocks of chapter 4 have -2j / d_head", "(-2 * ", "(-1 * "),
            Wrong("all pairs turn at the same speed; pair j has a speed of its own", "* omega  # (seq, d_head / 2)",
                  "* torch.ones_like(omega)"),
            Wrong("the speeds grow with j, for the sign of the exponent is missing", "(-2 * ", "(2 * "),
        ],
        inputs=vectors,
        laws=[
            Law("no vector changes its length",
                lambda answer, x, offset: torch.allclose(answer(x, offset).norm(dim=-1), x.norm(dim=-1), atol=1e-4)),
            Law("a score stays when query and key move on together", score_stays),
        ],
    ),
    Exercise(
        name="todays-parts.cache",
        title="What a token leaves behind",
        level="warm-up",
        minutes=3,
        statement="""
            A model has 32 layers and 32 query heads in 8 groups, each head 128 wide: the sizes of Llama 3 with 8
            billion parameters. How many numbers does its cache keep for one token?
            """,
        stub="kept = None  # a whole number",
        solution="kept = 2 * 32 * 8 * 128",
        hints=["What is kept, of how many heads, in how many layers?"],
        why="""
            Keys and values, in 32 layers, of 8 heads each: 65,536 numbers, 128 KiB in 16 bits. Without groups it would
            be four times as many. A text of 8,192 tokens takes one GiB, beside the weights.
            """,
        wrongs=[
            Wrong("values are kept too, not the keys alone", code="kept = 32 * 8 * 128"),
            Wrong("that is without groups; only the heads of keys and values are kept, one a group",
                  code="kept = 2 * 32 * 32 * 128"),
            Wrong("every layer keeps its own; that is one layer's", code="kept = 2 * 8 * 128"),
            Wrong("those are bytes, at two a number; asked is for the numbers", code="kept = 4 * 32 * 8 * 128"),
            Wrong("queries are not kept: a query is used once, when its token is new",
                  code="kept = 2 * 32 * 8 * 128 + 32 * 32 * 128"),
        ],
    ),
    Exercise(
        name="todays-parts.groups",
        title="Build grouped attention",
        level="build it",
        minutes=8,
        statement="""
            Given queries of all heads, and keys and values of fewer, return what each head gathers, without a mask.
            With four heads and two groups, heads 0 and 1 belong to group 0. You may use
            `F.scaled_dot_product_attention` or write the formula.
            """,
        stub='''
            def my_grouped(q, k, v):
                """q (batch, heads, q_len, d_head), k and v (batch, groups,
                kv_len, d_head) -> (batch, heads, q_len, d_head)."""
                ...
            ''',
        solution='''
            def my_grouped(q, k, v):
                """q (batch, heads, q_len, d_head), k and v (batch, groups,
                kv_len, d_head) -> (batch, heads, q_len, d_head)."""
                size = q.size(1) // k.size(1)
                k = k.repeat_interleave(size, dim=1)
                v = v.repeat_interleave(size, dim=1)
                return F.scaled_dot_product_attention(q, k, v)
            ''',
        hints=["Two functions of PyTorch repeat. One makes 0, 1, 0, 1 of 0, 1, and the other 0, 0, 1, 1."],
        why="""
            The keys are repeated when they are used, after the cache. A kernel made for groups reads each of them once.
            """,
        wrongs=[
            Wrong("heads and groups are matched in turn, 0, 1, 0, 1: `repeat` puts all groups one behind the other; "
                  "neighbouring heads share, which is what `repeat_interleave` does", code="""
                  def my_grouped(q, k, v):
                      size = q.size(1) // k.size(1)
                      k = k.repeat(1, size, 1, 1)
                      v = v.repeat(1, size, 1, 1)
                      return F.scaled_dot_product_attention(q, k, v)
                  """, source="https://github.com/onnx/onnx/pull/7274"),
            Wrong("the keys are the right ones, and the values those of other groups: both are repeated alike",
                  "v.repeat_interleave(size, dim=1)", "v.repeat(1, size, 1, 1)"),
            Wrong("the scores are not divided by the root of d_head",
                  "F.scaled_dot_product_attention(q, k, v)", "(q @ k.mT).softmax(dim=-1) @ v"),
            Wrong("the heads of a group are averaged before they ask; each asks for itself, and only keys and values "
                  "are shared", code="""
                  def my_grouped(q, k, v):
                      size = q.size(1) // k.size(1)
                      mean = q.unflatten(1, (k.size(1), size)).mean(dim=2)
                      heads = F.scaled_dot_product_attention(mean, k, v)
                      return heads.repeat_interleave(size, dim=1)
                  """),
            Wrong("all heads ask the first group", code="""
                  def my_grouped(q, k, v):
                      return F.scaled_dot_product_attention(q, k[:, :1], v[:, :1])
                  """),
            Wrong("the softmax runs over the queries; the weights of a query sum to one over the keys",
                  "F.scaled_dot_product_attention(q, k, v)",
                  "(q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-2) @ v"),
        ],
        inputs=heads_and_groups,
    ),
    Exercise(
        name="todays-parts.routes",
        title="Who gets a place",
        level="one that hurts",
        minutes=15,
        statement="""
            Write the router. Of the logits of each token, the softmax gives the probabilities of the experts, and the
            `top_k` likeliest are chosen. The share of an only choice (`top_k` 1) is its probability; the probabilities
            of several, scaled to sum to one, are their shares. Each expert has `room` places. All first choices queue
            before all second ones, and so on, in the order of the tokens; who finds no place is dropped there. Return a
            table of shares, a row for each token: 0 where an expert was not chosen, or had no place. What is left of a
            row is not scaled again. (No two logits are equal.)
            """,
        stub='''
            def my_routes(logits, top_k, room):
                """(tokens, experts) -> shares (tokens, experts)."""
                ...
            ''',
        solution='''
            def my_routes(logits, top_k, room):
                """(tokens, experts) -> shares (tokens, experts)."""
                probs = logits.softmax(dim=-1)
                best, chosen = probs.topk(top_k, dim=-1)
                if top_k > 1:
                    best = best / best.sum(dim=-1, keepdim=True)
                shares, taken = torch.zeros_like(probs), [0] * probs.size(1)
                for choice in range(top_k):
                    for token in range(len(probs)):
                        expert = chosen[token, choice].item()
                        if taken[expert] < room:
                            shares[token, expert] = best[token, choice]
                            taken[expert] += 1
                return shares
            ''',
        hints=[
            "Two loops will do: the outer one over first, second, ... choices, the inner one over the tokens.",
            "A count of the places taken, one for each expert, goes on through all choices.",
        ],
        why="""
            `Router` does the same without a loop: with all choices in one row, a running count of each expert tells
            every token its place in the queue.
            """,
        wrongs=[
            Wrong("the shares of several choices are not scaled to sum to one", "best / best.sum(dim=-1, keepdim=True)",
                  "best + 0"),
            Wrong("the share of an only choice is 1, whatever the router thinks of it, so that the loss cannot teach "
                  "the router; it is the probability", "if top_k > 1:", "if True:"),
            Wrong("what is left after dropping is scaled again, so that the experts that had a place make up for the "
                  "others; a dropped share is lost", "return shares",
                  "return shares / shares.sum(-1, keepdim=True).clamp(min=1e-9)"),
            Wrong("each token takes places for all its choices before the next one comes; first choices of all tokens "
                  "go before second ones", code="""
                  def my_routes(logits, top_k, room):
                      probs = logits.softmax(dim=-1)
                      best, chosen = probs.topk(top_k, dim=-1)
                      if top_k > 1:
                          best = best / best.sum(dim=-1, keepdim=True)
                      shares, taken = torch.zeros_like(probs), [0] * probs.size(1)
                      for token in range(len(probs)):
                          for choice in range(top_k):
                              expert = chosen[token, choice].item()
                              if taken[expert] < room:
                                  shares[token, expert] = best[token, choice]
                                  taken[expert] += 1
                      return shares
                  """),
            Wrong("nobody is dropped; an expert has only `room` places", "if taken[expert] < room:", "if True:"),
            Wrong("one too many finds a place", "taken[expert] < room", "taken[expert] <= room"),
            Wrong("the places are counted anew for second choices; an expert has `room` places for all",
                  "    for token in range(len(probs)):",
                  "    taken = [0] * probs.size(1)\n        for token in range(len(probs)):"),
            Wrong("the places are dealt by probability, the most certain tokens first; the queue is in the order of "
                  "the tokens", "in range(len(probs)):", "in best[:, choice].argsort(descending=True).tolist():"),
            Wrong("the softmax runs over the tokens; the experts of a token are the last axis",
                  "logits.softmax(dim=-1)", "logits.softmax(dim=0)"),
        ],
        inputs=preferences,
        laws=[
            Law("no expert has more tokens than `room`",
                lambda answer, logits, top_k, room: bool(((answer(logits, top_k, room) > 0).sum(0) <= room).all())),
        ],
    ),
]
