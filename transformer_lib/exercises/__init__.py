"""Exercises that answer back: `check("masks.causal", my_mask)` says whether it is right, and if not, what is wrong.

What a chapter asks stands in the file of its name: statement, stub, hints, solution, and the wrong answers that readers
give, each with what to say to it. `make exercises` writes them into the notebooks. Nothing later in the book depends
on whether an exercise was solved.
"""

from transformer_lib.exercises.judge import check
from transformer_lib.exercises.quiz import quiz
from transformer_lib.exercises.record import progress

__all__ = ["check", "progress", "quiz"]
