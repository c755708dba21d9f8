"""What the commands that answer texts have in common."""

import io
import sys
from collections.abc import Callable, Sequence


def answer_all(answer: Callable[[str], str], given: Sequence[str], hint: str) -> int:
    """Print the answer to each text, those of the standard input if none is given.

    A text that is not accepted costs a line on the standard error, and the others are answered all the same.

    Returns:
        0, or 2 if a text was not accepted.
    """
    if not given and sys.stdin.isatty():
        print(f"{hint}. End with Ctrl-D.", file=sys.stderr)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text make an unknown word, not an error
    status = 0
    for text in given or sys.stdin:
        try:
            print(answer(text), flush=True)
        except ValueError as error:
            print(error, file=sys.stderr, flush=True)
            status = 2
    return status
