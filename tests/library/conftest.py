"""No test of the library may be skipped: what was not run proves nothing."""

import pytest

MAY_BE_SKIPPED = {"gpu"}  # for want of a machine


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn a skipped test into a failed one, unless it needs a machine that may not be there."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not item.keywords.keys() & MAY_BE_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"skipped, and so nothing is proved: {call.excinfo.value if call.excinfo else ''}"
    return report
