"""Chapter 9: what its sentences say of means and single seeds, where its tables print ranges."""

from statistics import mean

import pytest

from transformer_lib.notebook import results

ALL = results.read("combination")["rows"]
ROWS = [row for row in ALL if row["task"] == "pronounce" and row["layers"] == 2]


def right(part, given_back, key="right"):
    """Per cent of the words (or tokens) that are right, by seed."""
    rows = [row for row in ROWS if (row["part"], row["given_back"]) == (part, given_back)]
    return [100 * row[key] for row in sorted(rows, key=lambda row: row["seed"])]


WHOLE = right("nothing", False)


@pytest.mark.parametrize(
    ("part", "low", "high"),
    [("encoder", 0.45, 0.55), ("feed-forward", 0.58, 0.65), ("self-attention, encoder", 0.2, 0.3)],
)
def test_how_much_of_a_part_its_parameters_replace(part, low, high):
    gone, given_back = right(part, False), right(part, True)
    assert len(gone) == len(given_back) == 5
    assert low < (mean(given_back) - mean(gone)) / (mean(WHOLE) - mean(gone)) < high


def test_the_encoder_is_worth_seven_words_of_a_hundred_nearly_all_by_its_self_attention():
    without = {part: right(part, False) for part in ("encoder", "self-attention, encoder")}
    lost = {part: mean(WHOLE) - mean(found) for part, found in without.items()}
    assert lost["encoder"] == pytest.approx(7, abs=0.1) and lost["self-attention, encoder"] > 0.9 * lost["encoder"]
    assert all(-0.05 < b - a < 0.6 for a, b in zip(*without.values(), strict=True))  # hardly better


def test_the_decoders_self_attention_is_missed_a_little_on_all_seeds():
    assert max(right("self-attention, decoder", True)) < min(WHOLE) < max(right("self-attention, decoder", False))
    for given_back in (False, True):
        tokens = right("self-attention, decoder", given_back, "forced_accuracy")
        assert 89.7 < min(tokens) and max(tokens) < 90.7 < min(right("nothing", False, "forced_accuracy"))


def test_which_build_of_pytorch_made_which_rows():
    for row in ALL:
        late = row["seed"] >= (3 if row["part"] == "residuals" and row["layers"] > 4 else 4)
        assert row["torch"].startswith("2.13." if row["task"] == "pronounce" or late else "2.11.")
    mask = [row for row in ALL if (row["task"], row["part"], row["layers"]) == ("numbers", "causal mask", 2)]
    assert [round(200 * row["right"]) for row in sorted(mask, key=lambda row: row["seed"])] == [2, 0, 17, 1, 49]
