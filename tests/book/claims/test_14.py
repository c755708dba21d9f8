"""What the prose of chapter 14 says about the stored measurements, and no cell prints: measured anew, told anew."""

from pathlib import Path

import nbformat

from transformer_lib.notebook import results

SPEED = results.read("speed")
CELLS = nbformat.read(Path(__file__).parents[3] / "chapters" / "14_speed.ipynb", as_version=4).cells
PROSE = "\n".join(cell.source for cell in CELLS if cell.cell_type == "markdown")
TORCH, FAST, MARIAN = "torch.nn.Transformer", "this library, fast", "Hugging Face Marian"


def short(x: float) -> str:
    """Two digits, as the chapter prints them."""
    return f"{float(f'{x:.2g}'):g}"


def over_torch(title: str) -> tuple[str, str]:
    """The least and the greatest lead of those that have a cache."""
    row = SPEED["tables"][title]
    ratios = [value / row[TORCH] for name, value in row.items() if name != TORCH]
    return short(min(ratios)), short(max(ratios))


def test_decoding():
    low, high = over_torch("greedy, 32 new tokens, tokens/s")
    lower, higher = over_torch("greedy, 128 new tokens, tokens/s")
    assert f"{low} to {high} times at 32 tokens, {lower} to {higher} times at 128" in PROSE
    for title, row in SPEED["tables"].items():
        if title.startswith("greedy"):
            assert row[MARIAN] > row["x-transformers"]
            assert f"{short(row[FAST] / row[MARIAN])} times as many tokens as Marian" in PROSE
    assert SPEED["setting"]["instructions"] == "AVX512"
    assert f"1024 features is {short(SPEED['linear map'])} times as fast" in PROSE


def test_without_a_cache_decoding_takes_most_memory():
    row = SPEED["tables"]["memory, greedy, 128 new tokens, MB"]
    assert max(row, key=row.get) == TORCH


def test_training_beside_the_bound():
    gains = {
        suffix: row["this library, fast" + suffix] / row["this library" + suffix]
        for suffix in ("", ", sorted")
        for row in [SPEED["tables"]["training, sentences of chapter 13, target tokens/s"]]
    }
    assert f"it is large, {gains['']:.1f} and {gains[', sorted']:.1f}" in PROSE


def test_the_next_run_is_told_anew():
    """The stored run has no spread, and a fused optimizer for ours only; a run of today has both for all."""
    of_today = "spread" in SPEED
    assert of_today != ("how far the rounds lay apart was not stored" in PROSE)
    assert of_today != ("`fused=True`, which only this library's two models set" in PROSE)
