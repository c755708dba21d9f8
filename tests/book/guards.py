"""Rules that every chapter keeps. A rule takes a chapter and yields its complaints; none means kept."""

import ast
import base64
import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from chapter_map import BUILT_IN, NEVER_BUILT
from execute import is_current
from setup_cell import TAGS, setup_cell

NOTEBOOK_BYTES = 400_000
FIGURE_BYTES = 90_000
SECTIONS = ["## Break it", "## The check that holds", "## What you can now say", "## Going further"]
NOT_COMPARED = {"nbval-ignore-output", "nbval-skip"}
BIBLIOGRAPHY = Path(__file__).parents[2] / "chapters" / "bibliography.md"
PAPER = re.compile(
    r"https?://(?:[\w-]+\.)*(?:arxiv\.org|doi\.org|aclanthology\.org|openreview\.net|jmlr\.org|mlr\.press|transformer-circuits\.pub)/"
    r"|https?://\S+\.pdf$"
)
FOLDERS = "home|root|work|tmp|usr|opt|var|mnt|Users|private"
ABSOLUTE_PATH = re.compile(rf"(?<![\w.:/~-])/({FOLDERS})/|[A-Z]:\\\\?Users|ipykernel_\d")


@dataclass
class Chapter:
    """A notebook and where it lies."""

    path: Path
    notebook: nbformat.NotebookNode

    @property
    def code(self) -> list:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def text(self) -> list[str]:
        return [cell.source for cell in self.notebook.cells if cell.cell_type == "markdown"]


Guard = Callable[[Chapter], Iterator[str]]
GUARDS: dict[str, Guard] = {}


def guard(rule: Guard) -> Guard:
    GUARDS[rule.__name__] = rule
    return rule


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def short_name(path: Path) -> str:
    """The number of a chapter, such as 07; the last word of the name of one without a number, such as museum."""
    words = path.stem.split("_")
    return words[0] if words[0].isdigit() else words[-1]


def outputs(chapter: Chapter) -> Iterator[tuple]:
    """Each output with its cell."""
    return ((cell, output) for cell in chapter.code for output in cell.outputs)


@guard
def counts_run_from_one(chapter):
    """The cells ran once each, from the top."""
    counts = [cell.execution_count for cell in chapter.code]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}"


@guard
def outputs_are_current(chapter):
    """The outputs come from these cells and this library."""
    if not is_current(chapter.notebook):
        yield "code cells or library changed since the chapter was executed: run make execute"


@guard
def errors_only_where_announced(chapter):
    """A cell tagged `raises-exception` ends in an error, and no other does."""
    for cell in chapter.code:
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed != ("raises-exception" in tags(cell)):
            yield f"{'unannounced' if failed else 'no'} error in: {cell.source[:60]!r}"


@guard
def no_warnings(chapter):
    """Nothing on stderr."""
    for cell, output in outputs(chapter):
        if output.get("name") == "stderr":
            yield f"stderr of {cell.source[:60]!r}: {output.text[:80]!r}"


@guard
def small_enough(chapter):
    """A chapter loads on a phone."""
    if (size := chapter.path.stat().st_size) > NOTEBOOK_BYTES:
        yield f"{size} bytes, more than {NOTEBOOK_BYTES}"
    for cell, output in outputs(chapter):
        size = len(base64.b64decode(output.get("data", {}).get("image/png", "")))
        if size > FIGURE_BYTES:
            yield f"figure of {size} bytes in {cell.source[:60]!r}"


@guard
def setup_cell_is_the_common_one(chapter):
    """The first code cell is the one that the tool writes, to the byte, and the only one so tagged."""
    first, *others = chapter.code
    if first.source != setup_cell(chapter.path.stem) or first.metadata.get("tags") != TAGS:
        yield "the first code cell differs from tools/setup_cell.py: run make execute"
    if any("setup" in tags(cell) for cell in others):
        yield "a second cell is tagged setup"


@guard
def installs_nothing_else(chapter):
    """Only the setup cell installs, and it never touches torch."""
    for cell in chapter.code[1:]:
        if re.search(r"\bpip3?\b.*\binstall\b|^\s*[%!]\s*(pip|conda)\b", cell.source, re.MULTILINE):
            yield f"installs something: {cell.source[:60]!r}"


@guard
def no_semicolons(chapter):
    """A semicolon at the end hides an output here, and not in the test that runs the cell."""
    for cell in chapter.code:
        for token in tokenize.generate_tokens(io.StringIO(cell.source).readline):
            if token.type == tokenize.OP and token.string == ";":
                yield f"semicolon: {token.line!r}"


