"""A trained model as one file that a page can load: the weights, written as text, and all that says how to use them."""

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

FORMAT = 1  # engine.js refuses a file of another one
# The printable ASCII characters that neither JavaScript nor HTML reads as more than themselves. They are 91, so that
# there are as many on both sides of the middle, which is zero.
CHARACTERS = "".join(c for c in map(chr, range(32, 127)) if c not in '"\\&<')
HEAD = "// A trained model of the book, written by export.py and read by engine.js in transformer_lib/notebook/live.\n"


def whole_steps(weight: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """Return a matrix in whole steps, and the step of each row, `(rows, 1)`: the largest weight is the last level.

    A step is a number of 16 bits and a whole one has at most six, so that float32 holds their product exactly: page
    and PyTorch compute with the same numbers.
    """
    most = levels // 2
    step = (weight.abs().amax(dim=1, keepdim=True) / most).half().float().clamp_min(2.0**-24)
    return (weight / step).round().clamp(-most, most), step


def rounded(weight: Tensor, levels: int | None = None) -> Tensor:
    """Return a weight as a page has it: matrices in `levels` levels if that is given, everything else in 16 bits."""
    if levels is None or weight.dim() != 2:
        return weight.half().float()
    whole, step = whole_steps(weight, levels)
    return whole * step


def as_page(
    model: nn.Module,
    vocabularies: tuple[Sequence[str], Sequence[str]],
    name: str,
    *,
    levels: int | Mapping[str, int] | None = None,
    checkpoint: str | Path | None = None,
) -> str:
    """Return the text of the file that `to_page` writes; `name` is the name of the model."""
    made: Any = model
    config = dataclasses.asdict(made.config)
    have, want = [len(tokens) for tokens in vocabularies], [config["src_vocab_size"], config["tgt_vocab_size"]]
    if have != want:
        raise ValueError(f"the model has vocabularies of {want} tokens, got {have}")
    every = levels.values() if isinstance(levels, Mapping) else [3 if levels is None else levels]
    if wrong := set(every) - {*range(3, len(CHARACTERS) + 1, 2)}:
        raise ValueError(f"levels must be odd, from 3 to {len(CHARACTERS)}, got {wrong}")
    packed: dict[str, str] = {}
    tensors: list[tuple[str, list[int], str]] = []
    for key, parameter in model.named_parameters():  # a weight that is used twice comes once
        weight = parameter.detach().float().cpu()
        if not weight.half().isfinite().all():
            raise ValueError(f"{key} holds numbers that do not fit into 16 bits")
        its = levels.get(key) if isinstance(levels, Mapping) else levels
        if its is None or weight.dim() != 2:
            packed[key], kind = _float16(weight), "float16"
        else:
            whole, step = whole_steps(weight, its)
            middle = len(CHARACTERS) // 2
            packed[key] = "".join(CHARACTERS[middle + i] for i in whole.flatten().int().tolist())
            packed[f"{key}.steps"], kind = _float16(step), "levels"
        tensors.append((key, list(weight.shape), kind))
    manifest = {
        "format": FORMAT,
        "sha256": checkpoint and hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest(),
        "config": config,
        "positions": "sinusoidal",
        "embedding_scale": "sqrt(d_model)",
        "norm_eps": made.decoder.layers[0].feed_forward_residual.norm.eps,
        "characters": CHARACTERS,
        "vocabularies": [list(tokens) for tokens in vocabularies],
        "tensors": tensors,
    }
    content = f'{{"manifest": {_lines(manifest)}, "weights": {_lines(packed)}}}'
    return f"{HEAD}((globalThis.Live ??= {{}}).models ??= {{}})[{json.dumps(name)}] = {content};\n"


def to_page(
    model: nn.Module,
    vocabularies: tuple[Sequence[str], Sequence[str]],
    path: str | Path,
    *,
    levels: int | Mapping[str, int] | None = None,
    checkpoint: str | Path | None = None,
) -> None:
    """Write a `Transformer` as a script that a page can load, also from a disk: `models/<name>.js`.

    Without `levels` every weight is a number of 16 bits, and nothing is lost of a model that was saved in as many. With
    it, a weight of a matrix is one character: most are near zero, so that what compresses a page on its way makes five
    or six bits of it. Norms and biases keep their 16. The page computes what `model` does with its weights `rounded`.

    Args:
        model: a `Transformer`; it is left as it is.
        vocabularies: the tokens of source and target, by id.
        path: where to write; the name of the file is the name of the model.
        levels: how many numbers a weight may be, in each row of a matrix: odd, and at most 91; or that by the names of
            matrices, of which those that are not named keep 16 bits.
        checkpoint: the file that the model was loaded from, whose SHA-256 is written down.

    Raises:
        ValueError: if the vocabularies are not those of the model, a weight does not fit into 16 bits, or `levels` is
            none that there can be.
    """
    name = Path(path).name.removesuffix(".js")
    text = as_page(model, vocabularies, name, levels=levels, checkpoint=checkpoint)
    Path(path).write_text(text, encoding="utf-8", newline="\n")


def _lines(content: dict) -> str:
    """Return JSON with one entry a line, as a person may look at it and git compares it."""
    entries = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in content.items())
    return "{\n" + ",\n".join(entries) + "\n}"


def _float16(x: Tensor) -> str:
    """Return numbers as 16 bits each, the lower byte first, in base64."""
    return base64.b64encode(x.half().numpy().astype("<f2").tobytes()).decode()
