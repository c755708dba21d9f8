"""The other engines: formulas, a live figure and the live model in Firefox and in WebKitGTK, one test each."""

import glob
import os
import shutil

import pytest
from conftest import missing, served
from engines import LISTEN, Firefox, WebKit, wait_for

FIGURE = "document.querySelector('live-figure')"
ENTER, RIGHT = "\ue007", "\ue014"


@pytest.fixture
def firefox(tmp_path):
    """Firefox: the one that FIREFOX names, else the system's."""
    path = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
    if not path:
        missing("there is no Firefox")
    engine = Firefox(path, tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def webkit(tmp_path):
    """WebKitGTK's small browser, and what steers it."""
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browsers = sorted(glob.glob("/usr/lib/*/webkit2gtk-4.*/MiniBrowser"))
    if not driver or not browsers or not (screen or os.environ.get("DISPLAY")):
        missing("there is no WebKitGTK")
    engine = WebKit(driver, browsers[-1], screen, tmp_path)
    yield engine
    engine.close()


def look_at(engine, address: str, prefix: str) -> None:
    """Look at a chapter with formulas and a figure, and ask the model of the first page for a number."""
    engine.open(f"{address}{prefix}chapters/01_self_attention.html")
    wait_for(lambda: engine.evaluate("document.fonts.check('1em \"STIX Two Math\"')"), "font of the formulas")
    fractions = "[...document.querySelectorAll('mfrac')].map(e => [e, e.firstChild])"
    heights = engine.evaluate(f"{fractions}.map(all => all.map(e => e.getBoundingClientRect().height))")
    assert heights and all(whole > 1.5 * part > 0 for whole, part in heights), "a fraction is two lines high"
    come_to_life(engine)
    before = engine.evaluate(f"{FIGURE}.querySelector('.live-line').innerText")
    engine.evaluate(f"{FIGURE}.querySelector('input[type=range]').focus()")
    engine.press(RIGHT)
    wait_for(lambda: engine.evaluate(f"{FIGURE}.querySelector('.live-line').innerText") != before, "answer to a key")
    is_well(engine, address)

    engine.open(f"{address}{prefix}chapters/index.html")
    come_to_life(engine)
    engine.evaluate(f"{FIGURE}.querySelector('input').select()")
    engine.press(f"16{ENTER}")
    answer = f"{FIGURE}.querySelector('.live-answer strong').innerText"
    wait_for(lambda: engine.evaluate(answer) == "sechzehn", "answer of the model")
    is_well(engine, address)


def is_well(engine, address: str) -> None:
    """Was nothing wrong, and nothing asked of others?"""
    assert engine.wrong == [] and len(engine.asked) > 3
    assert [url for url in engine.asked if not url.startswith((f"{address}/", "data:", "about:"))] == []


def come_to_life(engine) -> None:
    """Go to the first live figure of the page, and wait until it stands in the place of its picture."""
    assert engine.evaluate(f"{FIGURE}.dataset.state") == "waiting"
    engine.evaluate(f"{FIGURE}.scrollIntoView()")
    wait_for(lambda: engine.evaluate(f"{FIGURE}.dataset.state") in ("ready", "failed"), "figure")
    assert engine.evaluate(f"{FIGURE}.dataset.error ?? ''") == ""


def test_firefox(firefox, address, prefix):
    look_at(firefox, address, prefix)


def test_webkitgtk(webkit, site, prefix):
    with served(site, prefix, LISTEN) as address:
        look_at(webkit, address, prefix)


BAD = "<img src='http://nobody.test/picture'><script>throw new Error('thrown')</script></article>"


def test_what_is_wrong_with_a_page_is_seen_in_firefox(firefox, site, prefix, tmp_path):
    sees_what_is_wrong(firefox, site, prefix, tmp_path)


def test_what_is_wrong_with_a_page_is_seen_in_webkitgtk(webkit, site, prefix, tmp_path):
    sees_what_is_wrong(webkit, site, prefix, tmp_path)


def sees_what_is_wrong(engine, site, prefix, tmp_path) -> None:
    """Look at a page that throws, and asks somebody else."""
    (tmp_path / "site").mkdir()
    good = (site / "404.html").read_text(encoding="utf-8")
    (tmp_path / "site" / "404.html").write_text(good.replace("</article>", BAD, 1), encoding="utf-8")
    with served(tmp_path / "site", prefix, LISTEN) as address:
        engine.open(f"{address}{prefix}404.html")
        assert any("thrown" in text for text in engine.wrong)
        assert any("nobody.test" in told for told in [*engine.asked, *engine.wrong])
