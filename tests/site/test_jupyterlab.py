"""Chapters in JupyterLab, as a reader runs them: opened in a browser, *Run All*, no error, figures, progress."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
QUARTER = 900_000  # of an hour, in milliseconds: a busy machine is no fault of the chapter
PROGRESS = re.compile(r"\d+/\d+ \[[\d:]+<[\d:]+, ")  # how far, how long it took, how long it will take
# Without this JupyterLab draws only the cells in sight, and asks whether it may fetch news.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
# What the notebook in front shows: how many of its cells ran, whether more is to come, and each output.
LOOK = """() => {
    const {content, sessionContext} = jupyterapp.shell.currentWidget;
    const code = [...content.widgets].filter(cell => cell.model.type === 'code');
    const all = (cell, query) => [...cell.node.querySelectorAll('.jp-OutputArea-output' + query)];
    return {
        cells: code.length,
        ran: code.filter(cell => cell.model.executionCount).length,
        status: sessionContext.session?.kernel?.status,
        errors: code.flatMap(cell => all(cell, '[data-mime-type$="error"]').map(output => output.innerText)),
        stderr: code.flatMap(cell => all(cell, '[data-mime-type$="stderr"]').map(output => output.innerText)),
        figures: code.flatMap(cell => all(cell, ' img').map(img => img.complete && img.naturalWidth)),
    };
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab with nobody's settings, whose files are in the folder `work` beside it."""
    home = tmp_path_factory.mktemp("lab")
    (home / "work").mkdir()
    for name, settings in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    places = {f"JUPYTER_{name.upper()}_DIR": str(home / name) for name in ("config", "data", "runtime")}
    environment = {
        **os.environ, **places, "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "IPYTHONDIR": str(home / "ipython"),
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={home / 'work'}"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        while not (found := list((home / "runtime").glob("jpserver-*.json"))):
            assert server.poll() is None, (home / "log").read_text()
            time.sleep(0.2)
        told = json.loads(found[0].read_text())
        yield home / "work", told["url"], told["token"]
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.mark.parametrize("chapter", ["10_training", "05_residuals_and_layer_norm", "01_self_attention"])
def test_run_all(browser, lab, chapter):
    folder, url, token = lab
    notebook = nbformat.read(ROOT / "chapters" / f"{chapter}.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    figures = sum("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert figures >= 3
    for cell in cells:  # so that all that is seen was computed here
        cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / f"{chapter}.ipynb")

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(QUARTER)
    page = context.new_page()
    page.goto(f"{url}lab/tree/{chapter}.ipynb?token={token}&reset")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.wait_for_function(f"({LOOK})().cells === {len(cells)}")  # a kernel may be there before the cells are
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click("[data-command='runmenu:run-all']")

    bars, end = set(), time.monotonic() + QUARTER / 1000
    while not ((seen := page.evaluate(LOOK))["ran"] == len(cells) and seen["status"] == "idle"):
        assert seen["errors"] == []
        assert time.monotonic() < end, f"a quarter of an hour later: {seen}"
        assert seen["status"] != "dead"
        bars.update(text for text in seen["stderr"] if PROGRESS.search(text))
        page.wait_for_timeout(500)
    assert seen["errors"] == []
    page.wait_for_function(f"({LOOK})().figures.length === {figures}")
    assert all(page.evaluate(LOOK)["figures"])
    assert "".join(seen["stderr"]).strip() == ""  # the bars are gone
    assert len(bars) > 5 or chapter != "10_training", "nobody saw how far the training is"
    context.close()


def run_one_cell(browser, lab, name: str, code: str):
    """Open a notebook of one cell in JupyterLab and run it; return the page when it shows a picture."""
    folder, url, token = lab
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / f"{name}.ipynb")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(QUARTER)
    page = context.new_page()
    page.goto(f"{url}lab/tree/{name}.ipynb?token={token}&reset")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.wait_for_function(f"({LOOK})().cells === 1")
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click("[data-command='runmenu:run-all']")
    page.wait_for_selector(".jp-OutputArea-output img")
    return page


def test_a_live_figure_comes_to_life_below_its_picture(browser, lab):
    page = run_one_cell(browser, lab, "live", "from transformer_lib.notebook import live\n\nlive.show('beam')")
    inside = page.frame_locator("iframe[srcdoc]")
    inside.locator("live-figure[data-state=ready]").wait_for()
    before = inside.locator(".live-line").inner_text()
    inside.locator("input").first.press("ArrowRight")
    assert before.startswith("A beam of 1 answers: zwanzig ein,")
    assert inside.locator(".live-line").inner_text().startswith("A beam of 2 answers: ein und zwanzig,")
    fits = "frame => Math.abs(frame.clientHeight - frame.contentDocument.documentElement.offsetHeight) < 20"
    assert page.locator("iframe[srcdoc]").evaluate(fits), "the frame is as high as what it holds"
    page.context.close()


def test_the_model_of_the_training_chapter_answers_below_its_picture(browser, lab):
    chapter = nbformat.read(ROOT / "chapters" / "10_training.ipynb", as_version=4)
    (code,) = (cell.source for cell in chapter.cells if cell.cell_type == "code" and "show_model(" in cell.source)
    page = run_one_cell(browser, lab, "model", code)
    inside = page.frame_locator("iframe[srcdoc]")
    inside.locator("live-figure[data-state=ready]").wait_for()
    inside.get_by_label("A number").fill("16")
    inside.get_by_label("A number").press("Enter")
    inside.locator(".live-answer strong", has_text=re.compile("^sechzehn$")).wait_for()
    page.context.close()
