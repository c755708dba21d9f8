"""Today's parts: each obeys its law, and mistakes are seen. (Equality with others' parts: `test_references.py`.)"""

import math
import textwrap

import pytest
import torch
import torch.nn.functional as F
from helpers import BATCH, SRC_LEN, close, differ, in_float64, redraw
from torch import Tensor, nn

from transformer_lib import FeedForward, LayerNorm, MultiHeadAttention, causal_mask, laws, record_attention
from transformer_lib.exercises import positions as exercises
from transformer_lib.modern import (
    DecoderConfig,
    DecoderModel,
    GroupedQueryAttention,
    MixtureOfExperts,
    RMSNorm,
    RollingCache,
    Router,
    Routing,
    SwiGLU,
    alibi_bias,
    complete,
    load_balance,
    record_routing,
    rms_norm,
    rotate,
    window_mask,
)
from transformer_lib.modern import attention as attention_room
from transformer_lib.modern import model as model_room

HEADS, D_HEAD, D_FF, VOCAB, LEN = 4, 10, 29, 41, 11
D_MODEL = HEADS * D_HEAD


def decoder(**changes) -> DecoderModel:
    sizes = dict(vocab_size=VOCAB, d_model=D_MODEL, n_heads=HEADS, n_kv_heads=2, n_layers=3, d_ff=D_FF, max_len=17)
    model = redraw(DecoderModel(DecoderConfig(**{**sizes, **changes})))
    for part in model.modules():
        if isinstance(part, RMSNorm):
            part.weight.data.add_(1.0)
    return model.eval()


def ids(seq: int = LEN) -> Tensor:
    return torch.randint(3, VOCAB, (BATCH, seq))


POSITIONS = ("rotary", "alibi", "sinusoidal", "learned", "none")
OLD = dict(norm="layer", feed_forward="relu", positions="sinusoidal", bias=True, n_kv_heads=HEADS)
KINDS = [
    *({"positions": name} for name in POSITIONS),
    {"window": 4},
    {"window": 1},
    {"window": 4, "positions": "alibi"},
    {"window": 4, "positions": "learned"},
]
KINDS += [
    {"feed_forward": "gelu_tanh"},
    {"qk_norm": True},
    {"n_experts": 3, "top_k": 2},
    {"n_kv_heads": 1},
    {"tie_embeddings": True},
    OLD,
]


# ---------------------------------------------------------------- the laws; each a question that a mistake must fail


def check_rms_norm() -> None:
    x, norm = 3 + torch.randn(BATCH, SRC_LEN, 7), RMSNorm(7, eps=0.1)
    norm.weight.data.normal_()
    close(norm(x), rms_norm(x, norm.weight, 0.1))
    close(norm(x), nn.functional.rms_norm(x, (7,), norm.weight, 0.1))
    plain = RMSNorm(7, eps=1e-12)
    close(plain(x).square().mean(-1), torch.ones(BATCH, SRC_LEN))
    close(plain(5 * x), plain(x))
    centred = x - x.mean(-1, keepdim=True)  # of a token of mean 0 it is the norm of 2017
    close(plain(centred), LayerNorm(7, eps=1e-12)(centred))


def check_distance_decides() -> None:
    """The score of two turned vectors is the same wherever the pair stands; and the distance does matter."""
    q, k = (torch.randn(D_HEAD).expand(LEN, -1) for _ in range(2))
    scores = rotate(q) @ rotate(k).T
    close(scores[1:, 1:], scores[:-1, :-1])
    assert differ(scores[0, 1:], scores[0, :-1])
    close(rotate(q, 5) @ rotate(k, 5).T, scores)
    close(rotate(q, 3), rotate(torch.cat([q[:3], q]))[3:])
    close(rotate(q).norm(dim=-1), q.norm(dim=-1))
    close(rotate(q)[0], q[0])


