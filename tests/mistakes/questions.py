"""The questions: the laws, and a few named tests, asked of the library; each takes nothing and raises if it fails.

`test_mistakes.py` asks them in float64. A question that has the name of a law asks that law of the part that obeys
it. `registry.py` says which question must catch which mistake.
"""

import itertools
import math

import contracts
import helpers
import torch
from helpers import BATCH, D_HEAD, D_MODEL, HEADS, SRC_LEN, TGT_LEN, ragged, redraw, vectors
from torch import Tensor

import transformer_lib as lib
from transformer_lib import laws
from transformer_lib.notebook import plotting


def causality() -> None:
    model, src, tgt = helpers.tiny_model(), helpers.source_ids(), helpers.target_ids()
    for mode in (True, False):
        model.train(mode)
        laws.causality(lambda tgt: model(src, tgt), tgt, (tgt + 1) % 37).require()


def padding_invariance() -> None:
    """Other content in the padding of the source must not be heard: by the encoder, nor across by the decoder."""
    model, src, tgt = helpers.tiny_model(), helpers.source_ids(), helpers.target_ids()
    mask, (x, other) = lib.padding_mask(src, 0), vectors(SRC_LEN, SRC_LEN)
    laws.padding_invariance(lambda x: model.encoder(x, mask), x, other, src != 0).require()
    every = torch.ones(BATCH, TGT_LEN, dtype=torch.bool)
    across = lambda memory: model.decode(tgt, memory, mask)  # noqa: E731
    laws.padding_invariance(across, x, other, src != 0, real_outputs=every).require()


def every_token_counts() -> None:
    """Each real source token reaches the decoder's last output."""
    model, src, tgt = helpers.tiny_model(), helpers.source_ids(), helpers.target_ids()
    other = torch.where(src == 0, src, 3 + (src - 2) % 38)
    laws.every_token_counts(lambda src: model(src, tgt), src, other, src != 0).require()


def permutation_equivariance() -> None:
    (x,) = vectors(SRC_LEN)
    laws.permutation_equivariance(redraw(lib.Encoder(2, D_MODEL, HEADS, 29, 0.0)), x).require()


def batch_equals_single() -> None:
    laws.batch_equals_single(helpers.tiny_model(), helpers.source_ids(), helpers.target_ids()).require()


def train_equals_eval() -> None:
    """Of the whole model, and of the encoder alone: what it says at the padding is a part of its output."""
    model, src, (x,) = helpers.tiny_model(), helpers.source_ids(), vectors(SRC_LEN)
    laws.train_equals_eval(model, src, helpers.target_ids()).require()
    laws.train_equals_eval(model.encoder, x, lib.padding_mask(src, 0)).require()


def evaluation_is_deterministic() -> None:
    model = helpers.tiny_model(dropout=0.5)
    laws.evaluation_is_deterministic(model, helpers.source_ids(), helpers.target_ids()).require()


def cache_equals_full() -> None:
    laws.cache_equals_full(helpers.tiny_model(), helpers.source_ids(), helpers.target_ids()).require()


def layers_are_distinct() -> None:
    laws.layers_are_distinct(lib.Transformer(helpers.tiny_config()).encoder.layers).require()


def untrained_loss() -> None:
    for tied in (False, True):
        model = lib.Transformer(helpers.tiny_config(tie_embeddings=tied)).eval()
        laws.untrained_loss(model(helpers.source_ids(), helpers.target_ids())).require()


def weights_are_shares() -> None:
    """Those that the formula returns, and those recorded in the forward pass, under the mask of that pass."""
    query, key, value = (torch.randn(BATCH, HEADS, n, D_HEAD) for n in (TGT_LEN, SRC_LEN, SRC_LEN))
    mask = ragged()[:, None, None, :]
    laws.weights_are_shares(lib.scaled_dot_product_attention(query, key, value, mask)[1], mask).require()
    model, x = redraw(lib.Encoder(2, D_MODEL, HEADS, 29, 0.0)), torch.randn(BATCH, SRC_LEN, D_MODEL)
    with lib.record_attention(model) as recorded:
        model(x, mask)
    for weights in recorded.values():
        laws.weights_are_shares(weights, mask).require()


def scores_are_scaled() -> None:
    laws.scores_are_scaled(lib.scaled_dot_product_attention, D_HEAD).require()
    module = lib.MultiHeadAttention(D_MODEL, HEADS)

    def first_of_all_heads(*qkv):
        return module.attend(*(part.expand(-1, HEADS, -1, -1) for part in qkv), None)[:, :1]

    laws.scores_are_scaled(first_of_all_heads, D_HEAD).require()


