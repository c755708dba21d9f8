"""The house is in order: imports point backwards, it is small, addresses agree, nothing private lies about."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from repo import move, spellings, text_files
from repository import ROOT, declared_url

from transformer_lib.exercises.exercise import CHAPTERS

LIBRARY = ROOT / "transformer_lib"
MAP = (LIBRARY / "README.md").read_text(encoding="utf-8")

# The one list, written where readers see it: the rooms of the library, a file importing only what stands before it.
LAYERS = [line.split() for line in re.search(r"^```\n(.*?)^```$", MAP, re.MULTILINE | re.DOTALL)[1].splitlines()]
ORDER = [room for layer in LAYERS for room in layer]
APART = {"laws": set(), "notebook": {"attention"}}  # all that these may import
WINGS = [room for room in [*ORDER, *APART] if (LIBRARY / room).is_dir()]
OPEN = [room for room in ORDER if room not in WINGS and not room.startswith("_")]


def files(room):
    """The files of code of a room, or of a wing."""
    return sorted((LIBRARY / room).rglob("*.py")) if room in WINGS else [LIBRARY / f"{room}.py"]


def imported_rooms(code):
    """Yield the rooms of the library that code imports; an import that names no room, as it is written."""
    for node in ast.walk(ast.parse(code)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module or ''}.{name}" for name in names]
        for name in names:
            if name.startswith("."):
                yield name
            elif name.split(".")[0] == "transformer_lib":
                yield name.split(".")[1] if "." in name else name


def forbidden(room, code):
    """What code imports and may not, if it stands in that room."""
    return set(imported_rooms(code)) - (APART[room] if room in APART else {*ORDER[: ORDER.index(room)]}) - {room}


def test_the_map_lists_every_room_in_the_order_of_imports():
    rooms = {path.stem for path in LIBRARY.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(rooms - {"__init__"}) == sorted([*ORDER, *APART])
    assert re.findall(r"^\| \[`(\w+)\.py`\]\(\1\.py\) \|", MAP, re.MULTILINE) == OPEN
    assert sorted(re.findall(r"^\| \[`(\w+)/`\]\(\1\) \|", MAP, re.MULTILINE)) == sorted(WINGS)
    private = [room for room in ORDER if room.startswith("_")]
    assert sorted(set(re.findall(r"`(_\w+)\.py`", MAP))) == sorted(private)


def test_the_open_rooms_are_the_fifteen_of_the_book():
    assert len(OPEN) == 15
    first = min(ORDER.index(wing) for wing in WINGS if wing in ORDER and wing != "data")
    assert max(map(ORDER.index, OPEN)) < first, "then no open room can import a wing but data"


@pytest.mark.parametrize("room", [*ORDER, *APART])
def test_a_room_imports_only_what_stands_before_it(room):
    assert {path: found for path in files(room) if (found := forbidden(room, path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    ("room", "code"),
    [
        ("masks", "from transformer_lib.attention import MultiHeadAttention"),
        ("masks", "from transformer_lib import attention"),
        ("masks", "def late():\n    import transformer_lib.attention as a"),
        ("masks", "from .attention import MultiHeadAttention"),
        ("beam", "from transformer_lib import greedy_decode"),
        ("beam", "import transformer_lib"),
        ("laws", "from transformer_lib._checks import shown"),
        ("notebook", "from transformer_lib.masks import causal_mask"),
        ("__main__", "from transformer_lib.notebook import setup"),
    ],
)
def test_a_forbidden_import_is_seen(room, code):
    assert len(forbidden(room, code)) == 1
    assert not forbidden(room, "import torch\nfrom torch.nn import attention")


def test_import_loads_no_wing():
    look = "print(*sorted(name for name in sys.modules if name.startswith('transformer_lib')))"
    code = f"import sys, transformer_lib; {look}; transformer_lib.Rows; {look}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = (set(line.split()) for line in run.stdout.splitlines())
    batches = {"transformer_lib.data", "transformer_lib.data.batches", "transformer_lib.data.vocabulary"}
    private = {"_checks", "_files", "_progress"}
    assert before == {"transformer_lib", *batches, *(f"transformer_lib.{room}" for room in [*OPEN, *private])}
    assert {name.split(".")[1] for name in after - before} == {"fast"}, "a wing is loaded when it is asked for"


def lines(paths):
    return {path.relative_to(LIBRARY).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}


# The exercises of a chapter and the questions of a quiz are text.
TEXTS = {LIBRARY / "exercises" / f"{chapter.replace('-', '_')}.py" for chapter in CHAPTERS}
TEXTS |= {*(LIBRARY / "exercises" / "quizzes").glob("*.py")}
CODE = {*LIBRARY.rglob("*.py")} - TEXTS


def test_files_are_short():
    assert {name: n for name, n in lines(CODE).items() if n > 230} == {}


def test_the_library_is_small():
    open_rooms = sum(lines(LIBRARY / f"{room}.py" for room in OPEN).values())
    machine = lines(path for path in CODE if (LIBRARY / "exercises") in path.parents)  # of the exercises
    live = lines(path for path in CODE if (LIBRARY / "notebook" / "live") in path.parents)  # figures of the pages
    # What came after 2017 stands beside the book's model, and has a budget of its own: a second model, the weights of
    # others, and a task that is a text.
    beyond = [
        *(LIBRARY / "modern").glob("*.py"),
        LIBRARY / "recipes" / "text_task.py",
        LIBRARY / "notebook" / "ngrams.py",
    ]
    beyond += [LIBRARY / "interop" / f"{name}.py" for name in ("checkpoint", "_decoders", "_names", "bert")]
    modern = sum(lines(beyond).values())
    whole = sum(lines(CODE).values()) - sum(machine.values()) - sum(live.values()) - modern
    assert open_rooms <= 1750 and whole <= 5700 and sum(machine.values()) <= 650  # only ever lower this
    assert sum(live.values()) <= 600 and modern <= 1410


def test_the_reference_shows_the_library_in_the_order_of_the_house():
    pages = re.findall(r"file: (chapters/api_\w+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    text = "".join((ROOT / f"{page}.md").read_text(encoding="utf-8") for page in pages)
    shown = re.findall(r"^\.\. autoapimodule:: transformer_lib\.(\w+)", text, re.MULTILINE)
    assert list(dict.fromkeys(shown)) == [*OPEN, *WINGS]


def drawn(tree):
    """The paths that an annotated tree names, each with a word about it."""
    above = []
    for indent, name in re.findall(r"^((?:│   )*)[├└]── (\S+) +\S", tree, re.MULTILINE):
        above = [*above[: len(indent) // 4], name.rstrip("/")]
        yield "/".join(above)


def test_the_tree_in_the_readme_is_the_house():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"^```\n(├.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    paths = list(drawn(tree))
    assert len(paths) == len(tree.splitlines())
    assert [path for path in paths if not (ROOT / path).exists()] == []
    rooms = [f"transformer_lib/{room}" for room in [*(f"{room}.py" for room in OPEN), *WINGS]]
    assert [path for path in paths if path.startswith("transformer_lib/")] == ["transformer_lib/README.md", *rooms]
    kept = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
    folders = {name.split("/")[0] for name in kept if "/" in name and not name.startswith(".")}
    assert folders <= set(paths)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "transformer_lib/README.md"])
def test_links_lead_somewhere(page):
    links = re.findall(r"(?:\]\(|src=\"|href=\")([^)#\s\"]+)", (ROOT / page).read_text(encoding="utf-8"))
    near = [link for link in links if not link.startswith("http")]
    assert near and [link for link in near if not ((ROOT / page).parent / link).exists()] == []


PRIVATE = {
    "absolute path": r"(?<![\w.:/~$}%-])/(?:home|root|work|Users)/\w",
    "token": r"gh[pousr]_\w{30}|AKIA[A-Z0-9]{16}|hf_\w{30}|-----BEGIN [A-Z ]*PRIVATE KEY",
    "private host": r"\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b",
}


def private_things(text):
    return [f"{kind}: {found[0]}" for kind, pattern in PRIVATE.items() if (found := re.search(pattern, text))]


@pytest.mark.parametrize("text", ["open('/home/me/x')", "ghp_" + "a" * 36, "http://192.168.1.7/simple"])
def test_private_things_are_seen(text):
    assert private_things(text)


def test_lock_files_pin_everything():
    def pins(name):
        lines = (ROOT / "requirements" / f"{name}.lock").read_text().splitlines()
        return {line for line in lines if not line.startswith("#")}

    for name in ("book", "test", "bench"):
        assert [pin for pin in pins(name) if not re.fullmatch(r"[\w.-]+==[\w.]+( ;.*)?", pin)] == []
    bare = {name: {pin.split(" ;")[0] for pin in pins(name)} for name in ("book", "test", "bench")}
    assert not [pin for pin in bare["book"] if pin.startswith("torch==")], "the pages need no torch"
    assert not [pin for pin in bare["test"] if re.match("nvidia|cuda|triton", pin)], "nor do the tests need a GPU"
    pinned = {pin.split("==")[0]: pin for pin in bare["test"]}
    for name in ("book", "bench"):
        assert {pinned.get(pin.split("==")[0], pin) for pin in bare[name]} == bare[name], "each has one version"


NAME = re.escape(declared_url().rsplit("/", 1)[1])
OWN = re.compile(rf"(?:github\.com|/github)/([\w.-]+)/{NAME}(?![\w-])|([\w-]+)\.github\.io/{NAME}(?![\w-])")
OWNER = declared_url().removeprefix("https://github.com/").split("/")[0]


def other_owners(text):
    """Whose repository or pages of this name a text speaks of, if not ours."""
    return {code or pages for code, pages in OWN.findall(text)} - {OWNER, OWNER.lower()}


@pytest.mark.parametrize("path", text_files(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_one_address_and_nothing_private(path):
    text = path.read_text(encoding="utf-8")
    assert not other_owners(text)
    assert "tests" in path.parts or private_things(text) == []


def test_another_address_is_seen():
    name = declared_url().rsplit("/", 1)[1]
    for text in (f"https://github.com/somebody/{name}", f"https://somebody.github.io/{name}/chapters"):
        assert other_owners(text) == {"somebody"}
        assert not other_owners(text.replace("somebody", OWNER))


def test_no_other_file_spells_the_address(tmp_path):
    """What `make repo` does not read (styles, pictures, shell scripts) must not tell where the book is."""

    def spelled(root):
        files = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, text=True)
        paths = {root / name for name in files.splitlines()} - {*text_files(root)}
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
