"""Exercises of chapter 15: what several processes must do so that they are one."""

from collections.abc import Callable

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Wrong


def together(work: Callable, hands: list[tuple]) -> list:
    """What each process gets from `work(*hand, all_reduce)`: played in one, again and again up to the next all-reduce.

    Raises:
        RuntimeError: some of them come to an all-reduce to which the others do not.
    """
    sums: list[Tensor] = []
    while True:
        asked, found = [], []
        for hand in hands:
            known = iter(sums)

            def all_reduce(x: Tensor, known=known, asked=asked) -> Tensor:
                if (total := next(known, None)) is None:
                    asked.append(x.detach().clone())
                    raise Waiting
                return total.clone()

            try:
                found.append(work(*hand, all_reduce))
            except Waiting:
                continue
        if not asked:
            return found
        if found:
            raise RuntimeError("a process waits at an all-reduce to which another one never comes")
        sums.append(sum(asked[1:], asked[0]))


class Waiting(BaseException):
    """A process cannot go on before the others have come to the same all-reduce."""


def losses_and_counts() -> list[tuple]:
    """Of one process, of two with unequal counts, and of three, one with nothing to learn."""
    some = torch.rand(6).add(1).tolist()
    return [(some[:1], [2]), (some[1:3], [3, 1]), ([*some[3:5], 0.0], [5, 2, 0])]


def loss_and_gradient(answer, totals: list[float], numbers: list[int]) -> dict | None:
    """What the processes have in the mean; a total is its number times the square of a weight that is 1."""
    weight = torch.ones((), requires_grad=True)
    hands = [(c * weight**2, torch.tensor(float(n))) for c, n in zip(totals, numbers, strict=True)]
    losses = together(lambda total, number, reduce: answer(total, number, reduce, len(hands)), hands)
    if any(loss is None for loss in losses):
        return None
    mean = sum(losses) / len(losses)
    gradients = [torch.autograd.grad(loss, weight)[0] if loss.requires_grad else torch.zeros(()) for loss in losses]
    after = {f"the number that process {rank} was handed, afterwards": hand[1] for rank, hand in enumerate(hands)}
    return {"the mean of the losses": mean, "the mean of the gradients": sum(gradients) / len(losses)} | after


def rows_and_ranks() -> list[tuple]:
    """Every number occurs once, so that each row can be told from the others."""

    def rows(n: int, pad_id: int) -> tuple:
        return torch.randperm(99)[: 4 * n].view(n, 4) + 9, torch.randperm(99)[: 3 * n].view(n, 3) + 9, pad_id

    one, five, two = rows(1, 0), rows(5, 0), rows(2, 7)
    return [
        (*one[:2], 1, 2, one[2]),
        *((*five[:2], rank, 2, five[2]) for rank in (0, 1)),
        *((*two[:2], rank, 3, two[2]) for rank in (1, 2)),
    ]


def shards_and_limits() -> list[tuple]:
    """Too long alone and together, too long only together, short enough, one shard that is empty, and all zeros."""
    some = torch.rand(7).add(1).tolist()
    return [
        ([some[:1], some[1:2]], 0.5),
        ([some[:2], [0.1 * some[2]]], 1.0),
        ([some[2:4], some[4:7]], 2.8),
        ([some[:3], [], some[3:5]], 20.0),
        ([some[:3], [], some[3:5]], 1.5),
        ([[0.0, 0.0], [0.0]], 1.0),
    ]


def whole_gradient(answer, shards: list[list[float]], limit: float) -> dict | None:
    hands = [(torch.tensor(shard), limit) for shard in shards]
    found = together(answer, hands)
    if any(shard is None for shard in found):
        return None
    after = {f"what process {rank} was handed, afterwards": hand[0] for rank, hand in enumerate(hands)}
    return {f"the shard of process {rank}": shard for rank, shard in enumerate(found)} | after


