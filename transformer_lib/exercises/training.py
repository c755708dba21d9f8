"""Exercises of chapter 10: one number that says how wrong, what it asks for, and many parts to one step."""

import math

import torch
from torch import Tensor, nn

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def logits_and_targets() -> list[tuple]:
    """One real token and one pad; a batch; another id for the pads; logits that are far apart."""
    first = torch.tensor([[1, 0]])
    targets = torch.tensor([[3, 1, 4, 2], [2, 5, 0, 0], [4, 0, 0, 0]])
    other = torch.tensor([[3, 0, 4], [6, 2, 2]])
    far = 300 * torch.tensor([[[0.0, 1.0, -1.0], [1.0, 0.0, -1.0]]])
    return [
        (torch.randn(1, 2, 3), first, 0),
        (2 * torch.randn(3, 4, 6), targets, 0),
        (2 * torch.randn(2, 3, 7), other, 2),
        (far + torch.randn(1, 2, 3), torch.tensor([[2, 0]]), 0),
    ]


def smoothed_logits_and_targets() -> list[tuple]:
    """The same, with a smoothing; in the last one padding is ruled out by a logit of minus infinity."""
    trials = [
        (logits, targets, smoothing, pad_id)
        for (logits, targets, pad_id), smoothing in zip(logits_and_targets()[:3], (0.1, 0.2, 0.3), strict=True)
    ]
    logits, targets, smoothing, pad_id = trials[-1]
    ruled_out = torch.randn_like(logits)
    ruled_out[..., pad_id] = -math.inf
    return [*trials, (ruled_out, targets, smoothing, pad_id)]


def sum_and_number(answer, logits: Tensor, targets: Tensor, pad_id: int) -> dict:
    logits = logits.requires_grad_()
    total, number = answer(logits, targets, pad_id)
    total.backward()
    return {"the sum": total, "the number": number, "the gradient of the logits": logits.grad}


def loss_and_gradient(answer, logits: Tensor, targets: Tensor, smoothing: float, pad_id: int) -> dict:
    logits = logits.requires_grad_()
    total = answer(logits, targets, smoothing, pad_id)
    total.backward()
    return {"the loss": total, "the gradient of the logits": logits.grad}


def pads_do_not_count(answer, logits: Tensor, targets: Tensor, pad_id: int) -> bool:
    pads = (targets == pad_id).unsqueeze(-1)
    total, number = answer(logits, targets, pad_id)
    other, same = answer(torch.where(pads, torch.randn_like(logits), logits), targets, pad_id)
    return torch.allclose(total, other, rtol=1e-4) and int(number) == int(same)


def parts_of_batches() -> list[tuple]:
    """Two parts for one step; a part that is left over; fewer left over than a group holds."""
    trials = []
    for number, k in ((2, 2), (5, 2), (5, 3)):
        model = nn.Linear(3, 5)
        parts = []
        for i in range(number):
            targets = torch.randint(1, 5, (2, 4))
            targets[0, 1 + i % 3 :] = 0
            parts.append((torch.randn(2, 4, 3), targets))
        trials.append((model, torch.optim.SGD(model.parameters(), lr=0.5), parts, k))
    return trials


def steps_and_weights(answer, model: nn.Module, optimizer: torch.optim.Optimizer, parts: list, k: int) -> dict:
    step, steps = optimizer.step, []

    def counting_step(*arguments):
        steps.append(1)
        return step(*arguments)

    optimizer.step = counting_step
    answer(model, optimizer, parts, k)
    return {"the number of steps": len(steps), "the weights afterwards": model.weight}


