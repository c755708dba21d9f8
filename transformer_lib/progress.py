"""A progress line that a person sees, and nobody else: no output under tests, in pipes, in stored notebooks."""

import os
import sys

from transformer_lib._checks import shown


def watched() -> bool:
    """Tell whether somebody looks on: a terminal, or a notebook open in a browser or an editor.

    A program that executes notebooks (`nbval`, `nbclient`) is told apart by what it sends along with
    each cell: it cannot answer `input()`, and says so.
    """
    if sys.stderr.isatty():
        return True
    try:
        from IPython import get_ipython

        return bool(get_ipython().kernel.get_parent()["content"]["allow_stdin"])
    except (ImportError, AttributeError, KeyError, TypeError):
        return False


class ProgressLine:
    """One line, written over and over; silent when nobody watches. Use it in a `with` block.

    Args:
        show: `True` or `False` to decide yourself; by default `watched()`.
    """

    def __init__(self, show: bool | None = None) -> None:
        self.show = watched() if show is None else show
        self.width = 0

    def write(self, text: str) -> None:
        """Replace the line by `text`."""
        if self.show:
            print("\r" + text.ljust(self.width), end="", file=sys.stderr, flush=True)
            self.width = max(self.width, len(text))

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self.show and self.width:
            print(file=sys.stderr, flush=True)


def plain_numbers(answer: object) -> dict[str, int | float]:
    """Return what a callback answered as plain numbers, which a checkpoint can hold and give back."""
    try:
        answer = dict(answer or {})  # type: ignore[call-overload]
        return {str(name): int(x) if type(x) in (int, bool) else float(x) for name, x in answer.items()}
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"callback must return a dictionary of numbers or None, got {shown(answer)}") from None


def leads() -> bool:
    """Tell whether this process is the one that writes files and talks to people: rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0"
