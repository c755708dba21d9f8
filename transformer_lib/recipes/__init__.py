"""Whole trainings: tasks, their settings, and the models that came out of them (chapters 12 and 13)."""

from transformer_lib.recipes.recipe import PACKAGED, Recipe, read_recipe
from transformer_lib.recipes.run import Run, average_weights
from transformer_lib.recipes.tasks import TASKS, Task, load

__all__ = ["PACKAGED", "TASKS", "Recipe", "Run", "Task", "average_weights", "load", "read_recipe"]
