"""The bar: a person sees it, and nobody else."""

import io
import sys

import pytest

from transformer_lib._progress import progress, watched


def to_see(monkeypatch: pytest.MonkeyPatch, terminal: bool = False) -> io.StringIO:
    """What a bar is written to."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_it_is_silent_when_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = to_see(monkeypatch)
    assert not watched()
    assert [*progress([3, 1, 2], "counting", delay=0.0)] == [3, 1, 2]
    assert stream.getvalue() == ""


def test_it_tells_a_person_how_far_it_is_and_how_long_it_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = to_see(monkeypatch, terminal=True)
    assert watched()
    with progress(what="training", total=40, initial=20, delay=0.0) as bar:
        bar.update(10)
        bar.set_postfix(loss="1.5")
    shown = stream.getvalue()
    assert "training:  75%" in shown and "30/40" in shown and "loss=1.5" in shown


def test_what_is_over_at_once_needs_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = to_see(monkeypatch)
    assert [*progress([3, 1, 2], "counting", show=True)] == [3, 1, 2]
    assert "counting" not in stream.getvalue()


@pytest.mark.parametrize("allow_stdin", [True, False])
def test_in_a_notebook(monkeypatch: pytest.MonkeyPatch, allow_stdin: bool) -> None:
    """A front-end that a person uses can answer input(); nbval and nbclient say that they cannot."""

    class Shell:
        class kernel:
            @staticmethod
            def get_parent():
                return {"content": {"allow_stdin": allow_stdin}}

    import IPython

    to_see(monkeypatch)
    monkeypatch.setattr(IPython, "get_ipython", Shell)
    assert watched() is allow_stdin
