"""A bar that a person sees, and nobody else: no output under tests, in pipes, in stored notebooks."""

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm


def watched() -> bool:
    """Tell whether somebody looks on: a terminal, or a notebook open in a browser or an editor.

    Of several processes one shows what all of them do.

    A program that executes notebooks (`nbval`, `nbclient`) is told apart by what it sends along with
    each cell: it cannot answer `input()`, and says so.
    """
    if os.environ.get("RANK", "0") != "0":
        return False
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    try:  # where no notebook runs, IPython is not loaded, and loading it would take a while
        return bool(sys.modules["IPython"].get_ipython().kernel.get_parent()["content"]["allow_stdin"])
    except (AttributeError, KeyError, TypeError):
        return False


def progress(
    things: Iterable | None = None,
    what: str = "",
    *,
    total: int | None = None,
    done: int = 0,
    delay: float = 2.0,
    show: bool | None = None,
) -> tqdm:
    """Return `things` with a bar that tells how far a loop over them is, at what rate, and how long it will take.

    Args:
        things: what is looped over; without them, call `update` on what is returned.
        what: the word before the bar.
        total: the number of things, where `len` cannot tell.
        done: how many of them were done before.
        delay: seconds in which nothing is shown: what is over by then needs no bar.
        show: whether there is a bar; by default if somebody looks on.
    """
    hidden = not (watched() if show is None else show)
    return tqdm(
        things, what, total, leave=False, file=sys.stderr, disable=hidden, initial=done, delay=delay, dynamic_ncols=True
    )
