"""Exercises of chapter 16: one stream, one mask, and what is asked of each token."""

import torch
from torch import Tensor

from transformer_lib.exercises.exercise import Exercise, Law, Wrong


def pairs_of_ids() -> list[tuple]:
    """Sources, and targets with BOS (1) before and EOS (2) behind; no two lengths are the same."""

    def draw(n):
        return torch.randint(3, 40, (n,)).tolist()

    return [
        ([7], [1, 9, 2]),
        (draw(3), [1, *draw(1), 2]),
        (draw(2), [1, *draw(4), 2]),
        (draw(6), [1, *draw(3), 2]),
    ]


def corruptions() -> list[tuple]:
    """Ids, where something is asked, a dice and other tokens; each fate falls on some place that is chosen, and 0.8 and
    0.9 lie between two dice."""
    made = []
    for batch, seq in ((1, 5), (2, 9), (3, 12)):
        ids = torch.randint(3, 30, (batch, seq))
        others = 3 + (ids - 3 + torch.randint(1, 26, ids.shape)) % 27  # never the token itself
        chosen = torch.rand(batch, seq) < 0.5
        dice = torch.rand(batch, seq) * 0.7
        chosen[:, :3], chosen[:, 3:5] = True, False
        dice[:, :5] = torch.tensor([0.3, 0.85, 0.95, 0.1, 0.85])
        made.append((ids, chosen, dice, others, 50))
    return made


def asks_only_the_chosen(answer, ids: Tensor, chosen: Tensor, *rest) -> bool:
    return torch.equal(answer(ids, chosen, *rest)[1] != 0, chosen)


ONLY_CHOSEN = Law("something is asked at the chosen places, and at no other", asks_only_the_chosen)

