"""The built HTML: names, links, alternative texts, addresses, weight. Reads files; needs no browser."""

import gzip
import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from PIL import Image
from repository import public_url

ROOT = Path(__file__).resolve().parents[2]
BUDGETS = {"chapters/index.html": 200_000, "": 350_000}  # compressed, all that a page loads before one scrolls
FIGURE_BUDGET = 90_000  # bytes of one image


def content(pages):
    """The pages that are written by hand, without search and entrance."""
    return {name: soup for name, soup in pages.items() if name.startswith("chapters/")}


def failures(found) -> None:
    found = sorted(set(map(str, found)))
    assert not found, "\n".join(found)


def target(name: str, href: str, prefix: str) -> tuple[str, str]:
    """The file in the site that a link on a page leads to, and the anchor."""
    url = urlsplit(urljoin(f"http://book{prefix}{name}", href))
    path = unquote(url.path)
    path = path.removeprefix(prefix) if path.startswith(prefix) else f"outside the site: {path}"
    return path or "index.html", unquote(url.fragment)


def local(href: str) -> bool:
    return not urlsplit(href).scheme and not href.startswith("//")


def test_every_page_says_its_language_title_and_what_it_is_about(pages):
    for name, soup in pages.items():
        assert soup.html.get("lang") == "en", name
        assert soup.title is not None and soup.title.get_text(strip=True), name
        description = soup.find("meta", attrs={"name": "description"})
        assert description is not None and len(description["content"]) > 20, f"{name} has no description"


def test_every_page_has_one_first_heading_and_no_empty_one(pages):
    for name, soup in content(pages).items():
        assert len(soup.select("article h1")) == 1, name
        headings = soup.select("article :is(h1, h2, h3, h4, h5, h6)")
        failures(f"{name}: empty {h.name}" for h in headings if not h.get_text(strip=True).strip("#"))


def test_every_image_says_what_it_shows_and_waits_until_it_is_needed(pages):
    images = [image for soup in pages.values() for image in soup.select("article img")]
    for image in images:
        alt = image.get("alt", "").strip()
        assert len(alt) >= 15 and "/" not in alt[:20] and not re.search(r"\.(png|svg|jpe?g)$", alt), image
    failures(image for image in images if image.get("loading") != "lazy")
    pixels = [image for image in images if not image["src"].endswith(".svg")]
    failures(image for image in pixels if not {"width", "height"} <= image.attrs.keys())


def test_every_internal_link_and_anchor_leads_somewhere(pages, site, prefix):
    anchors = {
        name: {e["id"] for e in soup.select("[id]")} | {a["name"] for a in soup.select("a[name]")}
        for name, soup in pages.items()
    }

    def broken():
        for name, soup in pages.items():
            for href in {e.get("href") or e.get("src") for e in soup.select("[href], [src]")} - {"", None}:
                if not local(href):
                    continue
                path, anchor = target(name, href, prefix)
                if not (site / path).is_file():
                    yield f"{name}: {href} leads to no file"
                elif anchor and path in anchors and anchor not in anchors[path]:
                    yield f"{name}: {href} leads to no anchor"

    failures(broken())


def test_no_page_loads_anything_from_elsewhere(pages, site):
    loading = "script[src], img[src], iframe[src], source[src], video[src], embed[src], object[data], form[action]"

    def external():
        for name, soup in pages.items():
            hrefs = [e.get("src") or e.get("data") or e.get("action") or "" for e in soup.select(loading)]
            links = [e for e in soup.select("link[href]") if not {"canonical", "next", "prev"} & {*e.get("rel", [])}]
            for href in [*hrefs, *(link["href"] for link in links)]:
                if not local(href) and not href.startswith("data:"):
                    yield f"{name}: {href}"
            for script in soup.select('script:not([src]):not([type="application/ld+json"])'):  # that is data, not run
                if found := re.search(r"https?://(?!transformer|[\w.-]*github)[\w./@-]+", script.get_text()):
                    yield f"{name}: an inline script names {found[0]}"
        for sheet in site.rglob("*.css"):
            elsewhere = r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)"
            yield from re.findall(elsewhere, sheet.read_text(encoding="utf-8"))

    failures(external())


