"""Where this repository is published: the address that badges, buttons and first cells point to."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# https, ssh and git, with a user's name or a port; `ssh.` is GitHub's other door. A host without a dot that speaks
# of GitHub is a name that somebody gave it in ~/.ssh/config.
REMOTE = re.compile(
    r"(?:\w+://)?(?:[^@/]*@)?(?:(?:www\.|ssh\.)?github\.com(?::\d+)?|[\w-]*github[\w-]*)[:/]+"
    r"([\w.-]+)/([\w.-]+?)(?:\.git)?/?",
    re.IGNORECASE,
)


def declared_url() -> str:
    """Return the address that pyproject.toml declares, the one that notebooks and badges spell out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].rstrip("/")


def cloned_url(root: Path) -> str | None:
    """Return the GitHub address that a clone in `root` came from: its remote origin, else the first that is there."""
    # The repository is named, not searched for: so no other one around it is taken, and it may belong to another user.
    command = ["git", f"--git-dir={root / '.git'}", "remote", "-v"]
    try:
        remotes = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:  # no git on this machine
        return None
    for line in sorted(remotes, key=lambda line: not line.startswith("origin\t")):
        if found := REMOTE.fullmatch(line.split("\t")[1].split(" (")[0]):
            return f"https://github.com/{found[1]}/{found[2]}"
    return None


def public_url() -> str:
    """Return the address for the built site: BOOK_REPOSITORY, GitHub's when it builds, the clone's, the declared."""
    if name := os.environ.get("GITHUB_REPOSITORY"):
        name = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    return (os.environ.get("BOOK_REPOSITORY") or name or cloned_url(ROOT) or declared_url()).rstrip("/")
