"""Chapter 13: numbers that its sentences take from the stored results and that no cell prints."""

from statistics import mean

import pytest

from transformer_lib.notebook import results


def test_the_times_of_the_three_systems():
    rows = results.read("comparison")["systems"]["rows"]

    def seconds(system, key):
        return mean(row[key] for row in rows if row["system"] == system)

    train = {system: seconds(system, "train_seconds") for system in ("Ours", "Torch", "Marian")}
    assert train["Torch"] / train["Ours"] == pytest.approx(1.10, abs=0.005)
    assert train["Marian"] / train["Ours"] == pytest.approx(1.08, abs=0.005)
    assert 8 < seconds("Torch", "decode_seconds") / seconds("Ours", "decode_seconds") < 9


def test_the_ranges_of_bleu_overlap_below_looking_up():
    scores = {}
    for row in results.read("comparison")["systems"]["rows"]:
        scores.setdefault(row["system"], []).append(100 * row["bleu"])
    assert max(map(min, scores.values())) < min(map(max, scores.values()))
    assert max(map(max, scores.values())) < 11.3
