"""Exercises of chapter 11: from probabilities to words."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def near(shares: list[float], order: list[int]) -> Tensor:
    """Logits of about these probabilities, which are falling, in another order."""
    logits = torch.tensor(shares).log() + 0.1 * torch.rand(len(shares)) + torch.randn(())
    return logits[order]


def logits_and_settings() -> list[tuple]:
    """The token that crosses the line is always one that counts; no order is its own inverse among the larger ones."""
    five, four = [0.5, 0.27, 0.13, 0.07, 0.03], [0.45, 0.33, 0.15, 0.07]
    return [
        (near([0.7, 0.3], [1, 0])[None], 1.0, 0.5),
        (near([0.5, 0.3, 0.2], [2, 0, 1])[None], 1.0, 0.65),
        (torch.stack([near(five, [2, 0, 4, 1, 3]), near(five, [3, 2, 0, 4, 1])]), 2.0, 0.7),
        (torch.stack([near(four, order) for order in ([3, 0, 1, 2], [1, 2, 3, 0], [1, 3, 0, 2])]), 0.5, 0.8),
    ]


def beam(batch: int, size: int, vocab: int, length: int, gap: float = 0.1, overtakes: bool = False) -> tuple:
    """One step, each sentence less likely than the one before it; in one in which the last beginning overtakes, all
    that is kept comes from there. With a gap of 1 nothing is kept of a second beginning, whose next token is as likely
    as that of the first."""
    log_probs = -gap * torch.arange(1, size + 1) - 10 * torch.arange(batch)[:, None] - 0.1 * torch.rand(batch, size)
    ranks = torch.rand(batch * size, vocab).argsort(-1)  # no two steps of a row come near one another
    steps = -0.3 * (ranks + 0.5 * torch.rand(batch * size, vocab)) - 0.1
    if overtakes:
        steps[(torch.arange(batch * size) + 1) % size != 0] -= 5
    ids = torch.randperm(batch * size * length).view(-1, length) + 10
    return ids, log_probs, steps


def beams() -> list[tuple]:
    return [
        beam(1, 2, 2, 1, overtakes=True),
        beam(2, 2, 3, 2, gap=1.0),
        beam(2, 3, 4, 2, overtakes=True),
        beam(3, 2, 5, 4),
    ]


def stays_in_its_sentence(answer, ids: Tensor, log_probs: Tensor, steps: Tensor) -> bool:
    batch, size = log_probs.shape
    return torch.equal(answer(ids, log_probs, steps)[2] // size, torch.arange(batch).repeat_interleave(size))


def finished() -> list[tuple]:
    """Answers with BOS (1) before, EOS (2) and padding behind."""
    one = torch.tensor([[[1, 5, 2]]])
    ids = torch.randint(3, 9, (3, 2, 9))
    ids[..., 0] = 1
    for answer, end in zip(ids.view(6, 9), (1, 3, 8, 4, 6, 2), strict=True):
        answer[end], answer[end + 1 :] = 2, 0
    other = torch.where(ids == 0, 9, ids)
    return [
        (one, -1 - torch.rand(1, 1), 1.0, 0),
        (ids, -1 - torch.rand(3, 2), 0.6, 0),
        (other, -1 - torch.rand(3, 2), 2.0, 9),
    ]


SUMS_TO_ONE = Law(
    "the probabilities of a row sum to 1",
    lambda answer, *inputs: torch.allclose(answer(*inputs).sum(-1), torch.ones(len(inputs[0]))),
)
OWN_SENTENCE = Law("a beginning goes on from a row of its own sentence", stays_in_its_sentence)

# fmt: off
EXERCISES = [
    Exercise(
        name="decoding.temperature",
        title="Colder",
        level="warm-up",
        minutes=3,
        statement="""
            Only two tokens can come next. At temperature 1 the first has the probability 0.8, the second 0.2. What is
            the probability of the first at temperature 0.5? Two digits behind the point are enough.
            """,
        stub="my_share = None  # a number from 0 to 1",
        solution="my_share = 0.8**2 / (0.8**2 + 0.2**2)",
        hints=[
            "What is divided is not the probabilities. Which logits have a softmax of 0.8 and 0.2?",
            "The logarithms of the two will do. Divided by 0.5 they are doubled; what does the exponential make of it?",
        ],
        why="""
            To double a logarithm is to square the number: 0.64 and 0.04, scaled up to sum to 1, are 0.94 and 0.06. At
            temperature *T* each probability is raised to the power 1/*T*, and then all are scaled.
            """,
        tolerance=6e-3,
        wrongs=[
            Wrong("that is temperature 2, at which the two come nearer; below 1 the likely gets likelier",
                  code="my_share = 0.8**0.5 / (0.8**0.5 + 0.2**0.5)"),
            Wrong("squared is right, but 0.64 and 0.04 do not sum to 1 yet; divide by their sum",
                  code="my_share = 0.8**2"),
            Wrong("the probabilities were divided in place of the logits and then put into the softmax; take their "
                  "logarithms first", code="""
                  my_share = math.exp(1.6) / (math.exp(1.6) + math.exp(0.4))
                  """),
            Wrong("the probabilities were divided and scaled to sum to 1 again, which takes the division back; divide "
                  "the logits", code="my_share = 0.8"),
            Wrong("that is the share of the second token", code="my_share = 0.2**2 / (0.8**2 + 0.2**2)"),
            Wrong("no probability is larger than 1: it is the logits that are divided, and the softmax comes after",
                  code="my_share = 0.8 / 0.5"),
            Wrong("that is the share at temperature 0, or a probability that was divided and cut at 1; the logits are "
                  "divided, and the second token keeps a share", code="my_share = 1.0"),
            Wrong("that is the root of 0.8; temperature 0.5 squares both, 0.8 and 0.2, and then they are scaled to "
                  "sum to 1", code="my_share = math.sqrt(0.8)"),
            Wrong("the probability was multiplied by the temperature; it is the logits that are divided by it",
                  code="my_share = 0.4"),
        ],
    ),
    Exercise(
        name="decoding.sample",
        title="Build the chances of a sampling step",
        level="build it",
        minutes=10,
        statement="""
            Write what comes before the draw, before you read on. From the logits of the next token, one row a sentence,
            make the probabilities by which it is drawn. First the temperature divides the logits. Then top-p, on the
            probabilities that this gives: a token is dropped when the tokens of its row that are likelier than it
            already sum to `p` or more. (No two of a row are equally likely.) A dropped token gets 0, and what is left
            of a row is scaled up to sum to 1. The tokens keep their places.
            """,
        stub='''
            def my_chances(logits, temperature, p):
                """(batch, vocab) -> probabilities (batch, vocab)."""
                ...
            ''',
        solution='''
            def my_chances(logits, temperature, p):
                """(batch, vocab) -> probabilities (batch, vocab)."""
                shares = (logits / temperature).softmax(dim=-1)
                ordered, order = shares.sort(dim=-1, descending=True)
                before = ordered.cumsum(dim=-1) - ordered
                kept = ordered.masked_fill(before >= p, 0.0)
                kept = torch.zeros_like(kept).scatter(-1, order, kept)
                return kept / kept.sum(dim=-1, keepdim=True)
            ''',
        hints=[
            "Sort the probabilities, the largest first. `cumsum` sums up to each token, itself included; what have you "
            "to take off?",
            "`sort` also tells from where each one came. `scatter` writes values to such places.",
        ],
        why="""
            The token that crosses the line is kept, so at least one is always left. What is missing is a line:
            `torch.multinomial(chances, 1)` draws a token of each row.
            """,
        wrongs=[
            Wrong("the token that crosses the line is dropped; what counts is the sum *before* it, without itself, and "
                  "so one token is always left", "ordered.cumsum(dim=-1) - ordered", "ordered.cumsum(dim=-1)"),
            Wrong("the right tokens are kept, but their probabilities do not sum to 1 yet",
                  "kept / kept.sum(dim=-1, keepdim=True)", "kept"),
            Wrong("the probabilities are still in the order of their size; `sort` has moved them, and each belongs "
                  "back to its token", "torch.zeros_like(kept).scatter(-1, order, kept)",
                  "kept + 0"),
            Wrong("sorted, cut, and put back the wrong way: with `gather` (or an index) the order is used twice; "
                  "`scatter` undoes it, or the order's own `argsort`",
                  "torch.zeros_like(kept).scatter(-1, order, kept)", "kept.gather(-1, order)"),
            Wrong("what is dropped was told in the order of size and carried to the tokens by `gather`, which is the "
                  "wrong way; `scatter` writes to the places that `sort` tells", code="""
                  def my_chances(logits, temperature, p):
                      shares = (logits / temperature).softmax(dim=-1)
                      ordered, order = shares.sort(dim=-1, descending=True)
                      before = ordered.cumsum(dim=-1) - ordered
                      dropped = (before >= p).gather(-1, order)
                      kept = shares.masked_fill(dropped, 0.0)
                      return kept / kept.sum(dim=-1, keepdim=True)
                  """),
            Wrong("the temperature multiplies the logits; it divides", "logits / temperature", "logits * temperature"),
            Wrong("the temperature is left out", "(logits / temperature)", "logits"),
            Wrong("the temperature divides the probabilities; it belongs to the logits, before the softmax",
                  "(logits / temperature).softmax(dim=-1)", "(logits.softmax(-1) / temperature).softmax(dim=-1)"),
            Wrong("top-p was cut with the probabilities of temperature 1; the temperature comes first", code="""
                  def my_chances(logits, temperature, p):
                      shares, order = logits.softmax(-1).sort(descending=True)
                      dropped = (shares.cumsum(-1) - shares >= p).gather(
                          -1, order.argsort(-1)
                      )
                      kept = logits.masked_fill(dropped, -torch.inf)
                      return (kept / temperature).softmax(dim=-1)
                  """),
            Wrong("the least likely tokens are kept: the sum has to begin with the likeliest one", ", descending=True",
                  ""),
            Wrong("each token is compared with `p` by itself; what is compared is the sum of those that are likelier",
                  "before >= p", "ordered < p"),
            Wrong("the softmax runs over the sentences; the tokens are the last axis",
                  "temperature).softmax(dim=-1)", "temperature).softmax(dim=0)"),
            Wrong("these are logits, minus infinity for what is dropped; a softmax makes them probabilities", code="""
                  def my_chances(logits, temperature, p):
                      logits = logits / temperature
                      shares, order = logits.softmax(-1).sort(descending=True)
                      dropped = (shares.cumsum(-1) - shares >= p).gather(
                          -1, order.argsort(-1)
                      )
                      return logits.masked_fill(dropped, -torch.inf)
                  """),
            Wrong("this draws a token; asked are the probabilities by which it would be drawn",
                  "return kept / kept.sum(dim=-1, keepdim=True)", "return torch.multinomial(kept, 1)"),
        ],
        inputs=logits_and_settings,
        laws=[SUMS_TO_ONE],
    ),
    Exercise(
        name="decoding.beam",
        title="Build one step of the beam",
        level="one that hurts",
        minutes=15,
        statement="""
            One step of `beam_of`, for a batch, while no answer has ended yet. The beginnings are rows: those of the
            first sentence first, `beam` of them, then those of the second. With two sentences and a beam of 2, rows 0
            and 1 belong to the first sentence, rows 2 and 3 to the second. `ids` holds the tokens so far, a row for
            each beginning. `steps` holds the log-probability of every token that may follow, again a row for each
            beginning. `log_probs` is what each beginning has until now, and is laid out otherwise: a row for each
            sentence.

            For each sentence keep the `beam` likeliest extensions, the likeliest first, and return three tensors: the
            ids with the new token at their end, the log-probabilities of the new beginnings, and for each new row the
            number of the old row from which it goes on, counted through the whole batch: in the example, 2 or 3 for the
            second sentence. No two extensions are equally likely. The next two cells do it; try first.
            """,
        stub='''
            def my_beam_step(ids, log_probs, steps):
                """ids (batch * beam, length), log_probs (batch, beam),
                steps (batch * beam, vocab) -> ids (batch * beam,
                length + 1), log_probs (batch, beam), rows (batch * beam)."""
                ...
            ''',
        solution="""
            def my_beam_step(ids, log_probs, steps):
                batch, beam = log_probs.shape
                vocab = steps.size(-1)
                totals = log_probs.view(-1, 1) + steps
                best = totals.view(batch, -1).topk(beam)
                parents = best.indices // vocab
                tokens = best.indices % vocab
                first = beam * torch.arange(batch).unsqueeze(1)
                rows = (first + parents).flatten()
                ids = torch.cat([ids[rows], tokens.view(-1, 1)], dim=1)
                return ids, best.values, rows
            """,
        hints=[
            "Laid in one row, the extensions of a sentence are `beam * vocab` numbers, and `topk` finds the best. Of a "
            "place in that row, what does the quotient by `vocab` tell, and what the remainder?",
            "The quotient counts within the sentence. The rows of sentence *i* begin at `i * beam`.",
        ],
        why="""
            All that belongs to a row has to move with it. Here that is the ids; in the real search it is the cache
            too, and the rows that you return are what it is given.
            """,
        wrongs=[
            Wrong("the tokens are chosen by this step alone; an extension has the log-probability of its beginning "
                  "plus that of the token", "log_probs.view(-1, 1) + steps", "steps"),
            Wrong("the sums are right, but the tokens were chosen by this step alone, before the sum; add first, and "
                  "choose among the sums", code="""
                  def my_beam_step(ids, log_probs, steps):
                      batch, beam = log_probs.shape
                      vocab = steps.size(-1)
                      best = steps.view(batch, -1).topk(beam)
                      parents = best.indices // vocab
                      tokens = best.indices % vocab
                      totals = log_probs.gather(1, parents) + best.values
                      first = beam * torch.arange(batch).unsqueeze(1)
                      rows = (first + parents).flatten()
                      ids = torch.cat([ids[rows], tokens.view(-1, 1)], dim=1)
                      return ids, totals, rows
                  """),
            Wrong("each beginning keeps its own best extension, so that none can overtake; all extensions of a "
                  "sentence compete for its places", code="""
                  def my_beam_step(ids, log_probs, steps):
                      best, tokens = steps.max(dim=-1)
                      rows = torch.arange(len(steps))
                      ids = torch.cat([ids, tokens.unsqueeze(1)], dim=1)
                      return ids, log_probs + best.view_as(log_probs), rows
                  """),
            Wrong("each beginning gives its own best extension, and these are put in order; but the two best may come "
                  "from the same one, so all extensions of a sentence compete", code="""
                  def my_beam_step(ids, log_probs, steps):
                      batch, beam = log_probs.shape
                      best, tokens = steps.max(dim=-1)
                      totals = log_probs + best.view(batch, beam)
                      totals, order = totals.sort(dim=-1, descending=True)
                      first = beam * torch.arange(batch).unsqueeze(1)
                      rows = (first + order).flatten()
                      ids = torch.cat([ids[rows], tokens[rows].unsqueeze(1)], dim=1)
                      return ids, totals, rows
                  """),
            Wrong("the parents are counted within their sentence, so that from the second sentence on the rows are "
                  "those of the first; add where the sentence's rows begin", "first + parents", "0 * first + parents"),
            Wrong("the new token is written behind the beginning that stood in this row before; first the beginning of "
                  "the parent has to move here", "cat([ids[rows], ", "cat([ids, "),
            Wrong("the ids have moved, but by the rows that you return each one goes on from itself; a cache that is "
                  "moved by those stays where it is", "return ids, best.values, rows",
                  "return ids, best.values, torch.arange(len(rows))",
                  source="https://github.com/huggingface/transformers/issues/46612"),
            Wrong("the extensions of all sentences compete with one another; `topk` belongs into each sentence",
                  code="""
                  def my_beam_step(ids, log_probs, steps):
                      totals = log_probs.view(-1, 1) + steps
                      best = totals.flatten().topk(log_probs.numel())
                      rows = best.indices // steps.size(-1)
                      tokens = (best.indices % steps.size(-1)).unsqueeze(1)
                      ids = torch.cat([ids[rows], tokens], dim=1)
                      return ids, best.values.view_as(log_probs), rows
                  """),
            Wrong("a place in the row of extensions is divided by the size of the beam; a beginning has as many "
                  "extensions as the vocabulary has tokens", "vocab = steps.size(-1)", "vocab = beam"),
            Wrong("quotient and remainder have changed places: the parent is the quotient by the size of the "
                  "vocabulary, the token the remainder", code="""
                  def my_beam_step(ids, log_probs, steps):
                      batch, beam = log_probs.shape
                      totals = log_probs.view(-1, 1) + steps
                      best = totals.view(batch, -1).topk(beam)
                      tokens = best.indices // steps.size(-1)
                      parents = best.indices % steps.size(-1)
                      rows = beam * torch.arange(batch).unsqueeze(1) + parents
                      rows = rows.flatten()
                      ids = torch.cat([ids[rows], tokens.view(-1, 1)], dim=1)
                      return ids, best.values, rows
                  """),
            Wrong("log-probabilities are multiplied; the product of probabilities is a sum of logarithms",
                  "log_probs.view(-1, 1) + steps", "log_probs.view(-1, 1) * steps"),
            Wrong("the rows of the second sentence begin at 1 here; they begin at `beam`, after all those of the "
                  "first", "beam * torch.arange(batch)", "torch.arange(batch)"),
            Wrong("quotient and remainder have changed places, and the rows are not counted through the batch: the "
                  "parent is the quotient by the size of the vocabulary, and a sentence's rows begin at `beam` "
                  "times its number", code="""
                  def my_beam_step(ids, log_probs, steps):
                      batch, beam = log_probs.shape
                      totals = log_probs.view(-1, 1) + steps
                      best = totals.view(batch, -1).topk(beam)
                      tokens = best.indices // steps.size(-1)
                      rows = (best.indices % steps.size(-1)).flatten()
                      ids = torch.cat([ids[rows % len(ids)], tokens.view(-1, 1)], dim=1)
                      return ids, best.values, rows
                  """),
        ],
        inputs=beams,
        laws=[OWN_SENTENCE],
    ),
    Exercise(
        name="decoding.length",
        title="How long is an answer?",
        level="find the bug",
        minutes=6,
        statement="""
            This function shall divide the log-probabilities of finished answers by the length penalty of the formula
            above. Each answer is a row of `ids`: BOS, its tokens, EOS, and padding up to the length of the longest. It
            runs, and every score is wrong. Three things are wrong with it. Mend them all.
            """,
        stub='''
            def my_scores(ids, log_probs, alpha, pad_id):
                """ids (batch, beam, tgt_len), log_probs (batch, beam)
                -> scores (batch, beam)."""
                length = ids.size(-1)
                return log_probs / (5 + length) / 6 ** alpha
            ''',
        solution='''
            def my_scores(ids, log_probs, alpha, pad_id):
                """ids (batch, beam, tgt_len), log_probs (batch, beam)
                -> scores (batch, beam)."""
                length = (ids[..., 1:] != pad_id).sum(dim=-1)
                return log_probs / ((5 + length) / 6) ** alpha
            ''',
        hints=[
            "What is divided by what? Put the brackets of the formula into the last line.",
            "Is the *n* of a short answer the same as that of a long one beside it? Which tokens does *n* count?",
        ],
        why="""
            With one length for all, the penalty divides all scores alike, and the order of the answers is that of their
            log-probabilities: nothing looks broken, and nothing is weighed.
            """,
        wrongs=[
            Wrong("the padding still counts, so that all answers have the length of the longest, and the penalty does "
                  "not change their order", "(ids[..., 1:] != pad_id).sum(dim=-1)", "ids.size(-1) - 1",
                  source="https://github.com/OpenNMT/OpenNMT-tf/pull/456"),
            Wrong("the BOS still counts; it was given, the model has not written it", "ids[..., 1:]", "ids"),
            Wrong("the EOS is left out; it is a token that the model has written, with a probability of its own",
                  "dim=-1)\n", "dim=-1) - 1\n", source="https://github.com/awslabs/sockeye/issues/483"),
            Wrong("padding and BOS still count, every length is that of the table; the brackets are right", code="""
                  def my_scores(ids, log_probs, alpha, pad_id):
                      length = ids.size(-1)
                      return log_probs / ((5 + length) / 6) ** alpha
                  """),
            Wrong("the lengths are right, and the brackets are not: the whole of (5 + *n*) / 6 is raised to the power, "
                  "and what is divided is the log-probability", "((5 + length) / 6) ** alpha",
                  "(5 + length) / 6 ** alpha"),
            Wrong("only the 6 is raised to the power; it is the whole of (5 + *n*) / 6",
                  "((5 + length) / 6) ** alpha", "((5 + length) / 6 ** alpha)"),
            Wrong("the penalty multiplies; it divides, which brings long answers nearer to zero", "log_probs / (",
                  "log_probs * ("),
            Wrong("this is the mean log-probability of a token, another way to weigh; asked is the penalty of the "
                  "formula", "((5 + length) / 6) ** alpha", "length"),
            Wrong("the padding is 0 here, whatever `pad_id` says", "!= pad_id", "!= 0"),
            Wrong("only the numerator is raised to the power; the 6 belongs inside the brackets",
                  "((5 + length) / 6) ** alpha", "((5 + length) ** alpha / 6)"),
        ],
        inputs=finished,
    ),
]
