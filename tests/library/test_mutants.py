"""A test that cannot fail proves nothing: each mistake of the registry must be caught by every check beside it."""

import inspect
import itertools
from pathlib import Path

import nbformat
import proofs
import pytest
import torch
from mistakes import EXHIBITS, MISTAKES, MUTANTS, Check, Claim, Mistake

from transformer_lib import laws

pytestmark = pytest.mark.no_cover
ROOT = Path(__file__).parents[2]
PAIRS = [(mistake, check) for mistake in MUTANTS for check in (*mistake.laws, *mistake.checks)]
CHECKS = list(dict.fromkeys(check for _, check in PAIRS))
CLAIMS = [claim for claim in MISTAKES if isinstance(claim, Claim)]


@pytest.mark.parametrize(
    ("mistake", "check"), PAIRS, ids=[f"{m.number or ''}-{m.bug.__name__}-{check.__name__}" for m, check in PAIRS]
)
def test_the_mistake_is_caught(mistake: Mistake, check: Check, record_property) -> None:
    record_property("mistake", [mistake.number, mistake.title, mistake.chapter])
    record_property("check", check.__name__)
    with mistake.put_in():
        torch.manual_seed(0)
        with pytest.raises(laws.LawViolation if check in mistake.laws else AssertionError):
            check()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_library_passes_the_check(check: Check) -> None:
    check()


@pytest.mark.parametrize("mistake", MUTANTS, ids=lambda mistake: mistake.bug.__name__)
def test_a_mistake_is_put_in_for_a_while_and_short(mistake: Mistake) -> None:
    correct = mistake.correct
    with mistake.put_in():
        assert mistake.correct is mistake.bug
    assert mistake.correct is correct is not mistake.bug
    assert len(inspect.getsource(mistake.bug).splitlines()) <= 10
    parameters = [inspect.signature(f).parameters for f in (correct, mistake.bug)]
    accepted = parameters[1].keys() if "_" not in parameters[1] else parameters[0].keys()
    assert set(parameters[0]) <= set(accepted), "it must be callable like the library's own"
    assert mistake.laws or mistake.checks


def test_all_36_are_there() -> None:
    assert [number for number, _ in itertools.groupby(MISTAKES, key=lambda m: getattr(m, "number", None))] == [
        *range(1, 37),
        None,
    ]
    seen = {mistake.number for mistake in MISTAKES if mistake.seen.startswith("https://")}
    assert seen >= {*range(1, 37)} - {15, 28}  # these two are in many ports, and no one thread tells of them
    assert len({mistake.title for mistake in MISTAKES}) == len(MISTAKES)


def test_every_law_is_seen_to_fail() -> None:
    assert {check.__name__ for mistake in MUTANTS for check in mistake.laws} == {law.__name__ for law in laws.LAWS}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: str(claim.number))
def test_a_claim_is_put_right_where_the_registry_says(claim: Claim) -> None:
    if claim.chapter == 0:
        assert f"def {claim.words}(" in (ROOT / "tests" / "chapters" / "guards.py").read_text(encoding="utf-8")
        return
    (path,) = (ROOT / "chapters").glob(f"{claim.chapter:02}_*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    assert claim.words in "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_page_on_proofs_says_what_the_registry_says() -> None:
    page = proofs.PAGE.read_text(encoding="utf-8")
    assert proofs.rewritten(page) == page, "run python tools/proofs.py"


def test_the_museum_shows_mistakes_of_the_registry() -> None:
    assert len(EXHIBITS) == len(set(EXHIBITS)) == 12
    assert set(EXHIBITS) <= {mistake.bug for mistake in MUTANTS if mistake.number and mistake.laws}
