"""What is said to answers of every kind, and what is kept of it."""

import json
import runpy

import pytest
import torch

from transformer_lib import __main__, causal_mask
from transformer_lib import exercises as door
from transformer_lib.exercises import judge as judging
from transformer_lib.exercises import record
from transformer_lib.exercises.compare import shown
from transformer_lib.exercises.exercise import CHAPTERS, Exercise, Law, Wrong, find
from transformer_lib.exercises.judge import judge


@pytest.fixture(autouse=True)
def empty_record(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LIB_RECORD", str(tmp_path / "record.txt"))
    return tmp_path / "record.txt"


def made_up(solution, **more):
    """An exercise about `twice(x)` or whatever the solution is."""
    texts = {"stub": "def twice(x):\n    ...", "wrongs": [], "inputs": lambda: [(torch.ones(2),), (torch.rand(3, 2),)]}
    facts = {"name": "made.up", "title": "", "level": "warm-up", "minutes": 1, "statement": "", **texts, **more}
    return Exercise(solution=solution, **facts)


TWICE = made_up(
    "def twice(x):\n    return 2 * x",
    wrongs=[Wrong("that is half of it", "2 * x", "x / 2"), Wrong("it raises", "2 * x", "x @ 1"),
            Wrong("it gives nothing back", "return ", "y = "), Wrong("it writes", "2 * x", "x.mul_(2)")],
    laws=[Law("evenness, half of it is whole", lambda answer, x: (answer(x) / 2 == x).all())],
)  # fmt: skip


def say(answer, exercise=TWICE):
    return judge(exercise, answer).says


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "not attempted yet."),
        (..., "not attempted yet."),
        (lambda x: x + x, "right."),
        (lambda x: (x + x).double(), "right."),
        (lambda x: x * 0.5, "not yet: that is half of it."),
        (lambda x: print(end=""), "not yet: it gives nothing back."),
        (torch.ones(2), "not yet: a function is asked for, and this is a Tensor; hand over the function itself, "
         "without calling it."),
        (lambda x: 3 * x, "not yet: at [0] it has 3.0, and 2.0 is right, for x = [1.0, 1.0]. It breaks a law: "
         "evenness, half of it is whole."),
        (lambda x: (2 * x, x), "not yet: a tensor is asked for, and this is a tuple, for x = [1.0, 1.0]."),
        (lambda x: (2 * x)[:1], "not yet: the shape is (1,), and (2,) is right, for x = [1.0, 1.0]."),
        (lambda x: (2 * x).long(), "not yet: the answer is of type torch.int64, and a tensor of real numbers is what "
         "is asked for, for x = [1.0, 1.0]."),
        (lambda x: x.mul_(2), "not yet: it writes."),
    ],
)  # fmt: skip
def test_what_is_said(answer, says):
    assert say(answer) == says


def test_an_input_that_is_written_into_is_told():
    exercise = made_up("def twice(x):\n    return 2 * x")
    told = "not yet: the answer is right, but its input x is no longer what it was; work on a copy"
    assert say(lambda x: x.mul_(2), exercise).startswith(told)


def test_an_answer_on_another_device_is_told():
    exercise = made_up("def twice(x):\n    return 2 * x")
    assert say(lambda x: x.to("meta"), exercise) == (
        "not yet: the answer lies on meta, and the input on cpu; make new tensors where the inputs are, "
        "for x = [1.0, 1.0]."
    )


def test_an_error_is_told_with_its_line():
    def careless(x):
        return x + torch.ones(5)

    assert say(careless).startswith("not yet: it raises RuntimeError at `return x + torch.ones(5)`: The size of tensor")
    assert say(lambda: 1).startswith("not yet: it raises TypeError: ")
    assert say(lambda x: x @ 1) == "not yet: it raises.", "a known mistake may be one that raises"


def test_of_an_error_the_readers_line_is_told_and_no_other():
    def ours(x):
        return causal_mask(2, 1)  # raises in a file of the library

    def pythons(x):
        return json.loads("[")  # raises in a file of Python's

    assert say(ours).startswith("not yet: it raises ValueError at `return causal_mask(2, 1)  #")
    assert say(pythons).startswith("not yet: it raises JSONDecodeError at `return json.loads(")
    # What asks an answer is ours.
    assert judge(find("training.loss"), lambda *inputs: 3).says.startswith(
        "not yet: it raises TypeError: cannot unpack"
    )


def test_a_loop_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(judging, "SECONDS", 0.2)
    ended = []

    def endless(x):
        try:
            while True:
                pass
        finally:
            ended.append(True)

    assert say(endless).startswith("not yet: it had not ended after 0.2 seconds")
    for thread in judging.threading.enumerate():
        if thread.daemon and thread is not judging.threading.main_thread():
            thread.join(5)
    assert ended, "and its thread is not left behind"


@pytest.mark.parametrize(
    ("solution", "answer", "says"),
    [
        ("7", 7.0, "right."),
        ("7", torch.tensor(7), "right."),
        ("7", 8, "not yet: 8 is not right."),
        ("7", True, "not yet: a number is asked for, and this is a bool."),
        ("7", "7", "not yet: a number is asked for, and this is a str."),
        ("0.25", 0.25001, "right."),
        ("0.25", 0.2512345, "not yet: 0.2512 is not right."),
        ("'keys'", "keys", "right."),
        ("'keys'", "values", "not yet: 'values' is not right."),
        ("True", True, "right."),
        ("True", 1, "not yet: 1 is not right."),
        ("[1, 2]", (1, 2), "right."),
        ("[1, 2]", [1, 3], "not yet: of 2 values number 1: 3 is not right."),
        ("[1, 2]", [1], "not yet: 2 values are asked for, and there are 1: [1]."),
        ("[1, 2]", 1, "not yet: 2 values are asked for, and this is an int."),
        ("{'a': 1}", {"a": 2}, "not yet: a: 2 is not right."),
        ("{'a': 1}", [1], "not yet: [1] is not right."),
    ],
)
def test_values(solution, answer, says):
    exercise = made_up(f"n = {solution}", stub="n = None", inputs=None)
    assert say(answer, exercise) == says


