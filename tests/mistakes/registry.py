"""The mistakes that the suite must see: each a function of at most ten lines that takes the place of the library's own.

The numbered ones, from 1 to 36, were found in public code and texts; most are good projects that many people learn
from, and the mistakes were subtle. The others are those that a loose tolerance or small weights let through.
`test_mistakes.py` puts each mistake in and demands that every question named beside it fails; `tools/proofs.py` writes
the table of the book's page on proofs. The museum shows twelve of these functions, as they stand here.
"""

import contextlib
import copy
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import contracts as c
import questions as q
import torch
import torch.nn.functional as F
from torch import nn

import transformer_lib as lib
from transformer_lib import causal_mask, laws

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


def padding_forgotten_across(self, x, memory, tgt_mask=None, memory_mask=None, cache=None, right=lib.Decoder.forward):
    return right(self, x, memory, tgt_mask, None, cache)


def cross_attention_under_the_causal_mask(self, x, memory, mask=None, _=None, cache=None, right=lib.Decoder.forward):
    seen = torch.ones(x.size(1), memory.size(1), dtype=torch.bool).tril()
    return right(self, x, memory, mask, seen, cache)


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


def zeros_at_padding_in_evaluation(self, x, mask=None, right=lib.Encoder.forward):
    x = right(self, x, mask)
    return x if self.training or mask is None else x * mask[:, 0, 0, :, None]


# ---------------------------------------------------------------- attention


def maps_without_the_mask(query, key, value, mask=None, dropout_p=0.0):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    weights = F.dropout(scores.softmax(dim=-1), dropout_p)
    return weights @ value, weights


def transposed_map(query, key, value, mask=None, dropout_p=0.0, right=lib.scaled_dot_product_attention):
    output, weights = right(query, key, value, mask, dropout_p)
    return output, weights.transpose(-2, -1)


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


def no_scale(self, q, k, v, mask, right=lib.MultiHeadAttention.attend):
    return right(self, q * math.sqrt(q.size(-1)), k, v, mask)


def no_scale_in_the_formula(query, key, value, mask=None, dropout_p=0.0, right=lib.scaled_dot_product_attention):
    return right(query * math.sqrt(query.size(-1)), key, value, mask, dropout_p)


def formula_scaled_by_d_model(query, key, value, mask=None, dropout_p=0.0, right=lib.scaled_dot_product_attention):
    return right(query / math.sqrt(query.size(-3)), key, value, mask, dropout_p)


def heads_split_without_transpose(self, x):
    return x.reshape(x.size(0), self.n_heads, x.size(1), -1)


def dropout_stays_in_evaluation(self, q, k, v, mask):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout)


def dropout_not_passed_on(self, *sizes, right=lib.EncoderLayer.__init__, **_):
    right(self, *sizes, **_)
    self.self_attn.dropout = 0.1  # its own default, whatever was asked for


# ---------------------------------------------------------------- positions and embeddings


def every_step_at_position_0(self, x, offset=0):
    return self.dropout(x + self.encoding[: x.size(1)])


def sine_and_cosine_of_different_clocks(max_len, d_model):
    features = torch.arange(d_model, dtype=torch.float64)
    angle = torch.outer(torch.arange(max_len, dtype=torch.float64), 10000 ** -(2 * features / d_model))
    return torch.where(features % 2 == 0, angle.sin(), angle.cos()).to(torch.get_default_dtype())


def table(max_len, exponents):
    angle = torch.outer(torch.arange(max_len, dtype=torch.float64), 10000**-exponents)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(torch.get_default_dtype())


def exponent_counts_features(max_len, d_model):
    return table(max_len, 2 * torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)