def dead_rows_are_zero() -> None:
    query, key, value = (torch.randn(BATCH, HEADS, n, D_HEAD) for n in (TGT_LEN, SRC_LEN, SRC_LEN))
    laws.dead_rows_are_zero(lib.scaled_dot_product_attention, query, key, value).require()
    laws.dead_rows_are_zero(lib.MultiHeadAttention(D_MODEL, HEADS).attend, query, key, value).require()


def distance_decides() -> None:
    laws.distance_decides(lib.sinusoidal_encoding(SRC_LEN, D_MODEL)).require()


def normalises() -> None:
    weight, bias = torch.ones(5), torch.zeros(5)
    laws.normalises(lib.LayerNorm(5), 5).require()
    laws.normalises(lambda x: lib.layer_norm(x, weight.to(x.dtype), bias.to(x.dtype)), 5).require()


def token_by_token() -> None:
    x, other = vectors(SRC_LEN, SRC_LEN)
    laws.token_by_token(redraw(lib.FeedForward(D_MODEL, 29)), x, other).require()


def sizes_balance() -> None:
    tokens = lib.TokenEmbedding(100, 256)(torch.arange(100)[None])
    laws.sizes_balance(tokens, lib.sinusoidal_encoding(50, 256)).require()


def targets_are_distributions() -> None:
    targets = torch.tensor([[3, 5, 2], [4, 0, 0]])
    laws.targets_are_distributions(lib.smoothed_targets(targets, 7, 0.1, 0), targets, 0).require()


def loss_adds_up() -> None:
    targets = torch.tensor([[3, 5, 2], [4, 0, 0]])
    f = lambda logits, targets: lib.token_loss(logits, targets, pad_id=0)  # noqa: E731
    laws.loss_adds_up(f, torch.randn(2, 3, 7), targets, 0).require()


def lively(seed: int = 6) -> tuple[lib.Transformer, Tensor]:
    """A model and sources whose answers differ and end at different places."""
    return helpers.lively_model(seed), lib.pad_sequences(helpers.SOURCES)


def answer_is_greedy() -> None:
    model, src = lively()
    answer = lib.greedy_decode(model, src, max_new_tokens=16)
    laws.answer_is_greedy(model, src, answer, max_new_tokens=16).require()


@torch.no_grad()
def log_probs_of(model: lib.Transformer, source: list[int], answers: list[list[int]]) -> list[float]:
    """Score whole answers in one teacher-forced pass."""
    tgt_ids = lib.pad_sequences([[1, *answer] for answer in answers])
    wanted = tgt_ids[:, 1:]
    logits = model(torch.tensor([source]).expand(len(answers), -1), tgt_ids[:, :-1])
    found = logits.log_softmax(-1).gather(2, wanted.unsqueeze(2)).squeeze(2)
    return found.masked_fill(wanted == 0, 0.0).sum(dim=1).tolist()


def a_full_beam_is_an_exhaustive_search(alpha: float = 1.0) -> None:
    """Of all answers of at most four tokens, the best is found, and with the model's own score."""
    everything = [[*body, 2] for n in range(4) for body in itertools.product([3, 4, 5, 6], repeat=n)]
    lengths = set()
    for seed in (0, 2, 5):
        model, src_ids = lively(seed)
        found = lib.beam_hypotheses(model.eval(), src_ids, beam_size=5**4, length_penalty=alpha, max_new_tokens=4)
        for ids, score, source in zip(found.ids[:, 0], found.scores[:, 0], helpers.SOURCES, strict=True):
            totals = log_probs_of(model, source, everything)
            scores = [total / ((5 + len(y)) / 6) ** alpha for total, y in zip(totals, everything, strict=True)]
            best = max(range(len(everything)), key=scores.__getitem__)
            assert [token for token in ids.tolist() if token] == everything[best]
            assert math.isclose(score, scores[best], rel_tol=0, abs_tol=1e-12)
            lengths.add(len(everything[best]))
    assert len(lengths) > 1  # short and long ones win


def a_beam_needs_no_cache() -> None:
    model, src_ids = lively()
    options = dict(beam_size=4, max_new_tokens=12)
    cached, plain = (lib.beam_hypotheses(model, src_ids, use_cache=use, **options) for use in (True, False))
    assert torch.equal(cached.ids, plain.ids)
    helpers.close(cached.scores, plain.scores)


def the_nucleus_reaches_its_share() -> None:
    probs = torch.tensor([0.5, 0.25, 0.125, 0.125])  # which a float holds exactly
    for p, kept in ((0.3, 1), (0.5, 1), (0.500001, 2), (0.75, 2), (0.76, 3), (0.875, 3), (0.9, 4), (1.0, 4)):
        assert lib.keep_top_p(probs.log(), p).isfinite().sum() == kept


