"""A trained model in a notebook: a picture of where it looks, and below it the model itself, running in the page."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from transformer_lib.attention import record_attention
from transformer_lib.notebook.live import display_live
from transformer_lib.notebook.live.export import as_page, rounded
from transformer_lib.notebook.live.pictures import Picture
from transformer_lib.notebook.plotting import draw_attention, new_figure


@torch.no_grad()
def written(model: nn.Module, src_ids: Sequence[int]) -> list[int]:
    """Return the ids that a `Transformer` writes, the likeliest at every step, with BOS and EOS."""
    config: Any = model.config
    ids: list[int] = [config.bos_id]
    memory, memory_mask = model.encode(torch.tensor([src_ids]))
    while ids[-1] != config.eos_id and len(ids) <= config.max_len:
        logits = model.decode(torch.tensor([ids]), memory, memory_mask)[0, -1]
        logits[[config.pad_id, config.bos_id]] = -torch.inf
        ids.append(int(logits.argmax()))
    return ids


def at_rest(model: nn.Module, vocabularies: tuple[Sequence[str], Sequence[str]], data: dict) -> Picture:
    """Draw the map that the figure begins with: a row for each token that is written, or read by the encoder."""
    source, target = vocabularies
    words = [word for word in data["text"].split() if word in source] or list(data["text"])
    src_ids = [source.index(word) for word in words]
    ids = written(model, src_ids)
    with record_attention(model) as maps, torch.no_grad():
        model(torch.tensor([src_ids]), torch.tensor([ids[:-1]]))
    name, head = data["map"].split(".head.")
    weights, says = maps[name][0, int(head)], [target[i] for i in ids]
    rows = words if name.startswith("encoder") else says[1:]
    columns = says[:-1] if name.startswith("decoder") and name.endswith("self_attn") else words
    figure, axes = new_figure(width=5.4, height=1.4 + 0.3 * len(rows))
    draw_attention(axes, weights, rows, columns, y_label="writes" if rows == says[1:] else "token", x_label="looks at")
    most = [f"{row} looks most at {columns[i]}" for row, i in zip(rows, weights.argmax(dim=-1).tolist(), strict=True)]
    tower, _, layer, kind = name.split(".")
    where = f"head {int(head) + 1} of layer {int(layer) + 1} of the {tower}'s {kind.replace('_attn', '-attention')}"
    return Picture(data, figure, f"In {where} {'; '.join(most)}.")


def show_model(
    model: nn.Module,
    vocabularies: tuple[Sequence[str], Sequence[str]],
    name: str,
    text: str,
    *,
    map: str,
    switches: Sequence[str] = (),
    maps: bool = False,
    levels: int | None = None,
) -> None:
    """Show a trained `Transformer` below the cell: a picture of one attention map, and the model to ask and to break.

    In a notebook the figure holds the weights, so that it asks nobody for them: the notebook grows by 0.7 MB with the
    model of `numbers`, by 4.6 MB with that of `pronounce` at 39 levels. A line above the figure says how much it is.

    Args:
        model: a model of the book, or one that you have trained on the same tokens.
        vocabularies: the tokens of source and target, by id.
        name: "numbers" or "pronounce", which says how a text is read.
        text: what it reads first: number words, or a word.
        map: the attention that is shown first, such as "decoder.layers.1.cross_attn.head.0".
        switches: which stand open: "positions", "causal", "residuals", "layers", "heads"; the others are folded.
        maps: whether the attention maps stand open.
        levels: how weights are rounded for a notebook's frame, as `export.to_page` says.
    """
    title = {"numbers": "A model that translates numbers", "pronounce": "A model that pronounces words"}[name]
    data = {"title": title, "model": name, "text": text, "switches": [*switches], "map": map, "maps": maps}
    same = copy.deepcopy(model).cpu().float().eval()  # with the weights that the page has
    for parameter in same.parameters():
        parameter.data = rounded(parameter.data, levels)

    def scripts() -> list[str]:
        script = as_page(model, vocabularies, name, levels=levels)
        print(f"The figure below holds the weights of the model: the notebook grows by {len(script) / 1e6:.1f} MB.")
        return [script]

    display_live("model", at_rest(same, vocabularies, data), scripts)