def slowest_clock_at_10000(max_len, d_model):
    return table(max_len, torch.linspace(0, 1, d_model // 2, dtype=torch.float64))


def sines_before_cosines(max_len, d_model, right=lib.sinusoidal_encoding):
    encoding = right(max_len, d_model)
    return torch.cat([encoding[:, 0::2], encoding[:, 1::2]], dim=-1)


def odd_width_gets_one_feature_more(max_len, d_model):
    return table(max_len, torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)


def table_as_a_plain_attribute(self, d_model, max_len, dropout=0.0):
    nn.Module.__init__(self)
    self.encoding = lib.sinusoidal_encoding(max_len, d_model)
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


def final_norm_once_too_often(self, x, mask=None, right=lib.Encoder.forward):
    norm = self.norm if isinstance(self.norm, lib.LayerNorm) else self.layers[-1].feed_forward_residual.norm
    return norm(right(self, x, mask))


def tanh_gelu(self, x):
    hidden = self.fc1(x)
    hidden = F.gelu(hidden, approximate="tanh") if self.activation is F.gelu else self.activation(hidden)
    return self.fc2(self.dropout(hidden))


def layers_copied_from_one(self, *sizes, right=lib.Encoder.__init__, **_):
    right(self, *sizes, **_)
    self.layers = nn.ModuleList(copy.deepcopy(self.layers[0]) for _ in self.layers)


def one_layer_used_twice(self, *sizes, right=lib.Encoder.__init__, **_):
    right(self, *sizes, **_)
    self.layers = nn.ModuleList([self.layers[0]] * len(self.layers))


def mean_over_the_batch(self, x):
    hidden = self.activation(self.fc1(x))
    return self.fc2(self.dropout(hidden - hidden.mean(dim=0, keepdim=True)))


def mean_over_the_sentence(self, x):
    hidden = self.activation(self.fc1(x))
    return self.fc2(self.dropout(hidden - hidden.mean(dim=1, keepdim=True)))


def output_scaled_in_training_only(self, src_ids, tgt_ids):
    memory, memory_mask = self.encode(src_ids)
    return self.decode(tgt_ids, memory, memory_mask) * self.config.d_model**-0.5


def output_not_tied(self, config, right=lib.Transformer.__init__):
    right(self, config)
    self.output.weight = nn.Parameter(self.output.weight.detach().flip(0))


# ---------------------------------------------------------------- the model, loss, training, decoding, the search


def smoothing_gives_padding_a_share(targets, vocab_size, smoothing, pad_id, dtype=None):
    rows = torch.full((*targets.shape, vocab_size), smoothing / vocab_size, dtype=dtype)
    rows.scatter_(-1, targets.unsqueeze(-1).long(), 1.0 - smoothing + smoothing / vocab_size)
    return rows.masked_fill((targets == pad_id).unsqueeze(-1), 0.0)


def mean_of_means(logits, targets, *, pad_id, smoothing=0.0):
    mean = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=pad_id)
    return mean, torch.tensor(1)


def padding_counts(logits, targets, *, pad_id, smoothing=0.0):
    total = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="sum")
    return total, torch.tensor(targets.numel())


def first_window_of_one(self, right=lib.Trainer.next_window):
    window = right(self)
    if self.position == len(window):  # the first of an epoch
        self.position, window = 1, window[:1]
    return window


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
    return lib.evaluate(model, lib.TokenBatches(pairs)).accuracy


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
ANNOTATED_LINE = ANNOTATED + "/blob/debc9fd747bb2123160a98046ad1c2d4da44a567/the_annotated_transformer.py#L"
UVADLC = GITHUB + "phlippe/uvadlc_notebooks/blob/master/docs/tutorial_notebooks/tutorial6/"
UVADLC += "Transformers_and_MHAttention.ipynb"
HYUNWOONGKO = GITHUB + "hyunwoongko/transformer"
JADORE = GITHUB + "jadore801120/attention-is-all-you-need-pytorch"
EVERY_CHAPTER = 0

Question = Callable[[], None]
LAWS = {law.__name__ for law in laws.LAWS}


