"""The laws, and a few named tests, asked of the library: each a function that takes nothing and raises if it fails.

A function that has the name of a law asks that law of the part that obeys it. `mistakes.py` says which check must
catch which mistake.
"""

import itertools
import math

import conformance
import torch
from helpers import (
    BATCH,
    D_HEAD,
    D_MODEL,
    HEADS,
    SRC_LEN,
    TGT_LEN,
    close,
    in_float64,
    ragged,
    redraw,
    source_ids,
    target_ids,
    tiny_config,
    tiny_model,
    vectors,
)

from transformer_lib import (
    Encoder,
    MultiHeadAttention,
    PositionalEncoding,
    TokenBatches,
    TokenEmbedding,
    Trainer,
    Transformer,
    attention,
    beam,
    decoding,
    laws,
    layers,
    loss,
    plotting,
    positions,
    sampling,
    schedules,
    transformer,
    translate,
)
from transformer_lib.batching import pad_sequences
from transformer_lib.data import numbers

# ---------------------------------------------------------------- the laws, each asked of the part that must obey it


@in_float64()
def causality() -> None:
    src, tgt = source_ids(), target_ids()
    model = tiny_model()
    for mode in (True, False):
        model.train(mode)
        laws.causality(lambda tgt: model(src, tgt), tgt, (tgt + 1) % 37).require()


@in_float64()
def padding_invariance() -> None:
    """Other content in the padding of the source must not be heard: by the encoder, nor across by the decoder."""
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    mask = transformer.padding_mask(src, 0)
    x, other = vectors(SRC_LEN, SRC_LEN)
    laws.padding_invariance(lambda x: model.encoder(x, mask), x, other, src != 0).require()
    every = torch.ones(BATCH, TGT_LEN, dtype=torch.bool)
    laws.padding_invariance(
        lambda memory: model.decode(tgt, memory, mask), x, other, src != 0, real_outputs=every
    ).require()


@in_float64()
def every_token_counts() -> None:
    """Each real source token reaches the decoder's last output."""
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    other = torch.where(src == 0, src, 3 + (src - 2) % 38)
    laws.every_token_counts(lambda src: model(src, tgt), src, other, src != 0).require()


@in_float64()
def permutation_equivariance() -> None:
    (x,) = vectors(SRC_LEN)
    laws.permutation_equivariance(redraw(Encoder(2, D_MODEL, HEADS, 29, 0.0)), x).require()


@in_float64()
def batch_equals_single() -> None:
    laws.batch_equals_single(tiny_model(), source_ids(), target_ids()).require()


@in_float64()
def train_equals_eval() -> None:
    """Of the whole model, and of the encoder alone: what it says at the padding is a part of its output."""
    model, src = tiny_model(), source_ids()
    laws.train_equals_eval(model, src, target_ids()).require()
    (x,) = vectors(SRC_LEN)
    laws.train_equals_eval(model.encoder, x, transformer.padding_mask(src, 0)).require()


@in_float64()
def evaluation_is_deterministic() -> None:
    laws.evaluation_is_deterministic(tiny_model(dropout=0.5), source_ids(), target_ids()).require()


@in_float64()
def cache_equals_full() -> None:
    laws.cache_equals_full(tiny_model(), source_ids(), target_ids()).require()


@in_float64()
def layers_are_distinct() -> None:
    laws.layers_are_distinct(Transformer(tiny_config()).encoder.layers).require()


@in_float64()
def untrained_loss() -> None:
    for tied in (False, True):
        model = Transformer(tiny_config(tie_embeddings=tied)).eval()
        src, tgt = source_ids(), target_ids()
        laws.untrained_loss(model(src, tgt)).require()


@in_float64()
def weights_are_shares() -> None:
    """Those that the formula returns, and those recorded in the forward pass, under the mask of that pass."""
    query, key, value = (torch.randn(BATCH, HEADS, n, D_HEAD) for n in (TGT_LEN, SRC_LEN, SRC_LEN))
    mask = ragged()[:, None, None, :].expand(BATCH, HEADS, TGT_LEN, SRC_LEN)
    laws.weights_are_shares(attention.scaled_dot_product_attention(query, key, value, mask)[1], mask).require()
    model, x = redraw(Encoder(2, D_MODEL, HEADS, 29, 0.0)), torch.randn(BATCH, SRC_LEN, D_MODEL)
    mask = ragged()[:, None, None, :]
    with attention.record_attention(model) as recorded:
        model(x, mask)
    for weights in recorded.values():
        laws.weights_are_shares(weights, mask).require()