def test_no_page_is_heavy(pages, site, prefix):
    @cache
    def weight(path: Path) -> int:
        data = path.read_bytes()
        return len(data) if path.suffix in {".png", ".woff2"} else len(gzip.compress(data, 6))

    for name, soup in pages.items():
        loaded = soup.select("script[src], link[rel~=stylesheet][href], img[src]:not([loading=lazy])")
        files = {name} | {target(name, e.get("src") or e.get("href"), prefix)[0] for e in loaded}
        files |= {"_static/stix-two-math.woff2"} if soup.find("math") else set()
        heaviest = sorted(((weight(site / f), f) for f in files), reverse=True)
        budget = BUDGETS.get(name, BUDGETS[""])
        assert sum(w for w, _ in heaviest) < budget, f"{name} weighs more than {budget:,} bytes: {heaviest[:5]}"
    failures(p.name for p in (site / "_images").glob("*") if p.stat().st_size > FIGURE_BUDGET)


def test_nothing_blocks_the_first_paint_but_the_page_and_its_styles(pages):
    for name, soup in pages.items():
        failures(f"{name}: {script}" for script in soup.select("script[src]") if not script.has_attr("defer"))
        loaded = [script["src"] for script in soup.select("script[src]")]
        failures(f"{name}: {src}" for src in loaded if "searchindex" in src and name != "search.html")
        sheets = [link["href"].split("?")[0] for link in soup.select("link[rel~=stylesheet]")]
        assert sheets == [] or (sheets[0].endswith("_static/book.css") and len(sheets) <= 2), f"{name}: {sheets}"


def test_every_icon_is_there(pages, site):
    """Icons are masks in the stylesheet, which holds those in use."""
    sheet = (site / "_static" / "book.css").read_text(encoding="utf-8")
    used = {name for soup in pages.values() for i in soup.select("[class*=fa-]") for name in i["class"]}
    names = {name for name in used if name.startswith("fa-")} - {"fa-solid", "fa-brands", "fa-lg"}
    assert len(names) > 8
    failures(name for name in names if not re.search(rf"^\.{name}\b[^{{}}]*{{ --icon: url", sheet, re.MULTILINE))


def test_a_formula_stays_with_the_comma_behind_it_and_the_bracket_before_it(pages):
    found = 0
    for name, soup in pages.items():
        for formula in soup.select("article span.math"):
            if "unbroken" in formula.parent.get("class", []):
                found += 1
                continue
            after, before = formula.next_sibling, formula.previous_sibling
            assert not (isinstance(after, str) and after[:1] in set("),.;:?!")), (name, formula.text)
            assert not (isinstance(before, str) and before[-1:] == "("), (name, formula.text)
    assert found > 100


def test_every_formula_is_mathml(pages):
    formulas = [formula for soup in content(pages).values() for formula in soup.select("math")]
    assert len(formulas) > 300
    # What MathML Core knows, and a browser therefore sets; `merror` is what a converter leaves of its failure.
    known = "i n o over padded phantom root row space sqrt style sub subsup sup table td text tr under underover frac"
    failures(e.name for math in formulas for e in math.find_all(True) if e.name[1:] not in known.split())
    failures(formula for formula in formulas if "\\" in formula.get_text() or not formula.get_text(strip=True))


def test_buttons_lead_to_the_repository_that_built_the_book(pages):
    url = public_url()
    path = urlsplit(url).path
    for notebook in sorted((ROOT / "chapters").glob("*.ipynb")):
        name = f"chapters/{notebook.stem}.html"
        links = {a["href"] for a in pages[name].select("a[href]")}
        colab = f"https://colab.research.google.com/github{path}/blob/main/chapters/{notebook.name}"
        assert {url, colab, f"{url}/edit/main/chapters/{notebook.name}"} <= links, name
        assert any(link.startswith(f"{url}/issues/new") for link in links), name
        assert any(link.endswith(notebook.name) and local(link) for link in links), f"{name} offers no download"


def test_links_into_the_repository_lead_to_files(pages):
    start = re.escape(f"{public_url()}/") + r"(?:blob|tree|edit)/main/([^#?]+)(?:#L(\d+)-L(\d+))?"

    def broken():
        for name, soup in pages.items():
            for found in filter(None, (re.match(start, a["href"]) for a in soup.select("a[href]"))):
                file = ROOT / found[1]
                if not file.exists():
                    yield f"{name}: {found[0]}"
                elif found[3] and int(found[3]) > len(file.read_text(encoding="utf-8").splitlines()):
                    yield f"{name}: {found[0]} is longer than its file"

    failures(broken())


