"""The mistakes that the suite must see: each a function of at most ten lines that takes the place of the library's own.

The numbered ones, from 1 to 36, were found in projects and tutorials that many people learn from; they are good
projects, and the mistakes were subtle. The others are those that a loose tolerance or small weights let through.
`test_mutants.py` puts each mistake in and demands that every check named beside it fails; `tools/proofs.py` writes
the table of the book's page on proofs. The museum shows twelve of these functions, as they stand here.
"""

import contextlib
import copy
import importlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import checks as k
import conformance as c
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lib
from transformer_lib.attention import MultiHeadAttention
from transformer_lib.encoder import EncoderLayer
from transformer_lib.evaluation import evaluate
from transformer_lib.layers import FeedForward, LayerNorm, SublayerConnection
from transformer_lib.masks import causal_mask
from transformer_lib.transformer import Transformer

# ---------------------------------------------------------------- masks


def causal_only_in_training(self, tgt_ids, memory, memory_mask, cache=None):
    offset = 0 if cache is None else cache.length
    tgt_len = tgt_ids.size(1)
    tgt_mask = causal_mask(tgt_len, offset + tgt_len) if self.training else None
    x = self.positions(self.tgt_embedding(tgt_ids), offset)
    return self.output(self.decoder(x, memory, tgt_mask, memory_mask, cache))


def true_means_forbidden(self, q, k, v, mask):
    mask = None if mask is None else ~mask
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def causal_mask_leaks_one_token(q_len, kv_len=None, *, device=None):
    kv_len = q_len if kv_len is None else kv_len
    return torch.ones(q_len, kv_len, dtype=torch.bool, device=device).tril(kv_len - q_len + 1)


def causal_mask_aligned_top_left(q_len, kv_len=None, *, device=None):
    return torch.ones(q_len, q_len if kv_len is None else kv_len, dtype=torch.bool, device=device).tril()


def causal_mask_inverted(q_len, kv_len=None, *, device=None):
    kv_len = q_len if kv_len is None else kv_len
    return ~torch.ones(q_len, kv_len, dtype=torch.bool, device=device).tril(kv_len - q_len)


def padding_mask_inverted(ids, pad_id):
    return (ids == pad_id)[:, None, None, :]


def padding_mask_turned_to_queries(self, x, mask=None):
    for layer in self.layers:
        x = layer(x, None if mask is None else mask.transpose(-2, -1))
    return self.norm(x)


def padding_mask_on_queries(ids, pad_id):
    return (ids != pad_id)[:, None, :, None]


def padding_forgotten_across(self, x, memory, tgt_mask=None, memory_mask=None, cache=None):
    caches = [None] * len(self.layers) if cache is None else cache.layers
    for layer, layer_cache in zip(self.layers, caches, strict=True):
        x = layer(x, memory, tgt_mask, None, layer_cache)
    return self.norm(x)


def cross_attention_under_the_causal_mask(self, x, memory, tgt_mask=None, memory_mask=None, cache=None):
    seen = torch.ones(x.size(1), memory.size(1), dtype=torch.bool).tril()
    caches = [None] * len(self.layers) if cache is None else cache.layers
    for layer, layer_cache in zip(self.layers, caches, strict=True):
        x = layer(x, memory, tgt_mask, seen, layer_cache)
    return self.norm(x)


def dead_rows_average_the_padding(query, key, value, mask=None, dropout_p=0.0):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    weights = F.dropout(scores.softmax(dim=-1), dropout_p)
    return weights @ value, weights


def dead_rows_are_nan(query, key, value, mask=None, dropout_p=0.0):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = F.dropout(scores.softmax(dim=-1), dropout_p)
    return weights @ value, weights


def zeros_at_padding_in_evaluation(self, x, mask=None):
    for layer in self.layers:
        x = layer(x, mask)
    x = self.norm(x)
    return x if self.training or mask is None else x * mask[:, 0, 0, :, None]


# ---------------------------------------------------------------- attention


def maps_without_the_mask(query, key, value, mask=None, dropout_p=0.0):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    weights = F.dropout(scores.softmax(dim=-1), dropout_p)
    return weights @ value, weights


