"""The page *What did not matter* says what is stored, by its rule, and of how many comparisons."""

import copy
import itertools
import re

import pytest
import torch
import what_did_not_matter as tool

PAGE = tool.PAGE.read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
COMPARED = tool.compared(tool.SEEDS)


def shown(text):
    return [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what was")]


def test_the_page_says_what_is_stored():
    assert tool.rewritten(PAGE) == PAGE, "run python tools/what_did_not_matter.py"


def test_a_row_is_there_if_and_only_if_the_ranges_meet():
    there = shown(PAGE.partition("<!-- seeds: begin -->")[2].partition("<!-- seeds: end -->")[0])
    assert len(there) == len(tool.nothing_in(COMPARED)) > 40
    assert len(COMPARED) - len(there) > 40, "the tool reads what mattered, too"
    for row in COMPARED:
        together = sorted([*((v, 0) for v in row.unchanged), *((v, 1) for v in row.changed)])
        changes_side = sum(a[1] != b[1] for a, b in itertools.pairwise(together))
        ties = {*row.unchanged} & {*row.changed}
        assert tool.meet(row.unchanged, row.changed) == bool(changes_side > 1 or ties), row


def test_every_comparison_has_as_many_runs_as_it_says_and_no_other_of_its_name():
    names = [(row.change, row.experiment.task, row.experiment.measure.name) for row in COMPARED]
    assert len(set(names)) == len(names)
    for row in COMPARED:
        seeds, runs = row.experiment.seeds, len(row.unchanged)
        assert len(row.changed) == runs and seeds >= 3, row.change
        assert runs == seeds or (runs == 2 and not row.experiment.rows), "a range that is printed has two ends"
    assert all(len(row.unchanged) == len(row.changed) == 1 for row in tool.compared(tool.SINGLE))


def test_every_row_leads_to_a_heading_of_its_chapter():
    links = re.findall(r"\]\((\w+)\.ipynb#([\w-]+)\)", PAGE)
    headings = {}
    for notebook in {name for name, _ in links}:
        text = "\n".join("".join(c["source"]) for c in tool.cells(notebook) if c["cell_type"] == "markdown")
        found = re.findall(r"^##+ (.+)$", text, re.MULTILINE)
        headings[notebook] = {tool.anchor(heading) for heading in found}
    assert len(links) > 50 and [link for link in links if link[1] not in headings[link[0]]] == []


def test_other_results_make_another_page(monkeypatch):
    rows = copy.deepcopy(tool.stored("ablation/rows"))
    for row in rows:
        row["word_error"] += 0.2 * (row["change"] == "post-norm")
    monkeypatch.setattr(tool, "stored", lambda path, read=tool.stored: rows if "ablation" in path else read(path))
    changed = tool.rewritten(PAGE)
    gone = "| post-norm in place of pre-norm | 46.4 to 47.8 | "
    assert gone in PAGE and gone not in changed
    assert len(shown(changed)) == len(shown(PAGE)) - 1


def test_a_line_that_is_gone_or_in_two_outputs_is_told(monkeypatch):
    for words in ("query and sky", "query and"):
        with pytest.raises(ValueError, match="stand in 0 outputs"):
            tool.printed("01_self_attention", words)
    monkeypatch.setattr(tool, "cells", lambda chapter, read=tool.cells: 2 * read(chapter))
    with pytest.raises(ValueError, match="stand in 2 outputs"):
        tool.printed("01_self_attention", "query and key")


def test_a_page_without_a_place_for_a_table_is_told():
    with pytest.raises(ValueError, match="must hold <!-- seeds: begin"):
        tool.rewritten("# an empty page")


def sheet(printed, code="", heading="## Here, and there?"):
    return [
        {"cell_type": "markdown", "source": [heading]},
        {"cell_type": "code", "id": "f00", "source": [code], "outputs": [{"text": [printed]}]},
    ]


@pytest.mark.parametrize(
    ("words", "key", "numbers"),
    [
        ("a b:", tool.ALL, [0.5, -2, 1234]),
        ("a b:", slice(1, 2), [-2]),
        ("c", "d:", [7]),
        ("second…c d:", tool.ALL, [8, 9]),
        (r"seed \d:", tool.ALL, [1, 3]),
        (r"seed \d:", "1 of", [2]),
    ],
)
def test_the_numbers_of_a_line_are_read(monkeypatch, words, key, numbers):
    printed = "a  b:   ≈ 0.5 to ≈ -2 1,234, 4\nc d: 7\nseed 0: 1 of 2\nseed 1: 3 with 4\n"
    other = "the second\na b 1\nc d: 8 to 9\n"
    pages = sheet(printed) if "second" not in words else sheet(other.replace("the ", ""))
    monkeypatch.setattr(tool, "cells", lambda _: pages)
    assert tool.printed("03_x", words, key) == (numbers, 1)


def test_an_experiment_waits_for_its_chapter(monkeypatch, tmp_path):
    """Rows of a file are shown where the chapter shows them; without the chapter nothing is read."""
    waits = tool.Experiment(
        "03_x", "a task", 3, tool.Measure("loss", 1, 0, True, 10), "loss", {"part": "old"},
        {"new part": {"part": "new"}}, (), "results/rows", "table",
    )  # fmt: skip
    monkeypatch.setattr(tool, "CHAPTERS", tmp_path)
    monkeypatch.setattr(tool, "cells", lambda _: [*sheet("", "no"), *sheet("", "the table()", "### Exercise: x")])
    found = [{"part": part, "loss": loss} for part, loss in (("old", 1), ("new", 2), ("old", 2), ("new", 3))]
    monkeypatch.setattr(tool, "stored", {"results/rows": found}.get)
    assert tool.compared([waits]) == []
    (tmp_path / "03_x.ipynb").touch()
    (row,) = tool.compared([waits])
    assert (row.unchanged, row.changed) == ([10, 20], [20, 30])
    within = waits._replace(unchanged="loss", changes={"": "more/1"}, key="")
    monkeypatch.setattr(tool, "stored", {"results/rows": [{"loss": 1, "more": [0, 4]}]}.get)
    ((_, _, *sides, _),) = tool.compared([within])
    assert sides == [[10], [40]], "the way to a number in every row"
    told = "loss; a task; 3 seeds; [chapter 3, *Here, and there?*](03_x.ipynb#here-and-there) (`results`)"
    line = "| new part *(the ranges only touch)* | 10.0 to 20.0 | 20.0 to 30.0 |"
    assert tool.table([row]).splitlines()[2] == f"{line} {told} |"


def test_what_weakens_a_row_is_told():
    row = next(row for row in COMPARED if row.change == "label smoothing of 0.1")
    assert row.remarks.startswith("higher on every seed; but loss: ")

    def remarks(unchanged, changed):
        return row._replace(unchanged=unchanged, changed=changed, also=[]).remarks

    assert remarks([0.99] * 3, [1.0, 0.99, 1.0]) == "nothing left to gain"
    assert remarks([0.5, 0.6, 0.7], [0.7, 0.5, 0.8]) == ""
    assert remarks([0.5, 0.6, 0.7], [0.7, 0.8, 0.8]) == "higher on every seed; the ranges only touch"
    assert remarks([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]) == "lower on every seed"
    assert remarks([0.5, 0.7], [0.6, 0.8]) == "", "the ends of two ranges are of no one seed"


def test_how_often_seeds_come_apart_is_as_the_page_says():
    """Of pairs of sets of three and of five normal numbers, the second set moved by so many standard deviations."""
    generator = torch.Generator().manual_seed(0)
    share = {}
    for seeds in (3, 5):
        for moved in (0, 1, 2):
            a, b = torch.randn(2, 200_000, seeds, generator=generator)
            b = b + moved
            apart = (a.amax(1) < b.amin(1)) | (b.amax(1) < a.amin(1))
            share[seeds, moved] = round(100 * apart.float().mean().item())
    assert f"three seeds a side come apart in {share[3, 1]} of 100 cases, and five in {share[5, 1]}." in WORDS
    assert f"by two standard deviations, in {share[3, 2]} and {share[5, 2]}." in WORDS
    assert share[3, 0] == 10 and "three seeds a side come apart once in ten times" in WORDS


def test_what_the_text_says_of_the_table_is_so():
    def find(change, task):
        (row,) = [row for row in COMPARED if row.change == change and task in row.experiment.task]
        return row

    def shows_nothing(change, task):
        row = find(change, task)
        return tool.meet(row.unchanged, row.changed)

    for part in ("encoder", "self-attention in the encoder", "feed-forward"):
        assert shows_nothing(f"no {part}", "below 1,000; width 32, 400 steps, 2 and 2")
        assert not shows_nothing(f"no {part}", "pronunciation; width 96, 1,500")
    (_, before, after), *_ = find("label smoothing of 0.1", "").also
    assert 3 * max(before) < min(after)
    assert shows_nothing("a beam of 40 in place of 4", "penalty 0.6")
    assert not shows_nothing("a beam of 40 in place of 4", "no length penalty")
    assert not shows_nothing("batches half as large", "")
    trainings = tool.stored("trainings")
    errors = [row["test_word_error"] for row in trainings]
    assert 100 * (max(errors) - min(errors)) < 0.4
    assert " 0.4 each" in PAGE
