"""What the pages say about the repository, and what the repository says about the pages. Needs no built book."""

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import architecture
import book_env
import library_api
import pytest
import repository
import yaml

ROOT = Path(__file__).resolve().parents[2]
INDEX = (ROOT / "chapters" / "index.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHAPTERS = sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))


def opening(path) -> str:
    """The Markdown of a chapter's first cells."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells[:4] if c["cell_type"] == "markdown")


@pytest.fixture
def fork(monkeypatch):
    monkeypatch.delenv("BOOK_BASE_URL", raising=False)
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    monkeypatch.setenv("GITHUB_REPOSITORY", "Someone/fork")


def test_every_address_follows_a_fork(fork):
    url = repository.public_url()
    assert url == "https://github.com/Someone/fork"
    assert book_env.settings(url) == {
        "repository_url": "https://github.com/Someone/fork",
        "html_baseurl": "https://someone.github.io/fork/",
        "ogp_site_url": "https://someone.github.io/fork/",
    }


def test_sphinx_gets_the_addresses_of_the_fork(fork):
    config = SimpleNamespace(html_theme_options={"repository_url": "https://github.com/old/old"})
    book_env.use_public_url(None, config)
    assert config.html_theme_options["repository_url"] == "https://github.com/Someone/fork"
    assert config.html_theme_options["repository_branch"] == "main"
    assert config.html_baseurl == "https://someone.github.io/fork/"


def test_source_links_follow_the_fork(fork):
    link = library_api.source_link("py", {"module": "transformer_lib.masks", "fullname": "causal_mask"})
    assert re.fullmatch(r"https://github.com/Someone/fork/blob/main/transformer_lib/masks.py#L\d+-L\d+", link)


def test_a_personal_page_has_no_folder(monkeypatch):
    monkeypatch.delenv("BOOK_BASE_URL", raising=False)
    assert book_env.base_url("https://github.com/Someone/someone.github.io") == "https://someone.github.io/"


def test_another_host_can_be_named(monkeypatch):
    monkeypatch.setenv("BOOK_BASE_URL", "https://example.org/book")
    assert book_env.settings("https://github.com/a/b")["html_baseurl"] == "https://example.org/book/"


def test_the_404_page_names_every_address_in_full():
    page = '<head><a href="index.html"> <a href="../search.html"> <a href="#top"> <a href="https://a.b/c">'
    page += '<img src="../_static/x.png">'
    made = book_env.absolute(page, "/fork/")
    assert (
        'href="/fork/chapters/index.html"' in made
        and 'href="/fork/search.html"' in made
        and 'src="/fork/_static/x.png"' in made
    )
    assert 'href="#top"' in made and 'href="https://a.b/c"' in made and "noindex" in made


def test_the_configuration_starts_from_the_declared_address():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == repository.declared_url()
    assert config["html"]["baseurl"] == book_env.base_url(repository.declared_url())
    assert config["execute"]["execute_notebooks"] == "off"


def test_the_table_of_contents_lists_every_chapter():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = {entry["file"] for part in toc["parts"] for entry in part["chapters"]} | {toc["root"]}
    written = {f"chapters/{p.stem}" for p in (ROOT / "chapters").iterdir() if p.suffix in {".md", ".ipynb"}}
    assert listed == written - {"chapters/404"}


def test_map_index_and_chapters_ask_the_same_questions():
    rows = re.findall(r"^\| (\d+) \| \[[^\]]+\]\((\w+)\.ipynb\) \| (.+?) \| (\d+) \|$", INDEX, re.MULTILINE)
    assert [(int(n), page, question) for n, page, question, _ in rows] == [
        (n, *q) for n, q in architecture.QUESTIONS.items()
    ]
    for path in CHAPTERS:
        number = int(path.stem[:2])
        assert architecture.QUESTIONS[number][0] == path.stem
        assert architecture.QUESTIONS[number][1].rstrip("?") in opening(path), (
            f"{path.name} does not ask its question at the start"
        )


def test_the_index_tells_the_minutes_that_the_chapters_tell():
    minutes = {
        page: told
        for _, page, told in re.findall(
            r"^\| (\d+) \| \[[^\]]+\]\((\w+)\.ipynb\) \|.*\| (\d+) \|$", INDEX, re.MULTILINE
        )
    }
    for path in CHAPTERS:
        told = re.search(r"(\d+) minutes to read", opening(path))
        assert told, f"{path.name} has no cost card"
        assert minutes[path.stem] == told[1], path.name


def test_the_picture_is_the_map():
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.picture(), "run python _ext/architecture.py"


def test_the_inventory_is_the_list():
    build = runpy.run_path(str(ROOT / "_inv" / "build.py"))
    listed = (ROOT / "_inv" / "torch.txt").read_text(encoding="utf-8")
    assert (ROOT / "_inv" / "torch.inv").read_bytes() == build["inventory"](listed), "run python _inv/build.py"


def test_the_reference_covers_every_public_module():
    shown = re.findall(r"\{library\} (\S+)", (ROOT / "chapters" / "api.md").read_text(encoding="utf-8"))
    with_content = [
        m for m in library_api.all_modules() if library_api.public(library_api.parse(m).body) and m != "transformer_lib"
    ]
    assert sorted(shown) == sorted(with_content)


def test_readme_links_lead_to_files():
    links = re.findall(r"\]\(([^)#\s]+)|src=\"([^\"]+)\"|href=\"([^\"]+)\"", README)
    paths = [path for found in links for path in found if path and not path.startswith("http")]
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_readme_badges_open_every_chapter():
    url = repository.declared_url().removeprefix("https://github.com/")
    for path in CHAPTERS:
        assert f"https://colab.research.google.com/github/{url}/blob/main/chapters/{path.name}" in README, path.name


def test_glossary_terms_are_found_by_their_anchor():
    terms = re.findall(r"^### (.+)$", (ROOT / "chapters" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(terms) == len(set(terms)) > 50


def unmet_terms(glossary, chapters):
    """The terms that a chapter named in their entry does not hold, word by word (by the first four letters)."""
    for term, entry in re.findall(r"^### (.+)\n\n(.+)$", glossary, re.MULTILINE):
        for number in re.findall(r"(?:First|explained) in \[chapter (\d+)\]", entry):
            words = re.findall("[a-z]+", term.lower())
            if any(word[:4] not in chapters[int(number)] for word in words):
                yield f"{term}: not in chapter {number}"


def sources(path):
    """Text and code of a chapter, in lower case, without outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells).lower()


def test_glossary_terms_are_met_in_the_chapters_that_they_name():
    glossary = (ROOT / "chapters" / "glossary.md").read_text(encoding="utf-8")
    assert list(unmet_terms(glossary, {int(path.stem[:2]): sources(path) for path in CHAPTERS})) == []
    assert len(re.findall(r"First in \[chapter", glossary)) > 50


def test_an_unmet_term_is_seen():
    entry = "### beam search\n\nA search. First in [chapter 1](x), explained in [chapter 2](y).\n"
    chapters = {1: "a beam searches", 2: "a beam of light"}
    assert list(unmet_terms(entry, chapters)) == ["beam search: not in chapter 2"]
