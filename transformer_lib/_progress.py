"""A bar that a person sees, and nobody else: no output under tests, in pipes, in stored notebooks."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def watched() -> bool:
    """Tell whether somebody looks on: a terminal, or a notebook open in a browser or an editor.

    A program that executes notebooks (`nbval`, `nbclient`) says with each cell that it cannot answer `input()`.
    Of several processes one shows what all of them do.
    """
    if os.environ.get("RANK", "0") != "0":
        return False
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    try:  # where no notebook runs, IPython is not loaded, and loading it would take a while
        return bool(sys.modules["IPython"].get_ipython().kernel.get_parent()["content"]["allow_stdin"])
    except (AttributeError, KeyError, TypeError):
        return False


def progress(things: Iterable | None = None, what: str = "", *, show: bool | None = None, **options: Any) -> tqdm:
    """Return `things` with a bar that tells how far a loop over them is, at what rate, and how long it will take.

    Without `things`, call `update` on what is returned. There is a bar if `show`, by default if somebody looks on; its
    other `options` are those of `tqdm`. For two seconds nothing is shown: what is over by then needs no bar.
    """
    hidden = not (watched() if show is None else show)
    ways = {"leave": False, "file": sys.stderr, "delay": 2.0, "dynamic_ncols": True, **options}
    return tqdm(things, what, disable=hidden, **ways)
