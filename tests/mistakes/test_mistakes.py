"""A test that cannot fail proves nothing: each mistake of the registry must be caught by every question beside it."""

import inspect
import itertools
import re
from pathlib import Path

import nbformat
import proofs
import pytest
from helpers import in_float64
from registry import CODE, EXHIBITS, MISTAKES, Claim, Mistake, Question

from transformer_lib import laws

ROOT = Path(__file__).parents[2]
PAIRS = [(mistake, question) for mistake in CODE for question in mistake.caught_by]
CLAIMS = [claim for claim in MISTAKES if isinstance(claim, Claim)]


@pytest.mark.parametrize(("mistake", "question"), PAIRS, ids=lambda it: getattr(it, "bug", it).__name__)
def test_the_mistake_is_caught(mistake: Mistake, question: Question) -> None:
    with in_float64(), mistake.put_in():
        with pytest.raises(laws.LawViolation if question in mistake.laws else AssertionError):
            question()


@pytest.mark.parametrize("question", dict.fromkeys(question for _, question in PAIRS), ids=lambda it: it.__name__)
def test_the_library_passes_the_question(question: Question) -> None:
    with in_float64():
        question()


@pytest.mark.parametrize("mistake", CODE, ids=lambda mistake: mistake.bug.__name__)
def test_a_mistake_is_short_put_in_for_a_while_and_called_like_the_librarys_own(mistake: Mistake) -> None:
    correct = mistake.correct
    with mistake.put_in():
        assert mistake.correct is mistake.bug
    assert mistake.correct is correct is not mistake.bug
    assert len(inspect.getsource(mistake.bug).splitlines()) <= 10 and mistake.caught_by
    wanted, accepted = (inspect.signature(f).parameters for f in (correct, mistake.bug))
    assert set(wanted) <= set(accepted) or "_" in accepted


def test_all_36_are_there_and_every_law_is_seen_to_fail() -> None:
    numbers = [number for number, _ in itertools.groupby(mistake.number for mistake in MISTAKES)]
    assert numbers == [*range(1, 37), None]
    assert all(mistake.seen for mistake in MISTAKES if mistake.number)
    front_pages = [m.seen for m in MISTAKES if re.fullmatch(r"https://github\.com/[^/]+/[^/]+/?", m.seen)]
    assert front_pages == [], "a link leads to the place"
    assert len({mistake.title for mistake in MISTAKES}) == len(MISTAKES)
    assert {law.__name__ for mistake in CODE for law in mistake.laws} == {law.__name__ for law in laws.LAWS}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.number))
def test_a_claim_is_put_right_where_the_registry_says(claim: Claim) -> None:
    if claim.chapter == 0:
        (path,) = (ROOT / "tests").rglob("guards.py")
        assert f"def {claim.words}(" in path.read_text(encoding="utf-8")
        return
    (path,) = (ROOT / "chapters").glob(f"{claim.chapter:02}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    assert claim.words in "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_page_on_proofs_says_what_the_registry_says() -> None:
    page = proofs.PAGE.read_text(encoding="utf-8")
    assert proofs.rewritten(page) == page, "run python tools/proofs.py"


def test_the_museum_shows_mistakes_of_the_registry() -> None:
    assert len(EXHIBITS) == len(set(EXHIBITS)) == 12
    assert set(EXHIBITS) <= {mistake.bug for mistake in CODE if mistake.number and mistake.laws}
