"""Every exercise answers as it should: to its solution, its stub, each known mistake, other styles, and to nonsense."""

import importlib
import re

import pytest
import torch

from transformer_lib.exercises.exercise import CHAPTERS, LEVELS, exercises, plain
from transformer_lib.exercises.judge import judge

ALL = [exercise for chapter in CHAPTERS for exercise in exercises(chapter)]
FUNCTIONS = [exercise for exercise in ALL if exercise.inputs]
VALUES = [exercise for exercise in ALL if not exercise.inputs]
ALTERNATIVES = {
    name: codes
    for chapter in CHAPTERS
    for name, codes in importlib.import_module(f"alternatives.{chapter.replace('-', '_')}").ALTERNATIVES.items()
}

pytestmark = pytest.mark.usefixtures("without_shape_checks")  # as readers have it
torch.zeros(1, device="meta") + 1  # the first operation of this kind imports for seconds, and a call has only ten

each = pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.name)
each_function = pytest.mark.parametrize("exercise", FUNCTIONS, ids=lambda exercise: exercise.name)


def sentence(exercise, answer):
    judgement = judge(exercise, answer)
    assert "\n" not in judgement.says and judgement.says.endswith(".")
    return judgement


@each
def test_the_stub_is_not_attempted_and_the_solution_is_right(exercise):
    assert sentence(exercise, exercise.run(exercise.stub)).state == "not attempted"
    for _ in range(3):
        assert sentence(exercise, exercise.run(exercise.solution)).says == "right."


@each
def test_each_known_mistake_gets_its_own_diagnosis(exercise):
    said = [wrong.says for wrong in exercise.wrongs]
    assert len(said) >= 4 and len(set(said)) == len(said)
    assert not [text for text in said if text.endswith(".") or not re.match(r"[^A-Z]", text)]
    for wrong in exercise.wrongs:
        answer = exercise.run(wrong.code)
        assert sentence(exercise, answer).says == f"not yet: {wrong.says}."


@each_function
def test_the_solution_obeys_the_laws(exercise):
    solution = exercise.run(exercise.solution)
    for law in exercise.laws:
        assert all(law.holds(solution, *inputs) for inputs in exercise.inputs()), law.says


@each_function
def test_right_answers_in_other_styles_are_right(exercise):
    codes = ALTERNATIVES[exercise.name]
    assert len({*codes, exercise.solution}) >= 4
    for code in codes:
        assert sentence(exercise, exercise.run(plain(code))).says == "right.", code


@pytest.mark.parametrize("exercise", VALUES, ids=lambda exercise: exercise.name)
def test_a_number_may_be_a_tensor(exercise):
    value = exercise.run(exercise.solution)
    if isinstance(value, int | float):
        assert judge(exercise, torch.tensor(value, dtype=torch.float64)).state == "right"


@each_function
def test_nonsense_gets_a_sentence(exercise):
    solution = exercise.run(exercise.solution)

    def fails(*inputs):
        raise KeyError("two\nlines")

    def writes_into_its_input(*inputs):
        value = solution(*inputs)
        changeable = [part for part in inputs if isinstance(part, torch.Tensor) and part.is_floating_point()]
        with torch.no_grad():
            for part in changeable:
                part.add_(1)
        return value

    assert "raises KeyError" in sentence(exercise, fails).says
    assert sentence(exercise, lambda *inputs: object()).state == "wrong"
    assert sentence(exercise, lambda *inputs: None).state == "wrong"
    assert sentence(exercise, lambda *inputs: torch.zeros(1, device="meta")).state == "wrong"
    assert sentence(exercise, lambda: 1).state == "wrong"
    assert sentence(exercise, 17).state == "wrong"
    trials = exercise.inputs() if not exercise.use else []
    if any(isinstance(part, torch.Tensor) and part.is_floating_point() for inputs in trials for part in inputs):
        assert sentence(exercise, writes_into_its_input).state == "wrong"


@each
def test_an_exercise_is_announced(exercise):
    assert exercise.level in LEVELS and 1 <= exercise.minutes <= 60
    assert exercise.statement and exercise.asked


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_three_or_four(chapter):
    levels = [exercise.level for exercise in exercises(chapter)]
    assert 3 <= len(levels) <= 4 and "build it" in levels
    assert all(exercise.name.startswith(f"{chapter}.") for exercise in exercises(chapter))
    assert all(len(line) <= 79 for e in exercises(chapter) for line in f"{e.stub}\n{e.solution}".splitlines())
