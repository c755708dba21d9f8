"""Exercises of chapter 19: reading a trained model."""

import torch
from torch import Tensor, nn

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def heads_side_by_side() -> list[tuple]:
    """No width of a head is the number of heads, and the head is never the first one alone."""
    sizes = ((1, 2, 6, 1, 2), (2, 3, 8, 1, 4), (2, 4, 15, 3, 5), (3, 2, 12, 2, 3))
    return [(torch.randn(batch, seq, width), head, n) for batch, seq, width, head, n in sizes]


def nets() -> list[tuple]:
    """A small network, the part of it that is patched, tokens, and a vector of another run to be put in."""
    made = []
    for batch, seq, width, place in ((1, 2, 3, 1), (2, 4, 3, 2), (3, 3, 5, 0)):
        net = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))
        net.requires_grad_(False)
        made.append((net, net[0], torch.randn(batch, seq, width), place, torch.randn(batch, seq, width)))
    return made


def used(answer, net: nn.Module, module: nn.Module, x: Tensor, place: int, kept: Tensor) -> dict:
    """The patched run, the next one, and one after a run that failed."""
    found = {"the patched run": answer(net, module, x, place, kept), "the next run": net(x)}
    try:
        answer(net, module, x[..., :-1], place, kept)  # too narrow: the network refuses it
    except RuntimeError:
        pass
    return {**found, "the run after one that failed": net(x)}


def maps_and_tokens() -> list[tuple]:
    """Tokens that come again, some more than once, and the map of one head that looks back."""
    made = []
    for batch, seq, vocab in ((1, 4, 2), (2, 7, 3), (3, 12, 5)):
        ids = torch.randint(vocab, (batch, seq))
        ids[0], ids[-1, :vocab] = ids[0, 0], torch.arange(vocab)  # rows with more and with fewer copies
        ids[:, -1] = ids[:, 0]  # at least one copy in each row
        scores = 2 * torch.randn(batch, seq, seq)
        hidden = torch.ones(seq, seq, dtype=torch.bool).triu(1)
        made.append((ids, scores.masked_fill(hidden, -torch.inf).softmax(-1)))
    return made


ONE_AT_MOST = Law(
    "the score is a mean of weights, so it lies from 0 to 1", lambda answer, *inputs: 0 <= float(answer(*inputs)) <= 1
)
OTHERS_STAY = Law(
    "the features of the other heads stay as they were",
    lambda answer, x, head, n: torch.equal(
        answer(x, head, n).unflatten(-1, (n, -1))[..., :head, :], x.unflatten(-1, (n, -1))[..., :head, :]
    ),
)