@guard
def no_absolute_paths(chapter):
    """Neither source nor output tells on which machine the chapter ran."""
    for cell in chapter.notebook.cells:
        shown = [o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", [])]
        shown += ["\n".join(o.get("traceback", [])) for o in cell.get("outputs", [])]
        if found := ABSOLUTE_PATH.search("\n".join([cell.source, *shown])):
            yield f"{found[0]!r} in {cell.source[:60]!r}"


@guard
def figures_are_described(chapter):
    """A figure has an alt text (the one the code computed), a caption and a name; one figure a cell, PNG."""
    names, prefix = [], f"fig-{short_name(chapter.path)}-"
    for cell in chapter.code:
        found = [output for output in cell.outputs if any(key.startswith("image/") for key in output.get("data", {}))]
        if not found:
            continue
        here, settings = f"the figure of {cell.source[:60]!r}", cell.metadata.get("mystnb", {})
        alt = found[0].metadata.get("image/png", {}).get("alt")
        if len(found) > 1 or "image/png" not in found[0].data:
            yield f"{here}: one PNG a cell"
        if not alt or alt != settings.get("image", {}).get("alt"):
            yield f"{here}: mystnb.image.alt is not the alt text of its output"
        if not settings.get("figure", {}).get("caption"):
            yield f"{here}: no caption"
        names.append(settings.get("figure", {}).get("name") or "")
    for name, count in Counter(names).items():
        if count > 1 or not name.startswith(prefix):
            yield f"figure name {name!r}: must be unique and begin with {prefix}"


@guard
def uncompared_cells_are_few_and_asserted(chapter):
    """At most one cell in ten escapes the comparison, and the next cell asserts what it may say."""
    exempt = [i for i, cell in enumerate(chapter.code) if tags(cell) & NOT_COMPARED]
    if len(exempt) * 10 > len(chapter.code):
        yield f"{len(exempt)} of {len(chapter.code)} code cells are not compared"
    for i in exempt:
        if i + 1 == len(chapter.code) or not re.search(r"^\s*assert\b", chapter.code[i + 1].source, re.MULTILINE):
            yield f"not compared, and the next cell asserts nothing: {chapter.code[i].source[:60]!r}"
    for cell in chapter.code:
        if "NBVAL_" in cell.source or "PYTEST_" in cell.source:
            yield f"say it with a tag, not a comment: {cell.source[:60]!r}"


def parsed(cell) -> ast.Module:
    """The syntax tree of a cell, without the lines that only IPython understands."""
    return ast.parse(re.sub(r"^\s*[%!].*", "", cell.source, flags=re.MULTILINE))


ABOUT = re.compile(r"≈ *[-−+]?\d")  # tools/sanitize.cfg takes such a number out of the comparison
DRAWN = {"hide-input", "hide-cell"}
FOLDED = {"hide-output", "hide-cell"}


def printed(cell) -> str:
    """The text that a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


def told(cell) -> str:
    """What a cell printed, and the words that stand for its figures."""
    return printed(cell) + "".join(output.get("data", {}).get("text/plain", "") for output in cell.outputs)


@guard
def rounded_numbers_are_held(chapter):
    """A number that is not compared, for machines round it differently, is held by an assertion.

    It stands in the same cell, or in a folded check right behind it: in sight it would answer a prediction.
    """
    for cell, after in zip(chapter.code, [*chapter.code[1:], None], strict=True):
        held = cell.source
        if after is not None and "hide-cell" in tags(after):
            held += "\n" + after.source
        if ABOUT.search(told(cell)) and not re.search(r"^\s*assert\b|assert_close", held, re.MULTILINE):
            yield f"tells ≈ and asserts nothing: {cell.source[:60]!r}"


@guard
def lines_are_short(chapter):
    """Code can be read on a page, and beside one."""
    for cell in chapter.code[1:]:
        for line in cell.source.splitlines():
            if len(line) > 79:
                yield f"{len(line)} characters: {line[:60]!r}"


@guard
def unpacks_no_tuple_of_one(chapter):
    """A comma is easily overlooked; `[0]` says the same in sight."""
    for cell in chapter.code[1:]:
        for node in ast.walk(parsed(cell)):
            if isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Store) and len(node.elts) == 1:
                yield f"unpacks a tuple of one: {ast.unparse(node)!r}"


@guard
def numbers_are_shown(chapter):
    """A reader sees what was measured: two lines in a chapter may end in True or False."""
    lines = [line for cell in chapter.code for line in printed(cell).splitlines()]
    if len(verdicts := [line for line in lines if re.search(r"\b(True|False)\W*$", line)]) > 2:
        yield f"{len(verdicts)} lines end in True or False: {verdicts}"


@guard
def predictions_are_folded(chapter):
    """What a reader is asked to predict stays folded: the output below the question, and the answer below that."""
    asked = False
    for cell in chapter.notebook.cells:
        if cell.cell_type == "code":
            if asked and cell.outputs and not tags(cell) & FOLDED:
                yield f"the answer stands in plain sight: {cell.source[:60]!r}"
        else:
            if asked and "<details><summary>Answer" not in cell.source and "**Predict" in cell.source:
                yield f"no answer before the next question: {cell.source[:60]!r}"
            if "<details><summary>Answer" in cell.source:
                asked = False
            asked = asked or "**Predict" in cell.source.rpartition("</details>")[2]
    if asked:
        yield "the last prediction has no answer"


@guard
def checks_and_drawing_are_folded(chapter):
    """The reading line is story, formula, code, number, figure."""
    for cell in chapter.code[1:]:
        drawn = any("image/png" in output.get("data", {}) for output in cell.outputs)
        if drawn and not tags(cell) & DRAWN:
            yield f"drawing code in sight: {cell.source[:60]!r}"
        if cell.source.startswith(("# Check: ", "# Aside: ")) != ("hide-cell" in tags(cell)):
            yield f"folded cells begin with '# Check: ' or '# Aside: ', and no others: {cell.source[:60]!r}"
        body = parsed(cell).body
        if body and all(isinstance(node, ast.Assert) for node in body) and "hide-cell" not in tags(cell):
            yield f"only asserts: {cell.source[:60]!r}"


@guard
def begins_with_a_question(chapter):
    """Title, then a paragraph that asks what the chapter answers, then what it costs."""
    first = chapter.text[0]
    title, *rest = [part for part in first.split("\n\n") if part.strip()]
    if not re.match(r"# \D", title):
        yield "the first line is a title without a number"
    if not rest or "?" not in rest[0]:
        yield "the first paragraph asks no question"
    if "> **Before you start.**" not in "\n".join(chapter.text[:2]):
        yield "no cost card (> **Before you start.** ...)"


@guard
def has_the_common_sections(chapter):
    """Each chapter breaks something and proves something; it ends with what was learned and where to go on.

    Chapter 0 builds nothing: it is the whole, seen once.
    """
    if short_name(chapter.path) == "00":
        return
    headings = [line for text in chapter.text for line in text.splitlines() if line.startswith("## ")]
    if not set(SECTIONS) <= set(headings) or headings[-2:] != SECTIONS[-2:]:
        yield f"sections are {headings}; all of {SECTIONS} must be there, the last two last"


@guard
def reads_well_outside_the_book(chapter):
    """No directive in backticks: Colab shows it raw."""
    for text in chapter.text:
        if found := re.search(r"^`{3,}\{.*", text, re.MULTILINE):
            yield f"directive {found[0]!r}: use a colon fence"


@guard
def links_lead_somewhere(chapter):
    """Relative links point to files that exist."""
    for target in re.findall(r"\]\(([^()\s]+)\)", "\n".join(chapter.text)):
        file = target.split("#")[0]
        if file and not re.match(r"[a-z]+:", file) and not (chapter.path.parent / file).exists():
            yield f"broken link {target!r}"


def paper(url: str) -> str:
    """One name for all addresses of a paper: its number at arXiv, else the address."""
    number = re.search(r"arxiv\.org/.*?(\d{4}\.\d{4,5})", url)
    return number[1] if number else url.rstrip("/")


@guard
def papers_are_in_the_bibliography(chapter):
    """Each paper that is linked has an entry in the bibliography, with the year that the link tells."""
    entries = re.findall(r"\((\d{4})\)\.\*\* \[[^\]]+\]\(([^()\s]+)\)", BIBLIOGRAPHY.read_text(encoding="utf-8"))
    years = {paper(url): year for year, url in entries}
    for name, url in re.findall(r"\[([^\[\]]*)\]\(([^()\s]+)\)", "\n".join(chapter.text)):
        if not PAPER.match(url):
            continue
        told = re.search(r", (\d{4})$", name)
        if paper(url) not in years:
            yield f"not in the bibliography: {name!r}, {url}"
        elif told and told[1] != years[paper(url)]:
            yield f"{name!r} is of {years[paper(url)]} in the bibliography"


@guard
def library_names_only_in_build_cells(chapter):
    """A name of the library means the library's, but for the cell that builds it."""
    library = BUILT_IN.keys() | NEVER_BUILT.keys()
    for cell in chapter.code[1:]:
        if "build" in tags(cell):
            continue
        for node in ast.walk(parsed(cell)):
            defined = {node.name} if isinstance(node, ast.ClassDef | ast.FunctionDef) else set()
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            for name in defined & library:
                yield f"{name} is redefined outside a build cell"
