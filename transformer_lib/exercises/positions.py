"""Exercises of chapter 4: clocks, where they are added, and what a turn does to a score."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def tokens_and_offsets() -> list[tuple]:
    """First a vector of zeros, so that the answer is the encoding itself."""
    return [
        (torch.zeros(1, 1, 4), 1),
        (torch.randn(1, 2, 2), 0),
        (torch.randn(3, 5, 8), int(torch.randint(1, 20, ()))),
    ]


def padded_on_the_left() -> list[tuple]:
    real = torch.arange(5) >= torch.tensor([2, 0, 3])[:, None]  # (3, 5)
    return [
        (torch.randn(1, 2, 2), torch.tensor([[False, True]]), torch.randn(3, 2)),
        (torch.randn(3, 5, 4), real, torch.randn(9, 4)),
    ]


def queries_and_keys() -> list[tuple]:
    return [tuple(torch.randn(2, 1, 2, 2)), tuple(torch.randn(2, 2, 5, 6))]


def at_the_words(answer, x: Tensor, real: Tensor, table: Tensor) -> dict:
    return {"at the words": answer(x, real, table)[real]}


def pieces_equal_the_whole(answer, x: Tensor, offset: int) -> bool:
    x = torch.randn(2, 6, x.size(2))
    return bool(torch.allclose(answer(x[:, 2:], offset + 2), answer(x, offset)[:, 2:], atol=1e-4))


def distance_decides(answer, x: Tensor, offset: int) -> bool:
    table = answer(torch.zeros(1, 9, x.size(2)), offset)[0]
    products = (table[:-3] * table[3:]).sum(dim=1)
    return bool(torch.allclose(products, products.mean(), atol=1e-4))


def same_alone(answer, x: Tensor, real: Tensor, table: Tensor) -> bool:
    words = real[:1, :].nonzero()[:, 1]
    alone = answer(x[:1, words], real[:1, words], table)
    return bool(torch.allclose(alone, answer(x, real, table)[:1, words], atol=1e-4))


def same_content_depends_on_distance(answer, query: Tensor, key: Tensor) -> bool:
    scores = answer(*(t[:, :1].expand(-1, 6, -1) for t in (query, key)))
    return bool(torch.allclose(scores[:, 1:, 1:], scores[:, :-1, :-1], atol=1e-4))


# fmt: off
EXERCISES = [
    Exercise(
        name="positions.turn",
        title="The slowest clock",
        level="warm-up",
        minutes=3,
        statement="""
            The vectors are 8 wide, so there are four clocks. After how many positions has the slowest hand gone round
            once? A whole number is exact enough.
            """,
        stub="positions_per_turn = None  # a number",
        solution="positions_per_turn = 2 * math.pi * 10000 ** (6 / 8)",
        hints=[
            "Which number *j* does the slowest of four clocks have? Put it into the formula for the speed.",
            "Once round is $2\\pi$ radians, and the speed is 0.001 radians per position.",
        ],
        why="""
            The last of four clocks is number 3, with a speed of $10000^{-6/8} = 0.001$ radians per position, and
            $2\\pi$ divided by 0.001 is 6283.
            """,
        wrongs=[
            Wrong("this is 10000 times 2π: the clocks are numbered from 0, so the last of four is number 3 and not 4",
                  code="positions_per_turn = 2 * math.pi * 10000"),
            Wrong("the number of the clock is not doubled: the exponent is -2j/d",
                  code="positions_per_turn = 2 * math.pi * 10000 ** (3 / 8)"),
            Wrong("the number of the feature is doubled; it is the number of the clock, which is 3",
                  code="positions_per_turn = 2 * math.pi * 10000 ** (12 / 8)"),
            Wrong("this is the number of positions for one radian; once round is 2π of them",
                  code="positions_per_turn = 1000"),
            Wrong("the speed is in radians per position, and this counts 360 degrees for a turn",
                  code="positions_per_turn = 360 * 1000"),
            Wrong("this is clock number 2, with a speed of 0.01; of four clocks, counted from 0, the slowest is number "
                  "3", code="positions_per_turn = 2 * math.pi * 10000 ** (4 / 8)"),
            Wrong("this is the fastest clock; the slowest one has the largest number *j*",
                  code="positions_per_turn = 2 * math.pi"),
            Wrong("this is the speed of the slowest clock; how many positions does it need for 2π radians?",
                  code="positions_per_turn = 0.001"),
        ],
        tolerance=0.001,
    ),
    Exercise(
        name="positions.encode",
        title="Add the positions, without a loop",
        level="build it",
        minutes=10,
        statement="""
            `clock_table` has two loops. Now write the part that a model uses: it gets a batch of tokens and adds to
            each the encoding of its position, by the formula above: feature $2j$ gets the sine of clock *j*, feature
            $2j+1$ its cosine. `offset` is one whole number, the position of the first token of every row; it is not 0
            when a text comes in pieces. Try to do it without a loop. `d_model` is even, and float32 is exact enough.
            """,
        stub='''
            def my_encode(x, offset=0):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                ...
            ''',
        solution="""
            def my_encode(x, offset=0):
                d_model = x.size(2)
                p = torch.arange(offset, offset + x.size(1))
                omega = 10000 ** (-torch.arange(0, d_model, 2) / d_model)
                angle = p[:, None] * omega  # (seq, d_model / 2)
                table = torch.stack([angle.sin(), angle.cos()], dim=-1)
                return x + table.flatten(1)
            """,
        hints=[
            "All angles at once: the positions as a column, times the speeds of the clocks as a row.",
            """
            `torch.stack([angle.sin(), angle.cos()], dim=-1)` has the shape (seq, d_model / 2, 2), a pair for each
            clock. What does `flatten(1)` make of it?
            """,
        ],
        why="""
            The encoding has no batch axis: it is (seq, d_model), and broadcasting adds the same table to every
            sentence.
            """,
        wrongs=[
            Wrong("the number of the feature stands in the exponent and is doubled; it is the number of the clock that "
                  "is doubled, and both features of a clock share one speed",
                  code="""
                  def my_encode(x, offset=0):
                      feature = torch.arange(x.size(2))
                      p = torch.arange(offset, offset + x.size(1))
                      angle = p[:, None] * 10000 ** (-2 * feature / x.size(2))
                      return x + torch.where(feature % 2 == 0, angle.sin(), angle.cos())
                  """, source="https://github.com/SamLynnEvans/Transformer/issues/25"),
            Wrong("the sine and the cosine of a clock have two speeds: the number of the feature stands in the "
                  "exponent, and it should be that of the clock, doubled",
                  code="""
                  def my_encode(x, offset=0):
                      feature = torch.arange(x.size(2))
                      p = torch.arange(offset, offset + x.size(1))
                      angle = p[:, None] * 10000 ** (-feature / x.size(2))
                      return x + torch.where(feature % 2 == 0, angle.sin(), angle.cos())
                  """),
            Wrong("the number of the clock is doubled twice: `torch.arange(0, d_model, 2)` is 2j already",
                  "(-torch.arange(0, d_model, 2)", "(-2 * torch.arange(0, d_model, 2)"),
            Wrong("the number of the clock is not doubled: the exponent is -2j/d", "torch.arange(0, d_model, 2)",
                  "torch.arange(d_model // 2)"),
            Wrong("the sign of the exponent is wrong: the clocks get faster, and they should get slower",
                  "(-torch.arange(0", "(torch.arange(0"),
            Wrong("all sines come first and then all cosines; here the two of a clock are neighbours",
                  "torch.stack(", "torch.cat(", source="https://github.com/tensorflow/tensor2tensor/issues/391"),
            Wrong("sine and cosine have changed places: the sine is at the even feature", "[angle.sin(), angle.cos()]",
                  "[angle.cos(), angle.sin()]"),
            Wrong("`offset` is ignored: a piece of a text begins at position 0 again",
                  "torch.arange(offset, offset + x.size(1))", "torch.arange(x.size(1))",
                  source="https://github.com/jsbaan/transformer-from-scratch/issues/3"),
            Wrong("the positions end at the length of the row, so that with an offset some are missing; they begin at "
                  "`offset` and end before `offset + length`", "offset + x.size(1))", "x.size(1))"),
            Wrong("the first position is 1 here; counting starts at 0", "torch.arange(offset, offset + x.size(1))",
                  "torch.arange(offset + 1, offset + x.size(1) + 1)"),
            Wrong("the positions run along the batch: the first sentence gets position 0 and the second position 1; "
                  "they belong along axis 1",
                  code="""
                  def my_encode(x, offset=0):
                      p = torch.arange(offset, offset + x.size(0))
                      omega = 10000 ** (-torch.arange(0, x.size(2), 2) / x.size(2))
                      angle = p[:, None] * omega
                      return x + torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, None]
                  """, source="https://github.com/AkiRusProd/numpy-transformer/issues/1"),
            Wrong("this is the encoding alone; it is to be added to `x`", "x + table", "table"),
            Wrong("the answer is right, but `x` was written into; make a new tensor, `x = x + ...`",
                  "return x + table.flatten(1)", "x += table.flatten(1)\n    return x"),
            Wrong("the base of the speeds is 1000 here; it is 10000", "10000 **", "1000 **"),
        ],
        inputs=tokens_and_offsets,
        laws=[
            Law("a piece with its offset gets what it has in the whole text", pieces_equal_the_whole),
            Law("the dot product of two encodings depends on their distance alone", distance_decides),
        ],
    ),
    Exercise(
        name="positions.padding",
        title="Pads before the words",
        level="find the bug",
        minutes=8,
        statement="""
            A batch is padded on the *left*, so that all phrases end at the same place; `real` says where a word stands.
            A model with this function gives good answers to a phrase alone, and poor ones to the same phrase in a batch
            with longer ones, although no word attends to a pad. Mend it: every word shall get in a batch what it gets
            when its phrase is alone, where the first word has position 0. What the function returns at the pads does
            not matter.
            """,
        stub='''
            def my_placed(x, real, table):
                """Add the encodings: (batch, seq, d_model), as x is.

                real: (batch, seq), boolean. table: (max_len, d_model).
                """
                return x + table[: x.size(1)]
            ''',
        solution="""
            def my_placed(x, real, table):
                place = (real.cumsum(dim=1) - 1).clamp(min=0)  # (batch, seq)
                return x + table[place]
            """,
        hints=[
            "Which position has the first word when the phrase is alone? And with two pads before it?",
            "Each row needs positions of its own, and they count words. `cumsum` along a row of `real` counts them.",
        ],
        why="""
            A pad is not a word, and takes no place. `table[place]` looks up a row of the table for each token, and so
            each phrase has its own first position.
            """,
        wrongs=[
            Wrong("the pads are still counted: in a row with two pads the first word has position 2, and alone it has "
                  "position 0", code="""
                  def my_placed(x, real, table):
                      return x + table[torch.arange(x.size(1))] * real[:, :, None]
                  """),
            Wrong("the first word has position 1; alone it has position 0", "(real.cumsum(dim=1) - 1).clamp(min=0)",
                  "real.cumsum(dim=1)"),
            Wrong("the words are counted down the batch; each phrase counts its own, along axis 1", "cumsum(dim=1)",
                  "cumsum(dim=0)"),
            Wrong("all phrases get the positions of the first one; each has its own number of pads", "real.cumsum",
                  "real[:1].cumsum"),
            Wrong("the words are counted from the end; the first word has position 0",
                  code="""
                  def my_placed(x, real, table):
                      return x + table[real.flip(1).cumsum(dim=1).flip(1) - 1]
                  """),
            Wrong("the number of words is subtracted from the index; it is the number of pads that stand before them",
                  code="""
                  def my_placed(x, real, table):
                      place = torch.arange(x.size(1)) - real.sum(dim=1, keepdim=True)
                      return x + table[place.clamp(min=0)]
                  """),
            Wrong("the number of pads is added to the index; it must be subtracted",
                  code="""
                  def my_placed(x, real, table):
                      pads = (~real).sum(dim=1, keepdim=True)
                      return x + table[torch.arange(x.size(1)) + pads]
                  """),
            Wrong("the words have moved to the left; they stay where they are, and only their positions change",
                  code="""
                  def my_placed(x, real, table):
                      pads = (~real).sum(dim=1).tolist()
                      moved = [row.roll(-n, dims=0) for row, n in zip(x, pads)]
                      return torch.stack(moved) + table[: x.size(1)]
                  """),
            Wrong("all rows are shifted alike, by the largest number of pads; each row has pads of its own to count",
                  code="""
                  def my_placed(x, real, table):
                      pads = int((~real).sum(dim=1).max())
                      place = torch.arange(x.size(1)) - pads
                      return x + table[place.clamp(min=0)]
                  """),
            Wrong("the encodings are added at the front of each row, where the pads are; the words stand behind "
                  "these", code="""
                  def my_placed(x, real, table):
                      x = x.clone()
                      for row, words in zip(x, real):
                          n = int(words.sum())
                          row[:n] += table[:n]
                      return x
                  """),
        ],
        inputs=padded_on_the_left,
        use=at_the_words,
        laws=[Law("a phrase comes out the same alone and in a batch", same_alone)],
    ),
    Exercise(
        name="positions.rotary",
        title="Turn the queries and the keys",
        level="one that hurts",
        minutes=20,
        statement="""
            Many later models add nothing to the tokens. They *turn* each query and each key by its own position, and
            take the scores of the turned ones. Write that. A vector is a row of pairs, features $2j$ and $2j+1$, and at
            position $p$ the matrix `rotation(p, d)` of this chapter turns each pair $(a, b)$: with $t = p\\,\\omega_j$,
            into $(\\cos t\\, a + \\sin t\\, b,\\; -\\sin t\\, a + \\cos t\\, b)$. (Code that you may know turns the
            other way or pairs other features, which gives other scores.) The first token of a row has position 0. The
            scores are divided by $\\sqrt{d}$, as ever; there is no softmax yet. float32 is exact enough.
            """,
        stub='''
            def my_rotary_scores(query, key):
                """(batch, seq, d) twice -> scores, (batch, seq, seq)."""
                ...
            ''',
        solution="""
            def my_rotary_scores(query, key):
                seq, d = query.shape[1:]
                omega = 10000 ** (-torch.arange(0, d, 2) / d)
                angle = torch.arange(seq)[:, None] * omega  # (seq, d / 2)
                sin, cos = angle.sin(), angle.cos()

                def turned(t):
                    a, b = t[..., 0::2], t[..., 1::2]
                    pairs = [cos * a + sin * b, cos * b - sin * a]
                    return torch.stack(pairs, dim=-1).flatten(-2)

                return turned(query) @ turned(key).mT / math.sqrt(d)
            """,
        hints=[
            """
            You need no matrices: `t[..., 0::2]` holds the first number of every pair and `t[..., 1::2]` the second,
            and the angles are (seq, d / 2).
            """,
            """
            Or take the matrices: a stack of `rotation(p, d).float()` for all positions is (seq, d, d), and
            `torch.einsum("sij,bsj->bsi", stack, query)` turns all queries.
            """,
        ],
        why="""
            Turning both vectors by the same angle leaves their dot product as it was, so what is left is the turn from
            one to the other: the score depends on the two contents and on how far, and in which direction, the two
            are apart. This is RoPE, the first idea of [Su et al., 2021](https://arxiv.org/abs/2104.09864). The values
            are not turned.
            """,
        wrongs=[
            Wrong("only the queries are turned, so that a score depends on the place of its query; turn the keys by "
                  "their own positions too", "turned(key)", "key"),
            Wrong("queries and keys are turned in opposite directions, so that a score depends on the sum of their "
                  "positions",
                  code="""
                  def my_rotary_scores(query, key):
                      def turned(t, sign):
                          omega = 10000 ** (-torch.arange(0, t.size(2), 2) / t.size(2))
                          angle = sign * torch.arange(t.size(1))[:, None] * omega
                          a, b = t[..., 0::2], t[..., 1::2]
                          pairs = [angle.cos() * a + angle.sin() * b, angle.cos() * b - angle.sin() * a]
                          return torch.stack(pairs, dim=-1).flatten(-2)
                      return turned(query, 1) @ turned(key, -1).mT / math.sqrt(query.size(2))
                  """),
            Wrong("a pair is made of feature j and feature j + d/2, as in some models; here it is 2j and 2j + 1",
                  "t[..., 0::2], t[..., 1::2]", "t.chunk(2, dim=-1)"),
            Wrong("the turn goes the other way, so that ahead and back have changed places; look at the signs of the "
                  "two sines", "cos * a + sin * b, cos * b - sin * a", "cos * a - sin * b, cos * b + sin * a"),
            Wrong("the two numbers of a pair do not mix: each new one holds something of both",
                  "cos * a + sin * b, cos * b - sin * a", "cos * a + sin * a, cos * b + sin * b"),
            Wrong("the second number of a pair is made of a first one that has been turned already: a slice is a view "
                  "and changes with what is written; compute both, then write",
                  code="""
                  def my_rotary_scores(query, key):
                      seq, d = query.shape[1:]
                      angle = torch.arange(seq)[:, None] * 10000 ** (-torch.arange(0, d, 2) / d)
                      def turned(t):
                          t = t.clone()
                          a, b = t[..., 0::2], t[..., 1::2]
                          t[..., 0::2] = angle.cos() * a + angle.sin() * b
                          t[..., 1::2] = angle.cos() * b - angle.sin() * a
                          return t
                      return turned(query) @ turned(key).mT / math.sqrt(d)
                  """),
            Wrong("both sines have the same sign, and that is no turn, for lengths change; one of them is negative",
                  "cos * b - sin * a", "cos * b + sin * a"),
            Wrong("the number of the clock is not doubled: the exponent is -2j/d", "torch.arange(0, d, 2)",
                  "torch.arange(d // 2)"),
            Wrong("the encodings are added, as in the chapter; here nothing is added, and the vectors are turned",
                  code="""
                  def my_rotary_scores(query, key):
                      seq, d = query.shape[1:]
                      angle = torch.arange(seq)[:, None] * 10000 ** (-torch.arange(0, d, 2) / d)
                      table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)
                      return (query + table) @ (key + table).mT / math.sqrt(d)
                  """),
            Wrong("these are the scores without any turn; if all queries and keys of a sentence are turned by the same "
                  "angle, the turns cancel", code="""
                  def my_rotary_scores(query, key):
                      return query @ key.mT / math.sqrt(query.size(2))
                  """),
            Wrong("the scores are not divided by the root of *d*", " / math.sqrt(d)", ""),
            Wrong("only the keys are turned, so that a score depends on the place of its key; turn the queries by "
                  "their own positions too", "turned(query)", "query"),
        ],
        given="""
            def rotation(k, d_model):
                blocks = []
                for j in range(d_model // 2):
                    angle = k * 10000 ** (-2 * j / d_model)
                    sin, cos = math.sin(angle), math.cos(angle)
                    block = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
                    blocks.append(block)
                return torch.block_diag(*blocks)
            """,
        inputs=queries_and_keys,
        laws=[Law("with the same content everywhere, a score depends on the step from query to key alone",
                  same_content_depends_on_distance)],
    ),
]
