"""Exercises of chapter 14: what need not be computed, and what must come out the same all the same."""

from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def batches_and_layers() -> list[tuple]:
    """Padding at the end and at the beginning, and a sentence of which nothing is real."""
    real = torch.arange(5) < torch.tensor([5, 2, 0, 3])[:, None]  # (4, 5)
    real[3] = real[3].flip(0)
    few = torch.tensor([[True, False]])
    return [(torch.randn(1, 2, 1), few, nn.Linear(1, 1)), (torch.randn(4, 5, 6), real, nn.Linear(6, 7))]


def output_and_work(answer, x: Tensor, real: Tensor, layer: nn.Module) -> Any:
    calls = []

    def counted(row: Tensor) -> Tensor:
        calls.append(row.numel() // row.size(-1))
        return layer(row)

    output = answer(x, real, counted)
    if not isinstance(output, Tensor):
        return output
    return {
        "the output": output,
        "the positions that the layer was given": calls,
        "whether a gradient finds its way back": output.requires_grad,
    }


def real_places() -> list[tuple]:
    few = torch.tensor([[True, True], [True, False]])
    real = torch.arange(5) < torch.tensor([[3], [2], [5]])
    real[1] = real[1].flip(0)
    return [(few,), (real[torch.randperm(3)],)]


def sentences_are_apart(answer, real: Tensor) -> bool:
    sentence = real.nonzero()[:, 0]
    return not answer(real)[sentence[:, None] != sentence].any()


def scores_and_tiles() -> list[tuple]:
    """A dead first tile, a dead row, a late largest score, a larger forbidden one, a very low one that counts."""
    scores = torch.randn(7)
    scores[5] = 4 + torch.rand(())
    scores[6] = 200.0
    mask = torch.tensor([False, False, False, True, True, True, False])
    return [
        (torch.tensor([0.0, -1.0]) - torch.rand(2), 1 + torch.rand(2), torch.tensor([False, True]), 1),
        (torch.randn(2), torch.randn(2), torch.tensor([False, False]), 1),
        (torch.tensor([0.0, -1e30]), torch.rand(2) + torch.tensor([0.0, 2.0]), torch.tensor([False, True]), 2),
        (scores, torch.randn(7), mask, 2),
        (torch.randn(6), torch.randn(6), torch.tensor([True, False, False, False, True, True]), 2),
        (scores - 300, torch.randn(7), mask, 3),
    ]


def dead_row_is_zero(answer, scores: Tensor, values: Tensor, mask: Tensor, tile: int) -> bool:
    return float(answer(scores, values, torch.zeros_like(mask), tile)) == 0.0


# What a reader writes who knows the formula, and not the dead rows.
WITH_INFINITY = """
def my_online_softmax(scores, values, mask, tile):
    scores = scores.masked_fill(~mask, -torch.inf)
    largest, total, mixed = torch.tensor(-torch.inf), 0.0, 0.0
    for s, v in zip(scores.split(tile), values.split(tile)):
        new = torch.maximum(largest, s.max())
        correction, weights = (largest - new).exp(), (s - new).exp()
        total, mixed = total * correction + weights.sum(), mixed * correction + weights @ v
        largest = new
    return mixed / total
"""

# fmt: off
EXERCISES = [
    Exercise(
        name="speed.memory",
        title="The price of a cache",
        level="warm-up",
        minutes=3,
        statement="""
            A decoder has 6 layers, a width of 512 and 8 heads. It has written 1,000 tokens for each of 10 sentences,
            and its cache takes two bytes for each number. How many megabytes do the keys and values of the written
            tokens take? (A megabyte is a million bytes.)
            """,
        stub="megabytes = None  # a number",
        solution="megabytes = 2 * 6 * 10 * 1_000 * 512 * 2 / 1e6",
        hints=["How many numbers is one key, all heads together? Which things are there a key and a value for?"],
        why="""
            123 MB. The number of heads does not come in: the heads share the width, so that the keys of a token are
            512 numbers in any case.
            """,
        tolerance=5e-3,
        wrongs=[
            Wrong("either the keys or the values were left out; the cache holds both", code="megabytes = 61.44"),
            Wrong("the heads were counted on top of the width; they share it, 64 numbers for each of 8 heads",
                  code="megabytes = 983.04"),
            Wrong("only one head was counted; there are 8, which together are 512 wide", code="megabytes = 15.36"),
            Wrong("these are four bytes for each number; here it is two", code="megabytes = 245.76"),
            Wrong("that is one layer; each of the 6 has its own keys and values", code="megabytes = 20.48"),
            Wrong("that is one sentence; there are 10", code="megabytes = 12.288"),
            Wrong("these are bytes; a megabyte is a million of them", code="megabytes = 122880000"),
        ],
    ),
    Exercise(
        name="speed.packed",
        title="Build the row without padding",
        level="build it",
        minutes=8,
        statement="""
            Write the way there and back before you read on. The function gets a batch `x`, a table `real` that is
            `True` at real tokens, and a `layer` that looks at one token at a time, such as a linear map; the layer may
            change the width. Lay the real tokens of all sentences side by side, in the order of the batch and without
            padding. Call the layer once, with these tokens and no others. Put what comes out back to the places of its
            tokens, with zeros at padding. Padding may stand anywhere, and a sentence may be all padding, though not all
            of them at once. Of the row, both `(n_real, d_in)` and `(1, n_real, d_in)` will do. A gradient must find its
            way back through it.
            """,
        stub='''
            def my_packed(x, real, layer):
                """(batch, seq, d_in), (batch, seq) -> (batch, seq, d_out)."""
                ...
            ''',
        solution="""
            def my_packed(x, real, layer):
                row = layer(x[real])  # (n_real, d_out)
                padded = row.new_zeros(*real.shape, row.size(-1))
                padded[real] = row
                return padded
            """,
        hints=[
            "What is `x[real]`, when `real` is a boolean table of the first two axes of `x`?",
            "Begin with zeros of shape (batch, seq, d_out). The same table that picks can be assigned to.",
        ],
        why="""
            Both ways go through the same table, so they cannot disagree about the places. `Rows`, which comes next,
            keeps the places as numbers, so that they are looked up once and not in each layer.
            """,
        wrongs=[
            Wrong("the numbers are right, but the layer was given the padding as well, so that no work is saved: pick "
                  "the real tokens before the layer, not after it",
                  code="""
                  def my_packed(x, real, layer):
                      return layer(x).masked_fill(~real[..., None], 0.0)
                  """),
            Wrong("the numbers are right, but the layer was called once for each sentence; lay the tokens of all "
                  "sentences in one row",
                  code="""
                  def my_packed(x, real, layer):
                      outputs = [layer(x[i][real[i]]) for i in range(len(x))]
                      padded = outputs[0].new_zeros(*real.shape, outputs[0].size(-1))
                      for i, output in enumerate(outputs):
                          padded[i, real[i]] = output
                      return padded
                  """),
            Wrong("the padding was set to zero before the layer and went through it: the layer had the whole "
                  "rectangle to do, and its bias stands at padding",
                  code="""
                  def my_packed(x, real, layer):
                      return layer(x.masked_fill(~real[..., None], 0.0))
                  """),
            Wrong("the layer ran on the whole batch, padding included, and what it wrote there was left",
                  code="""
                  def my_packed(x, real, layer):
                      return layer(x)
                  """),
            Wrong("the row came back as a row; spread it out again, with zeros at padding",
                  code="""
                  def my_packed(x, real, layer):
                      return layer(x[real])
                  """),
            Wrong("the table is inverted: the layer was given the padding, and the real tokens were left out",
                  code="""
                  def my_packed(x, real, layer):
                      row = layer(x[~real])
                      padded = row.new_zeros(*real.shape, row.size(-1))
                      padded[~real] = row
                      return padded
                  """),
            Wrong("the tokens were put back one after the other from the first place on; each belongs to the place "
                  "that it came from, and padding lies between them",
                  code="""
                  def my_packed(x, real, layer):
                      row = layer(x[real])
                      padded = row.new_zeros(real.numel(), row.size(-1))
                      padded[:len(row)] = row
                      return padded.view(*real.shape, -1)
                  """),
            Wrong("the numbers are right, but no gradient finds its way back to the layer; no `no_grad`, `detach` or "
                  "`.data` on the way", "return padded", "return padded.detach()"),
            Wrong("the zeros are as wide as what goes into the layer; make them as wide as what comes out, for the "
                  "layer may change the width", "row.new_zeros(*real.shape, row.size(-1))", "torch.zeros_like(x)"),
            Wrong("the lengths are right and the places are not: this takes the first tokens of each sentence, as if "
                  "padding stood at the end only; let `real` pick the tokens and put them back",
                  code="""
                  def my_packed(x, real, layer):
                      n_real = real.sum(dim=1).tolist()
                      row = layer(torch.cat([x[i, :n] for i, n in enumerate(n_real)]))
                      padded = row.new_zeros(*real.shape, row.size(-1))
                      for i, part in enumerate(row.split(n_real)):
                          padded[i, :len(part)] = part
                      return padded
                  """),
            Wrong("the tokens are put at the front of each row, as if padding stood at the end only; each belongs "
                  "to the place that it came from", code="""
                  def my_packed(x, real, layer):
                      row = layer(x[real])
                      padded = row.new_zeros(*real.shape, row.size(-1))
                      for i, part in enumerate(row.split(real.sum(dim=1).tolist())):
                          padded[i, :len(part)] = part
                      return padded
                  """),
        ],
        inputs=batches_and_layers,
        use=output_and_work,
    ),
    Exercise(
        name="speed.row",
        title="Who may look at whom in a row",
        level="find the bug",
        minutes=8,
        statement="""
            Instead of spreading out, one can attend in the row, with a mask. The sentences lie in it one behind the
            other, as in `pack`. The mask is for a decoder: a real token may look at itself and at the real tokens of
            its sentence that come before it, and at nothing else. It has one row and one column for each real token,
            and is `True` where the token of the row may look at that of the column. `real` is `True` at real tokens;
            padding may stand anywhere. One thing is wrong with this function. Mend it.
            """,
        stub='''
            def my_row_mask(real):
                """(batch, seq) -> (n_real, n_real), boolean."""
                n_real = int(real.sum())
                return torch.ones(n_real, n_real, dtype=torch.bool).tril()
            ''',
        solution='''
            def my_row_mask(real):
                """(batch, seq) -> (n_real, n_real), boolean."""
                sentence = real.nonzero()[:, 0]  # (n_real,), of each token
                return (sentence[:, None] == sentence).tril()
            ''',
        hints=[
            "Two tokens belong together when the number of their sentence is the same. Which sentence is each token of "
            "the row from?",
            "`real.nonzero()` lists the places of the real tokens, row by row: sentence and position.",
        ],
        why="""
            With the causal mask alone, each sentence reads all those that happen to lie before it in the row. Nothing
            fails, and the loss goes down all the same. Where rows are long, such a mask is not stored: a kernel is told
            where the sentences begin.
            """,
        wrongs=[
            Wrong("each sentence still sees those before it in the row; compare the numbers of the sentences too",
                  code="""
                  def my_row_mask(real):
                      n = int(real.sum())
                      return torch.ones(n, n, dtype=torch.bool).tril()
                  """),
            Wrong("the sentences are kept apart, but a token sees what comes after it in its own", ".tril()", ""),
            Wrong("the triangle is the wrong way up: a token sees itself and what comes later", ".tril()", ".triu()"),
            Wrong("the diagonal is missing: a token may look at itself", ".tril()", ".tril(-1)"),
            Wrong("the positions are compared and not the sentences, so that a token sees the same place of other "
                  "sentences", "[:, 0]", "[:, 1]"),
            Wrong("positions decide here who is earlier, and nothing tells the sentences apart: a token sees the "
                  "beginning of every sentence",
                  code="""
                  def my_row_mask(real):
                      place = real.nonzero()[:, 1]
                      return place[:, None] >= place
                  """),
            Wrong("a pair is permitted when it is of one sentence or in the right order; it takes both",
                  "(sentence[:, None] == sentence).tril()",
                  "(sentence[:, None] == sentence) | (sentence[:, None] > sentence)"),
            Wrong("the mask is inverted: `True` means that a token may look",
                  "(sentence[:, None] == sentence).tril()", "~(sentence[:, None] == sentence).tril()"),
            Wrong("these are the rows and columns of the whole rectangle; in the row there is no padding, so that the "
                  "mask has one row for each real token",
                  code="""
                  def my_row_mask(real):
                      sentence = torch.arange(len(real)).repeat_interleave(real.size(1))
                      both = real.flatten()[:, None] & real.flatten()
                      return (sentence[:, None] == sentence).tril() & both
                  """),
            Wrong("each sentence has a block of the padded length here, and the whole is cut to size, so that the "
                  "blocks are too large and stand in the wrong places; a block is as long as its sentence has real "
                  "tokens",
                  code="""
                  def my_row_mask(real):
                      batch, seq = real.shape
                      n_real = int(real.sum())
                      block = torch.ones(seq, seq, dtype=torch.bool).tril()
                      return torch.block_diag(*[block] * batch)[:n_real, :n_real].bool()
                  """),
            Wrong("padding has rows and columns of its own here; only real tokens have them", code="""
                  def my_row_mask(real):
                      sentence = torch.arange(len(real)).repeat_interleave(real.size(1))
                      return (sentence[:, None] == sentence).tril() & real.flatten()
                  """),
            Wrong("this is a mask for the batch, one for each sentence; the row is one sequence of all real tokens",
                  code="""
                  def my_row_mask(real):
                      seq = real.size(1)
                      return torch.ones(seq, seq, dtype=torch.bool).tril() & real[:, None, :]
                  """),
            Wrong("the places are right, but the mask holds numbers; `.bool()` makes permissions of them",
                  "(sentence[:, None] == sentence).tril()", "(sentence[:, None] == sentence).tril().float()"),
        ],
        inputs=real_places,
        laws=[Law("a token sees no other sentence than its own", sentences_are_apart)],
    ),
    Exercise(
        name="speed.tile",
        title="A tile in which nothing is permitted",
        level="one that hurts",
        minutes=15,
        statement="""
            This is the online softmax of one query, with a mask that is `True` where it may look. When the first tile
            is all forbidden, the result is NaN, although later keys may be seen. Mend that, and keep the loop over the
            tiles. A query that may see no key at all gets 0. A forbidden score may be huge, and a score that counts may
            be hugely negative (-1e30): neither must change the answer. All scores and values are finite numbers.
            Only the value is checked, not its gradient.
            """,
        stub='''
            def my_online_softmax(scores, values, mask, tile):
                """scores, values and mask are (kv_len,); a tensor, ()."""
                scores = scores.masked_fill(~mask, -torch.inf)
                largest, total, mixed = torch.tensor(-torch.inf), 0.0, 0.0
                for s, v in zip(scores.split(tile), values.split(tile)):
                    new_largest = torch.maximum(largest, s.max())
                    correction = (largest - new_largest).exp()
                    weights = (s - new_largest).exp()
                    total = total * correction + weights.sum()
                    mixed = mixed * correction + weights @ v
                    largest = new_largest
                return mixed / total
            ''',
        solution='''
            def my_online_softmax(scores, values, mask, tile):
                """scores, values and mask are (kv_len,); a tensor, ()."""
                lowest = torch.finfo(scores.dtype).min
                scores = scores.masked_fill(~mask, lowest)
                largest, total, mixed = torch.tensor(lowest), 0.0, 0.0
                parts = (x.split(tile) for x in (scores, values, mask))
                for s, v, m in zip(*parts):
                    new_largest = torch.maximum(largest, s.max())
                    correction = (largest - new_largest).exp()
                    weights = (s - new_largest).exp() * m
                    total = total * correction + weights.sum()
                    mixed = mixed * correction + weights @ v
                    largest = new_largest
                return mixed / total.clamp(min=1.0)
            ''',
        hints=[
            "Print `largest - new_largest` in a tile that is all forbidden. Which number could stand for minus "
            "infinity, so that the difference is one?",
            "With a finite number, a forbidden key of a dead tile has the weight 1. What makes it 0 again? And what is "
            "the smallest that `total` can be when any key may be seen?",
        ],
        why="""
            Minus infinity minus minus infinity is not a number; the lowest finite number minus itself is 0. The mask
            then removes the weights of what is forbidden. The key with the largest score has the weight 1, so that
            `total` is at least 1 in any row that sees something, and the lower limit of 1 is felt in a dead row only.
            """,
        wrongs=[
            Wrong("a dead first tile still gives NaN: minus infinity minus minus infinity",
                  code=WITH_INFINITY, source="https://github.com/pytorch/pytorch/issues/41508"),
            Wrong("at the end each NaN is set to 0: that is right for a dead row, but a row whose first tile is dead "
                  "has lost everything",
                  code=WITH_INFINITY, old="mixed / total", new="(mixed / total).nan_to_num(0.0)"),
            Wrong("in a dead tile all scores are alike, and each forbidden key has the weight 1; a later correction "
                  "takes that away, and in a dead row there is none: it gets the mean of what is forbidden",
                  " * m", ""),
            Wrong("a row in which nothing is permitted is 0/0, NaN; all others are right", ".clamp(min=1.0)", ""),
            Wrong("the mask comes after the largest score was taken: a large forbidden score makes all weights zero",
                  "scores = scores.masked_fill(~mask, lowest)\n", "\n"),
            Wrong("the largest score so far begins at 0, so that scores that are all far below it vanish; it must "
                  "begin lower than any score", "torch.tensor(lowest)", "torch.tensor(0.0)"),
            Wrong("the sums are not corrected when a larger score comes", "(largest - new_largest).exp()",
                  "1.0"),
            Wrong("the sum of the weights is corrected, and the mixture is not; both hold factors of the old largest "
                  "score", "mixed * correction", "mixed"),
            Wrong("it stops at the first tile that is dead; those that follow may have keys that count",
                  "    new_largest = torch.maximum(largest, s.max())",
                  "    if not m.any():\n"
                  "            return torch.tensor(0.0)\n"
                  "        new_largest = torch.maximum(largest, s.max())"),
            Wrong("minus a billion is a score like any other: where those that count are lower still, only what is "
                  "forbidden counts; fill in the lowest number of the type, or set forbidden weights to 0",
                  code="""
                  def my_online_softmax(scores, values, mask, tile):
                      if not mask.any():
                          return torch.zeros(())
                      scores = scores.masked_fill(~mask, -1e9)
                      largest, total, mixed = torch.tensor(-torch.inf), 0.0, 0.0
                      for s, v in zip(scores.split(tile), values.split(tile)):
                          new = torch.maximum(largest, s.max())
                          correction, weights = (largest - new).exp(), (s - new).exp()
                          total, mixed = total * correction + weights.sum(), mixed * correction + weights @ v
                          largest = new
                      return mixed / total
                  """),
            Wrong("minus a billion is a score like any other: a row in which nothing is permitted gets the mean of "
                  "what is forbidden, and so does one whose scores are lower still; set forbidden weights to 0",
                  code=WITH_INFINITY, old="~mask, -torch.inf", new="~mask, -1e9"),
            Wrong("dead tiles are skipped, which is right; but when all of them are, the sums are still the numbers "
                  "that they began as, and 0.0 / 0.0 is an error in Python: a row without any key needs its own answer",
                  code="""
                  def my_online_softmax(scores, values, mask, tile):
                      scores = scores.masked_fill(~mask, -torch.inf)
                      largest, total, mixed = torch.tensor(-torch.inf), 0.0, 0.0
                      for s, v in zip(scores.split(tile), values.split(tile)):
                          if s.max() == -torch.inf:
                              continue
                          new = torch.maximum(largest, s.max())
                          correction, weights = (largest - new).exp(), (s - new).exp()
                          total, mixed = total * correction + weights.sum(), mixed * correction + weights @ v
                          largest = new
                      return mixed / total
                  """),
            Wrong("the largest score so far begins at 0, so that where all scores are far below it each weight is "
                  "rounded to 0 and the row passes for a dead one; begin lower than any score",
                  code="""
                  def my_online_softmax(scores, values, mask, tile):
                      scores = scores.masked_fill(~mask, -torch.inf)
                      largest, total, mixed = torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.0)
                      for s, v in zip(scores.split(tile), values.split(tile)):
                          new = torch.maximum(largest, s.max())
                          correction, weights = (largest - new).exp(), (s - new).exp()
                          total, mixed = total * correction + weights.sum(), mixed * correction + weights @ v
                          largest = new
                      return mixed / total if total > 0 else mixed
                  """),
            Wrong("the loop ends at the first tile without a permitted key; later ones may have some, so `continue`",
                  code="""
                  def my_online_softmax(scores, values, mask, tile):
                      scores = scores.masked_fill(~mask, -torch.inf)
                      largest, total, mixed = torch.tensor(-torch.inf), torch.tensor(0.0), torch.tensor(0.0)
                      for s, v in zip(scores.split(tile), values.split(tile)):
                          if s.max() == -torch.inf:
                              break
                          new = torch.maximum(largest, s.max())
                          correction, weights = (largest - new).exp(), (s - new).exp()
                          total, mixed = total * correction + weights.sum(), mixed * correction + weights @ v
                          largest = new
                      return mixed / total if total > 0 else torch.tensor(0.0)
                  """),
        ],
        inputs=scores_and_tiles,
        laws=[Law("a dead row gives zero", dead_row_is_zero)],
    ),
]
