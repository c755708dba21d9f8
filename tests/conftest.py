"""What every test starts from (the same seed, float32, one thread, shapes checked), what none may do, and the end."""

import sys
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

TESTS = Path(__file__).parent
sys.path[:0] = [str(TESTS), str(TESTS / "mistakes")]  # helpers and contracts are for all
WITHOUT = {  # the reasons to skip, but for want of a GPU: how each begins, and what is said of it at the end
    "there is no browser": (
        "Not looked at, for want of a browser: the pages, and chapters in JupyterLab ({tests} tests); get Chromium by "
        "`apt-get install chromium` or `.venv/test/bin/python -m playwright install chromium`, and run this again."
    ),
    "there is no Firefox": (
        "Not looked at in Firefox: two pages ({tests} tests); get it by `apt-get install firefox-esr`, "
        "and run this again."
    ),
    "there is no WebKitGTK": (
        "Not looked at in WebKit, the engine of Safari: two pages ({tests} tests); get it by "
        "`apt-get install webkit2gtk-driver xvfb`, and run this again."
    ),
    "there is no node": (
        "Not compared, for want of Node: what the pages compute, with PyTorch ({tests} tests); get it by "
        "`apt-get install nodejs`, and run this again."
    ),
}

# Shapes are checked wherever a test calls the library, as its annotations name them.
install_import_hook("transformer_lib", "shape_checks.check")


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
    """Begin with what takes longest, so that no worker ends with it: chapters in JupyterLab, then `transformers`.

    What imports `transformers` stands together: of several workers the first alone gets it, and waits for that.
    """
    items.sort(key=lambda item: (item.path.stem != "test_jupyterlab", "hf" not in item.keywords))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skipped test into a failed one, unless what it lacks is a GPU, or is told of at the end.

    What was not run proves nothing.
    """
    report = yield
    told = "gpu" in item.keywords or any(reason in str(report.longrepr) for reason in WITHOUT)
    if report.skipped and not hasattr(report, "wasxfail") and not told:
        report.outcome = "failed"
        report.longrepr = f"skipped, and so nothing is proved: {call.excinfo.value if call.excinfo else ''}"
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Print what nobody looked at for want of a browser or two, and what nobody compared for want of Node."""
    for reason, text in WITHOUT.items():
        if tests := sum(reason in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
            terminalreporter.write_line("")
            terminalreporter.write_line(text.format(tests=tests), yellow=True)


@pytest.fixture
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch jaxtyping's own checks off, as they are for readers, so that the library's guards are what answers."""
    from jaxtyping import config

    monkeypatch.setattr(config, "jaxtyping_disable", True)