def scores_are_scaled() -> None:
    laws.scores_are_scaled(attention.scaled_dot_product_attention, D_HEAD).require()
    module = MultiHeadAttention(D_MODEL, HEADS)

    def first_of_all_heads(*qkv):
        return module.attend(*(part.expand(-1, HEADS, -1, -1) for part in qkv), None)[:, :1]

    laws.scores_are_scaled(first_of_all_heads, D_HEAD).require()


@in_float64()
def dead_rows_are_zero() -> None:
    query, key, value = (torch.randn(BATCH, HEADS, n, D_HEAD) for n in (TGT_LEN, SRC_LEN, SRC_LEN))
    laws.dead_rows_are_zero(attention.scaled_dot_product_attention, query, key, value).require()
    laws.dead_rows_are_zero(MultiHeadAttention(D_MODEL, HEADS).attend, query, key, value).require()


@in_float64()
def distance_decides() -> None:
    laws.distance_decides(positions.sinusoidal_encoding(SRC_LEN, D_MODEL)).require()


@in_float64()
def normalises() -> None:
    weight, bias = torch.ones(5), torch.zeros(5)
    laws.normalises(layers.LayerNorm(5), 5).require()
    laws.normalises(lambda x: layers.layer_norm(x, weight.to(x.dtype), bias.to(x.dtype)), 5).require()


@in_float64()
def token_by_token() -> None:
    x, other = vectors(SRC_LEN, SRC_LEN)
    laws.token_by_token(redraw(layers.FeedForward(D_MODEL, 29)), x, other).require()


@in_float64()
def sizes_balance() -> None:
    embedding, width = TokenEmbedding(100, 256), 256
    laws.sizes_balance(embedding(torch.arange(100)[None]), positions.sinusoidal_encoding(50, width)).require()


@in_float64()
def targets_are_distributions() -> None:
    targets = torch.tensor([[3, 5, 2], [4, 0, 0]])
    laws.targets_are_distributions(loss.smoothed_targets(targets, 7, 0.1, 0), targets, 0).require()


@in_float64()
def loss_adds_up() -> None:
    targets = torch.tensor([[3, 5, 2], [4, 0, 0]])
    f = lambda logits, targets: loss.token_loss(logits, targets, pad_id=0)  # noqa: E731
    laws.loss_adds_up(f, torch.randn(2, 3, 7), targets, 0).require()


def trained() -> tuple[Transformer, torch.Tensor]:
    """The packaged model, and three numbers whose German has different lengths."""
    pairs = [numbers.number_pair(number) for number in (7, 21, 345_678)]
    return Transformer.load(translate.PACKAGED), pad_sequences([src for src, _ in numbers.encode_pairs(pairs)])


@in_float64()
def answer_is_greedy() -> None:
    model, src = trained()
    answer = decoding.greedy_decode(model, src, max_new_tokens=16)
    laws.answer_is_greedy(model, src, answer, max_new_tokens=16).require()


@in_float64()
def a_full_beam_is_an_exhaustive_search() -> None:
    """Of all answers of at most three tokens, the best is found, and with the model's own score."""
    model, src_ids = tiny_model(tgt_vocab_size=6), source_ids()
    model.output.bias.data[2] -= 1.0  # EOS: let long answers compete
    found = beam.beam_hypotheses(model, src_ids, beam_size=64, length_penalty=2.0, max_new_tokens=3)
    answers = [[*body, 2] for n in range(3) for body in itertools.product([3, 4, 5], repeat=n)]
    for row, src in enumerate(src_ids):
        scores = []
        for answer in answers:
            logits = model(src[None], torch.tensor([[1, *answer[:-1]]]))
            total = logits.log_softmax(-1)[0].gather(1, torch.tensor(answer)[:, None]).sum()
            scores.append(total / ((5 + len(answer)) / 6) ** 2.0)
        close(found.scores[row, 0], max(scores))


@in_float64()
def a_beam_needs_no_cache() -> None:
    model, src_ids = trained()
    options = dict(beam_size=4, max_new_tokens=12)
    cached, plain = (beam.beam_hypotheses(model, src_ids, use_cache=use, **options) for use in (True, False))
    assert torch.equal(cached.ids, plain.ids)
    close(cached.scores, plain.scores)