# fmt: off
EXERCISES = [
    Exercise(
        name="families.bits",
        title="From nats to bits",
        level="warm-up",
        minutes=3,
        statement="""
            A model has a loss of 2.5 nats a token on a text of 1,200 characters, which its vocabulary cuts into 300
            tokens, the end included. How many bits does it need a character? Two digits behind the point are enough.
            """,
        stub="my_bits = None  # bits a character",
        solution="my_bits = 2.5 * 300 / math.log(2) / 1200",
        hints=[
            "How many nats does the whole text take? And how many of those are a bit?",
            "A bit is log(2), which is 0.693 nats; so there are more bits than nats.",
        ],
        why="""
            750 nats are 1,082 bits, and these by 1,200 characters are 0.90. With another vocabulary the loss a token
            would be another number, and this one could be compared with it.
            """,
        tolerance=6e-3,
        wrongs=[
            Wrong("these are nats a character; divide by log(2), about 0.693, to have bits", code="""
                  my_bits = 2.5 * 300 / 1200
                  """),
            Wrong("these are bits a token; what counts is the whole text, by its characters", code="""
                  my_bits = 2.5 / math.log(2)
                  """),
            Wrong("nats were multiplied by log(2); a bit is smaller than a nat, so there are more of them: divide",
                  "/ math.log(2)", "* math.log(2)"),
            Wrong("characters and tokens have changed places: the text takes 2.5 nats for each of its 300 tokens",
                  code="my_bits = 2.5 * 1200 / math.log(2) / 300"),
            Wrong("these are the bits of the whole text; divide by its characters", "/ 1200", ""),
        ],
    ),
    Exercise(
        name="families.stream",
        title="Build the stream of a pair",
        level="build it",
        minutes=8,
        statement="""
            Make of a pair what a decoder alone reads, and what it should say at each place. `source` is a list of
            ids, `target` one that begins with BOS and ends with EOS. Return two lists of the same length: the ids that
            are read, and the targets. At each place the target is the token that comes next in the stream. But where
            the next token belongs to the source, or is BOS, nothing is asked, and the target is 0, the padding. The
            last token of the stream is not read, for nothing follows it.
            """,
        stub='''
            def my_stream(source, target):
                """Two lists of ids -> ids that are read, targets."""
                ...
            ''',
        solution='''
            def my_stream(source, target):
                """Two lists of ids -> ids that are read, targets."""
                stream = [*source, *target]
                ids = stream[:-1]
                targets = stream[1:]
                targets[:len(source)] = [0] * len(source)
                return ids, targets
            ''',
        hints=[
            "Write the stream of `[7]` and `[1, 9, 2]` on paper, and below each token the one that comes next.",
            "With a source of *n* tokens, the places 0 to *n* - 1 have the rest of the source, and then BOS, as what "
            "comes next: that is *n* places at which nothing is asked.",
        ],
        why="""
            At the place of BOS the answer begins: the first morpheme is asked for there. One place more in the zeros,
            and it would never be learnt.
            """,
        wrongs=[
            Wrong("the targets are the ids themselves: each place is asked for the token that it reads. Move them by "
                  "one: what is wanted at each place is the token at the next", "targets = stream[1:]",
                  "targets = stream[:-1]", source="https://github.com/huggingface/transformers/issues/27517"),
            Wrong("nothing is left out: the source is asked for too; put 0 where the next token belongs to the source "
                  "or is BOS", "targets[:len(source)] = [0] * len(source)", "pass"),
            Wrong("one place too many is left out: at the place of BOS the first token of the answer is asked for",
                  "targets[:len(source)] = [0] * len(source)",
                  "targets[:len(source) + 1] = [0] * (len(source) + 1)"),
            Wrong("one place too few is left out: the last token of the source is asked for BOS",
                  "targets[:len(source)] = [0] * len(source)",
                  "targets[:len(source) - 1] = [0] * (len(source) - 1)"),
            Wrong("the targets are moved by two places; the token that comes next is one further", code="""
                  def my_stream(source, target):
                      stream = [*source, *target]
                      targets = [*stream[2:], 0]
                      targets[:len(source)] = [0] * len(source)
                      return stream[:-1], targets
                  """, source="https://github.com/huggingface/transformers/pull/44642"),
            Wrong("the last token, EOS, is read too, and so the lists are one longer than they should be; nothing "
                  "follows it", code="""
                  def my_stream(source, target):
                      stream = [*source, *target]
                      targets = [*stream[1:], 0]
                      targets[:len(source)] = [0] * len(source)
                      return stream, targets
                  """),
        ],
        inputs=pairs_of_ids,
    ),
    Exercise(
        name="families.corrupt",
        title="Build what BERT is asked",
        level="one that hurts",
        minutes=12,
        statement="""
            Chance has already spoken: `chosen` is True where something is asked, `dice` is a number from 0 to 1 at each
            place, and `others` a token by chance at each place. Return the inputs and the targets of a masked language
            model. A chosen place becomes `mask_id` where its dice is below 0.8, the token of `others` where it is from
            0.8 to below 0.9, and stays as it is from 0.9 on. Places that are not chosen stay as they are. The target is
            the true token at every chosen place, and 0 elsewhere. `ids` itself must not change.
            """,
        stub='''
            def my_corrupt(ids, chosen, dice, others, mask_id):
                """Four tensors (batch, seq) and an id -> inputs, targets,
                both (batch, seq)."""
                ...
            ''',
        solution='''
            def my_corrupt(ids, chosen, dice, others, mask_id):
                """Four tensors (batch, seq) and an id -> inputs, targets,
                both (batch, seq)."""
                masked = chosen & (dice < 0.8)
                swapped = chosen & (dice >= 0.8) & (dice < 0.9)
                inputs = ids.masked_fill(masked, mask_id)
                inputs = torch.where(swapped, others, inputs)
                targets = ids.masked_fill(~chosen, 0)
                return inputs, targets
            ''',
        hints=[
            "Three kinds of places: make a boolean tensor for those that get `mask_id`, and one for those that get "
            "another token. Both need `chosen`.",
            "`masked_fill` and `torch.where` return a new tensor. The targets come from `ids`, not from the inputs.",
        ],
        why="""
            A tenth of the chosen places looks as if nothing had happened, and is asked all the same. So the model
            cannot take a token at its word just because it is no `[MASK]`.
            """,
        wrongs=[
            Wrong("the targets are the tokens of the corrupted text; what is asked is what stood there before",
                  "targets = ids.masked_fill", "targets = inputs.masked_fill"),
            Wrong("something is asked at every place; the target is 0 where a place was not chosen",
                  "targets = ids.masked_fill(~chosen, 0)", "targets = ids"),
            Wrong("nothing is asked at the chosen places that stayed as they are; they are asked too",
                  "targets = ids.masked_fill(~chosen, 0)", "targets = ids.masked_fill(~(masked | swapped), 0)"),
            Wrong("places that are not chosen become `mask_id` too", "masked = chosen & (dice < 0.8)",
                  "masked = dice < 0.8"),
            Wrong("places that are not chosen get another token too", "swapped = chosen & (dice >= 0.8)",
                  "swapped = (dice >= 0.8)"),
            Wrong("every chosen place becomes `mask_id`; that is right below 0.8 only", code="""
                  def my_corrupt(ids, chosen, dice, others, mask_id):
                      inputs = ids.masked_fill(chosen, mask_id)
                      return inputs, ids.masked_fill(~chosen, 0)
                  """),
            Wrong("no place stays as it is: from 0.9 on, a chosen place keeps its token", "& (dice < 0.9)", ""),
            Wrong("the zeros stand where something is asked; they belong where nothing is", "(~chosen, 0)",
                  "(chosen, 0)"),
        ],
        inputs=corruptions,
        laws=[ONLY_CHOSEN],
    ),
]