def transposed_map(query, key, value, mask=None, dropout_p=0.0):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ value, weights.transpose(-2, -1)


def labels_not_counted(axes, matrix, rows, columns, *, title="", low=None, high=None, x_label="", y_label="", **_):
    axes.imshow(matrix.detach().numpy(), vmin=low, vmax=high)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)


def scale_by_d_model(self, q, k, v, mask):
    d_model = q.size(1) * q.size(3)  # (batch, heads, q_len, d_head)
    dropout_p = self.dropout if self.training else 0.0
    scale = 1 / math.sqrt(d_model)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p, scale=scale)


def no_scale(self, q, k, v, mask):
    dropout_p = self.dropout if self.training else 0.0
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout_p, scale=1.0)


def no_scale_in_the_formula(query, key, value, mask=None, dropout_p=0.0):
    scores = query @ key.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ value, weights


def formula_scaled_by_d_model(query, key, value, mask=None, dropout_p=0.0):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-3) * query.size(-1))
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ value, weights


def heads_split_without_transpose(self, x):
    return x.reshape(x.size(0), self.n_heads, x.size(1), -1)


def dropout_stays_in_evaluation(self, q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout)


def dropout_not_passed_on(self, d_model, n_heads, d_ff, dropout=0.1, norm_first=False, activation=F.relu):
    nn.Module.__init__(self)
    self.self_attn = MultiHeadAttention(d_model, n_heads, 0.1)  # its own default, whatever was asked for
    self.self_attn_residual = SublayerConnection(d_model, dropout, norm_first)
    self.feed_forward = FeedForward(d_model, d_ff, dropout, activation)
    self.feed_forward_residual = SublayerConnection(d_model, dropout, norm_first)


# ---------------------------------------------------------------- positions and embeddings


def every_step_at_position_0(self, x, offset=0):
    return self.dropout(x + self.encoding[: x.size(1)])


def sine_and_cosine_of_different_clocks(max_len, d_model):
    omega = 10000 ** -(2 * torch.arange(d_model, dtype=torch.float64) / d_model)
    angle = torch.outer(torch.arange(max_len, dtype=torch.float64), omega)
    even = torch.arange(d_model) % 2 == 0
    return torch.where(even, angle.sin(), angle.cos()).to(torch.get_default_dtype())


