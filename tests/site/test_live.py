"""Live figures in a browser: they become ready, answer keyboard and mouse, compute what PyTorch computes, fall back.

The figures stand on a plain page that is written here, but for the last tests, which look at the pages of the book.
"""

import contextlib
import functools
import html
import http.server
import io
import re
import shutil
import threading
from pathlib import Path

import pytest
import torch
from helpers import lively_model
from matplotlib import pyplot as plt

from transformer_lib.attention import scaled_dot_product_attention
from transformer_lib.beam import beam_hypotheses
from transformer_lib.layers import LayerNorm
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.modern import rotate
from transformer_lib.notebook import live
from transformer_lib.notebook.live.low_rank import two_changes
from transformer_lib.notebook.live.pictures import BELIEFS, PICTURES, clocks
from transformer_lib.positions import sinusoidal_encoding
from transformer_lib.schedules import noam_rate

PICTURE = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="
STATE = "document.querySelector('live-figure').dataset.state"
DONE = f"['ready', 'failed'].includes({STATE})"
WHAT_IS_SEEN = "document.querySelector('.live-root').innerText + document.querySelector('.live-root').innerHTML"


@functools.cache
def data_of(kind: str) -> dict:
    """What a figure starts from."""
    made = PICTURES[kind]()
    plt.close(made.figure)
    return made.data


def page_of(kind: str, before: str = "") -> str:
    """A page with one figure, its picture and a caption."""
    shown = live.element(kind, data_of(kind))
    picture = f'<img alt="the picture" src="{PICTURE}" width="200" height="300">'
    return f"""<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8"><title>A figure</title>
        <meta name="viewport" content="width=device-width"><link rel="stylesheet" href="live/live.css">
        <script defer src="live/live.js"></script><style>body {{margin: 8px; background: var(--live-page, #fff)}}
        html[data-theme=dark] {{--pst-color-background: #14181e; --pst-color-text-base: #ced6dd; --live-page: #14181e;
        --pst-color-text-muted: #9ca4af; --pst-color-border: #48566b; --pst-color-surface: #29313d; --badge: #9ccaff;
        color: #ced6dd}} figure {{margin: 0}}</style>
        <main><h1>A figure</h1>{before}<figure>{picture}{shown}<figcaption>A caption</figcaption></figure></main>"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with the files of the live figures, as the pages have them."""
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(live.FOLDER, tmp_path / "live", ignore=ignored)
    return tmp_path


@contextlib.contextmanager
def opened(browser, url, *, width=1280, motion="reduce", wait=True, **options):
    """A page in a window of its own, when its figure is ready or has failed; with what it asked for and what broke."""
    context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion=motion, **options)
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    try:
        page.goto(url)
        if wait:
            page.wait_for_function(DONE)
        yield page
    finally:
        context.close()


def write(folder: Path, *arguments: str) -> str:
    """Write the page of a figure; return its address on disk."""
    (folder / "page.html").write_text(page_of(*arguments), encoding="utf-8")
    return (folder / "page.html").as_uri()


def is_ready(page) -> bool:
    """Is the figure alive in the place of its picture, and nothing was asked of others?"""
    here = page.url.rpartition("/")[0]
    assert [url for url in page.asked if not url.startswith((here, "data:"))] == [] and page.wrong == []
    assert page.evaluate("document.querySelector('live-figure').dataset.error ?? ''") == ""
    return page.evaluate(STATE) == "ready" and not page.locator("img").is_visible()


