"""Every chapter keeps every rule of guards.py, and every rule can fail."""

import base64
import functools
from pathlib import Path

import nbformat
import pytest
from guards import GUARDS, SECTIONS, Chapter, short_name
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from setup_cell import TAGS, setup_cell
from source_hash import source_hash

CHAPTERS = sorted((Path(__file__).parents[2] / "chapters").glob("*.ipynb"))
ALT = "the cell (0, 0) holds 1 and all others hold 0"


@functools.cache  # a rule only looks
def stored(path):
    return Chapter(path, nbformat.read(path, as_version=4))


@pytest.mark.parametrize("rule", GUARDS)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_keeps(path, rule):
    assert list(GUARDS[rule](stored(path))) == []


@pytest.fixture
def chapter(tmp_path):
    """A made-up chapter that keeps all rules."""
    figure = new_output("display_data", {"image/png": base64.b64encode(b"pixels").decode()})
    figure.metadata = {"image/png": {"alt": ALT}}
    head = "# Title\n\nWhat is it?\n\n> **Before you start.** 1 minute."
    code = [new_code_cell(setup_cell("07_x"), metadata={"tags": TAGS}), new_code_cell("show(figure)", outputs=[figure])]
    code[1].metadata["tags"] = ["hide-input"]
    code[1].metadata["mystnb"] = {"figure": {"name": "fig-07-x", "caption": "X."}, "image": {"alt": ALT}}
    code += [new_code_cell(f"print({i})", outputs=[new_output("stream", text=f"{i}\n")]) for i in range(10)]
    text = [new_markdown_cell(f"{section}\n\nText.") for section in SECTIONS]
    notebook = new_notebook(cells=[new_markdown_cell(head), *code, *text])
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
    notebook.metadata["book"] = {"source_hash": source_hash(notebook)}
    path = tmp_path / "07_x.ipynb"
    nbformat.write(notebook, path)
    return Chapter(path, nbformat.read(path, as_version=4))


def test_good_chapter_passes(chapter):
    assert {rule: list(check(chapter)) for rule, check in GUARDS.items()} == {rule: [] for rule in GUARDS}


def say(text):
    """A change: the last markdown cell says `text`."""
    return lambda chapter: chapter.notebook.cells[-1].update(source=text)


def compute(source, *tags, **output):
    """A change: code cell 5 is `source`, with these tags and, if given, this output."""

    def change(chapter):
        cell = chapter.code[4]
        cell.source, cell.metadata["tags"] = source, list(tags)
        if output:
            cell.outputs = [new_output(**output)]

    return change


def resave(chapter):
    chapter.path.write_text("x" * 400_001)