def exponent_counts_features(max_len, d_model):
    omega = 10000 ** -(2 * torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angle = torch.outer(torch.arange(max_len, dtype=torch.float64), omega)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(torch.get_default_dtype())


def slowest_clock_at_10000(max_len, d_model):
    omega = 10000 ** -torch.linspace(0, 1, d_model // 2, dtype=torch.float64)
    angle = torch.outer(torch.arange(max_len, dtype=torch.float64), omega)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(torch.get_default_dtype())


def sines_before_cosines(max_len, d_model):
    omega = 10000 ** -(torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angle = torch.outer(torch.arange(max_len, dtype=torch.float64), omega)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(torch.get_default_dtype())


def odd_width_gets_one_feature_more(max_len, d_model):
    omega = 10000 ** -(torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)
    angle = torch.outer(torch.arange(max_len, dtype=torch.float64), omega)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(torch.get_default_dtype())


def table_as_a_plain_attribute(self, d_model, max_len, dropout=0.0):
    nn.Module.__init__(self)
    self.encoding = transformer_lib.sinusoidal_encoding(max_len, d_model)
    self.dropout = nn.Dropout(dropout)


def embedding_starts_at_size_1(self, vocab_size, d_model):
    nn.Module.__init__(self)
    self.weight = nn.Parameter(torch.randn(vocab_size, d_model))


def embedding_not_scaled(self, ids):
    return F.embedding(ids, self.weight)


# ---------------------------------------------------------------- norms, residuals, layers


def layer_norm_with_the_unbiased_std(self, x):
    mean = x.mean(dim=-1, keepdim=True)
    std = x.std(dim=-1, keepdim=True)
    return (x - mean) / (std + self.eps) * self.weight + self.bias


def formula_with_the_unbiased_std(x, weight, bias, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps) * weight + bias


def eps_too_small(self, x):
    return F.layer_norm(x, self.weight.shape, self.weight, self.bias, min(self.eps, 1e-6))


def pre_norm_whatever_was_asked(self, x, sublayer):
    return x + self.dropout(sublayer(self.norm(x)))


def residual_forgotten(self, x, sublayer):
    return self.norm(sublayer(x))


def final_norm_forgotten(self, x, mask=None):
    for layer in self.layers:
        x = layer(x, mask)
    return x


def final_norm_once_too_often(self, x, mask=None):
    for layer in self.layers:
        x = layer(x, mask)
    norm = self.norm if isinstance(self.norm, LayerNorm) else self.layers[-1].feed_forward_residual.norm
    return norm(x)


def tanh_gelu(self, x):
    hidden = self.fc1(x)
    hidden = F.gelu(hidden, approximate="tanh") if self.activation is F.gelu else self.activation(hidden)
    return self.fc2(self.dropout(hidden))


def layers_copied_from_one(self, n_layers, d_model, n_heads, d_ff, dropout=0.1, norm_first=False, activation=F.relu):
    nn.Module.__init__(self)
    layer = EncoderLayer(d_model, n_heads, d_ff, dropout, norm_first, activation)
    self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(n_layers))
    self.norm = LayerNorm(d_model) if norm_first else nn.Identity()


def one_layer_used_twice(self, n_layers, d_model, n_heads, d_ff, dropout=0.1, norm_first=False, activation=F.relu):
    nn.Module.__init__(self)
    layer = EncoderLayer(d_model, n_heads, d_ff, dropout, norm_first, activation)
    self.layers = nn.ModuleList([layer] * n_layers)
    self.norm = LayerNorm(d_model) if norm_first else nn.Identity()


def mean_over_the_batch(self, x):
    hidden = self.activation(self.fc1(x))
    return self.fc2(self.dropout(hidden - hidden.mean(dim=0, keepdim=True)))


def mean_over_the_sentence(self, x):
    hidden = self.activation(self.fc1(x))
    return self.fc2(self.dropout(hidden - hidden.mean(dim=1, keepdim=True)))


# ---------------------------------------------------------------- the model


def output_scaled_in_training_only(self, src_ids, tgt_ids):
    memory, memory_mask = self.encode(src_ids)
    return self.decode(tgt_ids, memory, memory_mask) * self.config.d_model**-0.5


def output_not_tied(self, config, init=Transformer.__init__):
    init(self, config)
    self.output.weight = nn.Parameter(self.output.weight.detach().flip(0))


# ---------------------------------------------------------------- loss, training, decoding


def smoothing_gives_padding_a_share(targets, vocab_size, smoothing, pad_id):
    rows = torch.full((*targets.shape, vocab_size), smoothing / vocab_size)
    rows.scatter_(-1, targets.unsqueeze(-1).long(), 1.0 - smoothing + smoothing / vocab_size)
    return rows.masked_fill((targets == pad_id).unsqueeze(-1), 0.0)


def mean_of_means(logits, targets, *, pad_id, smoothing=0.0):
    mean = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=pad_id)
    return mean, torch.tensor(1)


def padding_counts(logits, targets, *, pad_id, smoothing=0.0):
    total = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="sum")
    return total, torch.tensor(targets.numel())


def first_window_of_one(self):
    if self.position >= len(self._order):
        self.epoch, self.position = self.epoch + 1, 0
        self._order = self.batches.epoch(self.epoch)
    size = 1 if self.position == 0 else self.accumulate
    window = self._order[self.position : self.position + size]
    self.position += len(window)
    return [self.batches.take(rows) for rows in window]


def exponential_decay(step, d_model, warmup=4000):
    peak = (d_model * warmup) ** -0.5
    return peak * min(step / warmup, 0.5 ** ((step - warmup) / warmup))


