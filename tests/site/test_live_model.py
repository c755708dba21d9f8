"""The live model in a browser: it answers, step by step, by keyboard, without its parts, without its weights.

It stands on a plain page that is written here; the last test looks at the first page of the book.
"""

import shutil

import pytest
from repository import ROOT
from test_live import DONE, STATE, STOPS, opened, walk

from transformer_lib.notebook import live

MODELS = ROOT / "site" / "live" / "models"
NUMBERS = {"model": "numbers", "text": "321", "switches": ["positions", "heads"], "maps": True}
PRONOUNCE = {"model": "pronounce", "text": "physics", "switches": ["layers"], "maps": True}
WORD = "dreihunderteinundzwanzig"


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of the live figures, as the pages have them."""
    shutil.copytree(live.FOLDER, tmp_path / "live", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(MODELS, tmp_path / "live" / "models")
    return tmp_path


def write(folder, data) -> str:
    """Write a page with one model; return its address on disk."""
    shown = live.element("model", {"title": "A model", **data}).replace("></live", "><p>The picture.</p></live")
    (folder / "page.html").write_text(
        f"""<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>A model</title>
        <meta name="viewport" content="width=device-width"><link rel="stylesheet" href="live/live.css">
        <script defer src="live/live.js"></script><style>body {{background: var(--page, #fff)}}
        html[data-theme=dark] {{--pst-color-background: #14181e; --pst-color-text-base: #ced6dd; --page: #14181e;
        --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b; --pst-color-surface: #29313d; --badge: #9ccaff;
        color: #ced6dd}}</style><main><h1>A model</h1>{shown}</main>""",
        encoding="utf-8",
    )
    return (folder / "page.html").as_uri()


def result(page) -> str:
    return page.locator(".live-answer strong").inner_text()


def test_it_is_ready_from_disk_fits_a_narrow_phone_and_loads_its_own_weights_alone(browser, folder):
    with opened(browser, write(folder, NUMBERS), width=360) as page:
        assert page.evaluate(STATE) == "ready" and page.wrong == []
        assert result(page) == WORD and not page.get_by_text("The picture.").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert [url.rpartition("/")[2] for url in page.asked if "/models/" in url] == ["numbers.js"]


def test_the_larger_model_answers_too(browser, folder):
    with opened(browser, write(folder, PRONOUNCE)) as page:
        assert result(page) == "F IH Z IH K S"
        page.get_by_role("group", name="Decoder layers").get_by_label("1").uncheck()
        assert result(page) == "F IH S IH K S"
        assert page.locator(".live-before").inner_text() == "Before: F IH Z IH K S"


def test_it_writes_token_by_token(browser, folder):
    with opened(browser, write(folder, NUMBERS), motion="no-preference") as page:
        page.get_by_role("button", name="Step").press("Enter")
        assert result(page) == "drei …"
        assert page.locator("[role=grid] tbody tr").count() == 1
        page.get_by_role("button", name="Step").press("Enter")
        assert result(page) == "dreihundert …"
        page.get_by_role("button", name="Run").click()
        seen = {result(page)}
        page.wait_for_function(f"document.querySelector('.live-answer strong').innerText === '{WORD}'")
        assert any("…" in text for text in seen), "it is to be watched, not told at once"
        page.wait_for_function(f"document.querySelector('.live-aloud').innerText === 'It writes: {WORD}.'")


def test_nothing_moves_by_itself_for_those_who_asked_for_it(browser, folder):
    with opened(browser, write(folder, NUMBERS), motion="reduce") as page:
        page.get_by_label("A number").fill("sixteen")
        page.keyboard.press("Enter")
        assert result(page) == "sechzehn"


@pytest.mark.parametrize("colours", ["none", "active"])
def test_the_tab_key_reaches_every_control_and_one_sees_where(browser, folder, colours):
    with opened(browser, write(folder, NUMBERS), forced_colors=colours) as page:
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        stops = walk(page)
        assert len(stops) == page.evaluate(STOPS) > 15
        assert [where for where, shown in stops if not shown] == []


def test_a_number_is_asked_by_the_keyboard_alone(browser, folder):
    with opened(browser, write(folder, NUMBERS)) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("Control+a")
        page.keyboard.type("16")
        page.keyboard.press("Enter")
        assert result(page) == "sechzehn"


def test_nonsense_gets_one_sentence_and_the_answer_stays(browser, folder):
    with opened(browser, write(folder, NUMBERS)) as page:
        box = page.get_by_label("A number")
        for text in ("banana", "", "1000000", "ten ten", "<b>"):
            box.fill(text)
            box.press("Enter")
            told = page.get_by_role("alert").inner_text()
            assert told.count(".") == 2 and box.get_attribute("aria-invalid") == "true", told
            assert result(page) == WORD
        box.fill("16")
        box.press("Enter")
        assert not page.get_by_role("alert").is_visible() and result(page) == "sechzehn"


def test_a_part_that_is_taken_away_is_missed_at_once_and_reset_brings_it_back(browser, folder):
    with opened(browser, write(folder, NUMBERS)) as page:
        page.get_by_label("positions").press("Space")
        assert result(page) == "dreihundertdreiundzwanzig"
        assert page.locator(".live-before").inner_text() == f"Before: {WORD}"
        page.wait_for_function("document.querySelector('.live-aloud').innerText.startsWith('Positions off.')")
        page.get_by_role("button", name="Reset").click()
        assert result(page) == WORD and page.get_by_label("positions").is_checked()
        page.get_by_text("More parts to switch off").click()
        for tower, layer, answer in (("Decoder", "2", "einhunderteinundzwanzig"), ("Encoder", "1", WORD)):
            box = page.get_by_role("group", name=f"{tower} layers").get_by_label(layer)
            box.uncheck()
            assert result(page) == answer
            box.check()
        page.get_by_label("residuals").uncheck()
        assert result(page).startswith("undund") and result(page).endswith("and no end")


def test_every_map_of_every_layer_and_head_is_shown(browser, folder):
    with opened(browser, write(folder, NUMBERS)) as page:
        seen, maps = set(), page.locator(".live-maps")
        for kind, corner in (("encoder", "token"), ("decoder, self", "writes"), ("decoder, cross", "writes")):
            maps.get_by_label(kind).check()
            for layer in "12":
                maps.locator("fieldset", has_text="Layer").get_by_label(layer).check()
                for head in "1234":
                    maps.locator("fieldset", has_text="Head").get_by_label(head).check()
                    table = page.locator("[role=grid]")
                    assert page.locator(".live-caption").inner_text() == f"Layer {layer}, head {head}"
                    assert table.locator("th").first.inner_text() == corner
                    cells = table.locator("[role=gridcell]")
                    sums = cells.evaluate_all("all => all.reduce((sum, cell) => sum + Number(cell.innerText), 0)")
                    assert abs(sums - table.locator("tbody tr").count()) < 0.2
                    seen.add(table.inner_text() + kind)
        assert len(seen) == 24
        maps.get_by_label("decoder, self").check()
        assert page.locator(".live-masked").count() == 15
        page.locator("[role=gridcell]").first.focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.ariaLabel").endswith("it comes later.")
        page.get_by_text("More parts to switch off").click()
        page.get_by_label("causal mask").uncheck()
        assert page.locator(".live-masked").count() == 0 and result(page) == WORD


def test_a_token_is_chosen_and_shows_what_could_have_come(browser, folder):
    with opened(browser, write(folder, NUMBERS)) as page:
        page.get_by_role("button", name="hundert", exact=True).press("Enter")
        assert "token 2" in page.locator(".live-next p").inner_text()
        assert page.locator(".live-next li").first.inner_text().startswith("hundert")
        assert page.evaluate("document.activeElement.innerText") == "hundert", "the focus is lost"


@pytest.mark.parametrize("fault", ["no file", "other format"])
def test_without_its_weights_the_picture_stays_with_one_sentence(browser, folder, fault):
    file = folder / "live" / "models" / "numbers.js"
    if fault == "no file":
        file.unlink()
    else:
        file.write_text(file.read_text(encoding="utf-8").replace('"format": 1', '"format": 9'), encoding="utf-8")
    with opened(browser, write(folder, NUMBERS)) as page:
        assert page.evaluate(STATE) == "failed" and page.get_by_text("The picture.").is_visible()
        assert page.locator(".live-failed").inner_text().count(".") == 1


def test_everybody_can_use_it(axe, browser, folder):
    run = "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + v.nodes[0].html))"
    with opened(browser, write(folder, NUMBERS)) as page:
        page.evaluate(axe)
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        for scheme in ("light", "dark"):
            page.evaluate("scheme => document.documentElement.dataset.theme = scheme", scheme)
            assert page.evaluate(run) == []
            page.get_by_label("positions").press("Space")
            page.get_by_label("A number").fill("banana")
            page.get_by_label("A number").press("Enter")
            assert page.evaluate(run) == []


def test_the_first_page_of_the_book_has_it(browser, address, prefix, site):
    with opened(browser, f"{address}{prefix}chapters/index.html", wait=False) as page:
        page.locator("live-figure").scroll_into_view_if_needed()
        page.wait_for_function(DONE)
        assert page.evaluate(STATE) == "ready" and result(page) == WORD
        for name in ("engine.js", "figures/model.js", "models/numbers.js"):
            assert (site / "_static" / "live" / name).is_file()