@dataclass(frozen=True)
class Mistake:
    """A mistake that can be put into the library."""

    number: int | None  # in the list of 36
    title: str
    chapter: int  # that treats it
    place: str  # what is replaced: `Class.method`, or a function, wherever the library defines it
    bug: Callable
    caught_by: list[Question]  # all of them must see it
    seen: str = ""  # a public place where it was found

    @property
    def laws(self) -> list[Question]:
        """Those of the questions that ask a law, and have its name."""
        return [question for question in self.caught_by if question.__name__ in LAWS]

    def holders(self) -> list:
        """The class that has the method, or all modules of the library that have the function."""
        if "." in self.place:
            return [getattr(lib, self.place.split(".")[0])]
        loaded = [module for name, module in sys.modules.items() if name.split(".")[0] == "transformer_lib"]
        found = [module for module in loaded if hasattr(module, self.place)]
        assert len({getattr(module, self.place) for module in found}) == 1  # however many have imported it
        return found

    @property
    def correct(self) -> Callable:
        """The library's own."""
        return getattr(self.holders()[0], self.place.split(".")[-1])

    @contextlib.contextmanager
    def put_in(self) -> Iterator[None]:
        """Let the bug take its place: in its class, or in every module of the library that has imported it."""
        with contextlib.ExitStack() as stack:
            for holder in self.holders():
                stack.enter_context(mock.patch.object(holder, self.place.split(".")[-1], self.bug))
            yield


@dataclass(frozen=True)
class Claim:
    """One of the 36 that is a sentence and not code: `words` stand in the chapter (or test) that puts it right."""

    number: int
    title: str
    chapter: int
    words: str
    seen: str = ""