def starts_with_another_symbol(model, src_ids, *, max_new_tokens, use_cache=True):
    memory, memory_mask = model.encode(src_ids)
    ids = src_ids.new_full((src_ids.size(0), 1), model.config.pad_id)
    for _ in range(max_new_tokens):
        token = model.decode(ids, memory, memory_mask)[:, -1].argmax(dim=-1)
        ended = (ids == model.config.eos_id).any(dim=1)
        ids = torch.cat([ids, token.masked_fill(ended, model.config.pad_id).unsqueeze(1)], dim=1)
    return ids[:, 1:]


def goes_on_after_eos(model, src_ids, *, max_new_tokens, use_cache=True):
    memory, memory_mask = model.encode(src_ids)
    ids = src_ids.new_full((src_ids.size(0), 1), model.config.bos_id)
    for _ in range(max_new_tokens):
        token = model.decode(ids, memory, memory_mask)[:, -1].argmax(dim=-1)
        ids = torch.cat([ids, token.unsqueeze(1)], dim=1)
    return ids[:, 1:]


def all_stop_at_the_first_eos(model, src_ids, *, max_new_tokens, use_cache=True):
    memory, memory_mask = model.encode(src_ids)
    ids = src_ids.new_full((src_ids.size(0), 1), model.config.bos_id)
    while ids.size(1) <= max_new_tokens and not (ids == model.config.eos_id).any():
        logits = model.decode(ids, memory, memory_mask)[:, -1]
        logits[:, [model.config.pad_id, model.config.bos_id]] = -torch.inf
        ids = torch.cat([ids, logits.argmax(dim=-1, keepdim=True)], dim=1)
    return ids[:, 1:]


def judged_with_the_answer_at_hand(model, pairs, *, batch_size=256, decode=None, **options):
    right = 0
    for src, tgt in pairs:
        logits = model(torch.tensor([src]), torch.tensor([tgt[:-1]]))
        right += int(logits.argmax(dim=-1)[0].tolist() == list(tgt[1:]))
    return right / len(pairs)


def token_accuracy_for_exact_match(model, pairs, *, batch_size=256, decode=None, **options):
    return evaluate(model, transformer_lib.TokenBatches(pairs)).accuracy


# ---------------------------------------------------------------- the search


def penalty_counts_bos(length, alpha):
    return ((5 + length + 1) / 6) ** alpha


def cache_stays_where_it_was(self, rows):
    pass


def nucleus_without_the_token_that_fills_it(logits, p):
    probs, order = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    dropped = torch.empty_like(probs, dtype=torch.bool).scatter(-1, order, probs.cumsum(dim=-1) > p)
    return logits.masked_fill(dropped, -torch.inf)


# ---------------------------------------------------------------- the registry

GITHUB = "https://github.com/"
D2L = GITHUB + "d2l-ai/d2l-en/blob/master/chapter_attention-mechanisms-and-transformers/transformer.md"
ANNOTATED = GITHUB + "harvardnlp/annotated-transformer"
UVADLC = GITHUB + "phlippe/uvadlc_notebooks"
HYUNWOONGKO = GITHUB + "hyunwoongko/transformer"
JADORE = GITHUB + "jadore801120/attention-is-all-you-need-pytorch"
EVERY_CHAPTER = 0

Check = Callable[[], None]


@dataclass(frozen=True)
class Mistake:
    """A mistake that can be put into the library.

    Args:
        number: in the list of 36, or `None`.
        title: one line.
        chapter: the chapter that treats it.
        place: what is replaced: `Class.method` or `module.function`.
        bug: what takes its place.
        laws: the checks, named like laws, that must see it.
        checks: other named checks that must see it.
        seen: a public place where it was found.
    """

    number: int | None
    title: str
    chapter: int
    place: str
    bug: Callable
    laws: tuple[Check, ...] = ()
    checks: tuple[Check, ...] = ()
    seen: str = ""

    @property
    def correct(self) -> Callable:
        """The library's own."""
        owner, name = self.place.split(".")
        return getattr(getattr(transformer_lib, owner, None) or _module(owner), name)

    @contextlib.contextmanager
    def put_in(self) -> Iterator[None]:
        """Let the bug take its place: in its class, or in every module of the library that has imported it."""
        owner, name = self.place.split(".")
        correct, holder = self.correct, _module(owner)
        if holder is None:
            holders = [getattr(transformer_lib, owner)]
        else:
            loaded = [module for key, module in sys.modules.items() if key.split(".")[0] == "transformer_lib"]
            holders = [module for module in loaded if vars(module).get(name) is correct]
        with contextlib.ExitStack() as stack:
            for place in holders:
                stack.enter_context(mock.patch.object(place, name, self.bug))
            yield


