"""Every right answer of a quiz is what its code prints, and every wrong one is another and gets its own words."""

import contextlib
import io
import textwrap
from pathlib import Path

import pytest

from transformer_lib.exercises.quiz import PARTS, page, questions, quiz

CHAPTERS = Path(__file__).parents[2] / "chapters"
ALL = [(part, number, question) for part in PARTS for number, question in enumerate(questions(part), start=1)]
each = pytest.mark.parametrize(("part", "number", "question"), ALL, ids=lambda value: str(value)[:20])


@each
def test_the_right_choice_is_what_the_code_prints(part, number, question):
    assert question.code or question.proof
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(textwrap.dedent(question.proof or question.code), {})
    assert printed.getvalue().strip() == question.right


@each
def test_choices_differ_and_each_gets_its_own_words(part, number, question):
    assert 3 <= len(question.choices) <= 5 == len({*question.choices}) + 5 - len(question.choices)
    said = [question.says(choice) for choice in question.choices]
    assert len({*said}) == len(said) and all(text.endswith(".") and not text.endswith("..") for text in said)
    assert (CHAPTERS / f"{question.place}.ipynb").exists()
    assert all(len(line) <= 79 for line in textwrap.dedent(question.code).splitlines())


@pytest.mark.parametrize("part", PARTS)
def test_a_quiz_has_ten_questions_and_no_pattern(part):
    letters = "".join(question.letter for question in questions(part))
    assert len(letters) == 10 and all(letters.count(letter) <= 5 for letter in letters)
    assert (CHAPTERS / f"quiz_{part}.md").read_text(encoding="utf-8") == page(part), "run make exercises"


@pytest.mark.parametrize("part", PARTS)
def test_in_a_notebook_it_is_one_call(part, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    quiz(part)
    assert shown[0].data.count("<details>") == 10
    right = "".join(question.letter for question in questions(part))
    quiz(part, f"{right[:5]} {right[5:].upper()}")
    assert capsys.readouterr().out.endswith("10 Right.\n10 of 10\n".replace("10 Right", f"10 {right[-1]}  Right"))
    others = "".join("b" if letter == "a" else "a" for letter in right)
    quiz(part, others)
    told = capsys.readouterr().out
    assert told.count("Not yet: ") == 10 and told.endswith("0 of 10\n")


@pytest.mark.parametrize(
    ("part", "answers"),
    [
        ("none", ""), (["build"], ""), (None, ""),
        ("build", "abc"), ("build", "zzzzzzzzzz"), ("build", [*"abcababcab"]), ("build", None), ("build", 7),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(part, answers, without_shape_checks):
    with pytest.raises(ValueError, match="must be"):
        quiz(part, answers)
