"""What the pages say about the repository, and what the repository says about the pages. Needs no built book."""

import ast
import json
import logging
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import book_env
import pytest
import repository
import yaml

from transformer_lib.exercises.exercise import CHAPTERS as CHAPTERS_WITH_EXERCISES

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
    for name in ("BOOK_BASE_URL", "BOOK_REPOSITORY", "GITHUB_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_REPOSITORY", "Someone/fork")


def test_every_address_follows_a_fork_and_is_told(fork, caplog):
    options = {"repository_url": "https://github.com/old/old", "repository_branch": "b"}
    config = SimpleNamespace(html_theme_options=options)
    with caplog.at_level(logging.INFO, "sphinx"):
        book_env.use_public_url(None, config)
    assert config.html_theme_options["repository_url"] == "https://github.com/Someone/fork"
    assert config.extlinks["repo"][0] == "https://github.com/Someone/fork/blob/b/%s"
    assert config.html_baseurl == config.ogp_site_url == "https://someone.github.io/fork/"
    assert config.notfound_urls_prefix == "/fork/"
    assert "https://github.com/Someone/fork" in caplog.text and "https://someone.github.io/fork/" in caplog.text


def test_another_repository_and_another_host_can_be_named(fork, monkeypatch):
    assert book_env.base_url("https://github.com/Someone/someone.github.io") == "https://someone.github.io/"
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert repository.public_url().startswith("https://github.com/")  # that of the clone, or the declared one
    monkeypatch.setenv("BOOK_REPOSITORY", "https://github.com/a/b/")
    assert repository.public_url() == "https://github.com/a/b"
    monkeypatch.setenv("BOOK_BASE_URL", "https://example.org/book")
    assert book_env.base_url("https://github.com/a/b") == "https://example.org/book/"


def clone(folder, *remotes):
    """A repository with these remotes, each a name and an address."""
    subprocess.run(["git", "init", "-q", folder], check=True)
    for name, address in remotes:
        subprocess.run(["git", "-C", folder, "remote", "add", name, address], check=True)
    return folder


OURS = """https://github.com/me/fork https://github.com/me/fork.git/ https://me@github.com/me/fork.git
    https://me:TOKEN@github.com/me/fork https://www.github.com/me/fork git://github.com/me/fork.git
    git@github.com:me/fork.git ssh://git@github.com/me/fork ssh://git@ssh.github.com:443/me/fork.git
    git@github-work:me/fork.git work-github:me/fork https://GitHub.com/me/fork""".split()
OTHERS = "https://gitlab.com/me/fork https://github.com.example.org/me/fork git@nas:me/fork /srv/github/me/fork".split()


@pytest.mark.parametrize("address", [*OURS, *OTHERS])
def test_every_way_to_write_a_remote_is_understood_and_no_other_host_taken_for_github(tmp_path, address):
    expected = "https://github.com/me/fork" if address in OURS else None
    assert repository.cloned_url(clone(tmp_path, ("origin", address))) == expected


def test_only_the_repository_of_the_book_is_asked(tmp_path, monkeypatch):
    course = clone(tmp_path, ("upstream", "https://github.com/prof/course"), ("zip", "https://gitlab.com/x/y"))
    assert repository.cloned_url(course) == "https://github.com/prof/course"
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as git sees a folder that belongs to another user
    assert repository.cloned_url(course) == "https://github.com/prof/course"
    subprocess.run(["git", "-C", course, "remote", "add", "origin", "https://github.com/me/fork"], check=False)
    (course / "book").mkdir()
    assert repository.cloned_url(course / "book") is None  # unpacked inside somebody's repository


