"""What the tests of the library share: float64, weights large enough to show a mistake, tiny models."""

import contextlib
import functools
import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transformer_lib import LayerNorm, Transformer, TransformerConfig, exact_match
from transformer_lib.data import numbers

# Sizes are pairwise different primes, so that no axis can be mistaken for another (d_model = heads * d_head).
BATCH, SRC_LEN, TGT_LEN, HEADS, D_HEAD, D_FF = 3, 7, 5, 2, 11, 29
D_MODEL = HEADS * D_HEAD
SRC_VOCAB, TGT_VOCAB = 41, 37


@contextlib.contextmanager
def in_float64(seed: int = 0) -> Iterator[None]:
    """Seed torch and make float64 its default type; as a decorator, for one test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def close(actual: Tensor, expected: Tensor) -> None:
    """Require equality to 1e-12: in float64 nothing else is tolerated."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def differ(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape differ by more than any rounding."""
    assert a.shape == b.shape
    return bool((a - b).abs().max() > 1e-3)


def redraw(module: nn.Module, std: float = 0.2) -> nn.Module:
    """Redraw all weights with standard deviation `std`; those of norms around 1. Biases too: zeros hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)
        for part in module.modules():
            if isinstance(part, nn.LayerNorm | LayerNorm):
                part.weight.add_(1.0)
    return module


def weights(model: nn.Module) -> Tensor:
    """All weights in one row."""
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def vectors(*lens: int, d_model: int = D_MODEL) -> list[Tensor]:
    """Random vectors `(batch, len, d_model)` for every length."""
    return [torch.randn(BATCH, n, d_model) for n in lens]


def ragged(seq: int = SRC_LEN) -> Tensor:
    """`(batch, seq)`: `True` at real tokens; the sequences have the lengths seq, seq - 2 and 1."""
    lengths = torch.tensor([seq, max(seq - 2, 1), 1])
    return torch.arange(seq) < lengths[:, None]


def tiny_config(**changes) -> TransformerConfig:
    """A configuration in which all sizes differ."""
    sizes = dict(src_vocab_size=SRC_VOCAB, tgt_vocab_size=TGT_VOCAB, d_model=D_MODEL, n_heads=HEADS, d_ff=D_FF)
    options = dict(n_encoder_layers=2, n_decoder_layers=3, max_len=13, dropout=0.0)
    return TransformerConfig(**{**sizes, **options, **changes})


def tiny_model(**changes) -> Transformer:
    """A tiny model with redrawn weights, in evaluation mode."""
    return redraw(Transformer(tiny_config(**changes))).eval()


def source_ids(config: TransformerConfig | None = None, seq: int = SRC_LEN) -> Tensor:
    """Random source ids, padded to ragged lengths."""
    config = config or tiny_config()
    ids = torch.randint(3, config.src_vocab_size, (BATCH, seq))
    return ids.masked_fill(~ragged(seq), config.pad_id)


def target_ids(config: TransformerConfig | None = None, seq: int = TGT_LEN) -> Tensor:
    """Random target ids, beginning with `bos_id`, padded to ragged lengths."""
    config = config or tiny_config()
    ids = torch.randint(3, config.tgt_vocab_size, (BATCH, seq))
    ids[:, 0] = config.bos_id
    return ids.masked_fill(~ragged(seq), config.pad_id)


def tiny_case(**changes) -> tuple[Transformer, Tensor, Tensor]:
    """A tiny model, and sources and targets for it."""
    model = tiny_model(**changes)
    return model, source_ids(model.config), target_ids(model.config)


def torch_layer_options(norm_first: bool, activation: str = "relu") -> dict:
    """Arguments of torch's layers, in the tests' sizes."""
    sizes = dict(d_model=D_MODEL, nhead=HEADS, dim_feedforward=D_FF, dropout=0.0)
    return dict(**sizes, activation=getattr(F, activation), norm_first=norm_first, batch_first=True)


def torch_stacks(norm_first: bool, activation: str = "relu", n_encoder: int = 2, n_decoder: int = 3) -> tuple:
    """torch's encoder and decoder with redrawn weights, with a final norm if (and only if) they are pre-norm."""
    options = torch_layer_options(norm_first, activation)
    norms = [nn.LayerNorm(D_MODEL) if norm_first else None for _ in range(2)]
    layers = nn.TransformerEncoderLayer(**options), nn.TransformerDecoderLayer(**options)
    encoder = nn.TransformerEncoder(layers[0], n_encoder, norms[0], enable_nested_tensor=False)
    decoder = nn.TransformerDecoder(layers[1], n_decoder, norms[1])
    return redraw(encoder), redraw(decoder)