def test_an_answer_in_half_precision_is_compared_as_exactly_as_it_can_be():
    third = made_up("def twice(x):\n    return x / 3")
    for dtype in (torch.float16, torch.bfloat16):
        assert say(lambda x, dtype=dtype: x.to(dtype) / 3, third) == "right."
        assert say(lambda x, dtype=dtype: x.to(dtype) / 2.5, third) != "right."
    assert say(lambda x: x / 3.01, third) != "right."
    number = made_up("n = 1 / 3", stub="n = None", inputs=None)
    assert say(torch.tensor(1 / 3).half(), number) == "right."


def test_further_values_are_allowed_where_it_is_said():
    exercise = made_up("def twice(x):\n    return 2 * x", more=True)
    assert say(lambda x: (x + x, "more"), exercise) == "right."
    pair = made_up("def twice(x):\n    return x, 2 * x", more=True)
    assert say(lambda x: (x, x + x, "more"), pair) == "right."


def test_a_stub_that_somebody_has_gone_on_with_is_attempted():
    exercise = made_up("def twice(x):\n    return 2 * x", stub="def twice(x):\n    return sum(y for y in [x])")

    def twice(x):
        return sum(y for y in [x])

    assert say(twice, exercise) == "not attempted yet."
    assert say(lambda x: sum(2 * y for y in [x]), exercise) == "right."
    assert say(None, made_up("n = 1", stub="n = [None]", inputs=None)) == "not attempted yet."
    assert say([None], made_up("n = [1]", stub="n = [None]", inputs=None)) == "not attempted yet."


def test_what_is_told_of_inputs():
    exercise = made_up(
        "def twice(x, module, long):\n    return x", stub="def twice(x, module, long):\n    ...",
        inputs=lambda: [(torch.rand(2, 3), torch.nn.ReLU(), list(range(100)))],
    )  # fmt: skip
    assert "for x = a tensor of shape (2, 3), module = a ReLU, long = [0, 1, 2," in say(
        lambda *parts: parts[0] + 1, exercise
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.optim.SGD([torch.ones(2)], lr=0.1), "an SGD"),
        (object(), "an object"),
        (print, "a builtin_function_or_method"),
        (None, "None"),
        ({"a": [1]}, "{'a': [1]}"),
        ("a", "'a'"),
        ([1 / 3, (True, "b")], "[0.3333, (True, 'b')]"),
        ((torch.ones(2, 3), torch.ones(2)), "(a tensor of shape (2, 3), [1.0, 1.0])"),
        ([(torch.ones(2, 3), torch.ones(2, 3))] * 5, "[(a tensor of shape (2, 3), a tensor of shape (2, 3)), (a..."),
    ],
)
def test_a_value_is_told_in_a_few_words(value, words):
    assert shown(value) == words


def test_random_numbers_of_the_notebook_stay_as_they_are():
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    judge(TWICE, lambda x: x + torch.rand(1))
    assert torch.equal(torch.rand(1), first)
    drawn = made_up("def twice(x):\n    return x + torch.rand(2)")
    assert say(lambda x: torch.rand(2) + x, drawn) == "right.", "and chance is the same for all"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"wrongs": [Wrong("", "nowhere", "else")]}, "'nowhere' must occur once"),
        ({"stub": "import torch"}, "must end with a function or an assignment"),
    ],
)
def test_an_exercise_that_is_not_whole_is_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        _ = made_up("def twice(x):\n    return 2 * x", **facts).asked


@pytest.mark.parametrize(
    ("name", "hint"), [("mask.causal", "begins with one of self-attention"), ("masks.x", "masks.causal")]
)
def test_an_unknown_name_is_refused(name, hint):
    with pytest.raises(ValueError, match=hint):
        find(name)


def test_what_is_solved_is_kept(empty_record, capsys):
    exercise = find("masks.causal")
    door.check("masks.causal", exercise.run(exercise.stub))
    assert not empty_record.exists()
    for _ in range(2):
        door.check("masks.causal", exercise.run(exercise.solution))
    assert capsys.readouterr().out.splitlines() == [
        "masks.causal: not attempted yet.", "masks.causal: right.", "masks.causal: right.",
    ]  # fmt: skip
    with empty_record.open("ab") as file:
        file.write(b"\nmasks.dea\xff")  # a crash
    record.keep("masks.count")
    assert record.solved() >= {"masks.causal", "masks.count"} and "masks.dead" not in record.solved()
    door.progress()
    told = capsys.readouterr().out
    assert " 2 masks           2 of 4  count causal\n" in told and told.endswith("delete it to begin anew.\n")
    assert f"2 solved. The record is {empty_record}" in told and len(told.splitlines()) == len(CHAPTERS) + 1


def test_a_record_that_cannot_be_written_costs_a_remark(tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMER_LIB_RECORD", str(tmp_path / "nowhere" / "record"))
    assert "could not be recorded" in record.keep("masks.causal")
    monkeypatch.delenv("TRANSFORMER_LIB_RECORD")
    monkeypatch.setattr(record.Path, "home", lambda: tmp_path)
    assert record.path() == tmp_path / ".transformer_lib_solved.txt" and record.solved() == set()


def test_the_command_tells_progress(empty_record, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["transformer_lib", "progress"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(__main__.__file__, run_name="__main__")
    assert capsys.readouterr().out.endswith(f"0 solved. The record is {empty_record}; delete it to begin anew.\n")