# fmt: off
EXERCISES = [
    Exercise(
        name="reading.rate",
        title="An alignment by hand",
        level="warm-up",
        minutes=3,
        statement="""
            A head links *drei* to *three*, *hundert* to *three*, *ein* to *twenty*, *und* to *twenty* and *zwanzig* to
            *one*. What is its alignment error rate? Two digits behind the point are enough.
            """,
        stub="my_rate = None  # a number from 0 to 1",
        solution="my_rate = 1 - (1 + 2) / (5 + 4)",
        hints=[
            "How many of the four sure links are found?",
            "*und* may be linked to *twenty*. In which of the four sizes of the formula does that link count?",
        ],
        why="""
            One sure link is found, *drei*, and two links are possible, *drei* and *und*. The link of *und* counts for
            the head, though none was asked of it.
            """,
        tolerance=6e-3,
        wrongs=[
            Wrong("that is the share that is found; the rate is 1 minus that", code="my_rate = (1 + 2) / (5 + 4)"),
            Wrong("the link of *und* was counted as wrong; it is possible, and counts among the possible ones",
                  code="my_rate = 1 - (1 + 1) / (5 + 4)"),
            Wrong("that is the share of sure links that were not found; what counts too is how many of the head's own "
                  "links are possible", code="my_rate = 1 - 1 / 4"),
            Wrong("that is the share of the head's links that are not possible, or *und* was taken for a sure link; "
                  "sure ones are counted a second time, and there are four", code="my_rate = 1 - 2 / 5"),
            Wrong("what is found is divided by the head's links alone; the four sure links stand below the line too",
                  code="my_rate = 1 - (1 + 2) / 5"),
            Wrong("what is found is divided by the sure links alone; the head's five links stand below the line too",
                  code="my_rate = 1 - (1 + 2) / 4"),
        ],
    ),
    Exercise(
        name="reading.head",
        title="Build the removal of a head",
        level="build it",
        minutes=6,
        statement="""
            Write the function that a hook calls to remove one head, before you read on. It gets what goes into
            `out_proj`, the outputs of `n_heads` heads side by side as chapter 3 laid them, and returns the same with
            zeros in the place of head number `head` (they count from 0). What it was given must stay as it was: others
            may hold the same tensor.
            """,
        stub='''
            def my_removal(x, head, n_heads):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                ...
            ''',
        solution='''
            def my_removal(x, head, n_heads):
                """(batch, seq, d_model) -> (batch, seq, d_model)."""
                heads = x.unflatten(-1, (n_heads, -1)).clone()
                heads[..., head, :] = 0
                return heads.flatten(-2)
            ''',
        hints=[
            "How many features has a head? With which one does head number 1 begin?",
            "`x.clone()` is a copy that you may write into; or cut the last axis into heads with `unflatten`.",
        ],
        why="A hook is handed the very tensor that the model goes on with. Whoever writes into it changes it for all.",
        wrongs=[
            Wrong("the zeros are right, but they were written into the input; work on a copy", ".clone()", ""),
            Wrong("the features of a head lie side by side, and here every `n_heads`th was taken; cut the width into "
                  "`n_heads` pieces, and not into pieces of `n_heads`", code="""
                  def my_removal(x, head, n_heads):
                      x = x.clone()
                      x[..., head::n_heads] = 0
                      return x
                  """),
            Wrong("the width of a head and the number of heads have changed places; a head has `d_model / n_heads` "
                  "features", code="""
                  def my_removal(x, head, n_heads):
                      x = x.clone()
                      x[..., head * n_heads:(head + 1) * n_heads] = 0
                      return x
                  """),
            Wrong("all the other heads are gone, and the one that was to go is left",
                  code="""
                  def my_removal(x, head, n_heads):
                      heads = x.unflatten(-1, (n_heads, -1))
                      kept = torch.zeros_like(heads)
                      kept[..., head, :] = heads[..., head, :]
                      return kept.flatten(-2)
                  """),
            Wrong("it is always the first head that goes, whatever `head` says",
                  "heads[..., head, :]", "heads[..., 0, :]"),
            Wrong("one feature was removed, and a head has several", code="""
                  def my_removal(x, head, n_heads):
                      x = x.clone()
                      x[..., head] = 0
                      return x
                  """),
            Wrong("a token was removed; the heads lie in the last axis", code="""
                  def my_removal(x, head, n_heads):
                      x = x.clone()
                      x[:, head] = 0
                      return x
                  """),
            Wrong("the right zeros, but the heads still have an axis of their own; `out_proj` expects them side by "
                  "side", "heads.flatten(-2)", "heads"),
            Wrong("the head was left out, and the tensor has become narrower; zeros keep its place", code="""
                  def my_removal(x, head, n_heads):
                      width = x.size(-1) // n_heads
                      parts = [x[..., : head * width], x[..., (head + 1) * width :]]
                      return torch.cat(parts, dim=-1)
                  """),
        ],
        inputs=heads_side_by_side,
        laws=[OTHERS_STAY],
    ),
    Exercise(
        name="reading.patch",
        title="A patch that does not come off",
        level="find the bug",
        minutes=8,
        statement="""
            This function shall run `net` on `x` and, on the way, put the vector of another run, `kept[:, place]`, into
            what `module` returns, at this one place. It must leave the network as it was, whatever happens: the next
            run is a run without a patch, even if this one ends in an error. Two things are wrong with it; mend them
            both.
            """,
        stub='''
            def my_patched(net, module, x, place, kept):
                """x and kept (batch, seq, width) -> what net returns."""
                def put(module, args, output):
                    return kept

                module.register_forward_hook(put)
                return net(x)
            ''',
        solution='''
            def my_patched(net, module, x, place, kept):
                """x and kept (batch, seq, width) -> what net returns."""
                def put(module, args, output):
                    output = output.clone()
                    output[:, place] = kept[:, place]
                    return output

                handle = module.register_forward_hook(put)
                try:
                    return net(x)
                finally:
                    handle.remove()
            ''',
        hints=[
            "How much of the other run does the hook bring along? What would *one* place say?",
            "`register_forward_hook` returns a handle. Which statement of Python runs its block after a `return`, and "
            "after an error too?",
        ],
        why="""
            With the whole of the other run put in, everything behind the module is the other run: any place would seem
            to bring the answer back.
            """,
        wrongs=[
            Wrong("the patch is right, and the hook stays: the next run is patched too; keep the handle, and remove "
                  "it", code="""
                  def my_patched(net, module, x, place, kept):
                      def put(module, args, output):
                          output = output.clone()
                          output[:, place] = kept[:, place]
                          return output

                      module.register_forward_hook(put)
                      return net(x)
                  """),
            Wrong("the hook is removed, but not when the run ends in an error; `try` and `finally` see to that",
                  code="""
                  def my_patched(net, module, x, place, kept):
                      def put(module, args, output):
                          output = output.clone()
                          output[:, place] = kept[:, place]
                          return output

                      handle = module.register_forward_hook(put)
                      result = net(x)
                      handle.remove()
                      return result
                  """, source="https://github.com/TransformerLensOrg/TransformerLens/pull/156"),
            Wrong("the hook is removed, but it still puts in the whole of the other run; only one place is to be "
                  "patched", code="""
                  def my_patched(net, module, x, place, kept):
                      handle = module.register_forward_hook(lambda *_: kept)
                      try:
                          return net(x)
                      finally:
                          handle.remove()
                  """),
            Wrong("it is always the first place that is patched, whatever `place` says",
                  "output[:, place] = kept[:, place]", "output[:, 0] = kept[:, 0]"),
            Wrong("all places are patched, and the hook is not removed after an error", code="""
                  def my_patched(net, module, x, place, kept):
                      handle = module.register_forward_hook(lambda *_: kept)
                      result = net(x)
                      handle.remove()
                      return result
                  """),
            Wrong("the first axis is the batch: a sentence was patched, and not a place in each", code="""
                  def my_patched(net, module, x, place, kept):
                      def put(module, args, output):
                          output = output.clone()
                          row = place % len(output)
                          output[row] = kept[row]
                          return output

                      handle = module.register_forward_hook(put)
                      try:
                          return net(x)
                      finally:
                          handle.remove()
                  """),
            Wrong("the hook changes a copy and returns nothing, so that the network goes on with what it had; return "
                  "the copy", "    output[:, place] = kept[:, place]\n        return output",
                  "    output[:, place] = kept[:, place]"),
            Wrong("what the module is *given* was patched; asked is what it returns", code="""
                  def my_patched(net, module, x, place, kept):
                      def put(module, args):
                          given = args[0].clone()
                          given[:, place] = kept[:, place]
                          return (given,)

                      handle = module.register_forward_pre_hook(put)
                      try:
                          return net(x)
                      finally:
                          handle.remove()
                  """),
            Wrong("the vector was added to what stood there; it takes its place", "output[:, place] = ",
                  "output[:, place] += "),
        ],
        inputs=nets,
        use=used,
    ),
    Exercise(
        name="reading.prefix",
        title="The score of an induction head",
        level="one that hurts",
        minutes=12,
        statement="""
            Write the prefix-matching score of one head, before you read on. `ids` are tokens, `weights` is the head's
            map for them, the query first. Take every place, in all rows of the batch together, whose token has stood
            in its row before. Sum the weight that the query at this place puts on the tokens that *follow* an earlier
            copy of its token, however many there are. The score is the mean of these sums. A token that follows a copy
            may be the present one itself.
            """,
        stub='''
            def my_prefix_score(ids, weights):
                """ids (batch, seq), weights (batch, seq, seq) -> number."""
                ...
            ''',
        solution='''
            def my_prefix_score(ids, weights):
                """ids (batch, seq), weights (batch, seq, seq) -> number."""
                same = ids[:, :, None] == ids[:, None, :]
                earlier = same & torch.ones_like(same).tril(-1)
                follows = F.pad(earlier, (1, 0))[..., :-1]
                found = (weights * follows).sum(dim=-1)
                return found[earlier.any(dim=-1)].mean().item()
            ''',
        hints=[
            "First make a table of truth, `(batch, query, key)`: is the token at the key an earlier copy of the token "
            "at the query? `tril(-1)` keeps what lies before.",
            "A key follows a copy if the key before it is one. So move the table by one key to the right.",
        ],
        why="""
            Two loops and an `if` do it too. The table is the same thing said once for all places, and it can be drawn
            beside the map.
            """,
        wrongs=[
            Wrong("that is the weight on the copies themselves; an induction head looks at what came after them",
                  "follows = F.pad(earlier, (1, 0))[..., :-1]", "follows = earlier"),
            Wrong("that is the weight on the tokens *before* the copies: the table was moved the other way",
                  "F.pad(earlier, (1, 0))[..., :-1]", "F.pad(earlier, (0, 1))[..., 1:]"),
            Wrong("the mean is over all places; those whose token has not stood before cannot copy, and do not count",
                  "found[earlier.any(dim=-1)].mean()", "found.mean()"),
            Wrong("that is the sum; divide by the number of places that were counted",
                  "found[earlier.any(dim=-1)].mean()", "found.sum()"),
            Wrong("query and key have changed places: the rows of a map are the queries", "(weights * follows)",
                  "(weights.transpose(1, 2) * follows)"),
            Wrong("each row has its own mean, and these were averaged; a place is to count alike in every row",
                  code="""
                  def my_prefix_score(ids, weights):
                      same = ids[:, :, None] == ids[:, None, :]
                      earlier = same & torch.ones_like(same).tril(-1)
                      follows = F.pad(earlier, (1, 0))[..., :-1]
                      found = (weights * follows).sum(dim=-1)
                      counted = earlier.any(dim=-1)
                      return (found.sum(1) / counted.sum(1)).mean().item()
                  """),
            Wrong("the weights of the following tokens were averaged; an induction head may share its weight among "
                  "several, and all of it counts", code="""
                  def my_prefix_score(ids, weights):
                      same = ids[:, :, None] == ids[:, None, :]
                      earlier = same & torch.ones_like(same).tril(-1)
                      follows = F.pad(earlier, (1, 0))[..., :-1]
                      found = (weights * follows).sum(dim=-1)
                      found = found / follows.sum(dim=-1).clamp(min=1)
                      return found[earlier.any(dim=-1)].mean().item()
                  """),
            Wrong("only the last copy was taken; a token may have stood there several times", code="""
                  def my_prefix_score(ids, weights):
                      found = []
                      for row, tokens in enumerate(ids.tolist()):
                          for i, token in enumerate(tokens):
                              before = tokens[:i]
                              if token in before:
                                  j = i - 1 - before[::-1].index(token)
                                  found.append(weights[row, i, j + 1])
                      return (sum(found) / len(found)).item()
                  """),
            Wrong("only the first copy was taken; a token may have stood there several times", code="""
                  def my_prefix_score(ids, weights):
                      found = []
                      for row, tokens in enumerate(ids.tolist()):
                          for i, token in enumerate(tokens):
                              if token in tokens[:i]:
                                  j = tokens.index(token)
                                  found.append(weights[row, i, j + 1])
                      return (sum(found) / len(found)).item()
                  """),
        ],
        inputs=maps_and_tokens,
        laws=[ONE_AT_MOST],
    ),
]
