"""Exercises of chapter 9: the whole model, how it writes, and how its masks can be read from outside."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from transformer_lib.config import TransformerConfig
from transformer_lib.exercises.exercise import Exercise, Wrong
from transformer_lib.transformer import Transformer


def new_model() -> Transformer:
    """A small model in which each token that it reads counts: large embeddings, and moderate weights."""
    sizes: dict[str, Any] = {"d_model": 16, "n_heads": 2, "d_ff": 16, "n_encoder_layers": 1, "n_decoder_layers": 1}
    model = Transformer(TransformerConfig(src_vocab_size=20, tgt_vocab_size=90, dropout=0.0, max_len=40, **sizes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.5 if "embedding" in name else 0.25)
    return model.eval()


@torch.no_grad()
def write(model: Transformer, src_ids: Tensor, wrong: str = "") -> list:
    """Six tokens, written rightly or with a mistake."""
    memory, memory_mask = model.encode(src_ids)
    ids = torch.full((len(src_ids), 1), model.config.bos_id)
    cache = model.new_cache() if wrong == "past twice" else None
    for _ in range(6):
        given = ids[:, -1:] if wrong == "no past" else ids
        mask = torch.ones_like(memory_mask) if wrong == "no mask" else memory_mask
        logits = model.decode(given, memory, mask, cache)[:, 0 if wrong == "first" else -1]
        ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    return ids.tolist()


def models_and_sources() -> list[tuple]:
    """One source and one token, then two, then a model whose first token ends a sentence, and a batch with padding and
    a model that no mistake leaves cold."""
    ids = torch.randint(3, 20, (3, 5))
    ids[1, 3:] = 0
    wrongs = ("no past", "past twice", "no mask", "first")
    model = new_model()
    while write(model, ids)[0][1] < 3 or write(model, ids) in [write(model, ids, wrong) for wrong in wrongs]:
        model = new_model()
    ending = copy.deepcopy(model)
    ending.config = replace(model.config, eos_id=write(model, ids)[0][1])
    return [(new_model(), ids[:1, :2], 1), (new_model(), ids[2:, :2], 2), (ending, ids[:1], 3), (model, ids, 6)]


def written_and_counted(answer, model: Transformer, src_ids: Tensor, max_new_tokens: int) -> dict:
    encode, decode, read, fed = model.encode, model.decode, [], []

    def counting_encode(src_ids):
        read.append(1)
        return encode(src_ids)

    def counting_decode(tgt_ids, *others, **named):
        fed.append(tgt_ids.size(1))
        return decode(tgt_ids, *others, **named)

    model.encode, model.decode = counting_encode, counting_decode
    return {
        "the ids": answer(model, src_ids, max_new_tokens),
        "how often the source was read": len(read),
        "how many tokens went through the decoder": sum(fed),
    }


def written(answer, *inputs) -> dict:
    found = written_and_counted(answer, *inputs)
    return {name: found[name] for name in ("the ids", "how often the source was read")}


class Looker(nn.Module):
    """The smallest thing with a mask: each output is a mixture of what its position may see. A larger id has larger
    features, but for the first and the last one, which no token moves."""

    def __init__(self, mask: list[list[int]]) -> None:
        super().__init__()
        self.vectors = torch.randn(20, 5).sort(dim=0).values
        self.vectors[:, [0, -1]] = 1.0
        # What comes later moves a position too, by much less than counts. In the last one the features of a token add
        # up to the same for all.
        later = 2e-6 * torch.ones(len(mask), len(mask)).triu(1)
        self.shares = torch.tensor(mask) * (0.5 + torch.rand(len(mask), len(mask))) + later
        if len(mask) > 4:
            self.vectors[:, 3] = -self.vectors[:, 1:3].sum(dim=-1)

    def forward(self, ids: Tensor) -> Tensor:
        return self.shares @ self.vectors[ids]


def lookers() -> list[tuple]:
    """A causal one, one that sees itself and its neighbour at the left, and one without any order. Tokens are replaced
    by smaller and larger ones in turn."""
    masks = [
        [[1, 0], [1, 1]],
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]],
        [[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0, 0, 0]],
    ]
    trials = []
    for mask in masks:
        small, large = torch.stack([torch.randperm(20)[:2] for _ in mask]).sort(dim=1).values.T
        falls = torch.arange(len(mask)) % 2 == 0
        trials.append((Looker(mask), torch.where(falls, large, small)[None], torch.where(falls, small, large)[None]))
    return trials


# fmt: off
EXERCISES = [
    Exercise(
        name="transformer.map",
        title="Read the map",
        level="warm-up",
        minutes=3,
        statement="""
            The paper's base model has six layers on each side, and post-norm, as the map shows it. How many
            `MultiHeadAttention` modules does it hold, and how many norms? Count them on the map; give both numbers.
            """,
        stub="how_many = None  # two whole numbers: (attentions, norms)",
        solution="how_many = (6 + 6 * 2, 6 * 2 + 6 * 3)",
        hints=["Count in one layer of the encoder and in one of the decoder. Is there a norm behind the last layer?"],
        why="""
            One attention in each layer of the encoder and two in each of the decoder; a norm behind each sublayer,
            two there and three here. Behind the last layer nothing more is needed: post-norm has just normalised.
            (PyTorch's `nn.Transformer` puts two more there all the same, which would make 32.)
            """,
        wrongs=[
            Wrong("cross-attention was forgotten, and its norm: a layer of the decoder has three sublayers",
                  code="how_many = (12, 24)"),
            Wrong("the norms are right, but cross-attention is an attention too: each decoder layer has two",
                  code="how_many = (12, 30)"),
            Wrong("the attentions are right; the decoder has three norms in a layer, one behind each sublayer",
                  code="how_many = (18, 24)"),
            Wrong("the two norms at the ends of the stacks belong to pre-norm; with post-norm the last layer has "
                  "already normalised", code="how_many = (18, 32)"),
            Wrong("a feed-forward network has a norm behind it as well; only those of the attentions were counted",
                  code="how_many = (18, 18)"),
            Wrong("heads were counted; the eight heads of an attention are one module",
                  code="how_many = (144, 30)"),
            Wrong("that is one layer on each side; there are six", code="how_many = (3, 5)"),
            Wrong("the two numbers have changed places; the attentions come first", code="how_many = (30, 18)"),
        ],
    ),
    Exercise(
        name="transformer.greedy",
        title="Build the loop that writes",
        level="build it",
        minutes=6,
        statement="""
            Write it before you read on. `model` has the two methods of the class above: `model.encode(src_ids)` returns
            the memory and its mask, `model.decode(ids, memory, memory_mask)` the logits, (batch, tgt_len, vocab). Begin
            each row with `model.config.bos_id`; then append the likeliest next token, `max_new_tokens` times. Do not
            stop earlier. Return all ids, `<bos>` included. The source is to be read once. The model is in evaluation
            mode already, and you need not care about gradients.
            """,
        stub='''
            def my_translate(model, src_ids, max_new_tokens):
                """(batch, src_len) -> ids (batch, 1 + max_new_tokens)."""
                ...
            ''',
        solution="""
            def my_translate(model, src_ids, max_new_tokens):
                memory, memory_mask = model.encode(src_ids)
                ids = torch.full((len(src_ids), 1), model.config.bos_id)
                for _ in range(max_new_tokens):
                    logits = model.decode(ids, memory, memory_mask)
                    best = logits[:, -1].argmax(dim=-1, keepdim=True)
                    ids = torch.cat([ids, best], dim=1)
                return ids
            """,
        hints=[
            "The logits say at *each* position what may come next. Which position do you need?",
            "Before the loop: `encode`, and a column of `<bos>`. In the loop: `decode`, `argmax`, `torch.cat`.",
        ],
        wrongs=[
            Wrong("it takes what comes after the first token again and again; the next token is told by the last "
                  "position, `logits[:, -1]`", "logits[:, -1]", "logits[:, 0]"),
            Wrong("the decoder is given the newest token alone and has no past; without a cache it needs all tokens so "
                  "far", "model.decode(ids,", "model.decode(ids[:, -1:],"),
            Wrong("the ids are right, but the source is read again in every step; call `encode` once, before the loop",
                  code="""
                  def my_translate(model, src_ids, max_new_tokens):
                      ids = torch.full((len(src_ids), 1), model.config.bos_id)
                      for _ in range(max_new_tokens):
                          best = model(src_ids, ids)[:, -1].argmax(-1, keepdim=True)
                          ids = torch.cat([ids, best], dim=1)
                      return ids
                  """),
            Wrong("it begins with padding, id 0, and in training every target begins with `<bos>`",
                  "model.config.bos_id", "model.config.pad_id",
                  source="https://github.com/harvardnlp/annotated-transformer/issues/127"),
            Wrong("it stops when every row has written `<eos>`; here it is to go on, `max_new_tokens` times",
                  "        ids = torch.cat([ids, best], dim=1)\n",
                  "        ids = torch.cat([ids, best], dim=1)\n"
                  "        if (best == model.config.eos_id).all():\n            break\n"),
            Wrong("it stops at `<eos>` before that is written; here it is written like any token, and the loop goes on",
                  "        ids = torch.cat([ids, best], dim=1)\n",
                  "        if (best == model.config.eos_id).all():\n            break\n"
                  "        ids = torch.cat([ids, best], dim=1)\n"),
            Wrong("`<bos>` is missing in what you return; it is asked for here, so that all ids are there",
                  "return ids", "return ids[:, 1:]"),
            Wrong("there is one token too few: `<bos>` is not one of the new ones", "range(max_new_tokens)",
                  "range(1, max_new_tokens)"),
            Wrong("`argmax` has taken away an axis, and the new tokens, (batch,), cannot stand beside (batch, length); "
                  "say `keepdim=True`", ", keepdim=True", ""),
            Wrong("there is one row, whatever the batch; each source needs its own `<bos>`", "(len(src_ids), 1)",
                  "(1, 1)"),
            Wrong("the memory goes in without its mask, so that padding of the source is seen; `encode` returns both, "
                  "and they belong together", "memory, memory_mask)\n",
                  "memory, torch.ones_like(memory_mask))\n"),
            Wrong("only the last tokens are returned; asked are all ids, from `<bos>` on", "return ids",
                  "return best"),
            Wrong("`argmax()` without an axis looks at all sentences and all words together; each sentence has its "
                  "own next token, `dim=-1`", "argmax(dim=-1, keepdim=True)", "argmax().expand(len(ids), 1)"),
            Wrong("the next token is drawn; here it is the likeliest",
                  "logits[:, -1].argmax(dim=-1, keepdim=True)", "torch.multinomial(logits[:, -1].softmax(dim=-1), 1)"),
            Wrong("the first ids are real numbers; ids are whole numbers, as `torch.full` makes them of a whole "
                  "number",
                  "torch.full((len(src_ids), 1), model.config.bos_id)",
                  "torch.ones(len(src_ids), 1) * model.config.bos_id"),
        ],
        inputs=models_and_sources,
        use=written,
    ),
    Exercise(
        name="transformer.cache",
        title="A cache that saves nothing",
        level="find the bug",
        minutes=6,
        statement="""
            This loop uses the cache of chapter 8. `model.new_cache()` makes an empty one, with room enough for all
            tokens that are asked for here. The loop writes the right tokens, and it is no faster than without a cache.
            Mend it, so that each token goes through the decoder once. A warning: there are two mistakes, and whoever
            mends only one of them gets wrong tokens.
            """,
        stub='''
            def my_fast_translate(model, src_ids, max_new_tokens):
                """(batch, src_len) -> ids (batch, 1 + max_new_tokens)."""
                memory, memory_mask = model.encode(src_ids)
                ids = torch.full((len(src_ids), 1), model.config.bos_id)
                for _ in range(max_new_tokens):
                    cache = model.new_cache()
                    logits = model.decode(ids, memory, memory_mask, cache)
                    best = logits[:, -1].argmax(dim=-1, keepdim=True)
                    ids = torch.cat([ids, best], dim=1)
                return ids
            ''',
        solution='''
            def my_fast_translate(model, src_ids, max_new_tokens):
                """(batch, src_len) -> ids (batch, 1 + max_new_tokens)."""
                memory, memory_mask = model.encode(src_ids)
                ids = torch.full((len(src_ids), 1), model.config.bos_id)
                cache = model.new_cache()
                for _ in range(max_new_tokens):
                    new = ids[:, -1:]
                    logits = model.decode(new, memory, memory_mask, cache)
                    best = logits[:, -1].argmax(dim=-1, keepdim=True)
                    ids = torch.cat([ids, best], dim=1)
                return ids
            ''',
        hints=[
            "What does the cache hold when a step begins? Print `cache.length` before and after `decode`.",
            "If the cache holds all tokens but the newest, which tokens may be handed to `decode`?",
        ],
        why="""
            Cache and input go together: what the one holds, the other must not bring again. The two mistakes hid each
            other, for a cache that is always empty wants the whole past. The tokens cannot show it; count, or take the
            time.
            """,
        wrongs=[
            Wrong("the cache is kept now, but it gets the whole past again in every step, and then holds it twice; "
                  "hand over the newest token only", "ids[:, -1:]", "ids"),
            Wrong("only the newest token is handed over, and it has no past: the cache is missing, or a new one in "
                  "every step; make it once, before the loop", code="""
                  def my_fast_translate(model, src_ids, max_new_tokens):
                      memory, memory_mask = model.encode(src_ids)
                      ids = torch.full((len(src_ids), 1), model.config.bos_id)
                      for _ in range(max_new_tokens):
                          cache = model.new_cache()
                          new = ids[:, -1:]
                          logits = model.decode(new, memory, memory_mask, cache)
                          best = logits[:, -1].argmax(dim=-1, keepdim=True)
                          ids = torch.cat([ids, best], dim=1)
                      return ids
                  """),
            Wrong("the tokens are right, but all of them still go through the decoder in every step, as without a "
                  "cache",
                  code="""
                  def my_fast_translate(model, src_ids, max_new_tokens):
                      memory, memory_mask = model.encode(src_ids)
                      ids = torch.full((len(src_ids), 1), model.config.bos_id)
                      for _ in range(max_new_tokens):
                          logits = model.decode(ids, memory, memory_mask)
                          best = logits[:, -1].argmax(dim=-1, keepdim=True)
                          ids = torch.cat([ids, best], dim=1)
                      return ids
                  """),
            Wrong("`ids[:, -1]` has lost the axis of the length; the decoder wants (batch, 1), so say `ids[:, -1:]`",
                  "ids[:, -1:]", "ids[:, -1]"),
            Wrong("the newest token has taken the place of all ids, and it alone comes back; keep the ids and append "
                  "to them", "return ids", "return best"),
            Wrong("it hands over the first token, `<bos>`, in every step; the newest is the last one", "ids[:, -1:]",
                  "ids[:, :1]"),
            Wrong("it stops when every row has written `<eos>`; this loop goes on, `max_new_tokens` times",
                  "        ids = torch.cat([ids, best], dim=1)\n",
                  "        ids = torch.cat([ids, best], dim=1)\n"
                  "        if (best == model.config.eos_id).all():\n            break\n"),
            Wrong("the tokens are right, but the source is read in every step now; it is read once, before the loop",
                  code="""
                  def my_fast_translate(model, src_ids, max_new_tokens):
                      ids = torch.full((len(src_ids), 1), model.config.bos_id)
                      cache = model.new_cache()
                      for _ in range(max_new_tokens):
                          new = ids[:, -1:]
                          logits = model.decode(new, *model.encode(src_ids), cache)
                          best = logits[:, -1].argmax(dim=-1, keepdim=True)
                          ids = torch.cat([ids, best], dim=1)
                      return ids
                  """),
        ],
        inputs=models_and_sources,
        use=written_and_counted,
    ),
    Exercise(
        name="transformer.reach",
        title="Read the mask from outside",
        level="one that hurts",
        minutes=12,
        statement="""
            A mask need not be believed; it can be measured. `function` takes ids, (1, seq), and returns outputs,
            (1, seq, d), always the same for the same ids; how it works you do not know. `other` is a second row of ids,
            (1, seq), that differs from `ids` at every position.

            Return a table of booleans, (seq, seq). Row *i*, column *j* says whether the output at position *i* moves
            when the token at position *j*, and that one alone, is replaced by the one in `other`. Count as moved what
            differs by more than 0.0001 in some feature. (Try it on a model: `lambda ids: whole(src_ids, ids)` is such a
            function of the target's ids, and its table should be the causal mask.)
            """,
        stub='''
            def my_reach(function, ids, other):
                """Does output i depend on token j? (seq, seq), boolean."""
                ...
            ''',
        solution="""
            def my_reach(function, ids, other):
                before = function(ids)
                columns = []
                for j in range(ids.size(1)):
                    changed = ids.clone()
                    changed[:, j] = other[:, j]
                    gap = (function(changed) - before).abs()
                    columns.append(gap[0].amax(dim=-1) > 1e-4)
                return torch.stack(columns, dim=1)
            """,
        hints=[
            "One call tells what one replaced token moves. Is that a row of the table, or a column?",
            "`torch.stack(..., dim=1)` sets columns side by side. And begin each time from the ids as they were.",
        ],
        why="""
            This is the law of causality, asked of each pair of positions. It needs no look into the model, no training
            and no right answer: a model is compared with itself.
            """,
        wrongs=[
            Wrong("the table is transposed: replacing one token tells a *column*, who is moved by it, and yours are "
                  "rows", ", dim=1)", ", dim=0)"),
            Wrong("tokens stay replaced, so that later columns tell of several at once; begin each time with a fresh "
                  "copy of `ids`", code="""
                  def my_reach(function, ids, other):
                      before = function(ids)
                      columns = []
                      changed = ids.clone()
                      for j in range(ids.size(1)):
                          changed[:, j] = other[:, j]
                          gap = (function(changed) - before).abs()
                          columns.append(gap[0].amax(dim=-1) > 1e-4)
                      return torch.stack(columns, dim=1)
                  """),
            Wrong("it writes into `ids` itself, so that tokens stay replaced; take `ids.clone()`", "ids.clone()",
                  "ids"),
            Wrong("all tokens from *j* on are replaced, as in the law of causality; here it is one alone",
                  "changed[:, j] = other[:, j]", "changed[:, j:] = other[:, j:]"),
            Wrong("all tokens but *j* are replaced; asked is what token *j* alone does", "changed = ids.clone()\n"
                  "        changed[:, j] = other[:, j]", "changed = other.clone()\n        changed[:, j] = ids[:, j]"),
            Wrong("it is asked whether *anything* moved, so that whole columns are true; look at each position by "
                  "itself",
                  "gap[0].amax(dim=-1) > 1e-4", "(gap.max() > 1e-4).expand(ids.size(1))"),
            Wrong("what only falls is not seen: a difference may be negative; take its `abs`", ".abs()", ""),
            Wrong("all features have to move here; one that does is enough, so look at the largest difference",
                  "gap[0].amax", "gap[0].amin"),
            Wrong("any difference counts here, the smallest too; only what is larger than 0.0001 has moved",
                  "> 1e-4", "> 0"),
            Wrong("the movements of the features are added up before their size is taken, and can cancel; take `abs` "
                  "first", "    gap = (function(changed) - before).abs()\n"
                  "        columns.append(gap[0].amax(dim=-1) > 1e-4)",
                  "    gap = (function(changed) - before).sum(dim=-1).abs()\n"
                  "        columns.append(gap[0] > 1e-4)"),
            Wrong("the table is inverted: `True` means that the output moved", "> 1e-4", "<= 1e-4"),
            Wrong("only position *j* is looked at when token *j* is replaced; it may move all the others",
                  "gap[0].amax(dim=-1) > 1e-4", "(gap[0].amax(dim=-1) > 1e-4) & (torch.arange(ids.size(1)) == j)"),
            Wrong("the places are right, but the table holds numbers; asked is a boolean one, so do not turn it into "
                  "numbers", "torch.stack(columns, dim=1)", "torch.stack(columns, dim=1).float()"),
            Wrong("it is asked whether anything moves, and that is written on the diagonal; look at each position "
                  "by itself, a whole column for each token",
                  "gap[0].amax(dim=-1) > 1e-4", "(gap.max() > 1e-4) & (torch.arange(ids.size(1)) == j)"),
        ],
        inputs=lookers,
    ),
]
