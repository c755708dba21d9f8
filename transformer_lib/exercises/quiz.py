"""A quiz of ten questions for each part of the book: predict a number, or read a piece of code.

On the page a reader chooses and is told at once; in Jupyter `quiz("build")` shows the questions, and
`quiz("build", "bacbd abcab")` says which answers are right, and why the others are not.
"""

import html
import importlib
import random
import textwrap
from dataclasses import dataclass

from transformer_lib.exercises.exercise import folded

PARTS = {"build": "Build the Transformer", "prove": "Prove it", "real": "Make it real", "beyond": "Beyond 2017"}
LETTERS = "abcdef"


@dataclass(frozen=True)
class Question:
    """One question of a quiz.

    Args:
        text: what is asked, in Markdown.
        right: the right choice, as it is shown.
        why: the reason, in Markdown: what to remember.
        wrong: the other choices, each with what to say to whoever takes it.
        place: the notebook that explains it, such as "02_masks".
        code: code that the question shows; it prints the right choice.
        proof: code that is not shown and prints the right choice, for a question without code.
    """

    text: str
    right: str
    why: str
    wrong: dict[str, str]
    place: str
    code: str = ""
    proof: str = ""

    @property
    def choices(self) -> list[str]:
        """All choices, in an order that is always the same and tells nothing."""
        choices = [self.right, *self.wrong]
        random.Random(self.text).shuffle(choices)
        return choices

    @property
    def letter(self) -> str:
        """The letter of the right choice."""
        return LETTERS[self.choices.index(self.right)]

    def says(self, choice: str) -> str:
        """What is said to a choice."""
        return "Right." if choice == self.right else f"Not yet: {self.wrong[choice]}."

    @property
    def asked(self) -> str:
        """The question with its code, in Markdown."""
        code = textwrap.dedent(self.code).strip()
        return textwrap.dedent(self.text).strip() + (f"\n\n```python\n{code}\n```" if code else "")


def questions(part: str) -> list[Question]:
    """The questions of a part of the book, one of `PARTS`.

    Raises:
        ValueError: there is no such part.
    """
    if not isinstance(part, str) or part not in PARTS:
        raise ValueError(f"part ({part!r}) must be one of {', '.join(PARTS)}")
    return importlib.import_module(f"transformer_lib.exercises.quizzes.{part}").QUESTIONS


def quiz(part: str, answers: str = "") -> None:
    """Show the quiz of a part of the book; with `answers`, say which are right.

    Args:
        part: one of `PARTS`.
        answers: a letter for each question, such as "bacbd abcab"; spaces do not count.

    Raises:
        ValueError: there is no such part, or the letters are not as many as the questions.
    """
    asked = questions(part)
    given = "".join(str(answers).split()).lower()
    if not given:
        from IPython.display import Markdown, display  # a notebook has it

        display(Markdown("\n\n".join(_in_words(i, question) for i, question in enumerate(asked, start=1))))
        return
    if len(given) != len(asked) or not all(a in LETTERS[: len(q.choices)] for a, q in zip(given, asked, strict=False)):
        raise ValueError(f"answers ({answers!r}) must be {len(asked)} letters in one text, one for each question")
    for number, (question, letter) in enumerate(zip(asked, given, strict=True), start=1):
        print(f"{number:2} {letter}  {question.says(question.choices[LETTERS.index(letter)])}")
    print(f"{sum(letter == question.letter for question, letter in zip(asked, given, strict=True))} of {len(asked)}")


def _in_words(number: int, question: Question) -> str:
    choices = "\n".join(f"- **{letter}** `{c}`" for letter, c in zip(LETTERS, question.choices, strict=False))
    return f"**{number}.** {question.asked}\n\n{choices}\n\n{_answer(question)}"


def _answer(question: Question, link: str = "") -> str:
    why = textwrap.dedent(question.why).strip()
    return folded("Answer", f"**{question.letter}**. {why}{link}")


def page(part: str) -> str:
    """The page of a quiz, in Markdown with the controls as HTML; `site/static/quiz.js` answers."""
    asked = questions(part)
    parts = [
        f"# Quiz: {PARTS[part]}",
        f"Ten questions about this part of the book. Predict a number, or read code, and choose; you are told at once. "
        f'In Jupyter, `from transformer_lib.exercises import quiz` and `quiz("{part}")` ask the same.',
    ]
    for number, question in enumerate(asked, start=1):
        name = f"quiz-{part}-{number}"
        # Buttons, not radio buttons: the arrow keys would choose, and so answer, each one on the way.
        rows = [f'<fieldset class="quiz" id="{name}"><legend>Your answer to question {number}</legend>']
        for letter, choice in zip(LETTERS, question.choices, strict=False):
            says = html.escape(question.says(choice), quote=True)
            rows.append(
                f'<button type="button" data-says="{says}">{letter}&ensp;<code>{html.escape(choice)}</code></button>'
            )
        rows.append("<p></p></fieldset>")
        parts += [f"## Question {number}", question.asked, "\n".join(rows)]
        parts.append(_answer(question, f" It stands in [this chapter]({question.place}.ipynb)."))
    parts.append('<p class="quiz-score" role="status"></p>')
    return "\n\n".join(parts) + "\n"