# Sources for `lively_model`.
SOURCES = [[3, 4, 5, 6, 7], [8], [9, 10, 11], [12, 3], [4, 4, 4, 4, 4, 4, 4]]


def lively_model(seed: int = 0, norm_first: bool = True) -> Transformer:
    """A model of seven target tokens whose answers differ and end at different places, in training mode."""
    torch.manual_seed(seed)
    sizes = dict(src_vocab_size=13, tgt_vocab_size=7, d_model=12, n_heads=3, d_ff=20, max_len=17)
    model = Transformer(TransformerConfig(**sizes, dropout=0.2, norm_first=norm_first))
    return redraw_lively(model).double()


def ending(row: list[int]) -> int:
    """Return the length of an answer. It must hold no BOS, and nothing but padding behind EOS."""
    length = row.index(2) + 1 if 2 in row else len(row)
    assert not {0, 1} & {*row[:length]} and {*row[length:]} <= {0}
    return length


def redraw_lively(model: Transformer) -> Transformer:
    """Redraw the matrices, so that answers differ and end at different places."""
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=1.0 if "embedding" in name else 0.7)
    return model


# What short trainings learn from: number words.
PAIRS = numbers.encode_pairs(numbers.spell(numbers.draw_numbers(120, seed=1)))

# A new process, and no copy of this one: copied locks of libraries' threads are never given back.
OTHER = multiprocessing.get_context("spawn")


def in_another_process(work: Callable[..., None], *arguments: object) -> multiprocessing.process.BaseProcess:
    """Start `work` in a process of its own, where it can be killed."""
    process = OTHER.Process(target=work, args=arguments)
    process.start()
    return process


class Numbers:
    """A task for recipes that is quickly made."""

    hint, one_word, vocab_sizes = "Write anything", False, (33, 35)
    files = {"ids.txt": "what the ids mean: zwölf\n"}  # noqa: RUF012
    Model = Transformer

    def __init__(self, folder=None):
        self.folder = folder

    @functools.cache  # noqa: B019 (there are few of them)
    def train_pairs(self):
        return numbers.encode_pairs(numbers.spell(numbers.draw_numbers(60, seed=1)))

    def measure(self, model):
        return {"right": exact_match(model, self.train_pairs()[:5])}

    examine = measure

    def answer(self, text, model):
        return text


# A recipe of nine steps.
RECIPE = """
task = "pronounce"
seed = 3
threads = 1
[model]
d_model = 16
n_heads = 2
n_encoder_layers = 1
n_decoder_layers = 1
d_ff = 16
max_len = 24
dropout = 0.1
norm_first = true
[training]
steps = 9
batch_tokens = 60
peak_rate = 1e-2
warmup = 2
smoothing = 0.1
[watching]
every = 2
measure = 4
average = 2
"""


def training(recipe: Path | str, folder: Path | str) -> list[str]:
    """The command that trains by a recipe."""
    return ["train", "pronounce", "--config", str(recipe), "--folder", str(folder)]


def train(recipe: Path, folder: Path, *more: str) -> int:
    """Run it; return its status."""
    from transformer_lib import __main__  # not above: it loads all tasks

    return __main__.main([*training(recipe, folder), *more])


def training_log(folder: Path) -> list[dict]:
    """The lines that a training by a recipe wrote, but for the time, which no second one repeats."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
