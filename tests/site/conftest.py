"""The built pages, served as they will be published: under the folder that their address names."""

import contextlib
import functools
import http.server
import io
import os
import shutil
import sys
import threading
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("BOOK_HTML", ROOT / "_build" / "html")).resolve()
sys.path.insert(0, str(ROOT / "site" / "ext"))


def missing(reason: str) -> None:
    """Skip on a reader's machine, fail where everything has to be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built pages."""
    if not (SITE / "chapters" / "index.html").exists():
        missing("there are no built pages: run make book first")
    return SITE


def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="session")
def paths(site) -> dict[str, Path]:
    """Every page of the book, by its path in the site."""
    paths = (path.relative_to(site) for path in site.rglob("*.html"))
    return {path.as_posix(): site / path for path in sorted(paths) if "_static" not in path.parts}


@pytest.fixture(scope="session")
def pages(paths) -> dict[str, BeautifulSoup]:
    """Every page of the book, parsed."""
    return {name: parsed(path) for name, path in paths.items()}


@pytest.fixture(scope="session")
def axe() -> str:
    """The program that finds what some readers could not use."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def prefix(paths) -> str:
    """The folder that the site will be published under, such as `/book/`."""
    canonical = parsed(paths["chapters/index.html"]).find("link", rel="canonical")
    return urlsplit(canonical["href"]).path.removesuffix("chapters/index.html")


@contextlib.contextmanager
def served(site: Path, prefix: str, first: str = ""):
    """The address of a small server that answers as GitHub Pages does, 404 page included.

    With `first`, this stands at the head of every page.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        error_message_format = (site / "404.html").read_text(encoding="utf-8").replace("%", "%%")

        def translate_path(self, path: str) -> str:
            return super().translate_path(path.removeprefix(prefix) if path.startswith(prefix) else "no/such/page")

        def send_head(self):
            page = Path(self.translate_path(self.path))
            if not first or page.suffix != ".html" or not page.is_file():
                return super().send_head()
            body = page.read_bytes().replace(b"<head>", b"<head>" + first.encode(), 1)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return io.BytesIO(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def address(site, prefix):
    """The address of the book."""
    with served(site, prefix) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """Chromium: the one that CHROMIUM names, else the system's, else Playwright's own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    path = os.environ.get("CHROMIUM") or next(filter(None, found), None)
    quiet = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # whatever else a page asks for fails
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=[*quiet.split(), alone])
        except sync_api.Error as error:
            missing(f"there is no browser to look at the pages with (set CHROMIUM): {error.message.splitlines()[0]}")
        yield chromium
        chromium.close()