def test_no_markup_is_left_in_the_text(pages):
    leftovers = re.compile(r"\{(?:py:)?[a-z]+\}`|```|:::|\]\(#|\$\$|\]\(\w+\.(?:ipynb|md)|^\(\w+\)=", re.MULTILINE)

    def left():
        for name, soup in content(pages).items():
            article = soup.select_one("article") or soup.main
            other = {id(t) for e in article.select("code, pre, script, .math") for t in e.find_all(string=True)}
            for block in article.select("p, li, td, th, h1, h2, h3, dd, figcaption, summary"):
                text = "".join(t for t in block.find_all(string=True) if id(t) not in other)
                if found := leftovers.search(text):
                    yield f"{name}: {found[0]!r} in {text.strip()[:80]!r}"

    failures(left())


def test_the_page_for_lost_readers_works_from_anywhere(pages, prefix):
    soup = pages["404.html"]
    hrefs = [e.get("href") or e.get("src") for e in soup.select("a[href], link[href], script[src], img[src]")]
    failures(href for href in hrefs if local(href) and not href.startswith((prefix, "#")))
    assert soup.html["data-content_root"] == prefix
    assert "noindex" in soup.decode() and "noindex" not in pages["chapters/index.html"].decode()


def test_the_entrance_leads_to_the_first_page(pages):
    assert "chapters/index.html" in pages["index.html"].find("meta", attrs={"http-equiv": "refresh"})["content"]


def test_the_sitemap_lists_every_page_that_one_would_look_for(pages, site):
    listed = set(re.findall(r"<loc>([^<]+)</loc>", (site / "sitemap.xml").read_text(encoding="utf-8")))
    base = pages["chapters/index.html"].find("link", rel="canonical")["href"].removesuffix("chapters/index.html")
    assert listed == {base + name for name in content(pages)} and len(listed) > 20


def test_every_page_says_what_it_asks_where_it_is_shared(pages, site):
    base = pages["chapters/index.html"].find("link", rel="canonical")["href"].removesuffix("chapters/index.html")
    titles = [soup.title.get_text(strip=True) for soup in content(pages).values()]
    failures(title for title in titles if titles.count(title) > 1)
    for name, soup in content(pages).items():
        told = {meta["property"]: meta["content"] for meta in soup.select("meta[property^='og:']")}
        assert soup.find("link", rel="canonical")["href"] == told["og:url"] == base + name
        with Image.open(site / told["og:image"].removeprefix(base)) as card:
            assert card.size == (int(told["og:image:width"]), int(told["og:image:height"])) == (1200, 630), name
        if (site / name.replace(".html", ".ipynb").replace("chapters", "_sources/chapters")).exists():
            assert told["og:title"].endswith("?") and told["og:title"] in soup.title.get_text(), name
            assert Path(told["og:image"]).stem == Path(name).stem
            assert soup.select_one(".chapter-read input")["data-chapter"] == Path(name).stem
            minutes = re.search(r"Before you start\. (\d+) minutes to read", soup.get_text())[1]
            shared = json.loads(soup.find("script", type="application/ld+json").string)
            assert shared["timeRequired"] == f"PT{minutes}M" and shared["url"] == base + name
            assert shared["description"] == told["og:title"] and "<" not in shared["name"]
            assert soup.find("meta", attrs={"name": "twitter:data1"})["content"] == f"{minutes} minutes"
        else:
            assert not soup.find("script", type="application/ld+json"), name
    (after,) = pages["chapters/01_self_attention.html"].select(".right-next .prev-next-question")
    assert re.fullmatch(r"Who may look at whom\? \d+ minutes", after.get_text())


def test_every_name_in_the_reference_has_a_link_to_its_source(pages):
    signatures = [sign for name, page in pages.items() if "/api_" in name for sign in page.select("dt.sig")]
    assert len(signatures) > 300
    for signature in signatures:
        assert signature.select_one("a.reference .viewcode-link"), signature.get("id")
        assert signature.find_next_sibling("dd").get_text(strip=True), f"{signature.get('id')} is not described"


def test_the_reference_is_in_small_pages_and_its_first_one_bears_every_anchor_of_old(pages, paths):
    names = [name for name in pages if re.search(r"/api(_\w+)?\.html$", name)]
    assert len(names) > 10 and [name for name in names if paths[name].stat().st_size > 200_000] == []
    index = pages["chapters/api.html"]
    anchors = {element["id"] for element in index.select("article [id]")}
    for signature in (sign for name in names for sign in pages[name].select("dt.sig[id]")):
        assert signature["id"] in anchors, signature["id"]
    links = {a["href"] for a in index.select("article dl a")}
    assert "api_parts.html#transformer_lib.masks.causal_mask" in links