def the_nucleus_reaches_its_share() -> None:
    probs = torch.tensor([0.5, 0.25, 0.125, 0.125])
    for p, kept in ((0.4, 1), (0.5, 1), (0.6, 2), (0.75, 2), (0.8, 3), (1.0, 4)):
        assert sampling.keep_top_p(probs.log(), p).isfinite().sum() == kept


# ---------------------------------------------------------------- equal to the references (see conformance.py)


def pre_norm_stacks() -> None:
    conformance.check_stacks(norm_first=True)


def gelu_encoder_layer() -> None:
    conformance.check_encoder_layer(activation="gelu")


# ---------------------------------------------------------------- named tests of what no law says


def tied_weights_are_one() -> None:
    model = Transformer(tiny_config(tie_embeddings=True))
    assert model.output.weight is model.tgt_embedding.weight


def dropout_reaches_every_attention() -> None:
    shares = {part.dropout for part in Transformer(tiny_config(dropout=0.25)).modules() if hasattr(part, "n_heads")}
    assert shares == {0.25}


@in_float64()
def forward_is_encode_then_decode() -> None:
    """Training and decoding get their logits from one method."""
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    assert torch.equal(model(src, tgt), model.decode(tgt, *model.encode(src)))


@in_float64()
def recording_changes_nothing() -> None:
    """The output of a recorded pass is that of the pass that is not recorded."""
    model, src, tgt = tiny_model(), source_ids(), target_ids()
    plain = model(src, tgt)
    with attention.record_attention(model):
        torch.testing.assert_close(model(src, tgt), plain, rtol=0, atol=1e-12)


def swapped_labels_are_refused() -> None:
    figure, axes = plotting.new_figure()
    try:
        plotting.draw_attention(axes, torch.zeros(2, 3), ["a", "b", "c"], ["x", "y"])
        refused = False
    except ValueError:
        refused = True
    finally:
        plotting.plt.close(figure)
    assert refused


def odd_width_is_refused() -> None:
    try:
        positions.sinusoidal_encoding(4, 5)
        refused = False
    except ValueError as error:
        refused = "even d_model, got 5" in str(error)
    assert refused


def the_table_moves_with_the_module() -> None:
    module = PositionalEncoding(4, 6)
    assert module.double().encoding.dtype == torch.float64
    assert module.to("meta").encoding.device.type == "meta"
    assert "encoding" not in module.state_dict()


def accumulated_batches_equal_the_big_batch() -> None:
    """Float64: windows of three batches against the same pairs as one batch, the short window at the end included."""
    sources = [[3 + (i + j) % 30 for j in range(1 + i % 4)] for i in range(17)]
    pairs = [(src, [1, *src, 2]) for src in sources]
    runs = []
    for accumulate in (3, 1):
        torch.manual_seed(0)
        batches = TokenBatches(pairs, batch_tokens=10, seed=2)
        run = Trainer(Transformer(tiny_config()).double(), batches, rate=lambda step: 1e-3, accumulate=accumulate)
        runs.append(run)
    order = runs[0].batches.epoch(0)
    assert len(order) % 3 != 0
    runs[1]._order = [torch.cat(order[i : i + 3]) for i in range(0, len(order), 3)]
    for _ in runs[1]._order:
        small, big = (run.train_step().item() for run in runs)
        assert math.isclose(small, big, rel_tol=0, abs_tol=1e-12)
    assert runs[0].epoch == 0


def noam_is_equation_3() -> None:
    for step in (1, 7, 4000, 4001, 100_000):
        assert math.isclose(schedules.noam_rate(step, 512), 512**-0.5 * min(step**-0.5, step * 4000**-1.5))


def a_cheat_has_no_exact_match() -> None:
    """A model that reads the next token from the answer it is given is perfect when taught and worth nothing alone."""

    class Cheat(Transformer):
        def decode(self, tgt_ids, memory, memory_mask, cache=None):
            following = torch.cat([tgt_ids[:, 1:], torch.full_like(tgt_ids[:, :1], 2)], dim=1)
            return torch.nn.functional.one_hot(following, 37).float()

    pairs = [([3], [1, 4, 5, 2]), ([4], [1, 6, 7, 2])]
    assert decoding.exact_match(Cheat(tiny_config()), pairs) == 0.0


@in_float64()
def answers_do_not_depend_on_their_company() -> None:
    model, src = trained()
    together = decoding.greedy_decode(model, src, max_new_tokens=16)
    for i, row in enumerate(together):
        (alone,) = decoding.greedy_decode(model, src[i : i + 1], max_new_tokens=16)
        assert torch.equal(alone[alone != 0], row[row != 0])