@pytest.mark.parametrize("kind", PICTURES)
def test_a_figure_becomes_ready_from_disk_and_fits_a_narrow_phone(browser, folder, kind):
    with opened(browser, write(folder, kind), width=360) as page:
        assert is_ready(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.locator(".live-line").inner_text().strip()


def test_a_figure_becomes_ready_over_http_in_a_folder(browser, folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    write(folder, "softmax")
    handler = functools.partial(Quiet, directory=folder.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with opened(browser, f"http://127.0.0.1:{server.server_port}/{folder.name}/page.html") as page:
            assert is_ready(page)
        server.shutdown()


def test_nothing_is_loaded_before_a_figure_is_near(browser, folder):
    address = write(folder, "softmax", "<p style='height: 4000px'>Far above.</p>")
    with opened(browser, address, wait=False) as page:
        page.wait_for_function(f"{STATE} === 'waiting'")
        page.wait_for_timeout(300)
        assert [url for url in page.asked if "/figures/" in url] == []
        page.mouse.wheel(0, 3500)
        page.wait_for_function(DONE)
        assert is_ready(page)


def test_without_scripts_the_picture_is_there(browser, folder):
    with opened(browser, write(folder, "softmax"), java_script_enabled=False, wait=False) as page:
        assert page.locator("img").is_visible() and page.locator("live-figure").inner_text() == ""


@pytest.mark.parametrize("fault", ["no file", "broken file", "broken data"])
def test_a_figure_that_fails_leaves_the_picture_and_one_sentence(browser, folder, fault):
    address = write(folder, "softmax")
    script = folder / "live" / "figures" / "softmax.js"
    if fault == "no file":
        script.unlink()
    elif fault == "broken file":
        script.write_text("Live.define('softmax', {build(root) { root.append('half'); throw new Error('no'); }});")
    else:
        page = (folder / "page.html").read_text(encoding="utf-8")
        (folder / "page.html").write_text(page.replace("data='{", "data='"), encoding="utf-8")
    with opened(browser, address) as page:
        assert page.evaluate(STATE) == "failed" and page.locator("img").is_visible()
        assert page.locator("live-figure").inner_text().strip().count(".") == 1
        assert page.wrong == []


@pytest.mark.parametrize("kind", PICTURES)
def test_a_figure_answers_to_keyboard_and_mouse(browser, folder, kind):
    with opened(browser, write(folder, kind)) as page:
        controls = page.locator(".live-controls :is(input, button)")
        assert 1 <= controls.count() <= 8
        for number in range(controls.count()):
            control, before = controls.nth(number), page.evaluate(WHAT_IS_SEEN)
            sort = control.get_attribute("type")
            if control.is_disabled() or (sort == "radio" and control.is_checked()):
                continue
            control.focus()
            page.keyboard.press({"range": "ArrowRight", "button": "Enter"}.get(sort, "Space"))
            assert page.evaluate(WHAT_IS_SEEN) != before, control.evaluate("e => e.parentElement.innerText")
            assert control.evaluate("e => e === document.activeElement || e.disabled"), "the focus is lost"
        page.wait_for_function(
            "document.querySelector('.live-aloud').innerText === document.querySelector('.live-line').innerText"
        )
        for grid in page.locator("[role=grid]:visible").all():
            cells = grid.locator("[role=gridcell]")
            assert grid.locator("[tabindex='0']").count() == 1
            assert all(cells.evaluate_all("cells => cells.map(cell => cell.ariaLabel.length > 5)"))
            cells.first.focus()
            page.keyboard.press("ArrowRight")
            page.keyboard.press("ArrowDown")
            second = page.evaluate("document.activeElement.ariaLabel")
            assert second != cells.first.get_attribute("aria-label")
            assert page.locator(".live-line").inner_text() == second
            page.keyboard.press("Home")
            cells.last.hover()
            assert page.locator(".live-line").inner_text() == cells.last.get_attribute("aria-label")


# By the Tab key through all that takes it, with what shows where one is: an outline, drawn and two pixels wide.
WHERE = """() => {
    const here = document.activeElement, {outlineStyle, outlineWidth} = getComputedStyle(here);
    const shown = here.matches(':focus-visible') && outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
    return here.closest('live-figure') && [here.outerHTML.slice(0, 80), shown];
}"""
STOPS = """() => [...document.querySelectorAll('live-figure :is(input, button, summary, [tabindex="0"])')]
    .filter(e => e.checkVisibility() && !e.disabled && (e.type !== 'radio' || e.checked)).length"""


def walk(page) -> list:
    """Go through the figure by the Tab key: where it stopped, and whether that was shown."""
    page.evaluate("document.activeElement.blur()")
    stops = []
    page.keyboard.press("Tab")
    while (stop := page.evaluate(WHERE)) and len(stops) < 99:
        stops.append(stop)
        page.keyboard.press("Tab")
    return stops


@pytest.mark.parametrize("colours", ["none", "active"])
@pytest.mark.parametrize("kind", PICTURES)
def test_the_tab_key_reaches_every_control_and_one_sees_where(browser, folder, kind, colours):
    with opened(browser, write(folder, kind), forced_colors=colours) as page:
        stops = walk(page)
        assert len(stops) == page.evaluate(STOPS) >= 1
        assert [where for where, shown in stops if not shown] == []


def bar_and_rail(browser, address) -> tuple[list, list]:
    """The colours painted in the middle of the first bar, and behind its end, where a reader forces colours."""
    with opened(browser, address, forced_colors="active") as page:
        picture = plt.imread(io.BytesIO(page.locator(".live-rail").first.screenshot()))
        end = page.evaluate("document.querySelector('.live-bar').offsetWidth")
        assert 20 < end < picture.shape[1] - 20
        across = picture[picture.shape[0] // 2]
        return across[end // 2].tolist(), across[(end + picture.shape[1]) // 2].tolist()


def test_bars_are_seen_in_the_colours_that_a_reader_forces(browser, folder):
    bar, rail = bar_and_rail(browser, write(folder, "softmax"))
    assert bar != rail
    style = folder / "live" / "live.css"
    rule = re.compile(r"\.live-bar \{\s*forced-color-adjust.*?\}", re.DOTALL)
    text, found = rule.subn("", style.read_text(encoding="utf-8"))
    style.write_text(text, encoding="utf-8")
    bar, rail = bar_and_rail(browser, write(folder, "softmax"))
    assert found == 1 and bar == rail, "the bars would be seen without their rule, so that this proves nothing"


@pytest.mark.parametrize("kind", PICTURES)
def test_everybody_can_use_a_figure(axe, browser, folder, kind):
    run = "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => v.id + v.nodes[0].html))"
    with opened(browser, write(folder, kind)) as page:
        page.evaluate(axe)
        for scheme in ("light", "dark"):
            page.evaluate("scheme => document.documentElement.dataset.theme = scheme", scheme)
            assert page.evaluate(run) == []
            for control in page.locator(".live-controls :is(input[type=range], input[type=checkbox])").all():
                control.focus()
                page.keyboard.press("End" if control.get_attribute("type") == "range" else "Space")
            if page.locator("[role=gridcell]").count():
                page.locator("[role=gridcell]").last.focus()
            assert page.evaluate(run) == []


def test_nothing_moves_by_itself_for_those_who_asked_for_it(browser, folder):
    address = write(folder, "softmax")
    for motion, moves in (("reduce", False), ("no-preference", True)):
        with opened(browser, address, motion=motion) as page:
            all_of_it = "[...document.querySelectorAll('live-figure *')].map(e => getComputedStyle(e))"
            moving = page.evaluate(f"{all_of_it}.filter(s => s.transitionDuration !== '0s').length")
            assert (moving > 0) == moves
    for script in live.FOLDER.rglob("*.js"):
        code = script.read_text(encoding="utf-8")
        assert "setInterval" not in code and "requestAnimationFrame" not in code, script.name


def test_on_paper_there_are_no_controls(browser, folder):
    with opened(browser, write(folder, "softmax")) as page:
        page.emulate_media(media="print")
        assert not page.locator(".live-controls").is_visible() and page.locator(".live-bars").is_visible()


@pytest.mark.parametrize("kind", PICTURES)
def test_a_frame_stands_alone(browser, tmp_path, kind):
    (tmp_path / "page.html").write_text(live.frame(kind, data_of(kind)), encoding="utf-8")
    with opened(browser, (tmp_path / "page.html").as_uri(), wait=False) as page:
        inside = page.frame_locator("iframe").locator("live-figure")
        inside.and_(page.frame_locator("iframe").locator("[data-state=ready]")).wait_for()
        assert inside.locator(".live-line").inner_text().strip()
        assert [url for url in page.asked if not url.startswith(("file:", "about:"))] == [] and page.wrong == []
        assert len([url for url in page.asked if url.startswith("file:")]) == 1


# What the figures compute, asked of their scripts and of PyTorch.


@pytest.fixture(scope="module")
def compute(browser):
    """Call a function of a figure: compute("softmax", "weights", [1, 2], 1)."""
    page = browser.new_page()
    scripts = [live.FOLDER / "live.js", *sorted((live.FOLDER / "figures").glob("*.js"))]
    for script in scripts:
        page.add_script_tag(content=script.read_text(encoding="utf-8"))
    yield lambda kind, name, *given: page.evaluate(
        "([kind, name, given]) => Live.kinds[kind].compute[name](...given)", [kind, name, given]
    )
    page.close()


def near(found, wanted) -> None:
    """Equal to a millionth, shapes included."""
    found = torch.tensor(found, dtype=torch.float64)
    torch.testing.assert_close(found, torch.as_tensor(wanted).double(), atol=1e-6, rtol=0)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
def test_softmax(compute, temperature):
    scores = [2.0, -3.5, 0.0, 900.0, 899.5]
    near(compute("softmax", "weights", scores, temperature), (torch.tensor(scores).double() / temperature).softmax(0))


@pytest.mark.parametrize("divide", [True, False])
def test_dot_product(compute, divide):
    query, key = random(2, 1, 64)
    products = [*(query @ key.mT).flatten().tolist(), 40.0, -3.0]
    weights = (torch.tensor(products).double() / (8 if divide else 1)).softmax(0)
    near(compute("dot_product", "weights", products, 64, divide), weights)
    near(compute("dot_product", "size", products), torch.tensor(products).double().square().mean().sqrt())


def test_the_picture_of_the_dot_product_starts_from_products_of_that_width():
    data = data_of("dot_product")
    sizes = torch.tensor(data["products"]).square().mean(dim=(0, 2)).sqrt() / torch.tensor(data["widths"]).sqrt()
    assert sizes.min() > 0.6 and sizes.max() < 1.6


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("padding", [True, False])
def test_masks(compute, causal, padding):
    ids, scores = torch.tensor([[0, 5, 7, 6, 0]]), random(5, 5)  # the first row may look at nothing
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask = mask & padding_mask(ids, 0)[0, 0] if padding else mask
    mask = mask & causal_mask(5) if causal else mask
    allowed = compute("masks", "allowed", (ids[0] == 0).tolist(), causal, padding)
    assert allowed == mask.tolist()
    value = torch.eye(5).double()  # the output of the formula is the weights
    right, _ = scaled_dot_product_attention(scores * 5**0.5, value, value, mask)
    near(compute("masks", "weights", scores.tolist(), allowed, True), right)
    near(compute("masks", "weights", scores.tolist(), allowed, False), scores.softmax(-1) * mask)


@pytest.mark.parametrize("width", [4, 64, 128])
def test_positions(compute, width):
    table = sinusoidal_encoding(40, width).double()
    near([compute("positions", "encoding", p, width) for p in range(40)], table)
    near(compute("positions", "similarity", 11, 40, width), table @ table[11] / (width / 2))
    near(clocks(40, width).tolist(), table)  # and the picture's


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_heads(compute, n_heads):
    query, key = random(2, 5, 8)
    split = [rows.unflatten(1, (n_heads, -1)).transpose(0, 1) for rows in (query, key)]
    _, weights = scaled_dot_product_attention(*split, split[1])
    near(compute("heads", "weights", query.tolist(), key.tolist(), n_heads), weights)


def test_layer_norm(compute):
    for x in (random(7) * 30 + 4, torch.full((4,), 2.5).double(), 1e-3 * random(5)):
        near(compute("layer_norm", "norm", x.tolist()), LayerNorm(len(x)).double()(x))


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_beam(compute, monkeypatch, size, alpha):
    """The library's search, of a model that says what the table says."""
    words = ["", "", "<eos>", "zwanzig", "ein", "und"]  # by id: 0 is padding, 1 the beginning

    def scripted(model, ids, *_):
        rows = [BELIEFS.get(tuple(words[i] for i in row[1:]), {}) for row in ids.tolist()]
        rows = [[row.get(word, 0.0) for word in words] + [0.0] * (model.config.tgt_vocab_size - 6) for row in rows]
        return torch.tensor(rows, dtype=torch.float64).log()

    monkeypatch.setattr("transformer_lib.beam.next_log_probs", scripted)
    settings = {"beam_size": size, "length_penalty": alpha, "max_new_tokens": 5}
    wanted = beam_hypotheses(lively_model(0).double(), torch.tensor([[4]]), **settings)
    best = compute("beam", "search", data_of("beam")["table"], "<eos>", size, alpha)["answers"][0]
    assert best["path"] == [words[i] for i in wanted.ids[0, 0].tolist() if i]
    near([best["log"], best["score"]], torch.stack([wanted.log_probs[0, 0], wanted.scores[0, 0]]))


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_cache(compute, steps):
    x, maps = random(steps, 4), random(3, 4, 4) / 2
    query, key, value = x @ maps
    output, _ = scaled_dot_product_attention(query, key, value)
    ways = [compute("cache", "write", x.tolist(), *maps.tolist(), steps, cached) for cached in (False, True)]
    for way in ways:
        near(way["output"], output[-1])
    assert ways[0]["computed"] == [*range(steps, 0, -1)] and ways[1]["computed"] == [1] * steps
    once = [3 * 4 * 4 + 2 * 4 * (i + 1) for i in range(steps)]  # three products with a matrix; scores and mixture
    assert [way["products"] for way in ways] == [sum(sum(once[: i + 1]) for i in range(steps)), sum(once)]


def test_schedule(compute):
    for step, d_model, warmup in [(1, 512, 4000), (4000, 512, 4000), (9000, 128, 500), (30, 2048, 12000)]:
        near(compute("schedule", "rate", step, d_model, warmup), noam_rate(step, d_model, warmup))


def test_rotary(compute):
    query, key = random(2, 10)
    turned = [rotate(x.expand(23, -1)) for x in (query, key)]
    near([compute("rotary", "turn", query.tolist(), p) for p in range(23)], turned[0])
    near([compute("rotary", "score", query.tolist(), key.tolist(), 7, r) for r in range(23)], turned[1] @ turned[0][7])


@pytest.mark.parametrize("change", [*two_changes().values(), random(5, 7), torch.zeros(3, 4).double()])
def test_low_rank(compute, change):
    u, s, vh = torch.linalg.svd(change, full_matrices=False)
    near([direction["size"] for direction in compute("low_rank", "directions", change.tolist())], s)
    for rank in range(len(s) + 1):
        kept = u[:, :rank] * s[:rank] @ vh[:rank]
        near(compute("low_rank", "nearest", change.tolist(), rank), kept)
        if s.sum():
            share = kept.square().sum() / change.square().sum()
            near(compute("low_rank", "share", change.tolist(), rank), share)


# The pages of the book.


def test_only_pages_with_a_figure_load_its_files(pages):
    with_figure = {name for name, soup in pages.items() if soup.select("live-figure")}
    loading = {name for name, soup in pages.items() if soup.select("[src*='live/'], [href*='static/live/']")}
    assert with_figure == loading and with_figure


def test_every_figure_of_the_book_has_its_file_and_a_picture(pages, site):
    for soup in pages.values():
        for figure in soup.select("live-figure"):
            assert (site / "_static" / "live" / "figures" / f"{figure['kind']}.js").is_file()
            assert figure.select("img, svg, p") or figure.find_previous_sibling("img"), html.escape(str(figure))
