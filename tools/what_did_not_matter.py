"""Write the tables of the page *What did not matter* from what is stored, so that no number in them is typed.

    python tools/what_did_not_matter.py          rewrite chapters/what_did_not_matter.md

Below stands a list of experiments: what was changed, and where the numbers are, in lines that a chapter printed or in
the rows of a file in `transformer_lib/notebook/results`. A change did not matter here if the range of its seeds meets
the range of those without it. All comparisons are counted, so that the page can say of how many it shows which. An
experiment whose chapter does not stand yet waits for it.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS, RESULTS = ROOT / "chapters", ROOT / "transformer_lib" / "notebook" / "results"
PAGE = CHAPTERS / "what_did_not_matter.md"
NUMBER = r"-?\d+(?:\.\d+)?"
ALL, FIRST = slice(None), slice(2)  # which of the numbers after some words; two are the ends of a range


class Measure(NamedTuple):
    """What is counted, how it is shown, and the value from which nothing is left to gain (of losses: down to which)."""

    name: str
    decimals: int = 2
    full: float = 0.99
    less_is_better: bool = False
    times: int = 1

    def shown(self, values: list[float]) -> str:
        low, high = (f"{value:,.{self.decimals}f}" for value in (min(values), max(values)))
        return low if low == high else f"{low} to {high}"

    def full_in(self, values: list[float]) -> bool:
        return max(values) <= self.full if self.less_is_better else min(values) >= self.full


class Experiment(NamedTuple):
    """Runs without a change and with each of some changes.

    A run is named by the words (a pattern, … for any lines between) that stand before its numbers in an output of the
    chapter, and `key` by more such words, or by which of the numbers it is. Where the numbers are in a file, `rows` is
    its name and the way to the rows, a run is what its rows have in common (or the way to its number in every row),
    `key` the way to a number in a row, and `code` stands in the cell that shows them. `also` are other measures: the
    key, and in what else the rows of the changed runs differ.
    """

    chapter: str
    task: str
    seeds: int
    measure: Measure
    key: str | slice
    unchanged: str | dict
    changes: dict[str, str | dict]
    also: tuple[tuple[Measure, str | slice, dict], ...] = ()
    rows: str = ""
    code: str = ""

    def values(self, run: str | dict, key: str | slice, measure: Measure) -> list[float]:
        if not self.rows:
            return printed(self.chapter, run, key)[0]
        if isinstance(run, str):
            return [measure.times * at(row, run) for row in stored(self.rows)]
        return [measure.times * at(row, key) for row in stored(self.rows) if run.items() <= row.items()]

    def place(self, run: str | dict) -> str:
        """A link to the section that shows a run, and the cell or the file that it was read from."""
        sheet = cells(self.chapter)
        if self.rows:
            i = next(i for i, cell in enumerate(sheet) if re.search(self.code, text_of(cell, "code")))
        else:
            i = printed(self.chapter, run, self.key)[1]
        above = "\n".join(text_of(cell, "markdown") for cell in sheet[: i + 1])
        heading = re.findall(r"^##+ (?!Exercise:)(.+)$", above, re.MULTILINE)[-1].strip()
        name = f"chapter {int(self.chapter[:2])}" if self.chapter[0].isdigit() else "the museum"
        source = self.rows.partition("/")[0] or sheet[i]["id"]
        return f"[{name}, *{heading}*]({self.chapter}.ipynb#{anchor(heading)}) (`{source}`)"


class Comparison(NamedTuple):
    """One change of an experiment, with the numbers."""

    experiment: Experiment
    change: str
    unchanged: list[float]
    changed: list[float]
    also: list[tuple[Measure, list[float], list[float]]]

    @property
    def remarks(self) -> str:
        """What weakens the row, as far as the numbers tell it."""
        found, measure = [], self.experiment.measure
        if measure.full_in(self.unchanged) and measure.full_in(self.changed):
            found += ["nothing left to gain"]
        else:
            low, high = sorted((self.unchanged, self.changed), key=sum)
            in_order = len(low) == self.experiment.seeds and all(a < b for a, b in zip(low, high, strict=True))
            if in_order and len(low) > 1:
                found += [f"{'higher' if high is self.changed else 'lower'} on every seed"]
            if max(low) == min(high) and min(low) < max(high):
                found += ["the ranges only touch"]
        apart = [f"{m.name}: {m.shown(a)} and {m.shown(b)}" for m, a, b in self.also if not meet(a, b)]
        return "; ".join(found + [f"but {', '.join(apart)}"] * bool(apart))


def meet(a: list[float], b: list[float]) -> bool:
    """Whether two ranges have a value in common."""
    return min(a) <= max(b) and min(b) <= max(a)


def at(found: Any, way: str) -> Any:
    """What stands at the end of a way through dictionaries and lists: `maps/uniform 1`, `right/-1`."""
    for step in filter(None, way.split("/")):
        found = found[int(step) if isinstance(found, list) else step]
    return found


def stored(path: str) -> Any:
    """What stands at a place in a file of results: `comparison/systems/rows`."""
    name, _, way = path.partition("/")
    return at(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")), way)


@functools.cache
def cells(chapter: str) -> list[dict]:
    return json.loads((CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]


def text_of(cell: dict, kind: str) -> str:
    return "".join(cell["source"]) if cell["cell_type"] == kind else ""


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def output_of(cell: dict) -> str:
    """What a cell printed, with single spaces, without ≈ and the commas of thousands."""
    text = "".join("".join(output.get("text", "")) for output in cell.get("outputs", []))
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.replace("≈", " "))
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def printed(chapter: str, words: str, key: str | slice = ALL) -> tuple[list[float], int]:
    """The numbers that follow the words, in all lines of a cell that have them, and the number of the cell.

    Raises:
        ValueError: no cell has such a line, or more than one has.
    """
    words, take = (f"{words} {key}", ALL) if isinstance(key, str) else (words, key)
    pattern = f"(?m)^{words} ({NUMBER}(?: (?:to )?{NUMBER})*)".replace("…", r"[\s\S]*?^")
    found = {i: lines for i, cell in enumerate(cells(chapter)) if (lines := re.findall(pattern, output_of(cell)))}
    if len(found) != 1:
        raise ValueError(f"{chapter}: {words!r} and a number stand in {len(found)} outputs")
    ((i, lines),) = found.items()
    return [float(number) for line in lines for number in re.findall(NUMBER, line)[take]], i


def compared(experiments: list[Experiment]) -> list[Comparison]:
    """All comparisons of the experiments whose chapter stands."""
    found = []
    for one in experiments:
        for change, run in one.changes.items() if (CHAPTERS / f"{one.chapter}.ipynb").exists() else ():
            also = []
            for measure, key, otherwise in one.also:
                changed = one.values(run | otherwise if otherwise else run, key, measure)
                also += [(measure, one.values(one.unchanged, key, measure), changed)] if changed else []
            sides = (one.values(side, one.key, one.measure) for side in (one.unchanged, run))
            found.append(Comparison(one, change, *sides, also))
    return found


def nothing_in(rows: list[Comparison]) -> list[Comparison]:
    return [row for row in rows if meet(row.unchanged, row.changed)]


def table(rows: list[Comparison]) -> str:
    lines = ["| what was changed | unchanged | changed | what was counted, and where |", "|---|---|---|---|"]
    for row in rows:
        one, remarks = row.experiment, f" *({row.remarks})*" if row.remarks else ""
        seeds = [f"{one.seeds} seeds"] * (one.seeds > 1)
        counted = "; ".join([one.measure.name, one.task, *seeds, one.place(one.changes[row.change])])
        sides = f"{one.measure.shown(row.unchanged)} | {one.measure.shown(row.changed)}"
        lines.append(f"| {row.change}{remarks} | {sides} | {counted} |")
    return "\n".join(lines)


def rewritten(page: str) -> str:
    """Return the page with fresh tables, each between `<!-- seeds: begin -->` and `<!-- seeds: end -->`."""
    seeds, bugs = compared(SEEDS), compared(BUGS)
    nothing, unseen = nothing_in(seeds), nothing_in(bugs)
    full = sum("nothing left to gain" in row.remarks for row in nothing)
    tables = {
        "seeds": f"Of {len(seeds)} comparisons these {len(nothing)} do not come apart; in {full} of them nothing was "
        f"left to gain.\n\n{table(nothing)}",
        "single": table(compared(SINGLE)),
        "bugs": f"With {len(unseen)} of the {len(bugs)} bugs the two ranges of words meet.\n\n{table(unseen)}",
    }
    for name, text in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if not (begin in page and end in page):
            raise ValueError(f"{PAGE.name} must hold {begin} ... {end}")
        page = f"{page.partition(begin)[0]}{begin}\n\n{text}\n\n{end}{page.partition(end)[2]}"
    return page


# What is compared, chapter by chapter. Of a range that is printed, the two ends are read.

# fmt: off
E = Experiment
RIGHT, ALL_RIGHT, NUMBERS, WON = (Measure(n) for n in ("right", "all answers right", "numbers right", "games won"))
LOSS, FINE_LOSS = Measure("loss", 2, 0.05, True), Measure("loss", 3, 0, True)
OF_100 = Measure("right of 100", 0, 99)
SHORT_OR_LONG = (Measure("too short", 0), slice(3, 6), {}), (Measure("too long", 0), slice(6, 9), {})
WRONG, SOUNDS = (Measure(f"{name} wrong, %", 1, 0, True, 100) for name in ("words", "phonemes"))
SAID = {"numbers": Measure("numbers right, %", 1, 99, times=100),
        "pronounce": Measure("words right, %", 1, 99, times=100)}
FORCED = Measure("tokens right with the past given, %", 1, 100, times=100), "forced_accuracy", {}
WIDER = Measure("with the parameters given back as width", 1, 100, times=100), "right", {"given_back": True}
BELOW_1000 = "number words below 1,000; width 32, 400 steps"

SEEDS = [
    E("01_self_attention", "unit, tens and their sum; one head of width 4", 5, RIGHT, FIRST, "query and key", {
        "no division by the root of the width": "not divided",
        "the tokens' own dot products in place of queries and keys": "dot product",
        "equal weights in place of queries and keys": "averaging"}),
    E("02_masks", "phrases of 8 words; one head of width 64", 5, Measure("well formed"), slice(4, 6),
        ".*free-running…causal", {f"mask: {name}, in place of causal": f".*free-running…{name}"
        for name in ("itself only", "no mask", "inverted", "transposed")}),
    E("03_multi_head_attention", "two look-ups; width 30, linear readout", 5, ALL_RIGHT,
        "heads, both right, five seeds:", "2", {"1 head in place of 2": "1"} | {
        f"{heads} heads in place of 2": f"{heads}" for heads in (3, 15, 30)}),
]
for questions, heads, change, hidden, other in (
    (2, 2, "1 head in place of 2", 30, 1), (2, 1, "a linear readout in place of a network", 0, 1),
    (3, 3, "1 head in place of 3", 30, 1), (3, 3, "2 heads in place of 3", 30, 2),
    (3, 3, "a linear readout in place of a network", 0, 3),
):
    words = f"questions: {questions}, hidden units: {{}}, heads: {{}}, all right:".format
    task = f"{questions} look-ups; width 30, heads: {heads}, behind them a network of 30 units"
    SEEDS += [E("03_multi_head_attention", task, 3, ALL_RIGHT, ALL, words(30, heads), {change: words(hidden, other)})]
for told, places, i in (
    ("rows of 16, as trained", "places 1 to 15", 0), ("new places in rows of 32", "places from 16", 2),
    ("new places in rows of 64", "places from 16", 4),
):
    for change, before, after in (
        ("a learned table in place of the sines", "clocks", "table"), ("no positions", "clocks", "none"),
        ("the 6 fastest clocks alone, in place of 16", "clocks", "6 fastest"),
        ("the 2 fastest clocks alone, in place of 16", "clocks", "2 fastest"),
        ("clocks 2 to 5 left out", "clocks", "without 2 to 5"),
        ("learned table trained from random offsets", "table", "table, moved"),
        ("sines trained from random offsets", "clocks", "clocks, moved"),
    ):
        SEEDS += [E("04_positional_encoding", f"the digit one place before, {told}; one head of width 32", 5, RIGHT,
            slice(i, i + 2), f"{places}…{before}", {change: f"{places}…{after}"})]
for start, told in (("small", "PyTorch's start"), ("xavier", "start by `xavier_uniform_`")):
    SEEDS += [E("05_residuals_and_layer_norm", f"reversing 8 digits; 6 layers of width 32, 200 steps, {told}", 3, LOSS,
        r"spread \S+ loss", f"post-norm {start}", {"pre-norm in place of post-norm": f"pre-norm {start}",
        "no norm in place of post-norm": f"sum only {start}", "no residual": f"norm only {start}"})]
SEEDS += [
    E("05_residuals_and_layer_norm", f"reversing 8 digits; 6 layers of width 32, 200 steps, {told}", 3, LOSS,
        r"spread \S+ loss", "post-norm xavier", {"post-norm with 100 steps of warm-up": "post-norm warm-up"}),
    E("06_feed_forward_and_embeddings", "XOR of one token; 2 layers, 300 steps", 5, RIGHT, ALL,
        "alone no norm network", {f"{name} in place of the feed-forward network": f"alone {name}"
        for name in ("no norm", "post-norm", "pre-norm")}),
    *(E("06_feed_forward_and_embeddings", "512 facts by heart; width 16, 300 steps", 3, Measure("known"),
        r"\d+ parameters:", before, {change: "6 layers, pre-norm, no network"}) for change, before in (
        ("6 layers in place of 5, no feed-forward networks", "5 layers, pre-norm, no network"),
        ("6 layers without networks in place of 2 with", "2 layers, pre-norm, network"))),
    E("07_encoder", "following two arrows; 1 layer of inner width 64, 200 steps", 3, WON, slice(3),
        r"1 layer, long \d+", {"inner width 192 in place of 64": r"1 wide layer, long \d+",
        "2 layers in place of 1": r"2 layers, long \d+"}),
    E("07_encoder", "following two arrows; 2 layers, 200 steps", 3, WON, slice(3), r"2 layers, long \d+", {
        "both layers start as copies": "long games won from copies:"}),
    E("08_decoder", "number words below 1,000; 1 layer of width 32, 200 steps", 3, NUMBERS, slice(-3, None),
        "back and across", {"no cross-attention": "back only",
        "the source in front of the target in place of cross-attention": "teacher-forced .* free-running"}),
]
for task, told in (("numbers", BELOW_1000), ("pronounce", "pronunciation; width 96, 1,500 steps")):
    whole = {"task": task, "part": "nothing", "layers": 2, "norm_first": False, "given_back": False}
    SEEDS += [E("09_transformer", f"{told}, 2 and 2 layers", 5, SAID[task], "right", whole, {
        f"no {part.replace(', ', ' in the ')}": whole | {"part": part} for part in (
        "cross-attention", "residuals", "causal mask", "positions", "self-attention, encoder",
        "self-attention, decoder", "encoder", "feed-forward", "norms")},
        (FORCED, WIDER), "combination/rows", rf'(?m)^print_table\("{task}"\)')]
for n in (4, 6, 8):
    small, deep = ({**whole, "task": "numbers", "layers": layers} for layers in (2, n))
    for before, task, runs in (
        (small, "2 and 2 layers", {f"{n} and {n} layers in place of 2 and 2": deep}),
        (deep, f"{n} and {n} layers", {
            "no norms": deep | {"part": "norms"}, "no residuals": deep | {"part": "residuals"},
            "pre-norm in place of post-norm": deep | {"norm_first": True}}),
    ):
        SEEDS += [E("09_transformer", f"{BELOW_1000}, {task}", 5, SAID["numbers"], "right", before, runs, (FORCED,),
            "combination/rows", r"for layers in \(2, 4, 6, 8\):")]
SEEDS += [
    E("10_training", "number words below a million; 2 and 2 layers, post-norm, 40 steps", 3, LOSS, ALL,
        r"seed \d: without \S+ with", {"no warm-up": r"seed \d: without"}),
    E("10_training", "number words below a million; 2 and 2 layers, post-norm, 200 steps", 3,
        Measure("numbers right", 3), "words", r"ε = 0 seed \d:", {"label smoothing of 0.1": r"ε = 0\.1 seed \d:"},
        ((FINE_LOSS, "words .* loss", {}),)),
]
HUNDRED = "100 number words, three models after 90 steps; "
for alpha, of in (("0.0", "no length penalty"), ("0.6", "length penalty 0.6")):
    for n, size, change in ((1, 4, "a beam of 4 in place of greedy decoding"),
                            (4, 12, "a beam of 12 in place of 4"), (4, 40, "a beam of 40 in place of 4")):
        SEEDS += [E("11_decoding", HUNDRED + of, 3, OF_100, slice(3), f"{alpha} {n}", {
            change: f"{alpha} {size}"}, SHORT_OR_LONG)]
for n in (4, 12, 40):
    SEEDS += [E("11_decoding", f"{HUNDRED}a beam of {n}", 3, OF_100, slice(3), f"0.0 {n}", {
        "a length penalty of 0.6": f"0.6 {n}"}, SHORT_OR_LONG)]
SEEDS += [
    *(E("11_decoding", f"{HUNDRED}a beam of {n}", 3, OF_100, slice(3), f"0.0 {n}", {
        "trained without label smoothing": words}) for n, words in (
        (4, r"seed \d: right"), (40, r"seed \d: right \d+ with a beam of 4,"))),
    E("12_pronunciation", "pronunciation; width 96, 2 and 2 layers, pre-norm, 1,000 steps", 3, WRONG, "word_error",
        {"change": "as it is"}, {change.replace("post-norm", "post-norm in place of pre-norm"): {"change": change}
        for change in ("half the width", "half the layers", "post-norm", "no smoothing", "tied embeddings",
        "batches half as large", "batches twice as large")}, ((SOUNDS, "phoneme_error", {}),),
        "ablation/rows", r'read\("ablation"\)'),
    E("13_translation", "sentences; width 128, 3 and 3 layers, 2,500 steps", 3, Measure("BLEU", 1, 100, times=100),
        "bleu", {"system": "Ours"}, {"`torch.nn.Transformer` in place of ours": {"system": "Torch"},
        "Marian in place of ours": {"system": "Marian"}}, ((Measure("chrF", 1, 100, times=100), "chrf", {}),),
        "comparison/systems/rows", r'comparison\["systems"\]'),
    E("15_more_than_one_machine", "number words; 60 steps of 512 tokens", 3, LOSS, ALL,
        r"60 steps of 512, rate 0\.001:", {
        "batches twice as large, half as many steps": r"30 steps of 1024, rate 0\.001:",
        "the same at twice the rate": r"30 steps of 1024, rate 0\.002:"}),
]
FAMILY = "10,000 number words; width 64, as many parameters, as many answers, 400 steps"
SEEDS += [E("16_three_families", FAMILY, 3, Measure("numbers right", 3), "right/-1", {"family": "encoder-decoder"}, {
    "a decoder alone in place of encoder and decoder": {"family": "decoder-only"},
    "an encoder alone in place of encoder and decoder": {"family": "encoder-only"}}, (), "families/rows", '"families"')]
STEPS = stored("modern/parts/steps")
STREAM = f"pronunciation in one stream; decoder alone, width 48, as many parameters, {STEPS:,} steps"
for before, parts in (
    ("2017", {
        "RMSNorm": "RMSNorm in place of layer norm", "SwiGLU": "SwiGLU in place of ReLU", "no biases": "no biases",
        "learned positions": "learned positions in place of sines", "rotary": "rotary positions in place of sines",
        "ALiBi": "ALiBi in place of sines", "no positions": "no positions", "QK-norm": "QK-norm",
        "two groups": "keys and values of 2 heads in place of 4", "window of 8": "a window of 8 tokens",
        "one group": "keys and values of 1 head in place of 4", "Llama": "all parts of a Llama together"}),
    ("SwiGLU", {"4 experts, top 1": "4 experts, one asked, in place of one network",
                "4 experts, top 2": "4 experts, two asked, in place of one network"}),
    ("4 experts, top 1", {"4 experts, no balance": "4 experts without a loss that balances them"}),
):
    SEEDS += [E("17_todays_parts", STREAM, 3, WRONG, "word_error", {"part": before}, {
        change: {"part": part} for part, change in parts.items()}, ((FINE_LOSS, "forced_loss", {}),),
        "modern/parts/rows", r'"parts"')]
for places in ("trained", "untrained"):
    SEEDS += [E("17_todays_parts", f"{STREAM}, windows of 48 tokens, measured at {places} places", 3, LOSS, places,
        {"positions": "sinusoidal"}, {"learned positions in place of sines": {"positions": "learned"},
        "rotary positions in place of sines": {"positions": "rotary"}, "no positions": {"positions": "none"},
        "ALiBi in place of sines": {"positions": "alibi"}}, (), "modern/lengths/rows", r'"lengths"')]
READ = "number words; the packaged model and four like it, changed when they are trained"
SEEDS += [
    E("19_reading_the_model", READ, 5, Measure("numbers right", 3), "", "whole", {
        "no attention in the encoder": "maps/no encoder attention, whole"}, (), "reading/numbers/rows",
        "without any attention in the encoder"),
    E("19_reading_the_model", READ, 5, Measure("words right with the past given", 3), "", "words", {
        "equal weights in the cross-attention of the first layer": "maps/uniform 1",
        "equal weights in the cross-attention of the second layer": "maps/uniform 2"}, (), "reading/numbers/rows",
        r"\(uniform, moved\)"),
]

ERROR = printed("12_pronunciation", "chosen .* standard error")[0][0]
SINGLE = [
    E("12_pronunciation", f"pronunciation, the long training; standard error {ERROR} each", 1,
        Measure("words wrong, %", 1, 0, True), r"dev \S+ test", "packaged", {
        "a wider model, less weight decay": "wider", "less weight decay": "less weight decay",
        "post-norm in place of pre-norm": "post-norm"}),
    E("14_speed", "number words, 150 steps", 1, FINE_LOSS, "unseen loss", "torch", {
        "our fast model in place of `torch.nn.Transformer`": "ours", "the same in bfloat16": "ours, bfloat16"}),
    E("11_decoding", "number words, the packaged model", 1, Measure("right of 1,000", 0, 1000), ALL, "greedy:", {
        "a beam of 4 in place of greedy decoding": "beam of 4:"}),
]
BUGS = [
    E("bug_museum", "number words; 2 and 2 layers", 3, NUMBERS, "loss .* words", "without a bug", {
        f"bug {number}, *{name}*": f"{number} {name}" for number, name in enumerate((
        "embedding", "other start", "position 0", "inverted mask", "mask by mode", "mask turned", "dropout stays",
        "mean of means", "wrong scale", "another norm", "-1e9", "map, no mask"), 1)}, ((LOSS, "loss", {}),)),
]
# fmt: on

if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