# fmt: off
EXERCISES = [
    Exercise(
        name="training.surprise",
        title="Three surprises",
        level="warm-up",
        minutes=2,
        statement="""
            A sentence has three tokens to be written, and the model gave the right ones the probabilities 1/2, 1/4 and
            1/8. What is its cross-entropy per token? With the natural logarithm, `math.log`; two decimals are enough.
            """,
        stub="surprise = None  # a number",
        solution="surprise = (math.log(2) + math.log(4) + math.log(8)) / 3",
        hints=["Each token has its own loss. What is the mean of the three?"],
        why="""
            The mean of the logarithms is the logarithm of 1/4, the *geometric* mean of the probabilities. One token
            with the probability 0 would make the loss infinite, however good the others are.
            """,
        tolerance=5e-3,
        wrongs=[
            Wrong("the probabilities were averaged first and the logarithm taken then; each token has its own loss, "
                  "and the losses are averaged", code="surprise = math.log(24 / 7)"),
            Wrong("that is the sum over the sentence; per token it is a third of it",
                  code="surprise = 6 * math.log(2)"),
            Wrong("that is counted in bits, with the logarithm to the base 2; `math.log` is the natural one",
                  code="surprise = 2.0"),
            Wrong("the sign is missing: the logarithm of a probability is negative, and the loss is minus that",
                  code="surprise = -2 * math.log(2)"),
            Wrong("that is how much probability was missing on average; the loss takes logarithms",
                  code="surprise = 1 - 7 / 24"),
            Wrong("that is the loss of the last token alone", code="surprise = math.log(8)"),
            Wrong("that is the loss of the first token alone; take the mean of the three",
                  code="surprise = math.log(2)"),
        ],
    ),
    Exercise(
        name="training.loss",
        title="Build the loss that ignores padding",
        level="build it",
        minutes=6,
        statement="""
            Write it before you read on, still without smoothing. `logits` are (batch, tgt_len, vocab), `targets` are
            the ids of the right tokens, (batch, tgt_len), and where they are `pad_id`, which is an id of the vocabulary
            like any other, nothing is asked. Return two things: the *sum* of the cross-entropies of all real tokens, a
            tensor through which `backward` can go, and the *number* of real tokens, a plain number or a tensor. The
            logits are finite, but may be hundreds apart, which matters if you take exponentials yourself. Whatever
            torch has may be used.
            """,
        stub='''
            def my_loss(logits, targets, pad_id):
                """The sum over the real tokens, and their number."""
                ...
            ''',
        solution="""
            def my_loss(logits, targets, pad_id):
                real = targets != pad_id
                total = F.cross_entropy(
                    logits[real], targets[real], reduction="sum"
                )
                return total, int(real.sum())
            """,
        hints=[
            "Which positions are real? A boolean tensor can pick them out of logits and targets alike.",
            'For `F.cross_entropy` the classes are the second axis, so flatten first; it knows `reduction="sum"` and '
            "`ignore_index`. By hand: `log_softmax`, then `gather`.",
        ],
        why="""
            Sum and number can be added up over as many batches as you like, and divided at the end. Two means cannot
            be joined without knowing how many tokens each one is of.
            """,
        wrongs=[
            Wrong("padding is counted, in the sum and in the number; where the target is `pad_id` nothing is asked",
                  code="""
                  def my_loss(logits, targets, pad_id):
                      flat, wanted = logits.flatten(0, 1), targets.flatten()
                      return F.cross_entropy(flat, wanted, reduction="sum"), targets.numel()
                  """),
            Wrong("the number is right, but padding is counted in the sum; `ignore_index=pad_id`, or pick out the real "
                  "positions", code="""
                  def my_loss(logits, targets, pad_id):
                      flat, wanted = logits.flatten(0, 1), targets.flatten()
                      total = F.cross_entropy(flat, wanted, reduction="sum")
                      return total, int((targets != pad_id).sum())
                  """),
            Wrong("the sum is right, but the number counts padding too; a mean taken with it would be too small",
                  "int(real.sum())", "targets.numel()"),
            Wrong("that is the mean, which `F.cross_entropy` gives if nothing is said; asked is the sum, "
                  '`reduction="sum"`', ', reduction="sum"', ""),
            Wrong("the padding is 0 here, whatever `pad_id` says", "targets != pad_id", "targets != 0"),
            Wrong("the logits of the pads are set to zero, and so each pad costs the logarithm of the vocabulary's "
                  "size; set its *loss* to zero", code="""
                  def my_loss(logits, targets, pad_id):
                      real = targets != pad_id
                      kept = logits * real.unsqueeze(-1)
                      total = F.cross_entropy(
                          kept.flatten(0, 1), targets.flatten(), reduction="sum"
                      )
                      return total, int(real.sum())
                  """),
            Wrong("the softmax comes first and the logarithm after it: with logits far apart the probability is "
                  "rounded to 0, and the loss infinite; `log_softmax` does both in one", code="""
                  def my_loss(logits, targets, pad_id):
                      real = targets != pad_id
                      p = logits.softmax(-1).gather(-1, targets[..., None])[..., 0]
                      return -p[real].log().sum(), int(real.sum())
                  """),
            Wrong("`F.cross_entropy` was given probabilities; it takes the logits, and makes its own softmax",
                  "logits[real]", "logits[real].softmax(-1)"),
            Wrong("the logarithm is missing, so that minus the probabilities are added up", code="""
                  def my_loss(logits, targets, pad_id):
                      real = targets != pad_id
                      p = logits.softmax(-1).gather(-1, targets[..., None])[..., 0]
                      return -p[real].sum(), int(real.sum())
                  """),
            Wrong("the sign is missing: a logarithm of a probability is negative, and the loss is minus that", code="""
                  def my_loss(logits, targets, pad_id):
                      real = targets != pad_id
                      p = logits.log_softmax(-1).gather(-1, targets[..., None])
                      return p[..., 0][real].sum(), int(real.sum())
                  """),
            Wrong("the softmax runs over the positions; it belongs over the vocabulary, the last axis", code="""
                  def my_loss(logits, targets, pad_id):
                      real = targets != pad_id
                      p = logits.log_softmax(1).gather(-1, targets[..., None])
                      return -p[..., 0][real].sum(), int(real.sum())
                  """),
            Wrong("`view` and `reshape` to (batch, vocab, tgt_len) deal the numbers out anew, and a position gets "
                  "logits of others; let the axes change places, `transpose(1, 2)`, or flatten batch and length",
                  code="""
                  def my_loss(logits, targets, pad_id):
                      batch, tgt_len, vocab = logits.shape
                      total = F.cross_entropy(
                          logits.reshape(batch, vocab, tgt_len), targets,
                          ignore_index=pad_id, reduction="sum",
                      )
                      return total, int((targets != pad_id).sum())
                  """),
            Wrong("for `F.cross_entropy` the classes are the second axis, and yours has the positions there; flatten "
                  "batch and length into one axis first", "logits[real], targets[real]", "logits, targets"),
            Wrong("the sum is a plain number, through which no gradient can go; leave out `.item()`",
                  "return total, ", "return total.item(), "),
            Wrong("the logits are cut off from the gradient; no `detach` on the way",
                  "logits[real]", "logits.detach()[real]"),
            Wrong("two things are asked for, the sum and the number of the real tokens, and only the sum is "
                  "returned", "return total, int(real.sum())", "return total"),
            Wrong("the mask is inverted: it is the padding that is summed and counted",
                  "targets != pad_id", "targets == pad_id"),
            Wrong("*e* to the power of a large logit is infinite, and infinity divided by itself is no number; "
                  "`log_softmax` avoids both", code="""
                  def my_loss(logits, targets, pad_id):
                      real = targets != pad_id
                      p = logits.exp() / logits.exp().sum(-1, keepdim=True)
                      loss = -p.log().gather(-1, targets[..., None])[..., 0]
                      return (loss * real).sum(), int(real.sum())
                  """),
        ],
        inputs=logits_and_targets,
        use=sum_and_number,
        laws=[Law("what the model says where the target is padding does not count", pads_do_not_count)],
    ),
    Exercise(
        name="training.smoothing",
        title="Smoothing without the table",
        level="one that hurts",
        minutes=15,
        statement="""
            Write the smoothed loss, summed over the real tokens, the first of the two things that `token_loss` returns:
            the right token is asked for with $1-\\varepsilon$, each of the $V-2$ others that are not padding with
            $\\varepsilon/(V-2)$, and where the target is padding nothing is asked. `logits` are (batch, tgt_len,
            vocab), `targets` (batch, tgt_len).

            Yours keeps one promise more, which `token_loss` does not keep. Padding is never an answer, so a model may
            rule it out with a logit of minus infinity, at every position. Then loss and gradient must still be numbers.
            (Nothing else is minus infinity. There is a way that never makes a table of what is asked, as large as the
            logits; it is not required.)
            """,
        stub='''
            def my_smoothed_loss(logits, targets, smoothing, pad_id):
                """The smoothed cross-entropy, summed: a single number."""
                ...
            ''',
        solution="""
            def my_smoothed_loss(logits, targets, smoothing, pad_id):
                log_p = logits.log_softmax(dim=-1)
                right = log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
                is_pad = torch.arange(logits.size(-1)) == pad_id
                others = log_p.masked_fill(is_pad, 0.0).sum(dim=-1) - right
                share = smoothing / (logits.size(-1) - 2)
                loss = -(1 - smoothing) * right - share * others
                return loss[targets != pad_id].sum()
            """,
        hints=[
            "All the others get the same share, so it is enough to know the *sum* of their log-probabilities.",
            "Share 0 times minus infinity is not 0. Take the padding out of the sum *before* anything is multiplied.",
        ],
        why="""
            A product with 0 does not remove what is infinite; picking out and filling do. The demonstration of
            smoothing in *The Annotated Transformer* gives NaN with today's torch for this reason: it multiplies the
            share of the padding, 0, by minus infinity. So does `token_loss`.
            """,
        wrongs=[
            Wrong("a share of 0 times a log-probability of minus infinity is NaN; leave the padding out before you "
                  "multiply", code="""
                  def my_smoothed_loss(logits, targets, smoothing, pad_id):
                      size = logits.size(-1)
                      asked = torch.full_like(logits, smoothing / (size - 2))
                      asked = asked.scatter(-1, targets.unsqueeze(-1), 1 - smoothing)
                      asked[..., pad_id] = 0.0
                      asked = asked * (targets != pad_id).unsqueeze(-1)
                      return -(asked.detach() * logits.log_softmax(-1)).sum()
                  """),
            Wrong("that is the `label_smoothing` of torch, which gives a share to all tokens, to padding and to the "
                  "right one too", code="""
                  def my_smoothed_loss(logits, targets, smoothing, pad_id):
                      return F.cross_entropy(
                          logits.flatten(0, 1), targets.flatten(),
                          ignore_index=pad_id, label_smoothing=smoothing,
                          reduction="sum",
                      )
                  """),
            Wrong("that is the loss without smoothing", "(1 - smoothing) * right - share * others", "right"),
            Wrong("padding gets a share: it is taken from all tokens that are not right, $V-1$ of them", code="""
                  def my_smoothed_loss(logits, targets, smoothing, pad_id):
                      log_p = logits.log_softmax(dim=-1)
                      right = log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
                      others = log_p.sum(dim=-1) - right
                      share = smoothing / (logits.size(-1) - 1)
                      loss = -(1 - smoothing) * right - share * others
                      return loss[targets != pad_id].sum()
                  """),
            Wrong("the share is divided among $V-1$, but $V-2$ get one, for padding gets none: what is asked does not "
                  "sum to 1", "logits.size(-1) - 2", "logits.size(-1) - 1"),
            Wrong("the right token gets a share of the smoothing on top: take it out of the sum of the others",
                  ".sum(dim=-1) - right", ".sum(dim=-1)"),
            Wrong("the padded positions are counted too; where the target is padding nothing is asked",
                  "loss[targets != pad_id].sum()", "loss.sum()"),
            Wrong("that is the mean of the real tokens; asked is the sum, as `token_loss` gives it", "].sum()",
                  "].mean()"),
            Wrong("the padding is 0 here, whatever `pad_id` says", code="""
                  def my_smoothed_loss(logits, targets, smoothing, pad_id):
                      log_p = logits.log_softmax(dim=-1)
                      right = log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
                      others = log_p[..., 1:].sum(dim=-1) - right
                      share = smoothing / (logits.size(-1) - 2)
                      loss = -(1 - smoothing) * right - share * others
                      return loss[targets != 0].sum()
                  """),
            Wrong("the others get all of the rest each; it is shared among them, divided by $V-2$",
                  "smoothing / (logits.size(-1) - 2)", "smoothing"),
            Wrong("the smoothing is shared among all $V$ tokens; the right one and the padding get nothing of it, "
                  "so that $V-2$ share it", "logits.size(-1) - 2", "logits.size(-1)"),
        ],
        inputs=smoothed_logits_and_targets,
        use=loss_and_gradient,
    ),
    Exercise(
        name="training.parts",
        title="The step that comes too early",
        level="find the bug",
        minutes=10,
        given="from transformer_lib import token_loss",
        statement="""
            Gradient accumulation: this loop shall take one step of the optimizer for every `k` parts, with the gradient
            of the mean over all real tokens of these `k` parts. If fewer than `k` parts are left at the end, they are a
            group of their own, with a step of their own. `parts` is a list. A part is a pair, `x` (batch, length, d)
            and `targets` (batch, length), with 0 for padding; `model(x)` gives the logits, and `token_loss` is the
            function from above. The loop runs without an error. Three things are wrong with it. Mend them all.
            """,
        stub='''
            def my_epoch(model, optimizer, parts, k):
                """Go through all parts; the weights of model change."""
                for i, (x, targets) in enumerate(parts):
                    total, number = token_loss(model(x), targets, pad_id=0)
                    (total / number).backward()
                    if i % k == 0:
                        optimizer.step()
                        optimizer.zero_grad()
            ''',
        solution='''
            def my_epoch(model, optimizer, parts, k):
                """Go through all parts; the weights of model change."""
                for start in range(0, len(parts), k):
                    group = parts[start : start + k]
                    in_all = sum((targets != 0).sum() for _, targets in group)
                    for x, targets in group:
                        total, _ = token_loss(model(x), targets, pad_id=0)
                        (total / in_all).backward()
                    optimizer.step()
                    optimizer.zero_grad()
            ''',
        hints=[
            "Write down for `k = 2` and six parts after which `i` it steps, and which parts each step has seen.",
            "What a part is divided by must be known before its `backward`. Cut `parts` into groups first, and count.",
        ],
        why="""
            `i % k == 0` is true for `i = 0`: the first step sees one part, and with six parts and `k = 2` the
            gradients of the last are not used, or leak into the next epoch. None of the three is seen as an error. What
            finds them is the comparison with the one big batch.
            """,
        wrongs=[
            Wrong("it steps at the right time, but each part is divided by its own number of tokens, so that the "
                  "gradient is a sum of means; divide by the number in all parts of the group", "total / in_all",
                  "total / (targets != 0).sum()", source="https://github.com/huggingface/transformers/issues/24725"),
            Wrong("each part is divided by its own number and by the number of parts: that is a mean of means, in "
                  "which the tokens of a short part weigh more; divide by the tokens in all parts of the group",
                  "total / in_all", "total / (targets != 0).sum() / len(group)",
                  source="https://github.com/huggingface/transformers/issues/24725"),
            Wrong("each part is divided by its own number and by `k`: that is a mean of means, and too small for a "
                  "group that has fewer parts; divide by the tokens in all parts of the group",
                  "total / in_all", "total / (targets != 0).sum() / k"),
            Wrong("the number of tokens is not set back to 0 after a step, so that each group is divided by the tokens "
                  "of those before it too", code="""
                  def my_epoch(model, optimizer, parts, k):
                      in_all = 0
                      for start in range(0, len(parts), k):
                          group = parts[start : start + k]
                          in_all += sum((targets != 0).sum() for _, targets in group)
                          for x, targets in group:
                              total, _ = token_loss(model(x), targets, pad_id=0)
                              (total / in_all).backward()
                          optimizer.step()
                          optimizer.zero_grad()
                  """),
            Wrong("the division is right, but the first step still comes after the first part, for 0 % k is 0; and "
                  "what is left at the end gets none", code="""
                  def my_epoch(model, optimizer, parts, k):
                      for i, (x, targets) in enumerate(parts):
                          group = parts[i // k * k : i // k * k + k]
                          in_all = sum((t != 0).sum() for _, t in group)
                          total, _ = token_loss(model(x), targets, pad_id=0)
                          (total / in_all).backward()
                          if i % k == 0:
                              optimizer.step()
                              optimizer.zero_grad()
                  """),
            Wrong("the parts that are left at the end get no step: their gradients are computed and never used",
                  code="""
                  def my_epoch(model, optimizer, parts, k):
                      for i, (x, targets) in enumerate(parts):
                          group = parts[i // k * k : i // k * k + k]
                          in_all = sum((t != 0).sum() for _, t in group)
                          total, _ = token_loss(model(x), targets, pad_id=0)
                          (total / in_all).backward()
                          if (i + 1) % k == 0:
                              optimizer.step()
                              optimizer.zero_grad()
                  """),
            Wrong("the time of the steps is mended, but each part is still divided by its own number, and what is left "
                  "at the end gets no step", code="""
                  def my_epoch(model, optimizer, parts, k):
                      for i, (x, targets) in enumerate(parts):
                          total, number = token_loss(model(x), targets, pad_id=0)
                          (total / number).backward()
                          if (i + 1) % k == 0:
                              optimizer.step()
                              optimizer.zero_grad()
                  """),
            Wrong("the gradients are cleared at each part, so that a step sees the last one only; clear them once a "
                  "step", code="""
                  def my_epoch(model, optimizer, parts, k):
                      for start in range(0, len(parts), k):
                          group = parts[start : start + k]
                          in_all = sum((targets != 0).sum() for _, targets in group)
                          for x, targets in group:
                              optimizer.zero_grad()
                              total, _ = token_loss(model(x), targets, pad_id=0)
                              (total / in_all).backward()
                          optimizer.step()
                  """),
            Wrong("the gradients are never cleared, so that each step repeats those before it",
                  "\n        optimizer.zero_grad()", ""),
            Wrong("the gradients are cleared before the step, which then has none", "optimizer.step()\n"
                  "        optimizer.zero_grad()", "optimizer.zero_grad()\n        optimizer.step()"),
            Wrong("it divides by the tokens of all parts there are; those of one step count, the group",
                  "for _, targets in group)", "for _, targets in parts)"),
            Wrong("the sums are not divided at all, so that the size of a step depends on the number of tokens",
                  "(total / in_all)", "total"),
            Wrong("it divides by all positions, the padded ones included; count the real tokens",
                  "(targets != 0).sum()", "targets.numel()"),
            Wrong("there is a step after each part, on a share of the gradient; asked is one for each group", code="""
                  def my_epoch(model, optimizer, parts, k):
                      for start in range(0, len(parts), k):
                          group = parts[start : start + k]
                          in_all = sum((targets != 0).sum() for _, targets in group)
                          for x, targets in group:
                              total, _ = token_loss(model(x), targets, pad_id=0)
                              (total / in_all).backward()
                              optimizer.step()
                              optimizer.zero_grad()
                  """),
            Wrong("the gradients are cleared before each part, so that of a group only the last one counts, and "
                  "each part is a mean of its own, divided by `k`; clear once a step, and divide by the tokens of "
                  "the group", code="""
                  def my_epoch(model, optimizer, parts, k):
                      for i, (x, targets) in enumerate(parts):
                          optimizer.zero_grad()
                          total, number = token_loss(model(x), targets, pad_id=0)
                          (total / number / k).backward()
                          if (i + 1) % k == 0 or i == len(parts) - 1:
                              optimizer.step()
                  """),
        ],
        inputs=parts_of_batches,
        use=steps_and_weights,
    ),
]
