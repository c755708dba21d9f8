"""Node, which computes outside a browser what the pages compute inside one."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def node() -> str:
    """The program `node`; where it is missing the tests are skipped, but not where all has to be there."""
    if (path := shutil.which("node")) is None:
        reason = (
            "there is no node (apt-get install nodejs): nothing compares the Transformer of the pages with PyTorch's"
        )
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return path
