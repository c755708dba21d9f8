"""What every test starts from (the same seed, float32, one thread), and a table that the run ends with."""

import pytest


@pytest.fixture(autouse=True)
def fresh_torch():
    """Seed torch before each test, and undo what a test did to its defaults."""
    import torch  # not above: the process that only hands out tests would load it too, for seconds

    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_printoptions(profile="default")


def pytest_collection_modifyitems(items) -> None:
    """Measure coverage in the proofs of the library alone, for it makes a test half as slow again.

    Of those, what is slow and runs no line that others do not is marked `no_cover` where it stands. What imports
    `transformers` comes first: of several workers the first alone gets it, and waits for that.
    """
    items.sort(key=lambda item: "hf" not in item.keywords)
    for item in items:
        if item.path.parent.name != "library":
            item.add_marker(pytest.mark.no_cover)


def pytest_terminal_summary(terminalreporter) -> None:
    """Print which mistakes were put into the library, what caught each, and which chapter treats it."""
    caught: dict[tuple, list[str]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            told = dict(getattr(report, "user_properties", []))
            if report.when == "call" and "mistake" in told:
                row = caught.setdefault(tuple(told["mistake"]), [])
                row.append(told["check"] if outcome == "passed" else f"NOT BY {told['check']}")
    if caught:
        terminalreporter.section("mistakes put into the library, and what caught them")
        for (number, title, chapter), checks in sorted(caught.items(), key=lambda row: (row[0][0] or 99, row[0][2])):
            line = f"{number or '':>2} {title:74} {', '.join(sorted(checks))}, chapter {chapter}"
            terminalreporter.write_line(line)


@pytest.fixture
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch jaxtyping's own checks off, as they are for readers, so that the library's guards are what answers."""
    from jaxtyping import config

    monkeypatch.setattr(config, "jaxtyping_disable", True)
