"""Say where this repository is published: carry a new address to every file that spells the old one out.

python tools/repo.py https://github.com/you/your-fork
"""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "site" / "ext"))

from repository import ROOT, declared_url

ADDRESS = re.compile(r"https://github\.com/([\w.-]+)/([\w.-]+)")
GENERATED = {"_build", "build", "__pycache__", ".coverage"}  # and hidden folders, but for these:
HIDDEN = {".ci", ".github"}
TEXT = {".cff", ".cfg", ".html", ".ipynb", ".json", ".md", ".py", ".toml", ".txt", ".yml", ".yaml", ""}


def text_files(root: Path) -> list[Path]:
    """Return the text files of the repository, without what make made."""

    def made(folder: str) -> bool:
        return folder in GENERATED or folder.endswith(".egg-info") or (folder.startswith(".") and folder not in HIDDEN)

    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not made(name)]  # an environment holds tens of thousands of files
        found += [Path(folder, name) for name in names if name not in GENERATED]
    return sorted(p for p in found if p.suffix in TEXT and p.is_file())


def spellings(url: str) -> tuple[str, str]:
    """Return how files spell an address: `owner/name` (also in badges), and where GitHub publishes its pages."""
    match = ADDRESS.fullmatch(url.rstrip("/").removesuffix(".git"))
    if match is None:
        raise ValueError(f"the address must look like https://github.com/owner/name, got {url!r}")
    owner, name = match.groups()
    return f"{owner}/{name}", f"{owner.lower()}.github.io/{name}"


def move(root: Path, old: str, new: str) -> list[Path]:
    """Replace the old address by the new one in all files below `root`; return the files that changed."""
    changed = []
    for path in text_files(root):
        text = moved = path.read_text(encoding="utf-8")
        for was, becomes in zip(spellings(old), spellings(new), strict=True):
            moved = re.sub(rf"(?<![\w.-]){re.escape(was)}(?![\w-])", becomes, moved)
        if moved != text:
            path.write_text(moved, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    if len(sys.argv) != 2 or not ADDRESS.match(sys.argv[1]):
        sys.exit("Say the new address: make repo URL=https://github.com/you/your-fork")
    for path in move(ROOT, declared_url(), sys.argv[1]):
        print(path.relative_to(ROOT))