def pre_norm_stacks() -> None:
    contracts.check_stacks(norm_first=True)


def gelu_encoder_layer() -> None:
    contracts.check_encoder_layer(activation="gelu")


# Named tests of what no law says


def refusal(f, *arguments) -> str:
    """What the `ValueError` says; nothing, if there is none."""
    try:
        f(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def tied_weights_are_one() -> None:
    model = lib.Transformer(helpers.tiny_config(tie_embeddings=True))
    assert model.output.weight is model.tgt_embedding.weight


def dropout_reaches_every_attention() -> None:
    model = lib.Transformer(helpers.tiny_config(dropout=0.25))
    assert {part.dropout for part in model.modules() if hasattr(part, "n_heads")} == {0.25}


def forward_is_encode_then_decode() -> None:
    """Training and decoding get their logits from one method."""
    model, src, tgt = helpers.tiny_model(), helpers.source_ids(), helpers.target_ids()
    assert torch.equal(model(src, tgt), model.decode(tgt, *model.encode(src)))


def recording_changes_nothing() -> None:
    """The output of a recorded pass is that of the pass that is not recorded."""
    model, src, tgt = helpers.tiny_model(), helpers.source_ids(), helpers.target_ids()
    plain = model(src, tgt)
    with lib.record_attention(model):
        torch.testing.assert_close(model(src, tgt), plain, rtol=0, atol=1e-12)


def swapped_labels_are_refused() -> None:
    figure, axes = plotting.new_figure()
    plotting.plt.close(figure)
    assert refusal(plotting.draw_attention, axes, torch.zeros(2, 3), ["a", "b", "c"], ["x", "y"])


def odd_width_is_refused() -> None:
    assert "even d_model, got 5" in refusal(lib.sinusoidal_encoding, 4, 5)


def the_table_moves_with_the_module() -> None:
    module = lib.PositionalEncoding(4, 6)
    assert module.double().encoding.dtype == torch.float64
    assert module.to("meta").encoding.device.type == "meta"
    assert "encoding" not in module.state_dict()


def accumulated_batches_equal_the_big_batch() -> None:
    """Windows of three batches against the same pairs as one batch, the short window at the end included."""
    sources = [[3 + (i + j) % 30 for j in range(1 + i % 4)] for i in range(17)]
    pairs = [(src, [1, *src, 2]) for src in sources]
    runs = []
    for accumulate in (3, 1):
        torch.manual_seed(0)
        batches = lib.TokenBatches(pairs, batch_tokens=10, seed=2)
        model = lib.Transformer(helpers.tiny_config()).double()
        runs.append(lib.Trainer(model, batches, rate=lambda step: 1e-3, accumulate=accumulate))
    order = runs[0].batches.epoch(0)
    assert len(order) % 3 != 0
    runs[1]._order = [torch.cat(order[i : i + 3]) for i in range(0, len(order), 3)]
    for _ in runs[1]._order:
        small, big = (run.train_step().item() for run in runs)
        assert math.isclose(small, big, rel_tol=0, abs_tol=1e-12)
    assert (runs[0].epoch, runs[0].position) == (0, len(order))
    weights, others = (torch.nn.utils.parameters_to_vector(run.model.parameters()) for run in runs)
    torch.testing.assert_close(weights, others, rtol=0, atol=1e-9)


def noam_is_equation_3() -> None:
    for step in (1, 7, 4000, 4001, 100_000):
        assert math.isclose(lib.noam_rate(step, 512), 512**-0.5 * min(step**-0.5, step * 4000**-1.5))


def a_cheat_has_no_exact_match() -> None:
    """A model that reads the next token from the answer it is given is perfect when taught and worth nothing alone."""

    class Cheat(lib.Transformer):
        def decode(self, tgt_ids, memory, memory_mask, cache=None):
            following = torch.cat([tgt_ids[:, 1:], torch.full_like(tgt_ids[:, :1], 2)], dim=1)
            return torch.nn.functional.one_hot(following, 37).float()

    pairs = [([3], [1, 4, 5, 2]), ([4], [1, 6, 7, 2])]
    assert lib.exact_match(Cheat(helpers.tiny_config()), pairs) == 0.0


def answers_do_not_depend_on_their_company() -> None:
    model, src = lively()
    together = lib.greedy_decode(model, src, max_new_tokens=16)
    for i, row in enumerate(together):
        (alone,) = lib.greedy_decode(model, src[i : i + 1], max_new_tokens=16)
        assert torch.equal(alone[alone != 0], row[row != 0])
