"""Exercises of chapter 8: the layer that looks back and across, its masks, and a past that is kept."""

import torch
from torch import Tensor, nn

from transformer_lib.attention import MultiHeadAttention
from transformer_lib.exercises.exercise import Exercise, Law, Wrong
from transformer_lib.layers import FeedForward, LayerNorm
from transformer_lib.masks import causal_mask


def redrawn(module: nn.Module) -> nn.Module:
    """The module with weights that cannot be missed, those of the norms and the biases included."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.7)
    return module


def two_sides() -> list[tuple]:
    """Lengths that are equal: with fewer keys than values torch raises no error, and no two calls agree."""
    return [
        (redrawn(MultiHeadAttention(d, 2)), torch.randn(batch, length, d), torch.randn(batch, length, d))
        for batch, length, d in ((1, 2, 2), (2, 3, 4), (3, 5, 6))
    ]


def layers() -> list[tuple]:
    """One target of two tokens, with a source that ends in padding; then a batch of two, with longer ones."""
    trials = []
    for batch, tgt, d, real in (
        (1, 2, 4, [[1, 0]]),
        (2, 3, 6, [[1, 1, 1], [1, 1, 0]]),
        (2, 4, 6, [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]),
    ):
        memory_mask = torch.tensor(real, dtype=torch.bool)[:, None, None, :]
        x, memory = torch.randn(batch, tgt, d), torch.randn(batch, len(real[0]), d)
        parts = MultiHeadAttention(d, 2), MultiHeadAttention(d, 2), FeedForward(d, 5)
        norms = [redrawn(LayerNorm(d)) for _ in range(3)]
        trials.append((x, memory, causal_mask(tgt), memory_mask, *map(redrawn, parts), norms))
    return trials


def padded_sides() -> list[tuple]:
    """Ids with padding at the end, 0 or another id; equal lengths and others."""
    trials = []
    for pad_id, src, tgt in (
        (0, [[1, 0]], [[1, 2]]),
        (0, [[1, 2, 0], [1, 2, 3]], [[1, 2, 3], [1, 0, 0]]),
        (7, [[1, 2, 3, 0, 7], [1, 7, 7, 7, 7]], [[1, 2, 0, 7], [1, 2, 3, 4]]),
    ):
        src_ids, tgt_ids = torch.tensor(src), torch.tensor(tgt)
        x, memory = torch.randn(*tgt_ids.shape, 6), torch.randn(*src_ids.shape, 6)
        trials.append((x, memory, src_ids, tgt_ids, pad_id, redrawn(MultiHeadAttention(6, 3))))
    return trials


def new_and_past() -> list[tuple]:
    """One new token after one old; several with no past at all; several after several."""
    sizes = [(1, 1, 1, 2), (1, 3, 0, 3), (2, 2, 2, 3), (2, 3, 5, 4)]  # batch, new, old, d
    lengths = [(batch, d, (new, new, new, old, old)) for batch, new, old, d in sizes]
    return [tuple(2 * torch.randn(batch, length, d) for length in each) for batch, d, each in lengths]


def same_one_by_one(answer, query: Tensor, key: Tensor, value: Tensor, past_key: Tensor, past_value: Tensor) -> bool:
    at_once, outputs = answer(query, key, value, past_key, past_value)[0], []
    for i in range(query.size(1)):
        now = slice(i, i + 1)
        output, past_key, past_value = answer(query[:, now], key[:, now], value[:, now], past_key, past_value)
        outputs.append(output)
    return torch.allclose(torch.cat(outputs, dim=1), at_once, atol=1e-4)


# fmt: off
EXERCISES = [
    Exercise(
        name="decoder.across",
        title="Look across",
        level="warm-up",
        minutes=2,
        statement="""
            `attention` is a `MultiHeadAttention`, called as `attention(query, key, value)`. `x` holds the vectors of
            the target, (batch, tgt_len, d_model), and `memory` those of the source, (batch, src_len, d_model). Return
            the cross-attention: each position of the target gets what it has found in the source. No mask is needed
            here. One line.
            """,
        stub='''
            def my_cross(attention, x, memory):
                """What the target finds in the source, as x is shaped."""
                ...
            ''',
        solution="""
            def my_cross(attention, x, memory):
                return attention(x, memory, memory)
            """,
        hints=["Who asks, and who answers? What is averaged in the end, and on which side does it stand?"],
        why="""
            There is one answer for each query, so the output has the length of the target. Each key says where
            something is, and the value beside it what is there, so both come from the same side.
            """,
        wrongs=[
            Wrong("the source asks and the target answers, so there is one vector for each source word; the queries "
                  "are those who ask, and that is the target", "x, memory, memory)", "memory, x, x)"),
            Wrong("that is self-attention of the target: its past does not say which number is meant; keys and values "
                  "come from the memory", "x, memory, memory)", "x, x, x)"),
            Wrong("that is self-attention of the source, and the target is not asked; the queries come from it",
                  "x, memory, memory)", "memory, memory, memory)"),
            Wrong("the keys are those of the target and the values those of the source: a key says where to look among "
                  "the values, so both come from the memory", "x, memory, memory)", "x, x, memory)"),
            Wrong("the values come from the target, so that it finds mixtures of its own words; what is taken home is "
                  "the value, and it comes from the memory", "x, memory, memory)", "x, memory, x)"),
            Wrong("an argument is missing: `attention` wants query, key and value, and the memory is handed over "
                  "twice, as keys and as values", "x, memory, memory)", "x, memory)"),
            Wrong("the queries are right, but the target is also added to what was found; that sum, the residual "
                  "connection, is the business of the layer", "attention(x, memory, memory)",
                  "x + attention(x, memory, memory)"),
        ],
        inputs=two_sides,
    ),
    Exercise(
        name="decoder.layer",
        title="Build the decoder layer",
        level="build it",
        minutes=8,
        statement="""
            Write the layer before you read on: look back, look across, think it over. Around each of the three stands
            what stood around the two sublayers of the encoder, in its post-norm form: add the output of the sublayer to
            its input, then normalise the sum.

            The parts are handed to you. `self_attn` and `cross_attn` are called as `attention(query, key, value,
            mask)`, `feed_forward` gets one argument, and `norms` is a list of three, one behind each sublayer, in this
            order. `tgt_mask` is the causal mask, `memory_mask` that of the source's padding. There is no dropout.
            """,
        stub='''
            def my_layer(
                x, memory, tgt_mask, memory_mask,
                self_attn, cross_attn, feed_forward, norms,
            ):
                """x: (batch, tgt_len, d_model), memory: (batch, src_len,
                d_model) -> (batch, tgt_len, d_model)."""
                ...
            ''',
        solution="""
            def my_layer(
                x, memory, tgt_mask, memory_mask,
                self_attn, cross_attn, feed_forward, norms,
            ):
                x = norms[0](x + self_attn(x, x, x, tgt_mask))
                x = norms[1](x + cross_attn(x, memory, memory, memory_mask))
                x = norms[2](x + feed_forward(x))
                return x
            """,
        hints=[
            "Three lines of the same form, `x = norm(x + sublayer(x))`. In which of them does `memory` occur?",
            "The mask speaks about the keys. Whose words are the keys when the decoder looks across?",
        ],
        why="""
            Only the middle line knows of a second sentence. Its queries are the target *after* the look back, which
            has told each position what it needs next.
            """,
        wrongs=[
            Wrong("the causal mask is used across too: the keys there are source words, so that the mask is "
                  "`memory_mask`; with another length of source it would stop", "memory, memory_mask)",
                  "memory, tgt_mask)", source="https://github.com/Kamichanw/SeekDeeper/issues/3"),
            Wrong("the two masks are exchanged: back goes with `tgt_mask`, across with `memory_mask`", code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      x = norms[0](x + self_attn(x, x, x, memory_mask))
                      x = norms[1](x + cross_attn(x, memory, memory, tgt_mask))
                      return norms[2](x + feed_forward(x))
                  """),
            Wrong("the look back has no mask, and sees the future: in training each position would read off what it "
                  "shall write", "x, x, x, tgt_mask", "x, x, x"),
            Wrong("the look across has no mask, and sees the padding of the source", "memory, memory, memory_mask",
                  "memory, memory"),
            Wrong("the decoder never looks at the source: keys and values across come from the target, and they come "
                  "from `memory`", "cross_attn(x, memory, memory, memory_mask)", "cross_attn(x, x, x, tgt_mask)"),
            Wrong("the residual connection of the look across is missing: what was found replaces what was known; add "
                  "the two", "x + cross_attn(", "cross_attn("),
            Wrong("all three residual connections are missing: each sublayer replaces its input; add the two", code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      x = norms[0](self_attn(x, x, x, tgt_mask))
                      x = norms[1](cross_attn(x, memory, memory, memory_mask))
                      return norms[2](feed_forward(x))
                  """),
            Wrong("this is the pre-norm form, which normalises what goes into a sublayer; asked is post-norm, which "
                  "normalises the sum", code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      y = norms[0](x)
                      x = x + self_attn(y, y, y, tgt_mask)
                      x = x + cross_attn(norms[1](x), memory, memory, memory_mask)
                      return x + feed_forward(norms[2](x))
                  """),
            Wrong("it looks across before it looks back; the look back comes first, for it says what each position has "
                  "to look for", code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      x = norms[0](x + cross_attn(x, memory, memory, memory_mask))
                      x = norms[1](x + self_attn(x, x, x, tgt_mask))
                      return norms[2](x + feed_forward(x))
                  """),
            Wrong("the queries across are still the first `x`; they are what came out of the look back, norm and all",
                  code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      back = norms[0](x + self_attn(x, x, x, tgt_mask))
                      x = norms[1](back + cross_attn(x, memory, memory, memory_mask))
                      return norms[2](x + feed_forward(x))
                  """),
            Wrong("the memory is normalised too; the layer reads it as it is", "cross_attn(x, memory, memory,",
                  "cross_attn(x, norms[1](memory), norms[1](memory),"),
            Wrong("the first norm is used three times; each sublayer has its own", code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      x = norms[0](x + self_attn(x, x, x, tgt_mask))
                      x = norms[0](x + cross_attn(x, memory, memory, memory_mask))
                      return norms[0](x + feed_forward(x))
                  """),
            Wrong("the norms are missing; behind each sum stands one", code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      x = x + self_attn(x, x, x, tgt_mask)
                      x = x + cross_attn(x, memory, memory, memory_mask)
                      return x + feed_forward(x)
                  """),
            Wrong("it does not think it over: the feed-forward network is missing", "feed_forward(x)", "0"),
            Wrong("the look across is the wrong way round: the target asks, and keys and values come from the "
                  "memory", "cross_attn(x, memory, memory, memory_mask)", "cross_attn(memory, x, x, memory_mask)"),
            Wrong("the values of the look across are the target's own; keys and values both come from the memory",
                  "cross_attn(x, memory, memory, memory_mask)", "cross_attn(x, memory, x, memory_mask)"),
            Wrong("each plus sign adds the tokens as they came in; it adds what the sublayer before has made of "
                  "them", code="""
                  def my_layer(
                      x, memory, tgt_mask, memory_mask,
                      self_attn, cross_attn, feed_forward, norms,
                  ):
                      back = norms[0](x + self_attn(x, x, x, tgt_mask))
                      across = norms[1](x + cross_attn(back, memory, memory, memory_mask))
                      return norms[2](x + feed_forward(across))
                  """),
            Wrong("the memory is added where the target belongs: the plus sign adds what the sublayer was asked "
                  "with, `x`", "x + cross_attn", "memory + cross_attn"),
        ],
        inputs=layers,
    ),
    Exercise(
        name="decoder.padding",
        title="A mask that fits everywhere",
        level="find the bug",
        minutes=6,
        statement="""
            This function shall look across. `src_ids` and `tgt_ids` are the token ids of source and target, (batch,
            src_len) and (batch, tgt_len); the mask for the padding is made here. It runs with sources and targets of
            any length, and the shape of what it returns is right. Yet a sentence is translated differently when its
            source gets more padding. Two things are wrong. Mend both.
            """,
        stub='''
            def my_lookup(x, memory, src_ids, tgt_ids, pad_id, attention):
                """What the target finds in the source, as x is shaped."""
                real = tgt_ids != pad_id
                mask = real[:, None, :, None]
                return attention(x, memory, memory, mask)
            ''',
        solution='''
            def my_lookup(x, memory, src_ids, tgt_ids, pad_id, attention):
                """What the target finds in the source, as x is shaped."""
                real = src_ids != pad_id
                mask = real[:, None, None, :]
                return attention(x, memory, memory, mask)
            ''',
        hints=[
            "A mask has the axes (batch, heads, queries, keys). On which of them does the stub put the padding?",
            "The keys are source words. Which ids say where the source ends?",
        ],
        why="""
            An axis of length 1 fits any length, so no shape complains. A wrong mask is seen by a law, here that the
            content of the padding must not matter, and not by an error.
            """,
        wrongs=[
            Wrong("the padding is on the axis of the keys now, but it is still the target's; the keys are source words",
                  "src_ids != pad_id", "tgt_ids != pad_id",
                  source="https://github.com/keras-team/keras-io/pull/1046"),
            Wrong("it is the source's padding now, but still on the axis of the queries; those are target positions, "
                  "and the last axis belongs to the keys", "[:, None, None, :]", "[:, None, :, None]"),
            Wrong("the mask of the source is right, but the target's is still at work on the queries: a pad of the "
                  "target gets nothing, where the right mask leaves it alone; the keys alone must be real",
                  "memory, mask)", "memory, mask & (tgt_ids != pad_id)[:, None, :, None])"),
            Wrong("the mask is inverted: only the padding may be seen", "!= pad_id", "== pad_id"),
            Wrong("the padding is 0 here, whatever `pad_id` says", "!= pad_id", "!= 0"),
            Wrong("there is no mask any more, so that the padding of the source is seen", "memory, mask)", "memory)"),
            Wrong("the mask has one axis too few: in (batch, 1, src_len) the batch stands where the heads belong",
                  "[:, None, None, :]", "[:, None, :]"),
        ],
        inputs=padded_sides,
    ),
    Exercise(
        name="decoder.past",
        title="A past that is kept",
        level="one that hurts",
        minutes=12,
        given="from transformer_lib import causal_mask, scaled_dot_product_attention",
        statement="""
            Write the step of one head of self-attention that has kept its past. `query`, `key` and `value` are those of
            the new tokens, (batch, new, d); `past_key` and `past_value` are those of the old ones, (batch, old, d). All
            of them are projected already. There may be several new tokens at a time, and *old* may be 0: then the past
            is a tensor of length 0, not `None`. No token may see a later one.

            Return three things: the output at the new tokens, (batch, new, d), then all keys and all values so far,
            which the next step gets as its past. `scaled_dot_product_attention` (its two results are the output and the
            weights) and `causal_mask`, which takes one length or two, are there to be used; a mask without a batch axis
            counts for each row of the batch.
            """,
        stub='''
            def my_step(query, key, value, past_key, past_value):
                """Output (batch, new, d); keys, values (batch, old + new, d)."""
                ...
            ''',
        solution="""
            def my_step(query, key, value, past_key, past_value):
                keys = torch.cat([past_key, key], dim=1)
                values = torch.cat([past_value, value], dim=1)
                mask = causal_mask(query.size(1), keys.size(1))
                output, _ = scaled_dot_product_attention(query, keys, values, mask)
                return output, keys, values
            """,
        hints=[
            "With one new token no mask is needed. With three, which keys may the first of them see?",
            "Draw the mask for two new tokens after two old ones: two rows, four columns. Which single entry forbids? "
            "The two lengths of `causal_mask` are the number of queries and the number of keys.",
        ],
        why="""
            The mask has a row for each new token, and a column for each token there is, and its *last* row sees
            everything: it is the lower part of the square mask. Fed in pieces of any size, the outputs must be those of
            feeding all at once; that law catches every mistake named here but in what is handed on.
            """,
        wrongs=[
            Wrong("there is no mask: with one new token none is needed, but of several the first sees those after it",
                  ", values, mask)", ", values)"),
            Wrong("the mask begins at the first key: of the new tokens the first sees one key only, and that is the "
                  "oldest; the last row of the mask belongs to the last key, so line it up at the bottom right",
                  "causal_mask(query.size(1), keys.size(1))",
                  "torch.ones(query.size(1), keys.size(1)).bool().tril()"),
            Wrong("the mask is square, (new, new), but there are also the old keys: it needs a column for each key",
                  "causal_mask(query.size(1), keys.size(1))", "causal_mask(query.size(1))"),
            Wrong("the mask is square, with a row for each token there is, but only the new ones ask: it needs a row "
                  "for each query, and a column for each key",
                  "causal_mask(query.size(1), keys.size(1))", "causal_mask(keys.size(1))"),
            Wrong("the old tokens are forgotten: the new ones attend to themselves only; put the past in front",
                  code="""
                  def my_step(query, key, value, past_key, past_value):
                      mask = causal_mask(query.size(1))
                      output, _ = scaled_dot_product_attention(query, key, value, mask)
                      keys = torch.cat([past_key, key], dim=1)
                      values = torch.cat([past_value, value], dim=1)
                      return output, keys, values
                  """),
            Wrong("the new keys and values stand in front of the old ones, so that the mask hides the wrong ones; the "
                  "past comes first", code="""
                  def my_step(query, key, value, past_key, past_value):
                      keys = torch.cat([key, past_key], dim=1)
                      values = torch.cat([value, past_value], dim=1)
                      mask = causal_mask(query.size(1), keys.size(1))
                      output, _ = scaled_dot_product_attention(query, keys, values, mask)
                      return output, keys, values
                  """),
            Wrong("the past is put beside the batch; the tokens are the second axis, `dim=1`", code="""
                  def my_step(query, key, value, past_key, past_value):
                      keys = torch.cat([past_key, key])
                      values = torch.cat([past_value, value])
                      mask = causal_mask(query.size(1), keys.size(1))
                      output, _ = scaled_dot_product_attention(query, keys, values, mask)
                      return output, keys, values
                  """),
            Wrong("the output is right, but only the new keys and values are handed on; the next step needs the old "
                  "ones too", "return output, keys, values", "return output, key, value"),
            Wrong("the output is right, but the past is handed on as it came; the new keys and values belong to it now",
                  "return output, keys, values", "return output, past_key, past_value"),
            Wrong("the root of the width is missing: the scores are divided by it before the softmax", code="""
                  def my_step(query, key, value, past_key, past_value):
                      keys = torch.cat([past_key, key], dim=1)
                      values = torch.cat([past_value, value], dim=1)
                      mask = causal_mask(query.size(1), keys.size(1))
                      scores = query @ keys.transpose(1, 2)
                      weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
                      return weights @ values, keys, values
                  """),
            Wrong("there are two results of `scaled_dot_product_attention`, and you return both as the output; take "
                  "the first", "output, _ =", "output ="),
            Wrong("the two lengths are exchanged: the queries come first, `causal_mask(q_len, kv_len)`",
                  "causal_mask(query.size(1), keys.size(1))", "causal_mask(keys.size(1), query.size(1))"),
            Wrong("these are the output and the weights of attention; asked are the output, all keys and all values",
                  "return output, keys, values", "return output, _"),
            Wrong("the diagonal lies one place too far to the right: each token sees the one after it",
                  "causal_mask(query.size(1), keys.size(1))",
                  "torch.ones(query.size(1), keys.size(1)).tril(keys.size(1) - query.size(1) + 1).bool()"),
            Wrong("the last column of the square mask is taken, and it is its last rows that belong to the new "
                  "tokens",
                  "causal_mask(query.size(1), keys.size(1))", "causal_mask(keys.size(1))[:, -query.size(1):]"),
        ],
        inputs=new_and_past,
        laws=[Law("fed one by one or all at once, the outputs are the same", same_one_by_one)],
    ),
]
