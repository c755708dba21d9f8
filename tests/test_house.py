"""The house is in order: imports point backwards, files are short, addresses agree, nothing private lies about."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from repo import move, spellings, text_files
from repository import ROOT, declared_url, public_url

LIBRARY = ROOT / "transformer_lib"
ORDER = """_checks _command masks attention cache positions layers encoder decoder config checkpoint transformer
    batching loss schedules progress evaluation resuming training kernels fast sharded distributed
    decoding sampling beam averaging packing recipe""".split()
BESIDE = "data plotting notebook laws interop tasks train translate pronounce".split()
LINES = 230


def imported_rooms(path):
    """Yield the modules of the library that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (name.split(".")[1] for name in names if name.startswith("transformer_lib."))


def test_order_names_every_file():
    rooms = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - {"__init__"} == {*ORDER, *BESIDE}


@pytest.mark.parametrize("room", ORDER)
def test_nothing_imports_a_later_file(room):
    earlier = set(ORDER[: ORDER.index(room)])
    assert set(imported_rooms(LIBRARY / f"{room}.py")) <= earlier


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize(
    "name",
    """README.md LICENSE CITATION.cff CONTRIBUTING.md Makefile pyproject.toml _config.yml _toc.yml .gitignore .ci/run
    requirements/book.lock requirements/test.lock .github/workflows/ci.yml .github/workflows/pages.yml""".split(),
)
def test_required_file_is_there(name):
    assert (ROOT / name).is_file()


PRIVATE = {
    "absolute path": r"(?<![\w.:/~$}%-])/(?:home|root|work|Users)/\w",
    "token": r"gh[pousr]_\w{30}|AKIA[A-Z0-9]{16}|hf_\w{30}|-----BEGIN [A-Z ]*PRIVATE KEY",
    "private host": r"\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b",
}


def private_things(text):
    return [f"{kind}: {found[0]}" for kind, pattern in PRIVATE.items() if (found := re.search(pattern, text))]


@pytest.mark.parametrize("path", text_files(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_private(path):
    if path != Path(__file__) and "tests" not in path.parts:
        assert private_things(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", ["open('/home/me/x')", "ghp_" + "a" * 36, "http://192.168.1.7/simple"])
def test_private_things_are_seen(text):
    assert private_things(text)


def test_lock_files_pin_everything():
    for name in ("book", "test"):
        pins = (ROOT / "requirements" / f"{name}.lock").read_text().splitlines()[1:]
        assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+( ;.*)?", pin)] == []
    book = (ROOT / "requirements" / "book.lock").read_text()
    assert not re.search(r"^torch==", book, re.MULTILINE), "the pages need no torch"
    assert set(book.splitlines()[1:]) <= set((ROOT / "requirements" / "test.lock").read_text().splitlines())


NAME = re.escape(declared_url().rsplit("/", 1)[1])
OWN = re.compile(rf"(?:github\.com|/github)/([\w.-]+)/{NAME}(?![\w-])|([\w-]+)\.github\.io/{NAME}(?![\w-])")
OWNER = declared_url().removeprefix("https://github.com/").split("/")[0]


def other_owners(text):
    """Whose repository or pages of this name a text speaks of, if not ours."""
    return {code or pages for code, pages in OWN.findall(text)} - {OWNER, OWNER.lower()}


@pytest.mark.parametrize("path", text_files(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_one_address(path):
    assert not other_owners(path.read_text(encoding="utf-8"))


def test_another_address_is_seen():
    name = declared_url().rsplit("/", 1)[1]
    for text in (f"https://github.com/somebody/{name}", f"https://somebody.github.io/{name}/chapters"):
        assert other_owners(text) == {"somebody"}
        assert not other_owners(text.replace("somebody", OWNER))


def test_no_other_file_spells_the_address(tmp_path):
    """What `make repo` does not read (styles, pictures, shell scripts) must not tell where the book is."""

    def spelled(root):
        files = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True
        )
        paths = {root / name for name in files.stdout.splitlines()} - {*text_files(root)}
        addresses = [address.encode() for address in spellings(declared_url())]
        contents = ((path.name, path.read_bytes()) for path in paths if path.is_file())
        return [name for name, content in contents if any(address in content for address in addresses)]

    assert spelled(ROOT) == []
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "badge.svg").write_text(declared_url())
    assert spelled(tmp_path) == ["badge.svg"]


def test_address_can_be_moved(tmp_path):
    old, new = declared_url(), "https://github.com/somebody/a-fork"
    names = ["pyproject.toml", "README.md", "CITATION.cff", "_config.yml", "chapters/01_self_attention.ipynb"]
    for name in names:
        shutil.copy(ROOT / name, tmp_path)
    colab = "https://colab.research.google.com/github/"
    (tmp_path / "badge.md").write_text(f"[Colab]({colab}{old.removeprefix('https://github.com/')}/blob)")
    (tmp_path / ".coverage").write_bytes(b"\xff")  # what a measured test run leaves behind is no text
    changed = move(tmp_path, old, new)
    assert {path.name for path in changed} == {*(Path(name).name for name in names), "badge.md"}
    everything = "".join(path.read_text(encoding="utf-8") for path in text_files(tmp_path))
    assert not [spelling for spelling in spellings(old) if spelling in everything]
    citation = (tmp_path / "CITATION.cff").read_text(encoding="utf-8")
    assert f"repository-code: {new}\n" in citation
    assert "url: https://somebody.github.io/a-fork/\n" in citation
    assert f"{colab}somebody/a-fork/blob" in (tmp_path / "badge.md").read_text()
    assert move(tmp_path, new, old)
    for name in names:
        assert (tmp_path / Path(name).name).read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8")


def test_site_follows_the_fork(monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/a-fork")
    monkeypatch.delenv("GITHUB_SERVER_URL", raising=False)
    assert public_url() == "https://github.com/somebody/a-fork"
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert public_url().startswith("https://github.com/")