FAULTS = [
    ("counts_run_from_one", lambda chapter: chapter.code[3].update(execution_count=9)),
    ("outputs_are_current", compute("print('changed')")),
    ("errors_only_where_announced", compute("1", output_type="error", ename="E", evalue="", traceback=[])),
    ("errors_only_where_announced", compute("1", "raises-exception")),
    ("no_warnings", compute("1", output_type="stream", name="stderr", text="beware")),
    ("small_enough", resave),
    ("small_enough", lambda c: c.code[1].outputs[0].data.update({"image/png": "AAAA" * 40_000})),
    ("setup_cell_is_the_common_one", lambda c: c.code[0].update(source=setup_cell("15_more_than_one_machine"))),
    ("setup_cell_is_the_common_one", compute("1", "setup")),
    ("installs_nothing_else", compute("%pip install torch==2.0")),
    ("installs_nothing_else", compute("!python -m pip install torch")),
    ("no_semicolons", compute("plot(x);")),
    ("no_absolute_paths", compute("open('/home/me/x')")),
    ("no_absolute_paths", compute("1", output_type="stream", text="saved to /tmp/x")),
    ("figures_are_described", lambda chapter: chapter.code[1].metadata["mystnb"].pop("image")),
    ("figures_are_described", lambda chapter: chapter.code[1].metadata["mystnb"]["figure"].pop("caption")),
    ("figures_are_described", lambda chapter: chapter.code[1].metadata["mystnb"]["figure"].update(name="fig-01-x")),
    ("figures_are_described", lambda chapter: chapter.code[1].outputs[0].metadata.clear()),
    ("figures_are_described", lambda chapter: chapter.code[1].outputs.append(chapter.code[1].outputs[0])),
    ("uncompared_cells_are_few_and_asserted", compute("train()", "nbval-ignore-output")),
    ("uncompared_cells_are_few_and_asserted", lambda c: [cell.metadata.update(tags=["nbval-skip"]) for cell in c.code]),
    ("uncompared_cells_are_few_and_asserted", compute("# NBVAL_SKIP\n1")),
    ("rounded_numbers_are_held", compute("print(x)", output_type="stream", text="d ≈ 1.2e-16\n")),
    ("rounded_numbers_are_held", compute("f", output_type="display_data", data={"text/plain": "[Figure] a ≈ 0.5"})),
    ("lines_are_short", compute("x = 1  # " + "x" * 71)),
    ("unpacks_no_tuple_of_one", compute("x, = [1]")),
    ("unpacks_no_tuple_of_one", compute("for [(x,), y] in [[[1], 2]]:\n    print(x, y)")),
    ("numbers_are_shown", compute("1", output_type="stream", text="same: True\nsame: False.\nall: True\n")),
    ("predictions_are_folded", lambda c: c.notebook.cells[0].update(source=f"{c.text[0]}\n\n**Predict.** What?")),
    ("checks_and_drawing_are_folded", lambda chapter: chapter.code[1].metadata.update(tags=[])),
    ("checks_and_drawing_are_folded", compute("assert 1")),
    ("checks_and_drawing_are_folded", compute("print(1)", "hide-cell")),
    ("begins_with_a_question", lambda chapter: chapter.notebook.cells[0].update(source="# Title\n\nIt is.")),
    ("begins_with_a_question", lambda chapter: chapter.notebook.cells[0].update(source="# 7. Title\n\nWhat?")),
    ("has_the_common_sections", say("## The end")),
    ("reads_well_outside_the_book", say("```{note}\nText.\n```")),
    ("links_lead_somewhere", say("See [there](no_such_file.ipynb#part).")),
    ("papers_are_in_the_bibliography", say("[Nobody, 2017](https://arxiv.org/abs/1706.99999)")),
    ("papers_are_in_the_bibliography", say("[Nobody, 2017](https://aclanthology.org/P17-0000/)")),
    ("papers_are_in_the_bibliography", say("[Nobody, 2017](https://doi.org/10.1/nothing)")),
    ("papers_are_in_the_bibliography", say("[Nobody, 2018](https://cdn.openai.com/no/such_paper.pdf)")),
    ("papers_are_in_the_bibliography", say("[Vaswani et al., 2018](https://arxiv.org/pdf/1706.03762v7)")),
    ("library_names_only_in_build_cells", compute("class Encoder:\n    pass")),
    ("library_names_only_in_build_cells", compute("causal_mask = None")),
]


@pytest.mark.parametrize(("rule", "fault"), FAULTS)
def test_rule_sees_the_fault(chapter, rule, fault):
    fault(chapter)
    assert list(GUARDS[rule](chapter)) != []


def test_a_folded_check_right_behind_holds_a_rounded_number(chapter):
    compute("print(x)", output_type="stream", text="d ≈ 1.2e-16\n")(chapter)
    check = chapter.code[5]
    check.source, check.metadata["tags"] = "# Check: d is rounding\nassert x < 1e-12", ["hide-cell"]
    assert list(GUARDS["rounded_numbers_are_held"](chapter)) == []
    check.metadata["tags"] = []  # in sight it is another story's assertion
    assert list(GUARDS["rounded_numbers_are_held"](chapter)) != []


def test_a_paper_of_the_bibliography_may_be_linked_by_any_of_its_addresses(chapter):
    say("[Vaswani et al., 2017](https://arxiv.org/pdf/1706.03762v7)")(chapter)
    assert list(GUARDS["papers_are_in_the_bibliography"](chapter)) == []


def test_every_rule_is_seen_to_fail():
    assert {rule for rule, _ in FAULTS} == GUARDS.keys()


def test_a_chapter_without_a_number_names_its_figures_by_its_last_word(chapter):
    chapter.path = chapter.path.rename(chapter.path.with_name("bug_museum.ipynb"))
    assert list(GUARDS["figures_are_described"](chapter)) != []
    chapter.code[1].metadata["mystnb"]["figure"]["name"] = "fig-museum-x"
    assert list(GUARDS["figures_are_described"](chapter)) == []


def test_the_book_has_chapters():
    numbers = [int(short_name(path)) for path in CHAPTERS if short_name(path).isdigit()]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 1