def _module(name: str):
    """The module of the library that has this name, or `None` if it is the name of a class."""
    return None if name[0].isupper() else importlib.import_module(f"transformer_lib.{name}")


@dataclass(frozen=True)
class Claim:
    """One of the 36 that is a sentence and not code: `words` stand in the chapter (or test) that puts it right."""

    number: int
    title: str
    chapter: int
    words: str
    seen: str = ""


MISTAKES = [
    Mistake(
        1, "The causal mask is there in training only", 8, "Transformer.decode", causal_only_in_training,
        (k.causality, k.train_equals_eval), seen=D2L,
    ),
    Mistake(
        2, "With a cache, every new token stands at position 0", 9, "PositionalEncoding.forward",
        every_step_at_position_0, (k.cache_equals_full,), (c.check_sinusoids,), seen=D2L,
    ),
    Mistake(
        3, "`True` is taken for *forbidden*", 2, "MultiHeadAttention.attend", true_means_forbidden,
        (k.causality, k.padding_invariance), (c.check_multi_head,), seen=GITHUB + "rasbt/LLMs-from-scratch/issues/1061",
    ),
    Mistake(
        4, "-1e9 lets a query that may see nothing average the padding", 2,
        "attention.scaled_dot_product_attention", dead_rows_average_the_padding,
        (k.dead_rows_are_zero, ), (c.check_formula,), seen=ANNOTATED,
    ),
    Mistake(
        4, "Minus infinity makes a query that may see nothing NaN", 2,
        "attention.scaled_dot_product_attention", dead_rows_are_nan,
        (k.dead_rows_are_zero,), (c.check_formula,), seen=GITHUB + "pytorch/pytorch/issues/41508",
    ),
    Mistake(
        5, "The padding mask lies on the queries", 2, "masks.padding_mask", padding_mask_on_queries,
        (k.padding_invariance,), (c.check_masks,), seen=HYUNWOONGKO,
    ),
    Mistake(
        5, "The encoder's padding mask is turned from keys to queries", 2, "Encoder.forward",
        padding_mask_turned_to_queries, (k.padding_invariance,), (c.check_stacks,),
    ),
    Mistake(
        6, "Cross-attention gets the mask of the target", 8, "Decoder.forward", cross_attention_under_the_causal_mask,
        (k.padding_invariance,), (c.check_transformer,), seen=GITHUB + "keras-team/keras-io/pull/1046",
    ),
    Mistake(
        6, "Cross-attention gets no mask", 8, "Decoder.forward", padding_forgotten_across,
        (k.padding_invariance,), (c.check_transformer,), seen=GITHUB + "keras-team/keras-io/pull/1046",
    ),
    Mistake(
        7, "The maps are computed in a second pass, which loses the mask", 3, "attention.scaled_dot_product_attention",
        maps_without_the_mask, (k.weights_are_shares,), (k.recording_changes_nothing,),
        seen=UVADLC + "/blob/master/docs/tutorial_notebooks/tutorial6/Transformers_and_MHAttention.ipynb",
    ),
    Mistake(
        8, "The map has queries and keys swapped", 8, "attention.scaled_dot_product_attention", transposed_map,
        (k.weights_are_shares,), seen=ANNOTATED + "/issues/104",
    ),
    Mistake(
        8, "A heat map takes any number of labels", 8, "plotting.draw_matrix", labels_not_counted,
        checks=(k.swapped_labels_are_refused,), seen=ANNOTATED + "/issues/104",
    ),
    Mistake(
        9, "Layer norm with the unbiased deviation, eps outside the root", 5, "LayerNorm.forward",
        layer_norm_with_the_unbiased_std, (k.normalises,), (c.check_layer_norm, c.check_encoder_layer),
        seen=ANNOTATED + "/issues/122",
    ),
    Mistake(
        10, "The text says post-norm, the code is pre-norm", 5, "SublayerConnection.forward",
        pre_norm_whatever_was_asked, checks=(c.check_residual, c.check_encoder_layer), seen=ANNOTATED + "/issues/92",
    ),
    Mistake(
        11, "Pre-norm without the last norm", 5, "Encoder.forward", final_norm_forgotten,
        checks=(k.pre_norm_stacks,), seen=GITHUB + "NVIDIA-NeMo/Speech/pull/2197",
    ),
    Mistake(
        11, "Post-norm with a second norm at the end", 5, "Encoder.forward", final_norm_once_too_often,
        checks=(c.check_stacks,), seen=GITHUB + "pytorch/pytorch/issues/50086",
    ),
    Mistake(
        12, "The argument `dropout` does not reach the attention", 7, "EncoderLayer.__init__", dropout_not_passed_on,
        (k.train_equals_eval,), (k.dropout_reaches_every_attention,), seen=ANNOTATED,
    ),
    Mistake(
        13, "Dropout goes on in evaluation", 3, "MultiHeadAttention.attend", dropout_stays_in_evaluation,
        (k.evaluation_is_deterministic,), seen=GITHUB + "pytorch/pytorch/issues/124464",
    ),
    Mistake(
        14, "An embedding of size 1 times the root of the width drowns the positions", 6, "TokenEmbedding.__init__",
        embedding_starts_at_size_1, (k.sizes_balance,), seen=D2L,
    ),
    Mistake(
        15, "An embedding of size 1 is tied to the output", 6, "TokenEmbedding.__init__", embedding_starts_at_size_1,
        (k.untrained_loss,),
    ),
    Mistake(
        16, "Logits are scaled in training and not in decoding", 9, "Transformer.forward",
        output_scaled_in_training_only, checks=(k.forward_is_encode_then_decode, c.check_transformer),
        seen=JADORE + "/blob/master/transformer/Translator.py",
    ),
    Claim(
        17, "Snippets that were never run", EVERY_CHAPTER, "counts_run_from_one", ANNOTATED,
    ),
    Mistake(
        18, "Scores are divided by the root of the model's width", 3, "MultiHeadAttention.attend", scale_by_d_model,
        (k.scores_are_scaled,), (c.check_multi_head,), seen=GITHUB + "karpathy/ng-video-lecture/pull/6",
    ),
    Mistake(
        19, "Sine and cosine of one pair have different clocks", 4, "positions.sinusoidal_encoding",
        sine_and_cosine_of_different_clocks, (k.distance_decides,), (c.check_sinusoids,),
        seen=GITHUB + "SamLynnEvans/Transformer/issues/25",
    ),
    Mistake(
        19, "The exponent is doubled", 4, "positions.sinusoidal_encoding", exponent_counts_features,
        checks=(c.check_sinusoids,), seen=GITHUB + "SamLynnEvans/Transformer/issues/25",
    ),
    Mistake(
        20, "The slowest clock turns in 10000 · 2π positions", 4, "positions.sinusoidal_encoding",
        slowest_clock_at_10000, checks=(c.check_sinusoids,), seen="https://arxiv.org/abs/1706.03762",
    ),
    Mistake(
        21, "An odd width is not refused (there it crashes, here it is made even)", 4, "positions.sinusoidal_encoding",
        odd_width_gets_one_feature_more, checks=(k.odd_width_is_refused,),
        seen=GITHUB + "gc-os-ai/pyaptamer/issues/607",
    ),
    Mistake(
        22, "The table of positions is a plain attribute", 4, "PositionalEncoding.__init__", table_as_a_plain_attribute,
        checks=(k.the_table_moves_with_the_module,),
        seen=D2L.replace("transformer.md", "self-attention-and-positional-encoding.md"),
    ),
    Mistake(
        23, "Label smoothing gives padding a share", 10, "loss.smoothed_targets", smoothing_gives_padding_a_share,
        (k.targets_are_distributions,), seen="https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html",
    ),
    Mistake(
        24, "The loss is a mean of means", 10, "loss.token_loss", mean_of_means, (k.loss_adds_up,),
        seen=GITHUB + "huggingface/transformers/issues/24725",
    ),
    Mistake(
        25, "The first step comes after one batch, and all windows are shifted", 10, "Trainer.next_window",
        first_window_of_one, checks=(k.accumulated_batches_equal_the_big_batch,), seen=ANNOTATED,
    ),
    Mistake(
        26, "Decoding begins with another symbol than training", 10, "decoding.greedy_decode",
        starts_with_another_symbol, (k.answer_is_greedy,), seen=ANNOTATED + "/issues/127",
    ),
    Mistake(
        26, "Decoding goes on after the end", 10, "decoding.greedy_decode", goes_on_after_eos, (k.answer_is_greedy,),
        seen=GITHUB + "joeynmt/joeynmt/pull/78",
    ),
    Mistake(
        27, "Translations are judged with the right past at hand", 10, "decoding.exact_match",
        judged_with_the_answer_at_hand, checks=(k.a_cheat_has_no_exact_match,),
        seen=GITHUB + "mead-ml/mead-baseline/pull/223",
    ),
    Mistake(
        28, "The whole batch stops at the first end of a sentence", 10, "decoding.greedy_decode",
        all_stop_at_the_first_eos, (k.answer_is_greedy,), (k.answers_do_not_depend_on_their_company,),
    ),
    Mistake(
        28, "The length penalty of a beam counts BOS", 11, "beam.gnmt_penalty", penalty_counts_bos,
        checks=(k.a_full_beam_is_an_exhaustive_search,),
    ),
    Mistake(
        29, "The layers of a stack are copies of one", 7, "Encoder.__init__", layers_copied_from_one,
        (k.layers_are_distinct,), seen=GITHUB + "pytorch/pytorch/issues/86274",
    ),
    Claim(
        30, "Every word attends mostly to itself", 1, "You may read elsewhere that each word attends mostly to itself",
        "https://jalammar.github.io/illustrated-transformer/",
    ),
    Mistake(
        31, "The schedule falls exponentially", 10, "schedules.noam_rate", exponential_decay,
        checks=(k.noam_is_equation_3,), seen=UVADLC,
    ),
    Claim(
        32, "A large weight means an important word", 10,
        "Attention that falls on the right word is not yet a proof that the word was used",
        "https://arxiv.org/abs/1902.10186",
    ),
    Claim(33, "The query belongs to the decoder", 8, 'the query "belongs to the decoder"', HYUNWOONGKO),
    Claim(
        34, "The cost of attention is the square of the length, the projections left out", 6,
        'That attention is "quadratic" is true and, for short texts, beside the point', D2L,
    ),
    Mistake(
        35, "Evaluation puts zeros at the padding, training does not", 7, "Encoder.forward",
        zeros_at_padding_in_evaluation, (k.train_equals_eval,), seen=GITHUB + "pytorch/pytorch/issues/86120",
    ),
    Mistake(
        36, "A trained model is judged by its guesses of single tokens", 10, "decoding.exact_match",
        token_accuracy_for_exact_match, checks=(k.a_cheat_has_no_exact_match,), seen=JADORE + "/issues/19",
    ),
    # Without a number: what a loose tolerance, small weights or equal sizes would let through.
    Mistake(
        None, "eps of the norm is too small", 5, "LayerNorm.forward", eps_too_small,
        (k.normalises,), (c.check_layer_norm, k.pre_norm_stacks),
    ),
    Mistake(
        None, "GELU by its approximation", 6, "FeedForward.forward", tanh_gelu,
        checks=(c.check_feed_forward, k.gelu_encoder_layer),
    ),
    Mistake(
        None, "The formula of layer norm with the unbiased deviation", 5, "layers.layer_norm",
        formula_with_the_unbiased_std, (k.normalises,), (c.check_layer_norm,),
    ),
    Mistake(
        None, "Scores are not scaled", 1, "MultiHeadAttention.attend", no_scale, (k.scores_are_scaled,),
        (c.check_multi_head, c.check_decoder_layer),
    ),
    Mistake(
        None, "The formula does not scale its scores", 1, "attention.scaled_dot_product_attention",
        no_scale_in_the_formula, (k.scores_are_scaled,), (c.check_formula, c.check_simple_self_attention),
    ),
    Mistake(
        None, "The formula divides by the root of the model's width", 1, "attention.scaled_dot_product_attention",
        formula_scaled_by_d_model, checks=(c.check_formula,),
    ),
    Mistake(
        None, "The causal mask lets one token of the future through", 2, "masks.causal_mask",
        causal_mask_leaks_one_token, (k.causality,), (c.check_masks, c.check_decoder_layer, c.check_transformer),
    ),
    Mistake(
        None, "The causal mask is aligned top left", 2, "masks.causal_mask", causal_mask_aligned_top_left,
        (k.cache_equals_full,), (c.check_masks,),
    ),
    Mistake(
        None, "The causal mask is inverted", 2, "masks.causal_mask", causal_mask_inverted,
        (k.causality,), (c.check_masks, c.check_transformer),
    ),
    Mistake(
        None, "The padding mask is inverted", 2, "masks.padding_mask", padding_mask_inverted,
        (k.padding_invariance, k.every_token_counts), (c.check_masks,),
    ),
    Mistake(
        None, "Heads are split without a transpose", 3, "MultiHeadAttention.split_heads", heads_split_without_transpose,
        (k.causality, k.permutation_equivariance), (c.check_multi_head, c.check_encoder_layer),
    ),
    Mistake(
        None, "All sines stand before all cosines", 4, "positions.sinusoidal_encoding", sines_before_cosines,
        checks=(c.check_sinusoids, c.check_transformer),
    ),
    Mistake(
        None, "The embedding is not scaled", 6, "TokenEmbedding.forward", embedding_not_scaled, (k.sizes_balance,),
        (c.check_embedding, c.check_transformer),
    ),
    Mistake(
        None, "The residual is forgotten", 5, "SublayerConnection.forward", residual_forgotten,
        checks=(c.check_residual,),
    ),
    Mistake(
        None, "One layer is used twice", 7, "Encoder.__init__", one_layer_used_twice, (k.layers_are_distinct,),
        (c.check_stacks,),
    ),
    Mistake(
        None, "The output is not tied though it should be", 9, "Transformer.__init__", output_not_tied,
        checks=(k.tied_weights_are_one,),
    ),
    Mistake(
        None, "The feed-forward takes a mean over the batch", 6, "FeedForward.forward", mean_over_the_batch,
        (k.batch_equals_single,), (c.check_feed_forward,),
    ),
    Mistake(
        None, "The feed-forward takes a mean over the sentence", 6, "FeedForward.forward", mean_over_the_sentence,
        (k.token_by_token,), (c.check_feed_forward,),
    ),
    Mistake(
        None, "The cache does not follow the beam", 11, "DecoderCache.select", cache_stays_where_it_was,
        checks=(k.a_beam_needs_no_cache,), seen=GITHUB + "huggingface/transformers/issues/46612",
    ),
    Mistake(
        None, "Top-p drops the token that reaches p", 11, "sampling.keep_top_p",
        nucleus_without_the_token_that_fills_it, checks=(k.the_nucleus_reaches_its_share,),
    ),
    Mistake(
        None, "Padding counts in the loss", 10, "loss.token_loss", padding_counts, (k.loss_adds_up,),
    ),
]  # fmt: skip

MUTANTS = [mistake for mistake in MISTAKES if isinstance(mistake, Mistake)]

# Those that the museum shows, in its order.
EXHIBITS = [
    embedding_starts_at_size_1,
    starts_with_another_symbol,
    every_step_at_position_0,
    true_means_forbidden,
    causal_only_in_training,
    padding_mask_turned_to_queries,
    dropout_stays_in_evaluation,
    mean_of_means,
    scale_by_d_model,
    layer_norm_with_the_unbiased_std,
    dead_rows_average_the_padding,
    maps_without_the_mask,
]
