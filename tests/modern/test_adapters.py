"""Low-rank adapters: equal to those of `peft`, nothing at first, one matrix when merged; mistakes are seen."""

import copy

import pytest
import torch
from helpers import D_FF, D_MODEL, close, differ, in_float64, redraw, tiny_case, tiny_model
from torch import Tensor, nn

from transformer_lib.modern import LoRA, add_lora, merge_lora

NAMES = ("q_proj", "v_proj")


def trained(rank: int = 3, alpha: float = 5.0, names: tuple[str, ...] = NAMES) -> tuple[nn.Module, nn.Module]:
    """A tiny model, and a copy with adapters that say something."""
    plain = tiny_model()
    adapted = add_lora(copy.deepcopy(plain), rank, alpha, names)
    for part in adapted.modules():
        if isinstance(part, LoRA):
            redraw(part.down), redraw(part.up)
    return plain, adapted


def check_nothing_at_first() -> None:
    plain, src, tgt = tiny_case()
    close(add_lora(copy.deepcopy(plain), 3, 5.0, NAMES)(src, tgt), plain(src, tgt))


def check_formula() -> None:
    part, x = LoRA(redraw(nn.Linear(D_MODEL, D_FF)), 3, 5.0), torch.randn(2, 4, D_MODEL)
    redraw(part.down), redraw(part.up)
    linear, thin = part.linear, part.up.weight @ part.down.weight
    close(part(x), x @ linear.weight.T + linear.bias + 5.0 / 3 * x @ thin.T)


def check_merged() -> None:
    (_, src, tgt), (plain, adapted) = tiny_case(), trained(names=("q_proj", "fc1", "output"))
    said, kept = adapted(src, tgt), {name: x.clone() for name, x in adapted.state_dict().items()}
    merged = merge_lora(copy.deepcopy(adapted))
    close(merged(src, tgt), said)
    assert differ(said, plain(src, tgt))
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert all(torch.equal(x, kept[name]) for name, x in adapted.state_dict().items()), "merging leaves the source"


def check_only_adapters_learn() -> None:
    (_, src, tgt), (_, adapted) = tiny_case(), trained()
    before = {name: x.clone() for name, x in adapted.named_parameters()}
    learning = [p for p in adapted.parameters() if p.requires_grad]
    adapted(src, tgt).square().sum().backward()
    torch.optim.SGD(learning, lr=0.1).step()
    moved = {name for name, x in adapted.named_parameters() if not torch.equal(x, before[name])}
    assert moved == {name for name in before if name.endswith((".down.weight", ".up.weight"))}
    maps = 2 * (2 + 3 + 3)  # queries and values, in all attentions
    assert sum(p.numel() for p in learning) == maps * 3 * 2 * D_MODEL and len(moved) == 2 * maps


QUESTIONS = [check_nothing_at_first, check_formula, check_merged, check_only_adapters_learn]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_adapters(question) -> None:
    with in_float64():
        question()


def scale_forgotten(self, x: Tensor) -> Tensor:
    return self.linear(x) + self.up(self.down(x))


def merged_without_scale(self) -> nn.Linear:
    linear = copy.deepcopy(self.linear)
    linear.weight.data += self.up.weight.data @ self.down.weight.data
    return linear


MISTAKES = [
    ("forward", scale_forgotten, [check_formula, check_merged]),
    ("merged", merged_without_scale, [check_merged]),
]


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(("name", "bug", "caught_by"), MISTAKES, ids=["scale forgotten", "merged without scale"])
def test_the_mistake_is_caught(name: str, bug, caught_by, monkeypatch) -> None:
    monkeypatch.setattr(LoRA, name, bug)
    for question in caught_by:
        with in_float64(), pytest.raises(AssertionError):
            question()


@pytest.mark.usefixtures("without_shape_checks")
def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="Transformer holds nothing that is called query or value"):
        add_lora(tiny_model(), 2, 2.0, ("query", "value"))
    with pytest.raises(ValueError, match="Transformer holds nothing that is called proj"):
        add_lora(tiny_model(), 2, 2.0, ("proj",))  # a name counts whole
    with pytest.raises(ValueError, match="rank must be a whole number of at least 1, got 0"):
        LoRA(nn.Linear(2, 2), 0, 1.0)
    with pytest.raises(ValueError, match="alpha must be a finite number above 0"):
        LoRA(nn.Linear(2, 2), 1, 0.0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_adapter_has_the_type_of_its_map(dtype: torch.dtype) -> None:
    part = LoRA(nn.Linear(3, 5).to(dtype), 2, 1.0)
    assert {p.dtype for p in part.parameters()} == {dtype} and part.merged().weight.dtype == dtype


def test_an_adapter_alone_freezes_its_map_and_merges_a_copy() -> None:
    part = LoRA(nn.Linear(3, 5), 2, 1.0)
    redraw(part.up)
    before = part.linear.weight.clone()
    assert differ(part.merged().weight, before) and torch.equal(part.linear.weight, before)
    assert {name for name, p in part.named_parameters() if p.requires_grad} == {"down.weight", "up.weight"}


@pytest.mark.hf
@pytest.mark.filterwarnings("ignore")  # what comes with its import
@in_float64()
def test_equal_to_peft() -> None:
    import peft

    plain, src, tgt = tiny_case()
    ours = add_lora(copy.deepcopy(plain), 3, 6.0, NAMES)
    theirs = peft.get_peft_model(plain, peft.LoraConfig(r=3, lora_alpha=6, target_modules=[*NAMES])).double()
    found = 0
    for name, part in ours.named_modules():
        if isinstance(part, LoRA):
            other = theirs.base_model.model.get_submodule(name)
            for mine, its in ((part.down, other.lora_A["default"]), (part.up, other.lora_B["default"])):
                nn.init.normal_(mine.weight, std=0.2)
                its.weight.data.copy_(mine.weight)
                found += 1
    assert found == 2 * 2 * (2 + 3 + 3)
    trainable = sum(p.numel() for p in ours.parameters() if p.requires_grad)
    assert trainable == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    close(ours(src, tgt), theirs(src, tgt))
    close(merge_lora(ours)(src, tgt), theirs.merge_and_unload()(src, tgt))
