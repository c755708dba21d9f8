"""The built pages in a browser: what they ask for, how they fit a phone, who can use them."""

import contextlib
import re

import pytest

# What depends on the colours, and is asked in both schemes.
LINKS, CONTRAST = "link-in-text-block", "color-contrast"

PHONE = {"width": 390, "height": 844}
SMALL = {"width": 360, "height": 740}  # the narrowest phone, and
WALL = {"width": 2560, "height": 1440}  # the widest screen that a page has to fit
DESK = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def names(paths):
    return [name for name in paths if name != "index.html"]


def note_failure(page, request):
    """Note what could not be loaded; a request that the next page cut short is no failure."""
    if "ERR_ABORTED" not in (request.failure or ""):
        page.wrong.append(f"failed: {request.url}")


@contextlib.contextmanager
def window(browser, size=DESK, remembers="light"):
    """A page in a new window, with a record of what it asked for and what went wrong."""
    context = browser.new_context(viewport=size, color_scheme="light", reduced_motion="reduce")
    if remembers:
        context.add_init_script(f"localStorage.setItem('mode', '{remembers}')")
    context.set_default_timeout(120_000)  # a busy machine is no fault of the page
    page = context.new_page()
    page.asked, page.wrong = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("requestfailed", lambda request: note_failure(page, request))
    page.on("console", lambda message: page.wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    try:
        yield page
    finally:
        context.close()


@pytest.fixture(scope="module")
def same_window(browser):
    """A window that keeps the scripts it has loaded once."""
    with window(browser) as page:
        yield page


def visit(page, url):
    """Open a page."""
    return page.goto(url, wait_until="load")


OPEN = "() => document.querySelectorAll('main details').forEach(d => d.open = true)"
# A living figure begins when it comes near: go to each, and return those that are not ready two minutes later.
BEGIN = """async () => {
    const late = [];
    for (const figure of document.querySelectorAll('live-figure')) {
        figure.scrollIntoView();
        for (let i = 0; i < 2400 && !['ready', 'failed'].includes(figure.dataset.state); i++)
            await new Promise(done => setTimeout(done, 50));
        if (figure.dataset.state !== 'ready') late.push(figure.getAttribute('kind') ?? 'a figure');
    }
    return late }"""
# Their colours, by day and in the dark, are asked of each kind in test_live.py.
LEAVE_OUT_FIGURES = "() => document.querySelectorAll('live-figure').forEach(figure => figure.remove())"
# Formulas are thousands of elements without text of their own.
LEAVE_OUT_FORMULAS = "() => document.querySelectorAll('math').forEach(formula => formula.remove())"
SCHEME = """scheme => {
    Object.assign(document.documentElement.dataset, {mode: scheme, theme: scheme});
    return getComputedStyle(document.body).backgroundColor;
}"""
# Text of one colour and size on one ground has one contrast: of all that looks alike in both schemes, the first is
# enough. A page of code is thousands of words in a dozen colours, each in a span that has no other meaning.
FIND_ALIKE = """() => {
    const words = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const seen = walk.currentNode.parentElement.checkVisibility({checkVisibilityCSS: true});
        if (seen && walk.currentNode.data.trim()) words.push([walk.currentNode, '']);
    }
    for (const scheme of ['dark', 'light']) {
        Object.assign(document.documentElement.dataset, {mode: scheme, theme: scheme});
        const grounds = new Map([[null, '']]);
        const ground = e => {
            if (!grounds.has(e)) {
                const {backgroundColor: colour, backgroundImage: image, opacity} = getComputedStyle(e);
                const plain = colour === 'rgba(0, 0, 0, 0)' && image === 'none' && opacity === '1';
                grounds.set(e, ground(e.parentElement) + (plain ? '' : colour + image + opacity));
            }
            return grounds.get(e);
        };
        for (const word of words) {
            const {color, fontSize, fontWeight, textShadow} = getComputedStyle(word[0].parentElement);
            word[1] += [color, fontSize, fontWeight, textShadow, ground(word[0].parentElement)].join();
        }
    }
    const first = new Map();
    for (const [node, look] of words) if (!first.has(look)) first.set(look, node);
    const kept = new Set(first.values());
    window.alike = words.map(([node]) => node).filter(node => !kept.has(node));
    window.keeps = new Set();  // the elements around what is kept
    for (let e of [...kept, ...document.querySelectorAll('style')]) while (e = e.parentElement) keeps.add(e);
    for (const span of document.querySelectorAll(':is(pre, code, dt.sig) :is(span, em)'))
        if (!keeps.has(span)) span.replaceWith(...span.childNodes);
}"""
# Nothing in an article lies over something else, so that what is blank there can go.
BLANK_ALIKE = """() => {
    alike.forEach(node => node.data = '');
    for (const e of document.querySelectorAll('article :not(style)')) if (!keeps.has(e)) e.remove();
}"""
RUN_AXE = "options => axe.run(options).then(result => result.violations)"
UNREACHABLE = """() => [...document.querySelectorAll('article :is(pre, table, div.math)')]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && !e.closest('details:not([open])') && e.tabIndex < 0)
    .map(e => e.outerHTML.slice(0, 120))"""


def faults(axe, page, options) -> set[str]:
    """What axe finds wrong with the page as it stands."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    found = page.evaluate(RUN_AXE, {"resultTypes": ["violations"], "preload": False, **options})
    return {
        f"{violation['id']}: {node['html'][:160]} {[check['message'] for check in node['any']][:1]}"
        for violation in found
        for node in violation["nodes"]
    }


def faults_of_page(axe, page, url) -> set[str]:
    """What is wrong with a page on a phone, on a wall, in the light, and in the dark."""
    page.set_viewport_size(SMALL)
    visit(page, url)
    page.add_style_tag(content="section { content-visibility: visible !important }")  # what is far away, too
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    wrong = {f"scrolls, but not by keyboard: {place}" for place in page.evaluate(UNREACHABLE)}
    if page.evaluate("document.documentElement.scrollWidth") > SMALL["width"]:
        wrong.add("wider than a phone")
    page.set_viewport_size(WALL)
    if page.evaluate("document.documentElement.scrollWidth") > WALL["width"]:
        wrong.add("wider than the widest screen")
    page.set_viewport_size(DESK)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")  # pictures wait until they are seen
    page.evaluate(OPEN)
    wrong |= {f"did not come to life: {figure}" for figure in page.evaluate(BEGIN)}
    page.evaluate(LEAVE_OUT_FORMULAS)
    wrong |= faults(axe, page, {"rules": {CONTRAST: {"enabled": False}}})
    page.evaluate(LEAVE_OUT_FIGURES)
    page.evaluate(FIND_ALIKE)
    light, dark = page.evaluate(SCHEME, "light"), page.evaluate(SCHEME, "dark")
    assert light != dark
    wrong |= {f"dark: {fault}" for fault in faults(axe, page, {"runOnly": [LINKS]})}
    page.evaluate(BLANK_ALIKE)
    wrong |= {f"dark: {fault}" for fault in faults(axe, page, {"runOnly": [CONTRAST]})}
    page.evaluate(SCHEME, "light")
    return wrong | faults(axe, page, {"runOnly": [CONTRAST]})


PARTS = 16  # of the pages: about half of all tests here, so that one worker begins with them, and the other helps


@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_can_be_used_by_everybody_and_asks_nobody_else(axe, same_window, address, prefix, names, part):
    page, found = same_window, {}
    page.asked.clear()
    page.wrong.clear()
    for name in names[part::PARTS]:
        url = f"{address}{prefix}{name}"
        wrong = faults_of_page(axe, page, url)
        if wrong:  # a fault of the page is there again the next time; one of a page half painted is not
            wrong &= faults_of_page(axe, page, url)
        if wrong:
            found[name] = sorted(wrong)[:5]
    assert not found
    assert not [url for url in page.asked if not url.startswith((address, "data:", "blob:"))]
    assert not page.wrong


def test_faults_are_seen_by_day_in_the_dark_and_on_a_phone(axe, browser, address, prefix):
    bad = """<style>html[data-theme=dark] .pale {color: #333} html[data-theme=light] .glaring {color: #ddd}</style>
        <p class=pale>seen by day</p><p class=glaring>seen by night</p><img src='data:,'>
        <div style='width: 3000px'>wide</div>
        <table style='display: block; width: 9em; overflow: auto'><td style='min-width: 99em'>x</table>"""
    with window(browser) as page:
        good = visit(page, f"{address}{prefix}chapters/notation.html").text()
        page.route("**/bad.html", lambda route: route.fulfill(body=good.replace("</article>", bad + "</article>", 1)))
        seen = "\n".join(sorted(faults_of_page(axe, page, f"{address}{prefix}chapters/bad.html")))
    for fault, place in {"color-contrast": "glaring", "dark: color-contrast": "pale", "image-alt": "data:"}.items():
        (line,) = re.findall(rf"^{fault}: .*", seen, re.MULTILINE)
        assert place in line, seen
    assert "wider than a phone" in seen and "wider than the widest" in seen and "scrolls, but not by keyboard" in seen


def test_the_map_is_reached_by_keyboard_and_leads_to_the_chapters(browser, address, prefix, names):
    with window(browser) as page:
        visit(page, f"{address}{prefix}chapters/index.html")
        boxes = page.locator(".map a").count()
        page.evaluate("document.querySelector('.map a').focus()")
        reached = []
        for _ in range(boxes):
            reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
            page.keyboard.press("Tab")
        assert len(reached) == boxes >= 20 and None not in reached
        assert not page.evaluate("!!document.activeElement.closest('.map')")
        page.locator(".map a").filter(has_text="Cross-attention").press("Enter")
        page.wait_for_url("**/08_decoder.html")


def test_the_map_can_be_read_on_a_phone(browser, address, prefix):
    with window(browser, size=PHONE) as page:
        visit(page, f"{address}{prefix}chapters/index.html")
        texts = "[...document.querySelectorAll('.map a > text')]"
        heights = page.evaluate(f"{texts}.map(t => t.getBoundingClientRect().height)")
        assert min(heights) > 11
        widths = page.evaluate("""[...document.querySelectorAll('.map a')].map(a => {
            const left = a.querySelector('circle').getBoundingClientRect().left;
            return [...a.querySelectorAll('text:not(.number):not(.small)')].map(
                t => [t.textContent, left - t.getBoundingClientRect().right]) }).flat()""")
        assert not [(text, room) for text, room in widths if room < 0]


def test_the_paths_are_reached_by_keyboard_and_read_on_a_phone(browser, address, prefix):
    with window(browser, size=PHONE) as page:
        visit(page, f"{address}{prefix}chapters/index.html")
        links = "[...document.querySelectorAll('svg.paths a')]"
        heights = page.evaluate(
            f"{links}.map(a => a.querySelector('text:not(.number)').getBoundingClientRect().height)"
        )
        assert len(heights) > 20 and min(heights) > 11
        over = """.map(a => { const [box, text] = ['rect', 'text:not(.number)'].map(
            of => a.querySelector(of).getBoundingClientRect()); return [a.textContent, text.left - box.left,
            box.right - text.right] }).filter(([, left, right]) => Math.min(left, right) < 0)"""
        assert page.evaluate(links + over) == []
        page.evaluate("document.querySelector('svg.paths a').focus()")
        for _ in heights:
            assert page.evaluate("document.activeElement.matches('svg.paths a[aria-label]')")
            page.keyboard.press("Tab")
        assert not page.evaluate("!!document.activeElement.closest('svg.paths')")
        page.locator("svg.paths a").filter(has_text="The bug museum").last.press("Enter")
        page.wait_for_url("**/bug_museum.html")


def test_wide_tables_can_be_read_on_a_phone(browser, address, prefix):
    with window(browser, PHONE) as page:
        page.goto(f"{address}{prefix}chapters/what_did_not_matter.html")
        cards = page.locator("article tbody tr").evaluate_all("""rows => rows.map(row => [row.offsetHeight,
            ...[...row.cells].map(cell => cell.offsetWidth)])""")
        assert len(cards) > 60 and max(card[0] for card in cards) < 500  # no column of a word a line
        assert all(first > 300 and last > 300 and one > 150 and two > 150 for _, first, one, two, last in cards)
        page.goto(f"{address}{prefix}chapters/notation.html")
        wide = page.locator("article .pst-scrollable-table-container:has(th:nth-child(4))")
        wide.first.scroll_into_view_if_needed()
        wide.first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.activeElement.scrollLeft > 0")
        names = wide.first.locator("td:first-child")
        assert names.first.bounding_box()["x"] >= wide.first.bounding_box()["x"]  # it stays while the rest moves


def test_the_page_for_lost_readers_works_at_any_depth(browser, address, prefix):
    with window(browser) as page:
        response = visit(page, f"{address}{prefix}no/such/place.html")
        assert response.status == 404
        assert "no page" in page.locator("article h1").inner_text()
        assert len([w for w in page.wrong if "404" in w]) == len(page.wrong) == 1  # the page itself, nothing else
        page.locator("article a", has_text="glossary").click()
        page.wait_for_url("**/chapters/glossary.html")


SOUGHT = {
    "equivariance": "01_self_attention",
    "causal mask": "02_masks",
    "heads": "03_multi_head_attention",
    "sine": "04_positional_encoding",
    "residual": "05_residuals_and_layer_norm",
    "cross-attention": "08_decoder",
    "warm-up": "10_training",
    "beam": "11_decoding",
    "phonemes": "12_pronunciation",
    "BLEU": "13_translation",
    "all-reduce": "15_more_than_one_machine",
}


def test_search_finds_what_chapters_speak_of(browser, address, prefix):
    """By hand from a page, with the keyboard; the other terms in the same index."""
    with window(browser) as page:
        visit(page, f"{address}{prefix}chapters/notation.html")
        assert not [url for url in page.asked if "searchindex" in url]
        page.keyboard.press("Control+k")
        page.keyboard.type("equivariance")
        page.keyboard.press("Enter")
        page.wait_for_selector("#search-results li a")
        assert "01_self_attention" in page.locator("#search-results").inner_html()
        page.wait_for_selector("#search-results li p.context")
        find = "term => Search._performSearch(...Search._parseQuery(term)).map(result => result[0].split('/').pop())"
        missed = {term: place for term, place in SOUGHT.items() if place not in page.evaluate(find, term)}
        assert not missed and page.evaluate(find, "zyzzyva") == []
        assert page.wrong == []


def test_colours_menus_and_what_has_been_read(browser, address, prefix):
    """The colours follow the reader's system until the button says otherwise; menus open by keyboard; a tick stays."""
    with window(browser, remembers=None) as page:
        first = f"{address}{prefix}chapters/02_masks.html"
        visit(page, first)
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate("document.documentElement.dataset.mode") == "auto"
        colours = {}
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_selector(f"html[data-theme={scheme}]", state="attached")
            colours[scheme] = page.evaluate(ground)
        seen = []
        for _ in range(3):
            page.locator(".theme-switch-button").first.click()
            seen.append((page.evaluate("document.documentElement.dataset.mode"), page.evaluate(ground)))
        light, dark = colours["light"], colours["dark"]
        assert light != dark and seen == [("dark", dark), ("light", light), ("auto", light)]

        button = page.locator(".dropdown-download-buttons button").first
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-expanded") == "true"
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.closest('.dropdown-menu').checkVisibility()")
        page.keyboard.press("Escape")
        assert button.get_attribute("aria-expanded") == "false"
        assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "false"

        tick = page.locator(".chapter-read input")
        assert not tick.is_checked() and page.locator("progress").evaluate("bar => bar.value") == 0
        tick.scroll_into_view_if_needed()
        page.wait_for_selector("progress[value='1']")
        assert tick.is_checked() and page.locator("a.read").count() == 1
        page.reload()
        assert page.locator("progress").evaluate("bar => bar.value") == 1
        tick.uncheck()
        assert page.locator(".chapters-read").first.inner_text() == "0 of 21 chapters read"
        page.reload()
        assert not tick.is_checked()
        assert page.wrong == []


def test_a_page_works_from_the_disk(browser, site):
    with window(browser, remembers=None) as page:
        visit(page, (site / "chapters" / "01_self_attention.html").as_uri())
        assert page.evaluate("getComputedStyle(document.querySelector('math')).fontFamily").startswith(
            '"STIX Two Math"'
        )
        assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('1em \"STIX Two Math\"', 'x'))")
        page.locator(".dropdown-download-buttons button").first.click()
        assert page.locator(".dropdown-menu.show").count() == 1
        assert not [url for url in page.asked if not url.startswith(("file:", "data:"))]
        assert page.wrong == []


def test_the_search_works_from_the_disk(browser, site):
    """Without excerpts, which a browser does not let it read there."""
    with window(browser) as page:
        visit(page, (site / "chapters" / "notation.html").as_uri())
        page.keyboard.press("Control+k")
        page.keyboard.type("equivariance")
        page.keyboard.press("Enter")
        page.get_by_text("Search finished").wait_for()
        found = [
            link.split("/")[-1].split(".")[0]
            for link in page.locator("#search-results li a").evaluate_all("links => links.map(link => link.pathname)")
        ]
        assert "01_self_attention" in found and page.locator("#search-results p.context").count() == 0
        assert page.wrong == []


def test_every_sign_of_a_formula_is_in_the_font(browser, address, prefix, pages):
    """Chromium says which fonts it sets a page of all formulas with: one, for a second would have other measures."""
    formulas = {str(formula) for soup in pages.values() for formula in soup.select("math")}
    with window(browser) as page:
        visit(page, f"{address}{prefix}chapters/notation.html")
        page.evaluate("formulas => document.body.innerHTML = `<p>${formulas.join(' ')}</p>`", sorted(formulas))
        page.evaluate("document.fonts.ready")
        tools = page.context.new_cdp_session(page)
        for command in ("DOM.enable", "CSS.enable"):
            tools.send(command)
        root = tools.send("DOM.getDocument")["root"]["nodeId"]
        leaves = tools.send("DOM.querySelectorAll", {"nodeId": root, "selector": "mi, mn, mo, mtext"})["nodeIds"]
        assert len(leaves) > 1000
        fonts = {
            font["familyName"]
            for leaf in leaves
            for font in tools.send("CSS.getPlatformFontsForNode", {"nodeId": leaf})["fonts"]
        }
        assert fonts == {"STIX Two Math"}


def test_a_quiz_answers_at_once_by_keyboard_and_remembers(browser, address, prefix):
    with window(browser, PHONE) as page:
        visit(page, f"{address}{prefix}chapters/quiz_build.html")
        question = page.locator("fieldset.quiz").first
        buttons = question.locator("button")
        for number in range(buttons.count()):
            buttons.nth(number).focus()
            page.keyboard.press("Enter")
            said = question.locator("p").last.inner_text()
            assert buttons.nth(number).get_attribute("aria-pressed") == "true"
            assert said == "Right." or said.startswith("Not yet: ")
        assert question.locator("[aria-pressed=true]").count() == 1
        page.reload()
        assert question.locator("p").last.inner_text() == said
        assert page.locator(".quiz-score").text_content().startswith("1 of 10 answered, ")
        assert page.wrong == []