def check_groups() -> None:
    """As many groups as heads are multi-head; fewer are multi-head whose heads have the same keys and values."""
    x, mask = torch.randn(BATCH, LEN, D_MODEL), causal_mask(LEN)
    for groups in (1, 2, HEADS):
        ours, plain = (
            redraw(GroupedQueryAttention(D_MODEL, HEADS, groups, bias=True)),
            MultiHeadAttention(D_MODEL, HEADS),
        )
        state = ours.state_dict()
        for name in ("k_proj", "v_proj"):
            for kind in ("weight", "bias"):
                rows = state[f"{name}.{kind}"].unflatten(0, (groups, D_HEAD))
                state[f"{name}.{kind}"] = rows.repeat_interleave(HEADS // groups, dim=0).flatten(0, 1)
        plain.load_state_dict(state)
        close(ours(x, mask), plain(x, x, x, mask))


def check_window() -> None:
    """As wide as the text it is full; else nothing is heard from further back than all layers reach, and all nearer."""
    assert torch.equal(window_mask(LEN, LEN, LEN), causal_mask(LEN)) and torch.equal(
        window_mask(3, 7), causal_mask(3, 7)
    )
    assert window_mask(LEN, LEN, 4).sum(1).tolist() == [1, 2, 3, *[4] * (LEN - 3)]
    assert window_mask(2, 5, 2).int().tolist() == [[0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]
    near, far = decoder(window=3), decoder(window=3)
    far.load_state_dict(near.state_dict())
    text = ids()
    embedded = near.embedding(text).detach().requires_grad_()
    near.embedding = nn.Identity()
    for layer in near.layers:  # the embedding is handed in
        assert layer.self_attn.rotary_base
    x, mask = embedded, window_mask(LEN, LEN, 3)
    for layer in near.layers:
        x = layer(x, mask)
    heard = torch.autograd.grad(x[:, -1].sum(), embedded)[0].abs().sum((0, 2)) > 0
    assert heard.tolist() == [i >= LEN - 1 - 3 * 2 for i in range(LEN)]
    wide, full = decoder(window=LEN), decoder()
    full.load_state_dict(wide.state_dict())
    close(wide(text), full(text))


def check_one_expert() -> None:
    one, x = redraw(MixtureOfExperts(7, D_FF, 1, 1)), torch.randn(BATCH, LEN, 7)
    close(one(x), one.experts[0](x))  # its probability is one
    same = redraw(MixtureOfExperts(7, D_FF, 3, 2))
    for expert in same.experts:
        expert.load_state_dict(same.experts[0].state_dict())
    close(same(x), same.experts[0](x))  # the shares of several choices sum to one
    alone = torch.cat([same(x[:, i : i + 1]) for i in range(LEN)], dim=1)
    close(same(x), alone)


def check_the_task_teaches_the_router() -> None:
    """The share depends on the router, however many experts a token passes through."""
    for top_k in (1, 2):
        part, x = redraw(MixtureOfExperts(7, D_FF, 3, top_k)), torch.randn(BATCH, LEN, 7)
        part(x).square().mean().backward()
        assert part.router.gate.weight.grad.abs().max() > 1e-6 * part.experts[0].down_proj.weight.grad.abs().max()
    only = redraw(Router(7, 4, 1))(torch.randn(50, 7))
    close(only.share[:, 0], only.probs.max(dim=1).values)  # as in Switch


def check_swiglu() -> None:
    part, x = redraw(SwiGLU(7, D_FF)), torch.randn(BATCH, LEN, 7)
    gate, up, down = part.gate_proj.weight, part.up_proj.weight, part.down_proj.weight
    close(part(x), (((x @ gate.T) * torch.sigmoid(x @ gate.T)) * (x @ up.T)) @ down.T)
    other = torch.randn_like(x)
    laws.token_by_token(part, x, other).require()


def check_cache(kinds: list[dict] = KINDS) -> None:
    """Pieces of any size give the full pass."""
    for kind in kinds:
        model, text = decoder(**kind), ids()
        full = model(text)
        for sizes in ([1] * LEN, [4, 1, 6], [6, 5]):
            caches = model.new_caches()
            close(torch.cat([model(piece, caches) for piece in text.split(sizes, dim=1)], dim=1), full)
            assert caches[0].length == LEN
            assert caches[0].held.size(3) == (min(LEN, kind["window"] - 1) if kind.get("window") else LEN)


def check_causality() -> None:
    for kind in KINDS:
        model, text = decoder(**kind), ids()
        laws.causality(model, text, 3 + (text - 2) % (VOCAB - 3)).require()


def check_qk_norm() -> None:
    """Longer queries and keys do not make sharper weights."""
    part, x = (
        redraw(GroupedQueryAttention(D_MODEL, HEADS, 2, qk_norm=True, eps=1e-12)),
        torch.randn(BATCH, LEN, D_MODEL),
    )
    before = part(x)
    for proj in (part.q_proj, part.k_proj):
        proj.weight.data.mul_(7.0)
    close(part(x), before)
    part.k_norm.weight.data.mul_(7.0)
    assert differ(part(x), before)


def check_alibi() -> None:
    """Slopes 1/4, 1/16, ...; minus the distance; and equal content far away counts less."""
    bias = alibi_bias(4, 3, 5)
    assert bias.shape == (4, 3, 5) and bias[:, 2, 3].tolist() == [-(4.0**-h) for h in (1, 2, 3, 4)]
    assert bias[0].tolist() == [[-0.5, -0.25, 0, 0, 0], [-0.75, -0.5, -0.25, 0, 0], [-1, -0.75, -0.5, -0.25, 0]]


def check_balance() -> None:
    probs = torch.full((12, 4), 0.25)
    even = Routing(probs, torch.arange(12)[:, None] % 4, torch.ones(12, 1), torch.ones(12, 1, dtype=torch.bool))
    close(load_balance(even), torch.tensor(1.0))
    close(load_balance(even._replace(kept=~even.kept)), torch.tensor(1.0))  # a choice counts, with a place or without
    all_to_one = even._replace(
        probs=torch.eye(4)[torch.zeros(12, dtype=torch.long)], chosen=torch.zeros_like(even.chosen)
    )
    close(load_balance(all_to_one), torch.tensor(4.0))
    close(load_balance(even, all_to_one), torch.tensor(4 * (0.625**2 + 3 * 0.125**2)))
    two = even._replace(chosen=torch.stack([torch.arange(12) % 4, torch.arange(1, 13) % 4], 1))
    close(load_balance(two), torch.tensor(2.0))
    router, tokens = redraw(Router(7, 4, 2)), torch.randn(50, 7)
    load_balance(router(tokens)).backward()
    assert router.gate.weight.grad.abs().sum() > 0


def check_capacity() -> None:
    """Each expert takes so many and no more; first choices before second ones; all that is dropped is counted."""
    router, tokens = redraw(Router(7, 4, 2, capacity=0.5)), torch.randn(41, 7)
    routing, room = router(tokens), math.ceil(0.5 * 41 * 2 / 4)
    assert routing.dropped == 82 - sum(min(room, int(n)) for n in routing.chosen.flatten().bincount(minlength=4)) > 0
    for expert in range(4):
        queue = [(c, t) for c in range(2) for t in range(41) if routing.chosen[t, c] == expert]
        assert [bool(routing.kept[t, c]) for c, t in queue] == [i < room for i in range(len(queue))]
    router.capacity = 2.0
    assert router(tokens).dropped == 0 and router(tokens).kept.shape == (41, 2)
    part = redraw(MixtureOfExperts(7, D_FF, 2, 1, capacity=0.01))
    said = part(tokens)
    with record_routing(part) as found:
        part(tokens)
    gone = ~found["router"].kept[:, 0]
    assert (said[gone] == 0).all() and (said[~gone] != 0).any() and found["router"].dropped == int(gone.sum()) >= 39
    with pytest.raises(ValueError, match="at least 1 and at most n_experts"):
        Router(7, 4, 5)


QUESTIONS = [
    check_rms_norm, check_distance_decides, check_groups, check_window, check_one_expert, check_swiglu, check_cache,
    check_causality, check_qk_norm, check_alibi, check_balance, check_capacity, check_the_task_teaches_the_router,
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_the_parts_obey(question) -> None:
    with in_float64():
        question()


# ---------------------------------------------------------------- mistakes, each with what must see it


def mean_taken_off(self, x):
    return F.layer_norm(x, self.weight.shape, self.weight, None, self.eps)


def eps_outside_the_root(self, x):
    return x / (x.square().mean(-1, keepdim=True).sqrt() + self.eps) * self.weight


def gate_without_its_bend(self, x):
    return self.down_proj(torch.sigmoid(self.gate_proj(x)) * self.up_proj(x))


def offset_forgotten(x, offset=0, base=10000.0):
    return rotate(x, 0, base)


def angles_remembered_by_length_alone(x, offset=0, base=10000.0, first={}):  # noqa: B006
    return rotate(x, first.setdefault(x.size(-2), offset), base)


def values_turned_by_absolute_place(x, offset=0, base=10000.0):
    return x + rotate(torch.ones_like(x), offset, base)  # added, as the table of 2017


def window_one_too_wide(q_len, kv_len=None, window=None):
    return window_mask(q_len, kv_len, None if window is None else window + 1)


def window_without_causality(q_len, kv_len=None, window=None):
    return window_mask(q_len, kv_len, window) | True


def cache_lets_go_too_early(self, keys, values):
    found = append(self, keys, values)
    self.held = self.held if self.window is None else self.held[:, :, :, 1:]
    return found


def groups_dealt_out_in_turns(self, x, mask=None, cache=None):
    k, v = (t.unflatten(-1, (self.n_kv_heads, -1)).transpose(1, 2) for t in (self.k_proj(x), self.v_proj(x)))
    k, v = (t.repeat(1, self.n_heads // self.n_kv_heads, 1, 1) for t in (k, v))
    heads = self.attend(self.split_heads(self.q_proj(x)), k, v, mask)
    return self.out_proj(heads.transpose(1, 2).flatten(2))


def shares_not_renormalised(self, tokens):
    probs = self.gate(tokens).softmax(dim=-1)
    share, chosen = probs.topk(self.top_k, dim=-1)
    return Routing(probs, chosen, share, torch.ones_like(chosen, dtype=torch.bool))


def an_only_choice_scaled_to_one(self, tokens):
    probs = self.gate(tokens).softmax(dim=-1)
    share, chosen = probs.topk(self.top_k, dim=-1)
    share = share / share.sum(dim=-1, keepdim=True)
    return Routing(probs, chosen, share, torch.ones_like(chosen, dtype=torch.bool))


append = RollingCache.append
MISTAKES = [
    (RMSNorm, "forward", mean_taken_off, [check_rms_norm]),
    (RMSNorm, "forward", eps_outside_the_root, [check_rms_norm]),
    (SwiGLU, "forward", gate_without_its_bend, [check_swiglu]),
    (attention_room, "rotate", offset_forgotten, [check_cache]),
    (attention_room, "rotate", angles_remembered_by_length_alone, [check_cache]),
    (None, "rotate", values_turned_by_absolute_place, [check_distance_decides]),
    (None, "window_mask", window_one_too_wide, [check_window]),
    (model_room, "window_mask", window_without_causality, [check_causality]),
    (RollingCache, "append", cache_lets_go_too_early, [check_cache]),
    (GroupedQueryAttention, "forward", groups_dealt_out_in_turns, [check_groups]),
    (Router, "forward", shares_not_renormalised, [check_one_expert, check_capacity]),
    (Router, "forward", an_only_choice_scaled_to_one, [check_the_task_teaches_the_router]),
]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(("place", "name", "bug", "caught_by"), MISTAKES, ids=lambda it: getattr(it, "__name__", ""))
def test_the_mistake_is_caught(place, name, bug, caught_by, monkeypatch) -> None:
    if place is None:  # what the question calls by its own name
        monkeypatch.setitem(globals(), name, _with(bug, globals()[name], name))
    else:
        monkeypatch.setattr(place, name, bug)
    for question in caught_by:
        with in_float64(), pytest.raises((AssertionError, laws.LawViolation)):
            question()


def _with(bug, correct, name):
    """The bug, in which the name still means what it meant."""
    return type(bug)(bug.__code__, {**globals(), name: correct}, name, bug.__defaults__)


# ---------------------------------------------------------------- what else must be so


@in_float64()
def test_the_layout_of_chapter_4_is_ours_with_the_features_in_another_order() -> None:
    """Its exercise pairs neighbours, 2j and 2j+1, as the paper; Hugging Face's Llama, and we, j and j + d_head/2.

    And it turns the other way, which is to change the places of the two in a pair.
    """
    (exercise,) = (exercise for exercise in exercises.EXERCISES if exercise.name == "positions.rotary")
    names = {"torch": torch, "math": math}
    exec(textwrap.dedent(exercise.solution), names)
    (q, k), order = torch.randn(2, 2, 5, 6), [1, 3, 5, 0, 2, 4]
    scores = rotate(q[..., order]) @ rotate(k[..., order]).mT / math.sqrt(6)
    close(scores, names["my_rotary_scores"](q, k))
    with pytest.raises(ValueError, match="even d_head, got 5"):
        rotate(torch.randn(3, 5))


@in_float64()
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_an_untrained_model_knows_nothing_and_writes_the_same_with_and_without_a_cache(kind: dict) -> None:
    torch.manual_seed(0)
    sizes = dict(vocab_size=VOCAB, d_model=D_MODEL, n_heads=HEADS, n_layers=2, d_ff=D_FF, max_len=17)
    logits = DecoderModel(DecoderConfig(**{**sizes, **kind}))(torch.randint(3, VOCAB, (64, LEN)))
    loss = F.cross_entropy(logits.flatten(0, 1), torch.randint(0, VOCAB, (64 * LEN,)))
    assert loss.item() == pytest.approx(math.log(VOCAB), rel=0.05)
    model, text = decoder(**kind).train(), ids(3)
    written = complete(model, text, max_new_tokens=9)
    assert model.training and written.size(0) == BATCH and not (written[:, 0] == 0).any()
    assert torch.equal(written, complete(model, text, max_new_tokens=9, use_cache=False))


def test_where_eos_pads_it_can_be_chosen() -> None:
    model = decoder(eos_id=2, pad_id=2)
    with torch.no_grad():
        model.output.weight.zero_()
        model.norm.weight.zero_()
        model.norm.weight[0] = 1.0
        model.output.weight[2, 0] = 1.0
        model.output.weight[3, 0] = -1.0
    found = complete(model, ids(4), max_new_tokens=5)
    assert {*found[:, 0].tolist()} == {2, 3} and all(2 not in row or {*row[row.index(2) :]} == {2}
                                                     for row in found.tolist())  # fmt: skip


def test_a_text_ends_with_eos() -> None:
    model = decoder()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.weight[2] = 1.0
        model.norm.weight.zero_()
        model.norm.weight[0] = 1.0
    found = complete(model, ids(4), max_new_tokens=5)
    assert found.size(1) <= 5
    for row in found.tolist():
        assert 2 not in row or {*row[row.index(2) + 1 :]} <= {0}
    model.output.weight.data.zero_()  # all alike: padding is not chosen, the next is 1
    assert complete(model, ids(4), max_new_tokens=2).tolist() == [[1, 1]] * BATCH
    model.config.__dict__["eos_id"] = 1
    assert complete(model, ids(4), max_new_tokens=9).tolist() == [[1]] * BATCH


@in_float64()
def test_attention_is_recorded_as_in_any_other_model_but_not_with_alibi() -> None:
    model, text = decoder(), ids()
    with record_attention(model) as weights:
        close(model(text), decoder_twin(model)(text))
    assert list(weights) == [f"layers.{i}.self_attn" for i in range(3)]
    for found in weights.values():
        laws.weights_are_shares(found, causal_mask(LEN)).require()


@pytest.mark.usefixtures("without_shape_checks")
def test_weights_with_a_bias_are_refused_and_not_shown_without_it() -> None:
    with record_attention(model := decoder(positions="alibi")), pytest.raises(ValueError, match="mask must be boolean"):
        model(ids())


def decoder_twin(model: DecoderModel) -> DecoderModel:
    twin = DecoderModel(model.config).eval()
    twin.load_state_dict(model.state_dict())
    return twin


def test_a_capacity_breaks_causality_and_without_one_nothing_does() -> None:
    """What a token gets depends on later ones, whose first choices come before its second."""
    part, x = redraw(MixtureOfExperts(7, D_FF, 2, 2, capacity=0.5), std=1.0), torch.randn(1, 40, 7)
    assert differ(part(x)[:, :20], part(x[:, :20]))
    part.router.capacity = None
    torch.testing.assert_close(part(x)[:, :20], part(x[:, :20]))


def test_routing_is_recorded_by_name_and_nothing_stays() -> None:
    model = decoder(n_experts=3, top_k=2)
    with record_routing(model) as found:
        model(ids())
    assert list(found) == [f"layers.{i}.feed_forward.router" for i in range(3)]
    assert not any(part._forward_hooks for part in model.modules())
    with pytest.raises(ValueError, match="Linear holds no Router"), record_routing(nn.Linear(2, 2)):
        pass


def test_dropout_drops_in_training_only() -> None:
    for kind in ({}, OLD, {"n_experts": 2}):
        model, text = decoder(dropout=0.5, **kind), ids()
        assert torch.equal(model(text), model(text))
        model.train()
        assert differ(model(text), model(text))


@pytest.mark.parametrize("kind", [{}, OLD, {"n_experts": 2}], ids=str)
def test_dropout_is_at_work_at_every_place(kind: dict) -> None:
    model, text = decoder(dropout=0.5, n_layers=1, **kind).train(), ids()
    places = [(part, "p") for part in model.layers.modules() if isinstance(part, nn.Dropout)]
    places += [(part, "dropout") for part in model.layers.modules() if isinstance(part, GroupedQueryAttention)]
    assert [getattr(*place) for place in places] == [0.5] * (4 if kind.get("n_experts") else 3)
    for only in places:
        for place in places:
            setattr(*place, 0.5 if place == only else 0.0)
        assert differ(model(text), model(text)), only
    calls: list[int] = []
    model.layers[0].dropout.register_forward_hook(lambda *_: calls.append(1))
    model(text)
    assert len(calls) == 2  # what attention adds, and what the network adds


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 0}, "d_model must be a whole number"),
        ({"n_heads": 3}, r"d_model \(40\) must be divisible by n_heads \(3\)"),
        ({"n_kv_heads": 3}, r"n_heads \(4\) must be divisible by n_kv_heads \(3\)"),
        ({"norm": "batch"}, "norm must be one of rms, layer, got 'batch'"),
        ({"bias": 1}, "bias must be True or False, got 1"),
        ({"d_model": 36}, "rotary positions need an even width, got 9"),
        ({"d_model": 4, "n_heads": 1, "n_kv_heads": 1, "window": 0}, "window must be a whole number of at least 1"),
        ({"d_model": 7, "n_heads": 7, "n_kv_heads": 1, "positions": "sinusoidal"}, "sinusoidal positions need an even"),
        ({"capacity": 0.0}, "capacity must be a finite number above 0"),
        ({"n_experts": 2, "top_k": 3}, r"top_k \(3\) must be at most n_experts \(2\)"),
        ({"n_experts": 2, "feed_forward": "relu"}, "experts are swiglu networks, got feed_forward='relu'"),
        ({"eos_id": 41}, r"eos_id \(41\) is outside the vocabulary of 41 tokens"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoder(**changes)


@pytest.mark.usefixtures("without_shape_checks")
def test_what_cannot_be_read_is_refused() -> None:
    model = decoder(positions="learned")
    with pytest.raises(ValueError, match="a text of 18 tokens exceeds max_len=17"):
        model(ids(18))
    with pytest.raises(ValueError, match="ids must have shape"):
        model(torch.tensor([3, 4]))
    caches = model.new_caches()
    model(ids(), caches)
    with pytest.raises(ValueError, match="a batch of 3, got 1; begin a new cache"):
        model(ids()[:1, :1], caches)
    with pytest.raises(ValueError, match="max_new_tokens must be a whole number"):
        complete(model, ids(), max_new_tokens=0)
    with pytest.raises(ValueError, match=r"n_heads \(4\) must be divisible by n_kv_heads \(3\)"):
        GroupedQueryAttention(D_MODEL, HEADS, 3)


def test_the_old_parts_are_those_of_2017() -> None:
    model = decoder(**OLD, eps=0.25)
    assert isinstance(model.norm, LayerNorm) and isinstance(model.layers[0].feed_forward, FeedForward)
    assert {part.eps for part in model.modules() if isinstance(part, LayerNorm)} == {0.25}


def test_tokens_and_learned_places_start_equally_large() -> None:
    model = DecoderModel(DecoderConfig(vocab_size=VOCAB, positions="learned"))
    for table in (model.embedding, model.positions):
        assert table.weight.std().item() == pytest.approx(0.4, rel=0.1)