# fmt: off
EXERCISES = [
    Exercise(
        name="processes.hand",
        title="A hand of rows",
        level="find the bug",
        minutes=6,
        statement="""
            This function shall give each process its rows of a batch, by three rules. Row *i* belongs to rank *i*
            modulo the number of workers, as when cards are dealt. No row may be lost. A rank for which there is no row
            gets the first row of the batch as its source, and for its target one row of padding, as long as the other
            targets. The function below does something else. Mend it. What it returns has two axes like the inputs,
            which are not to be written into.
            """,
        stub='''
            def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
                """(rows, src_len), (rows, tgt_len) -> the same two, fewer rows."""
                size = len(src_ids) // workers
                mine = slice(rank * size, (rank + 1) * size)
                return src_ids[mine], tgt_ids[mine]
            ''',
        solution='''
            def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
                """(rows, src_len), (rows, tgt_len) -> the same two, fewer rows."""
                if rank >= len(src_ids):
                    nothing = torch.full_like(tgt_ids[:1], pad_id)
                    return src_ids[:1], nothing
                return src_ids[rank::workers], tgt_ids[rank::workers]
            ''',
        hints=[
            "A slice has a step as well: which rows are `ids[1::2]`?",
            "Which ranks get no row? Those that are not smaller than the number of rows. `torch.full_like` makes a "
            "tensor of one number, in the shape and type of another.",
        ],
        why="""
            A batch is often in order of length, so that a block gives one process the short rows, and all others wait
            for the one with the long ones. And a process without rows must still come to each all-reduce, with what
            counts for nothing.
            """,
        wrongs=[
            Wrong("the batch is still cut into blocks, and rows that do not fill one are lost",
                  code="""
                  def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
                      n = len(src_ids) // workers
                      return src_ids[rank * n:(rank + 1) * n], tgt_ids[rank * n:(rank + 1) * n]
                  """),
            Wrong("no row is lost, but they are dealt in blocks; with rows in order of length, one process gets the "
                  "short ones",
                  code="""
                  def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
                      if rank >= len(src_ids):
                          return src_ids[:1], torch.full_like(tgt_ids[:1], pad_id)
                      return src_ids.tensor_split(workers)[rank], tgt_ids.tensor_split(workers)[rank]
                  """),
            Wrong("the rows are dealt right, but a rank for which there is none gets no row at all, and a model cannot "
                  "run on that",
                  code="""
                  def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
                      return src_ids[rank::workers], tgt_ids[rank::workers]
                  """),
            Wrong("a rank for which there is no row learns the first row a second time; its target must be all padding",
                  "return src_ids[:1], nothing", "return src_ids[:1], tgt_ids[:1]"),
            Wrong("a rank for which there is no row gets padding for its source too; a source is wanted that the model "
                  "can read, the first row's", "return src_ids[:1], nothing",
                  "return torch.full_like(src_ids[:1], pad_id), nothing"),
            Wrong("the padding is 0 here, whatever `pad_id` says", "torch.full_like(tgt_ids[:1], pad_id)",
                  "torch.zeros_like(tgt_ids[:1])"),
            Wrong("source and target of different rows: both must be taken by the same slice",
                  "tgt_ids[rank::workers]", "tgt_ids.flip(0)[rank::workers]"),
            Wrong("all get the whole batch, so that the work is done by each of them and not shared",
                  "src_ids[rank::workers], tgt_ids[rank::workers]", "src_ids, tgt_ids"),
            Wrong("the row of padding is as long as a source; it stands for a target, and must be as long as those",
                  "tgt_ids[:1]", "src_ids[:1]"),
            Wrong("a rank for which there is no row gets a single row without the axis of the batch; `[:1]` keeps it, "
                  "and `[0]` takes it away",
                  code="""
                  def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
                      if rank >= len(src_ids):
                          return src_ids[0], torch.full_like(tgt_ids[0], pad_id)
                      return src_ids[rank::workers], tgt_ids[rank::workers]
                  """),
            Wrong("what is returned is right, but the padding was written into the batch: a slice is a view, and its "
                  "first target is lost; make a new tensor", "torch.full_like(tgt_ids[:1], pad_id)",
                  "tgt_ids[:1].fill_(pad_id)"),
            Wrong("the rows that do not go up evenly are left out; `src_ids[rank::workers]` deals them too", code="""
                  def my_hand(src_ids, tgt_ids, rank, workers, pad_id):
                      n = len(src_ids) // workers * workers
                      if rank >= n:
                          return src_ids[:1], torch.full_like(tgt_ids[:1], pad_id)
                      return src_ids[:n][rank::workers], tgt_ids[:n][rank::workers]
                  """),
        ],
        inputs=rows_and_ranks,
    ),
    Exercise(
        name="processes.loss",
        title="Build the loss of one process",
        level="build it",
        minutes=10,
        statement="""
            Write what a process calls `backward` on, before you read on. It knows the summed loss of its own rows,
            `total`, and the `number` of its tokens; both are tensors. The number may be 0, but not that of all
            processes at once. `all_reduce(x)` returns the sum of `x` over all `workers` processes, as a new tensor
            without a gradient; all processes must call it equally often. Afterwards PyTorch takes the *mean* of the
            gradients over the processes, and the loss that is printed is the mean of what they return. These must be
            the gradient and the loss, both per token, that one process with all rows would have.
            """,
        stub='''
            def my_loss(total, number, all_reduce, workers):
                """The loss of this process, a tensor with a gradient, ()."""
                ...
            ''',
        solution="""
            def my_loss(total, number, all_reduce, workers):
                mean_number = all_reduce(number) / workers
                return total / mean_number
            """,
        hints=[
            "One process would divide the sum of all totals by the sum of all numbers. Which of the two sums is nobody "
            "going to make for you?",
            "The mean over the processes divides by `workers` once more than you want. Where do you take that back?",
        ],
        why="""
            The mean of the processes is a sum over `workers`, so each divides its total by the *mean* number of tokens.
            What is summed over the processes is the count, which needs no gradient; the totals are added by the mean of
            the gradients.
            """,
        wrongs=[
            Wrong("each process divides by its own number of tokens, and the mean of means weighs a token more where "
                  "there are fewer of them; where there is none it is 0/0",
                  code="""
                  def my_loss(total, number, all_reduce, workers):
                      return total / number
                  """, source="https://github.com/huggingface/transformers/pull/34191"),
            Wrong("each process divides by its own number of tokens (at least 1), and the mean of means weighs a token "
                  "more where there are fewer of them",
                  code="""
                  def my_loss(total, number, all_reduce, workers):
                      return total / number.clamp(min=1)
                  """),
            Wrong("loss and gradient are too small, by the number of processes: you divide by all tokens, and the mean "
                  "over the processes divides once more", " / workers", ""),
            Wrong("the loss is right and has no gradient, for what `all_reduce` returns has none: reduce the number, "
                  "and leave the total to the mean of the gradients",
                  code="""
                  def my_loss(total, number, all_reduce, workers):
                      return all_reduce(total) / all_reduce(number)
                  """),
            Wrong("this divides by the number of processes and not by that of tokens",
                  code="""
                  def my_loss(total, number, all_reduce, workers):
                      return total / workers
                  """),
            Wrong("the summed loss is returned as it is; divided by nothing, it grows with the batch",
                  code="""
                  def my_loss(total, number, all_reduce, workers):
                      return total
                  """),
            Wrong("a process with nothing to learn returns at once, and all others wait for it at the all-reduce",
                  code="""
                  def my_loss(total, number, all_reduce, workers):
                      if number == 0:
                          return total
                      return total * workers / all_reduce(number)
                  """),
            Wrong("the loss is divided by the number of workers, and the mean over the processes does that already; "
                  "it must be multiplied by it", code="""
                  def my_loss(total, number, all_reduce, workers):
                      return total / all_reduce(number) / workers
                  """),
            Wrong("the mean number of tokens is rounded down; divide as real numbers, `/` in place of `//`",
                  "all_reduce(number) / workers", "all_reduce(number) // workers"),
            Wrong("each process takes the mean of its own tokens, and what `all_reduce` returns has no gradient; "
                  "sum the numbers only, and divide your own total", code="""
                  def my_loss(total, number, all_reduce, workers):
                      return all_reduce(total / number) / workers
                  """),
            Wrong("what is returned is right, but `number` was written into; make a new tensor", code="""
                  def my_loss(total, number, all_reduce, workers):
                      number.copy_(all_reduce(number))
                      return total * workers / number
                  """),
        ],
        inputs=losses_and_counts,
        use=loss_and_gradient,
    ),
    Exercise(
        name="processes.memory",
        title="How many machines?",
        level="warm-up",
        minutes=3,
        statement="""
            A model of 7 billion weights is to be trained with Adam in float32, its weights, gradients and optimizer
            state sharded by FSDP. Between two steps, each process shall hold no more than 10 GB of them ($10^{10}$
            bytes). How many processes does it take at least?
            """,
        stub="processes_needed = None  # a whole number",
        solution="processes_needed = math.ceil(4 * 4 * 7 / 10)",
        hints=["How many numbers are held for each weight, and how many bytes is one?"],
        why="Four numbers of four bytes for each weight make 112 GB, and eleven processes could hold 110 GB of it.",
        wrongs=[
            Wrong("11 processes hold 110 GB, and there are 112", code="processes_needed = 11"),
            Wrong("the quotient is right; there are no parts of a process, so round it up",
                  code="processes_needed = 112 / 10"),
            Wrong("one of the four numbers was forgotten, most likely one of Adam's two means; and there are no parts "
                  "of a process, so round up", code="processes_needed = 84 / 10"),
            Wrong("these are the weights alone; for each of them there are also its gradient and Adam's two means",
                  code="processes_needed = 3"),
            Wrong("these are weights and gradients, or four numbers of two bytes; Adam keeps two numbers more for each "
                  "weight, and float32 takes four bytes", code="processes_needed = 6"),
            Wrong("one of the four numbers was forgotten: weight, gradient, and two running means",
                  code="processes_needed = 9"),
            Wrong("a number of float32 is 32 bits, which is four bytes; you counted eight for it",
                  code="processes_needed = 23"),
            Wrong("these are the GB of all processes together; asked is into how many parts of 10 GB they go",
                  code="processes_needed = 112"),
        ],
    ),
    Exercise(
        name="processes.clip",
        title="Clip what nobody has whole",
        level="one that hurts",
        minutes=10,
        statement="""
            With FSDP each process holds a shard of the gradient, and the whole is to be clipped: when its length, the
            root of the sum of all its squares, is larger than `limit`, it is made as long as `limit`, in the same
            direction; otherwise it stays as it is. Write what a process does. `all_reduce(x)` returns the sum of `x`
            over all processes, and all must call it equally often. A shard may be empty. The number of processes is not
            needed. Return a new tensor, and leave `shard` as it is.
            """,
        stub='''
            def my_clipped(shard, limit, all_reduce):
                """This process's part of the clipped gradient, as shard: (n,)."""
                ...
            ''',
        solution="""
            def my_clipped(shard, limit, all_reduce):
                length = all_reduce(shard.square().sum()).sqrt()
                return shard * torch.clamp(limit / length, max=1.0)
            """,
        hints=[
            "Lengths cannot be added. What can, of two parts of a vector?",
            "Every process must multiply by the same factor, also one whose own shard is short.",
        ],
        why="""
            All processes find the same length, and so the same factor: the direction is kept. Squares may be summed
            over the processes, as losses and counts may, and lengths may not.
            """,
        wrongs=[
            Wrong("each process clips its own shard by its own length: the parts are shortened by different factors, "
                  "and the whole points elsewhere",
                  code="""
                  def my_clipped(shard, limit, all_reduce):
                      return shard * torch.clamp(limit / shard.norm(), max=1.0)
                  """),
            Wrong("the lengths of the shards were added, which is more than the length of the whole; add the squares, "
                  "and take the root of the sum", "all_reduce(shard.square().sum()).sqrt()",
                  "all_reduce(shard.norm())"),
            Wrong("the root is missing: this compares the squared length with the limit", ".sqrt()", ""),
            Wrong("a gradient that is shorter than the limit is made longer; the factor is 1 at most",
                  "torch.clamp(limit / length, max=1.0)", "(limit / length)"),
            Wrong("nothing is clipped", " * torch.clamp(limit / length, max=1.0)", " * 1.0"),
            Wrong("what is returned is right, but `shard` was written into; make a new tensor, `shard * factor`",
                  code="""
                  def my_clipped(shard, limit, all_reduce):
                      length = all_reduce(shard.square().sum()).sqrt()
                      shard *= torch.clamp(limit / length, max=1.0)
                      return shard
                  """),
            Wrong("each number is clipped by itself, which bends the direction; all are multiplied by one factor",
                  code="""
                  def my_clipped(shard, limit, all_reduce):
                      return shard.clamp(-limit, limit)
                  """),
            Wrong("a process whose own shard is short does not come to the all-reduce, and those that do wait for it; "
                  "first sum, then decide",
                  code="""
                  def my_clipped(shard, limit, all_reduce):
                      if shard.norm() <= limit:
                          return shard
                      length = all_reduce(shard.square().sum()).sqrt()
                      return shard * torch.clamp(limit / length, max=1.0)
                  """),
            Wrong("a process whose shard is empty does not come to the all-reduce, and all others wait for it; it "
                  "has to call it too, with the sum of no squares, 0",
                  code="""
                  def my_clipped(shard, limit, all_reduce):
                      if shard.numel() == 0:
                          return shard
                      length = all_reduce(shard.square().sum()).sqrt()
                      return shard * torch.clamp(limit / length, max=1.0)
                  """),
            Wrong("the gradient is divided by its length and is then 1 long; `limit` is missing",
                  "torch.clamp(limit / length, max=1.0)", "torch.clamp(1 / length, max=1.0)"),
            Wrong("the squares of each shard are averaged; sum them", "shard.square().sum()", "shard.square().mean()"),
            Wrong("the shards are added number by number, as if all held the same weights; sum the squares of each, "
                  "and add these sums", "all_reduce(shard.square().sum()).sqrt()", "all_reduce(shard).norm()"),
        ],
        inputs=shards_and_limits,
        use=whole_gradient,
    ),
]