def test_a_clone_has_the_same_bytes_on_every_system(tmp_path):
    first = clone(tmp_path / "first")
    files = {"recipe.toml": b"a = 1\nb = 2\n", "model.safetensors": b"a\r\nb\r\n", "chapter.ipynb": b"{\n}\n"}
    for name, content in {".gitattributes": (ROOT / ".gitattributes").read_bytes(), **files}.items():
        (first / name).write_bytes(content)
    git = ["git", "-c", "core.autocrlf=true", "-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run([*git, "-C", first, "add", "."], check=True)
    subprocess.run([*git, "-C", first, "commit", "-q", "-m", "All"], check=True)
    subprocess.run([*git, "clone", "-q", first, tmp_path / "second"], check=True)
    assert {name: (tmp_path / "second" / name).read_bytes() for name in files} == files


def test_the_configuration_starts_from_the_declared_address():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["url"] == repository.declared_url()
    assert config["html"]["baseurl"] == book_env.base_url(repository.declared_url())
    assert config["execute"]["execute_notebooks"] == "off"


def test_the_published_book_is_printed_first_so_that_the_pages_lead_to_it():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["build"]["steps"]
    install, printed, built = (step["run"] for step in steps if "run" in step)
    assert install.startswith("sudo apt-get") and install.endswith(" qpdf")
    assert printed.split()[:2] == ["make", "pdf"] and built.split()[:2] == ["make", "book"]
    assert steps[-1]["with"]["path"] == "_build/html"


def test_the_table_of_contents_lists_every_chapter():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    entries = [entry for part in toc["parts"] for entry in part["chapters"]]
    entries += [entry for above in entries for entry in above.get("sections", [])]
    listed = {entry["file"] for entry in entries} | {toc["root"]}
    assert listed == {f"chapters/{p.stem}" for p in (ROOT / "chapters").iterdir() if p.suffix in {".md", ".ipynb"}}


def test_map_index_and_chapters_ask_the_same_questions_and_tell_the_same_minutes():
    rows = re.findall(r"^\| (\d+) \| \[[^\]]+\]\((\w+)\.ipynb\) \| (.+?) \| (\d+) \|$", INDEX, re.MULTILINE)
    for path, (number, page, question, minutes) in zip(CHAPTERS, rows, strict=True):
        assert page == path.stem and int(number) == int(path.stem[:2])
        assert question.rstrip("?") in opening(path), f"{path.name} does not ask its question at the start"
        assert re.findall(r"(\d+) minutes to read", opening(path)) == [minutes], path.name
    svg = "{http://www.w3.org/2000/svg}"
    asked = {(number, f"{page}.html"): question for number, page, question, _ in rows}
    boxes = ElementTree.parse(ROOT / "site" / "static" / "architecture.svg").findall(f".//{svg}a")
    assert len(boxes) >= 20
    for box in boxes:
        question = asked[box.find(f"{svg}text[@class='number']").text, box.get("href")]
        assert box.find(f"{svg}title").text == question and box.get("aria-label").endswith(question)


def test_the_reference_covers_every_public_module():
    def public(path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        definitions = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        hidden = any(re.match("_(?!_init__)", part) for part in path.relative_to(ROOT).with_suffix("").parts)
        return not hidden and any(ast.get_docstring(node) for node in definitions if node.name[0] != "_")

    pages = sorted((ROOT / "chapters").glob("api_*.md"))
    shown = re.findall(r"autoapimodule:: (\S+)", "".join(path.read_text(encoding="utf-8") for path in pages))
    files = [path.relative_to(ROOT) for path in (ROOT / "transformer_lib").rglob("*.py") if public(path)]
    exercises = {chapter.replace("-", "_") for chapter in CHAPTERS_WITH_EXERCISES}  # text
    files = [path for path in files if path.parent.name != "exercises" or path.stem not in exercises]
    assert sorted(shown) == sorted(".".join(f.with_suffix("").parts).removesuffix(".__init__") for f in files)


def test_readme_badges_open_every_chapter():
    url = repository.declared_url().removeprefix("https://github.com/")
    for path in CHAPTERS:
        assert f"https://colab.research.google.com/github/{url}/blob/main/chapters/{path.name}" in README, path.name