MISTAKES = [
    Mistake(1, "The causal mask is there in training only", 8, "Transformer.decode", causal_only_in_training,
        [q.causality, q.train_equals_eval], D2L),
    Mistake(2, "With a cache, every new token stands at position 0", 9, "PositionalEncoding.forward",
        every_step_at_position_0, [q.cache_equals_full, c.check_sinusoids], D2L),
    Mistake(3, "`True` is taken for *forbidden*", 2, "MultiHeadAttention.attend", true_means_forbidden,
        [q.causality, q.padding_invariance, c.check_multi_head], GITHUB + "rasbt/LLMs-from-scratch/issues/1061"),
    Mistake(4, "-1e9 lets a query that may see nothing average the padding", 2, "scaled_dot_product_attention",
        dead_rows_average_the_padding, [q.dead_rows_are_zero, c.check_formula], ANNOTATED_LINE + "524"),
    Mistake(4, "Minus infinity makes a query that may see nothing NaN", 2, "scaled_dot_product_attention",
        dead_rows_are_nan, [q.dead_rows_are_zero, c.check_formula], GITHUB + "pytorch/pytorch/issues/41508"),
    Mistake(5, "The padding mask lies on the queries", 2, "padding_mask", padding_mask_on_queries,
        [q.padding_invariance, c.check_masks], HYUNWOONGKO + "/pull/40"),
    Mistake(5, "The encoder's padding mask is turned from keys to queries", 2, "Encoder.forward",
        padding_mask_turned_to_queries, [q.padding_invariance, c.check_stacks], HYUNWOONGKO + "/pull/40"),
    Mistake(6, "Cross-attention gets the mask of the target", 8, "Decoder.forward",
        cross_attention_under_the_causal_mask, [q.padding_invariance, c.check_transformer],
        GITHUB + "keras-team/keras-io/pull/1046"),
    Mistake(6, "Cross-attention gets no mask", 8, "Decoder.forward", padding_forgotten_across,
        [q.padding_invariance, c.check_transformer], GITHUB + "keras-team/keras-io/pull/1046"),
    Mistake(7, "The maps are computed in a second pass, which loses the mask", 3, "scaled_dot_product_attention",
        maps_without_the_mask, [q.weights_are_shares, q.recording_changes_nothing], UVADLC),
    Mistake(8, "The map has queries and keys swapped", 8, "scaled_dot_product_attention", transposed_map,
        [q.weights_are_shares], ANNOTATED + "/issues/104"),
    Mistake(8, "A heat map takes any number of labels", 8, "draw_matrix", labels_not_counted,
        [q.swapped_labels_are_refused], ANNOTATED + "/issues/104"),
    Mistake(9, "Layer norm with the unbiased deviation, eps outside the root", 5, "LayerNorm.forward",
        layer_norm_with_the_unbiased_std, [q.normalises, c.check_layer_norm, c.check_encoder_layer],
        ANNOTATED + "/issues/122"),
    Mistake(10, "The text says post-norm, the code is pre-norm", 5, "SublayerConnection.forward",
        pre_norm_whatever_was_asked, [c.check_residual, c.check_encoder_layer], ANNOTATED + "/issues/92"),
    Mistake(11, "Pre-norm without the last norm", 5, "Encoder.forward", final_norm_forgotten, [q.pre_norm_stacks],
        GITHUB + "NVIDIA-NeMo/Speech/pull/2197"),
    Mistake(11, "Post-norm with a second norm at the end", 5, "Encoder.forward", final_norm_once_too_often,
        [c.check_stacks], GITHUB + "pytorch/pytorch/issues/50086"),
    Mistake(12, "The argument `dropout` does not reach the attention", 7, "EncoderLayer.__init__",
        dropout_not_passed_on, [q.train_equals_eval, q.dropout_reaches_every_attention], ANNOTATED_LINE + "827"),
    Mistake(13, "Dropout goes on in evaluation", 3, "MultiHeadAttention.attend", dropout_stays_in_evaluation,
        [q.evaluation_is_deterministic], GITHUB + "pytorch/pytorch/issues/124464"),
    Mistake(14, "An embedding of size 1 times the root of the width drowns the positions", 6, "TokenEmbedding.__init__",
        embedding_starts_at_size_1, [q.sizes_balance], D2L),
    Mistake(15, "An embedding of size 1 is tied to the output", 6, "TokenEmbedding.__init__",
        embedding_starts_at_size_1, [q.untrained_loss], GITHUB + "Modalities/modalities/pull/456"),
    Mistake(16, "Logits are scaled in training and not in decoding", 9, "Transformer.forward",
        output_scaled_in_training_only, [q.forward_is_encode_then_decode, c.check_transformer],
        JADORE + "/blob/master/transformer/Translator.py"),
    Claim(17, "Snippets that were never run", EVERY_CHAPTER, "counts_run_from_one", ANNOTATED_LINE + "1802"),
    Mistake(18, "Scores are divided by the root of the model's width", 3, "MultiHeadAttention.attend", scale_by_d_model,
        [q.scores_are_scaled, c.check_multi_head], GITHUB + "karpathy/ng-video-lecture/pull/6"),
    Mistake(19, "Sine and cosine of one pair have different clocks", 4, "sinusoidal_encoding",
        sine_and_cosine_of_different_clocks, [q.distance_decides, c.check_sinusoids],
        GITHUB + "SamLynnEvans/Transformer/issues/25"),
    Mistake(19, "The exponent is doubled", 4, "sinusoidal_encoding", exponent_counts_features, [c.check_sinusoids],
        GITHUB + "SamLynnEvans/Transformer/issues/25"),
    Mistake(20, "The slowest clock turns in 10000 · 2π positions", 4, "sinusoidal_encoding", slowest_clock_at_10000,
        [c.check_sinusoids], "https://arxiv.org/abs/1706.03762"),
    Mistake(21, "An odd width is not refused (there it crashes, here it is made even)", 4, "sinusoidal_encoding",
        odd_width_gets_one_feature_more, [q.odd_width_is_refused], GITHUB + "gc-os-ai/pyaptamer/issues/607"),
    Mistake(22, "The table of positions is a plain attribute", 4, "PositionalEncoding.__init__",
        table_as_a_plain_attribute, [q.the_table_moves_with_the_module],
        D2L.replace("transformer.md", "self-attention-and-positional-encoding.md")),
    Mistake(23, "Label smoothing gives padding a share", 10, "smoothed_targets", smoothing_gives_padding_a_share,
        [q.targets_are_distributions], "https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html"),
    Mistake(24, "The loss is a mean of means", 10, "token_loss", mean_of_means, [q.loss_adds_up],
        GITHUB + "huggingface/transformers/issues/24725"),
    Mistake(25, "The first step comes after one batch, and all windows are shifted", 10, "Trainer.next_window",
        first_window_of_one, [q.accumulated_batches_equal_the_big_batch],
        ANNOTATED_LINE + "976"),
    Mistake(26, "Decoding begins with another symbol than training", 10, "greedy_decode", starts_with_another_symbol,
        [q.answer_is_greedy], ANNOTATED + "/issues/127"),
    Mistake(26, "Decoding goes on after the end", 10, "greedy_decode", goes_on_after_eos, [q.answer_is_greedy],
        GITHUB + "joeynmt/joeynmt/pull/78"),
    Mistake(27, "Translations are judged with the right past at hand", 10, "exact_match",
        judged_with_the_answer_at_hand, [q.a_cheat_has_no_exact_match], GITHUB + "mead-ml/mead-baseline/pull/223"),
    Mistake(28, "The whole batch stops at the first end of a sentence", 10, "greedy_decode", all_stop_at_the_first_eos,
        [q.answer_is_greedy, q.answers_do_not_depend_on_their_company], GITHUB + "2000ZRL/SOKE/issues/7"),
    Mistake(28, "The length penalty of a beam counts BOS", 11, "gnmt_penalty", penalty_counts_bos,
        [q.a_full_beam_is_an_exhaustive_search], GITHUB + "huggingface/transformers/issues/26624"),
    Mistake(29, "The layers of a stack are copies of one", 7, "Encoder.__init__", layers_copied_from_one,
        [q.layers_are_distinct], GITHUB + "pytorch/pytorch/issues/86274"),
    Claim(30, "Every word attends mostly to itself", 1,
        "You may read elsewhere that each word attends mostly to itself",
        "https://jalammar.github.io/illustrated-transformer/"),
    Mistake(31, "The schedule falls exponentially", 10, "noam_rate", exponential_decay, [q.noam_is_equation_3], UVADLC),
    Claim(32, "A large weight means an important word", 10,
        "Attention that falls on a word is not yet a proof that the word was used",
        "https://arxiv.org/abs/1902.10186"),
    Claim(33, "The query belongs to the decoder", 8, "the query belongs to the decoder",
        HYUNWOONGKO + "/blob/63286547b9cd174a6cfc204832271814d685181f/models/layers/scale_dot_product_attention.py"),
    Claim(34, "The cost of attention is the square of the length, the projections left out", 6,
        "Only the scores grow with the square of the length", D2L),
    Mistake(35, "Evaluation puts zeros at the padding, training does not", 7, "Encoder.forward",
        zeros_at_padding_in_evaluation, [q.train_equals_eval], GITHUB + "pytorch/pytorch/issues/86120"),
    Mistake(36, "A trained model is judged by its guesses of single tokens", 10, "exact_match",
        token_accuracy_for_exact_match, [q.a_cheat_has_no_exact_match], JADORE + "/issues/19"),
    # Without a number: what a loose tolerance, small weights or equal sizes would let through.
    Mistake(None, "eps of the norm is too small", 5, "LayerNorm.forward", eps_too_small,
        [q.normalises, c.check_layer_norm, q.pre_norm_stacks], GITHUB + "VeriSilicon/TIM-VX/pull/589"),
    Mistake(None, "GELU by its approximation", 6, "FeedForward.forward", tanh_gelu,
        [c.check_feed_forward, q.gelu_encoder_layer], GITHUB + "Blaizzy/mlx-embeddings/issues/81"),
    Mistake(None, "The formula of layer norm with the unbiased deviation", 5, "layer_norm",
        formula_with_the_unbiased_std, [q.normalises, c.check_layer_norm], ANNOTATED_LINE + "326"),
    Mistake(None, "Scores are not scaled", 1, "MultiHeadAttention.attend", no_scale,
        [q.scores_are_scaled, c.check_multi_head, c.check_decoder_layer],
        GITHUB + "PAIR-code/tiny-transformers/issues/71"),
    Mistake(None, "The formula does not scale its scores", 1, "scaled_dot_product_attention", no_scale_in_the_formula,
        [q.scores_are_scaled, c.check_formula, c.check_simple_self_attention], GITHUB + "delzac/cntkx/issues/10"),
    Mistake(None, "The formula divides by the root of the model's width", 1, "scaled_dot_product_attention",
        formula_scaled_by_d_model, [c.check_formula], GITHUB + "omihub777/ViT-CIFAR/pull/11"),
    Mistake(None, "The causal mask lets one token of the future through", 2, "causal_mask", causal_mask_leaks_one_token,
        [q.causality, c.check_masks, c.check_decoder_layer, c.check_transformer]),
    Mistake(None, "The causal mask is aligned top left", 2, "causal_mask", causal_mask_aligned_top_left,
        [q.cache_equals_full, c.check_masks], GITHUB + "pytorch/pytorch/issues/103082"),
    Mistake(None, "The causal mask is inverted", 2, "causal_mask", causal_mask_inverted,
        [q.causality, c.check_masks, c.check_transformer], GITHUB + "rasbt/LLMs-from-scratch/issues/1061"),
    Mistake(None, "The padding mask is inverted", 2, "padding_mask", padding_mask_inverted,
        [q.padding_invariance, q.every_token_counts, c.check_masks]),
    Mistake(None, "Heads are split without a transpose", 3, "MultiHeadAttention.split_heads",
        heads_split_without_transpose,
        [q.causality, q.permutation_equivariance, c.check_multi_head, c.check_encoder_layer],
        GITHUB + "reczoo/FuxiCTR/issues/30"),
    Mistake(None, "All sines stand before all cosines", 4, "sinusoidal_encoding", sines_before_cosines,
        [c.check_sinusoids, c.check_transformer]),
    Mistake(None, "The embedding is not scaled", 6, "TokenEmbedding.forward", embedding_not_scaled,
        [q.sizes_balance, c.check_embedding, c.check_transformer], GITHUB + "OpenNMT/OpenNMT-py/issues/1722"),
    Mistake(None, "The residual is forgotten", 5, "SublayerConnection.forward", residual_forgotten, [c.check_residual],
        GITHUB + "kyegomez/BitNet/issues/32"),
    Mistake(None, "One layer is used twice", 7, "Encoder.__init__", one_layer_used_twice,
        [q.layers_are_distinct, c.check_stacks], GITHUB + "espnet/espnet/issues/1278"),
    Mistake(None, "The output is not tied though it should be", 9, "Transformer.__init__", output_not_tied,
        [q.tied_weights_are_one], GITHUB + "huggingface/transformers/pull/43429"),
    Mistake(None, "The feed-forward takes a mean over the batch", 6, "FeedForward.forward", mean_over_the_batch,
        [q.batch_equals_single, c.check_feed_forward]),
    Mistake(None, "The feed-forward takes a mean over the sentence", 6, "FeedForward.forward", mean_over_the_sentence,
        [q.token_by_token, c.check_feed_forward]),
    Mistake(None, "The cache does not follow the beam", 11, "DecoderCache.select", cache_stays_where_it_was,
        [q.a_beam_needs_no_cache], GITHUB + "huggingface/transformers/issues/46612"),
    Mistake(None, "Top-p drops the token that reaches p", 11, "keep_top_p", nucleus_without_the_token_that_fills_it,
        [q.the_nucleus_reaches_its_share], GITHUB + "fishaudio/fish-speech/pull/1171"),
    Mistake(None, "Padding counts in the loss", 10, "token_loss", padding_counts, [q.loss_adds_up],
        GITHUB + "Lightning-Universe/lightning-transformers/issues/266"),
]  # fmt: skip

CODE = [mistake for mistake in MISTAKES if isinstance(mistake, Mistake)]

# Those that the museum shows, in its order.
EXHIBITS = [
    embedding_starts_at_size_1, starts_with_another_symbol, every_step_at_position_0, true_means_forbidden,
    causal_only_in_training, padding_mask_turned_to_queries, dropout_stays_in_evaluation, mean_of_means,
    scale_by_d_model, layer_norm_with_the_unbiased_std, dead_rows_average_the_padding, maps_without_the_mask,
]  # fmt: skip
