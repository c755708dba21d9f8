"""The settings of the book in other hands: plain Sphinx, other forms than pages, a folder that a glob would misread."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import whole_book
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "# No page\n",
    "_toc.yml": "format: jb-book\nroot: chapters/index\nchapters: [{file: chapters/api}, {file: chapters/07_encoder}]",
    "chapters/index.md": "# Map\n\n```{raw} html\n:file: ../site/static/architecture.svg\n```\n\n[A](api.md#masks)\n\n"
    "## Where to begin\n\nAt 1.",
    "chapters/07_encoder.md": "# Encoder\n\n{repo}`README.md` and {py:func}`~transformer_lib.masks.mask`\n\n"
    "<live-figure kind=\"softmax\" data='{}'>\n\nWhere nothing moves.\n\n</live-figure>\n",
    "chapters/api.md": "# Library\n\n## Masks\n\n```{eval-rst}\n.. autoapimodule:: transformer_lib.masks\n```\n",
    "transformer_lib/__init__.py": "from transformer_lib.masks import Mask\n",
    "transformer_lib/masks.py": r'''"""Who may look.

    python -m look

As above.
"""
from dataclasses import dataclass
from jaxtyping import Bool
from torch import Tensor, nn

@dataclass
class Mask:
    """A record."""
    rows: Bool[Tensor, "*batch seq"]
    width: int = 3
    @property
    def size(self) -> int:
        """How large: the area."""

def mask(module: nn.Module, kept: Bool[Tensor, "..."] | None = None) -> "Mask":
    r"""Make a `Mask`, not `~kept`, of $d_k$.

    $$\frac{1}{2}$$

    Returns:
        A mask: of `True`.
    """

def _private():
    """Hidden."""
''',
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small book with all settings of this one, as Read the Docs would build it, in several forms."""
    book = tmp_path_factory.mktemp("box") / "[ML] course"
    for name, text in PAGES.items():
        (book / name).parent.mkdir(parents=True, exist_ok=True)
        (book / name).write_text(text)
    for name in ("_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, book)
    shutil.copytree(ROOT / "site", book / "site")
    live = Path("transformer_lib", "notebook", "live")
    shutil.copytree(ROOT / live, book / live, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (book / "made" / "pdf").mkdir(parents=True)
    (book / "made" / "pdf" / whole_book.PDF).write_bytes(bytes(2_100_000))
    program = """if True:
        from jupyter_book.cli.main import main as jb
        from sphinx.cmd.build import main as sphinx
        jb(["config", "sphinx", "."], standalone_mode=False)
        for builder in ("html", "dirhtml", "singlehtml", "text", "latex"):
            assert sphinx(["-n", "-W", "-q", "-b", builder, "-d", "trees", ".", f"made/{builder}"]) == 0, builder
    """
    own = {name: value for name, value in os.environ.items() if name not in {"GITHUB_REPOSITORY", "BOOK_BASE_URL"}}
    own |= {"PYTHONPATH": "site/ext", "BOOK_REPOSITORY": "https://github.com/Me/fork"}
    run = subprocess.run([sys.executable, "-c", program], cwd=book, env=own, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return book / "made"


@pytest.mark.parametrize(
    ("page", "encoder", "library"),
    [
        ("html/chapters/index.html", "07_encoder.html", "api.html#masks"),
        ("dirhtml/chapters/index.html", "07_encoder/", "api/#masks"),
        ("singlehtml/index.html", "#document-chapters/07_encoder", "#masks"),
    ],
)
def test_links_lead_where_the_builder_puts_the_pages(built, page, encoder, library):
    soup = BeautifulSoup((built / page).read_text(), "html.parser")
    assert soup.select_one(".map a[aria-label^=Encoder]")["href"] == encoder
    assert soup.select_one("article p a.reference")["href"] == library
    assert (built / page).parent.joinpath(soup.select_one("link[href*='book.css']")["href"].split("?")[0]).is_file()


def test_the_single_page_has_the_title_of_the_book(built):
    soup = BeautifulSoup((built / "singlehtml" / "index.html").read_text(), "html.parser")
    assert soup.title.get_text() == "The Transformer, Piece by Piece"


def test_the_text_links_into_the_repository_and_the_reference(built):
    soup = BeautifulSoup((built / "html" / "chapters" / "07_encoder.html").read_text(), "html.parser")
    links = [a["href"] for a in soup.select("article p a.reference")]
    assert links == ["https://github.com/Me/fork/blob/main/README.md", "api.html#transformer_lib.masks.mask"]


def test_other_forms_hold_the_words(built):
    assert "Who may look" in (built / "text" / "chapters" / "api.txt").read_text()
    (latex,) = (built / "latex").glob("*.tex")
    for words in ("Who may look", "Where nothing moves."):  # the second instead of a figure that answers
        assert words in latex.read_text() and "live-figure" not in latex.read_text()
    assert "Where nothing moves." in (built / "text" / "chapters" / "07_encoder.txt").read_text()


def test_the_first_page_leads_to_the_printed_book_where_there_is_one(built):
    page = built / "html" / "chapters" / "index.html"
    begin = BeautifulSoup(page.read_text(), "html.parser").select_one("section#where-to-begin")
    assert begin.get_text(" ", strip=True).endswith(
        "The whole book as a PDF (2 MB), to print, or to read where there is no network."
    )
    assert (page.parent / begin.select_one(f"a[href$='{whole_book.PDF}']")["href"]).stat().st_size == 2_100_000
    for other in (built / "html" / "chapters" / "api.html", built / "singlehtml" / "index.html"):
        assert whole_book.PDF not in other.read_text()


def test_only_the_chapters_are_pages_and_the_map_of_the_site_says_where(built):
    assert not list((built / "html").rglob("README*"))
    places = {"html": "chapters/api.html", "dirhtml": "chapters/api/", "singlehtml": ""}
    for builder, place in places.items():
        assert f"https://me.github.io/fork/{place}" in (built / builder / "sitemap.xml").read_text()
    assert "https://me.github.io/fork/404" not in (built / "html" / "sitemap.xml").read_text()


def test_the_reference_is_the_source_in_the_words_of_the_book(built):
    soup = BeautifulSoup((built / "html" / "chapters" / "api.html").read_text(), "html.parser")
    signatures = {e["id"].removeprefix("transformer_lib.masks."): e for e in soup.select("dt.sig")}
    assert set(signatures) == {"Mask", "Mask.size", "mask"}
    assert "Mask(rows: Bool[Tensor, '*batch seq'], width: int = 3)" in signatures["Mask"].get_text()
    assert "mask(module: Module, kept: Bool[Tensor, '...'] | None = None) → Mask" in signatures["mask"].get_text()
    links = {a.get_text(): a["href"] for a in soup.select("dl.py a.reference")}
    assert links["Module"].startswith("https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#")
    assert links["Mask"] == "#transformer_lib.masks.Mask" and "kept" not in links
    assert links["[source]"] == "https://github.com/Me/fork/blob/main/transformer_lib/masks.py#L20-L27"
    assert str(soup.select_one("dl.py span.math math")) == "<math><msub><mi>d</mi><mi>k</mi></msub></math>"
    assert soup.select_one("dl.py div.math mfrac").get_text() == "12"
    assert soup.select_one("pre").get_text() == "python -m look\n"
    assert [code.get_text() for code in soup.select("dl.py code")] == ["Mask", "~kept", "True"]
    described = [e.get_text(" ", strip=True) for e in soup.select("dl.py dd p")]
    assert "How large: the area." in described and "A mask: of True ." in described
