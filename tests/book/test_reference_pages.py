"""The pages around the chapters: quoted code runs, each source is used, the minutes are the same everywhere."""

import json
import re
from pathlib import Path

import torch

from transformer_lib import Transformer

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "chapters").glob("*.md")}
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_papers_models_can_be_made_and_have_the_parameters_that_the_page_tells():
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGES["paper_index"], re.MULTILINE | re.DOTALL)
    exec(code, scope := {})
    told = [int(n.replace(",", "")) for n in re.findall(r"\d+,\d{3},\d{3}", PAGES["paper_index"])]
    with torch.device("meta"):
        models = [Transformer(scope["base"]), Transformer(scope["big"])]
    assert told == [sum(weight.numel() for weight in model.parameters()) for model in models]


def test_every_entry_of_the_bibliography_is_linked_from_somewhere():
    notebooks = [json.loads(path.read_text("utf-8")) for path in (ROOT / "chapters").glob("*.ipynb")]
    cells = ["".join(cell["source"]) for notebook in notebooks for cell in notebook["cells"]]
    text = "\n".join([*cells, *(PAGES[name] for name in PAGES.keys() - {"bibliography"})])
    found = re.findall(r"^\((\w+)\)=\n.*?\]\((http[^)]+)\)", PAGES["bibliography"], re.MULTILINE)
    assert len(found) > 75
    assert [key for key, url in found if url not in text and f"(#{key})" not in text] == []


def test_every_page_tells_the_same_minutes_and_their_sum():
    row = r"^\| *\d* *\| \[[^\]]+\]\((?:chapters/)?(\w+)\.ipynb\) \| .+? \| (\d+) \|"
    minutes, again = (dict(re.findall(row, page, re.MULTILINE)) for page in (PAGES["index"], README))
    assert minutes == again and len(minutes) == len(list((ROOT / "chapters").glob("*.ipynb")))
    for page in (PAGES["index"], README):
        assert re.findall(r"(\d+) minutes in all", page) == [str(sum(map(int, minutes.values())))]
