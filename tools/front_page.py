"""Draw the picture of the first page from a trained model and a stored log: `python tools/front_page.py`."""

import json
from pathlib import Path

import torch

from transformer_lib import recipes, record_attention
from transformer_lib.data import numbers
from transformer_lib.notebook import plotting

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "site" / "static" / "first_page.png"


def cross_attention() -> tuple[torch.Tensor, list[str], list[str]]:
    """What the decoder of chapter 10 looks at while it writes 321: weights (mean of the last layer's heads), labels."""
    model = recipes.load("numbers").eval()
    english, german = numbers.english_vocabulary(), numbers.german_vocabulary()
    pair = numbers.number_pair(321)
    given = torch.tensor([[model.config.bos_id, *german.encode(pair.german)]])
    with record_attention(model) as maps, torch.no_grad():
        model(torch.tensor([english.encode(pair.english)]), given)
    weights = maps[f"decoder.layers.{model.config.n_decoder_layers - 1}.cross_attn"][0].mean(dim=0)
    return weights, [*pair.german, "<eos>"], list(pair.english)


def word_errors() -> tuple[list[float], list[float]]:
    """The training of chapter 12: thousands of steps, and the word error on 1,000 development words in percent."""
    lines = (ROOT / "transformer_lib" / "recipes" / "pronounce" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    measured = [line for line in map(json.loads, lines) if "word_error" in line]
    return [line["step"] / 1000 for line in measured], [100 * line["word_error"] for line in measured]


def main() -> None:
    """Draw both panels side by side."""
    figure, (left, right) = plotting.new_figure(1, 2, width=7.6, height=3.4)
    weights, written, read = cross_attention()
    plotting.draw_attention(left, weights, written, read, decimals=None)
    left.set(xlabel="read", ylabel="written", title="Where a decoder looks")
    steps, errors = word_errors()
    right.plot(steps, errors, color=plotting.COLORS[1])
    right.set(xlabel="thousand steps", ylabel="words wrong (%)", ylim=(0, None), title="A model learns to pronounce")
    figure.savefig(PICTURE, dpi=110)
    for piece, row in zip(written, weights.tolist(), strict=True):
        print(piece, {word: round(share, 2) for word, share in zip(read, row, strict=True)})
    print("word errors:", [round(error, 1) for error in errors])


if __name__ == "__main__":
    main()
