"""Which trainings were made before one was packaged? Collect what they gave, best or not.

    python -m transformer_lib train pronounce --config wide.toml --folder runs/wide
    python -m benchmarks.trainings runs/*

Every folder holds a training that has come to its end. Written to `transformer_lib/notebook/results/trainings.json`:
for each what its recipe has otherwise than the packaged one, and what was measured in the end.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from benchmarks.runs import write
from transformer_lib.notebook import results
from transformer_lib.recipes.recipe import PACKAGED, read_recipe

RESULTS = results.FOLDER / "trainings.json"


def settings(folder: Path) -> dict[str, object]:
    """The settings of a recipe that its model depends on, without their tables."""
    recipe = dataclasses.asdict(read_recipe(folder / "recipe.toml"))
    return {"seed": recipe["seed"], "threads": recipe["threads"], **recipe["model"], **recipe["training"]}


def collect(folders: list[Path], packaged: Path) -> list[dict]:
    """What each recipe has otherwise than the packaged one, and the errors of its averaged model; best on dev first."""
    rows, mine = [], settings(packaged)
    for folder in folders:
        other = settings(folder)
        changes = {name: other.get(name) for name in {**mine, **other} if mine.get(name) != other.get(name)}
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        rows.append({"changes": changes, **result["averaged"]})
    return sorted(rows, key=lambda row: row["dev_word_error"])


def main() -> None:
    """Collect, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", type=Path, nargs="+", help="a training that has ended")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the file of results")
    options = parser.parse_args()
    rows = collect(options.folders, PACKAGED / "pronounce")
    write(options.out, rows)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
