"""The built HTML: names, links, alternative texts, addresses, weight. Reads files; needs no browser."""

import gzip
import re
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from repository import public_url

ROOT = Path(__file__).resolve().parents[2]
PAGE_BUDGET = 1_400_000  # bytes on the wire, gzipped, everything that one page loads
FIGURE_BUDGET = 90_000  # bytes of one image
BOOK_PAGES = ["chapters/index.html", "chapters/glossary.html", "chapters/api.html", "chapters/01_self_attention.html"]


def content(pages):
    """The pages that are written by hand, without search and entrance."""
    return {name: soup for name, soup in pages.items() if name.startswith("chapters/")}


def failures(found) -> None:
    found = list(found)
    assert not found, "\n".join(map(str, found))


def target(name: str, href: str, prefix: str) -> tuple[str, str]:
    """The file in the site that a link on a page leads to, and the anchor."""
    url = urlsplit(urljoin(f"http://book{prefix}{name}", href))
    path = unquote(url.path)
    return (path.removeprefix(prefix) if path.startswith(prefix) else f"outside the site: {path}"), unquote(
        url.fragment
    )


def local(href: str) -> bool:
    return not urlsplit(href).scheme and not href.startswith("//")


@pytest.mark.parametrize("name", BOOK_PAGES)
def test_the_page_exists(pages, name):
    assert name in pages


def test_every_page_says_its_language_title_and_what_it_is_about(pages):
    for name, soup in pages.items():
        assert soup.html.get("lang") == "en", name
        assert soup.title is not None and soup.title.get_text(strip=True), name
        description = soup.find("meta", attrs={"name": "description"})
        assert description is not None and len(description["content"]) > 20, f"{name} has no description"


def test_every_page_has_one_first_heading_and_no_empty_one(pages):
    for name, soup in content(pages).items():
        assert len(soup.select("article h1")) == 1, name
        failures(
            f"{name}: empty {h.name}"
            for h in soup.select("article :is(h1, h2, h3, h4, h5, h6)")
            if not h.get_text(strip=True).strip("#")
        )


def test_every_image_says_what_it_shows(pages):
    for name, soup in pages.items():
        for image in soup.select("article img"):
            alt = image.get("alt", "").strip()
            assert len(alt) >= 15 and "/" not in alt[:20] and not re.search(r"\.(png|svg|jpe?g)$", alt), (
                f"{name}: {image}"
            )


def test_figures_wait_until_they_are_needed(pages):
    failures(
        f"{name}: {i}" for name, soup in pages.items() for i in soup.select("article img") if i.get("loading") != "lazy"
    )


def test_every_internal_link_and_anchor_leads_somewhere(pages, site, prefix):
    anchors = {
        name: {e["id"] for e in soup.select("[id]")} | {a["name"] for a in soup.select("a[name]")}
        for name, soup in pages.items()
    }

    def broken():
        for name, soup in pages.items():
            for element in soup.select("[href], [src]"):
                href = element.get("href") or element.get("src")
                if not href or not local(href) or href.startswith(("javascript:", "mailto:", "data:")):
                    continue
                path, anchor = target(name, href, prefix)
                path = path or "index.html"
                if not (site / path).is_file():
                    yield f"{name}: {href} leads to no file"
                elif anchor and path in anchors and anchor not in anchors[path]:
                    yield f"{name}: {href} leads to no anchor"

    failures(sorted(set(broken())))


def test_no_page_loads_anything_from_elsewhere(pages, site):
    loading = "script[src], img[src], iframe[src], source[src], video[src], embed[src], object[data], form[action]"

    def external():
        for name, soup in pages.items():
            for e in soup.select(loading):
                href = e.get("src") or e.get("data") or e.get("action") or ""
                if not local(href) and not href.startswith("data:"):
                    yield f"{name}: {href}"
            for link in soup.select("link[href]"):
                if not {"canonical", "next", "prev"} & set(link.get("rel", [])) and not local(link["href"]):
                    yield f"{name}: {link['href']}"
            for script in soup.select("script:not([src])"):
                if found := re.search(r"https?://(?!transformer|[\w.-]*github)[\w./@-]+", script.get_text()):
                    yield f"{name}: an inline script names {found[0]}"
        for sheet in site.rglob("*.css"):
            for found in re.findall(
                r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", sheet.read_text(encoding="utf-8")
            ):
                yield f"{sheet.name}: {found}"

    failures(external())


def test_no_page_is_heavy(pages, site, prefix):
    wire = {}

    def weight(path: Path) -> int:
        if path not in wire:
            data = path.read_bytes()
            wire[path] = len(data) if path.suffix in {".png", ".woff", ".woff2"} else len(gzip.compress(data, 6))
        return wire[path]

    fonts = (
        sum(weight(p) for p in (site / "mathjax").rglob("*Main-Regular.woff")) * 4
    )  # a page of formulas uses a handful
    for name, soup in pages.items():
        files = {name}
        for e in soup.select("script[src], img[src], link[rel~=stylesheet][href]"):
            files.add(target(name, e.get("src") or e.get("href"), prefix)[0])
        total = fonts + sum(weight(site / f) for f in files)
        assert total < PAGE_BUDGET, (
            f"{name} weighs {total:,} bytes: {sorted(((weight(site / f), f) for f in files), reverse=True)[:5]}"
        )
    failures(
        f"{p.name}: {p.stat().st_size:,} bytes"
        for p in (site / "_images").glob("*")
        if p.stat().st_size > FIGURE_BUDGET
    )


def test_buttons_lead_to_the_repository_that_built_the_book(pages):
    url = public_url()
    path = urlsplit(url).path
    for notebook in sorted((ROOT / "chapters").glob("*.ipynb")):
        name = f"chapters/{notebook.stem}.html"
        links = {a["href"] for a in pages[name].select("a[href]")}
        assert f"https://colab.research.google.com/github{path}/blob/main/chapters/{notebook.name}" in links, name
        assert f"{url}/edit/main/chapters/{notebook.name}" in links, name
        assert any(link.startswith(f"{url}/issues/new") for link in links), name
        assert url in links, name
        download = [
            a
            for a in pages[name].select("a[href]")
            if a["href"].endswith(f"{notebook.stem}.ipynb") and local(a["href"])
        ]
        assert download, f"{name} offers no download"


def test_links_into_the_repository_lead_to_files(pages):
    start = f"{public_url()}/"

    def broken():
        for name, soup in pages.items():
            for a in soup.select("a[href]"):
                found = re.match(re.escape(start) + r"(?:blob|tree|edit)/main/([^#?]+)(?:#L(\d+)-L(\d+))?", a["href"])
                if not found:
                    continue
                file = ROOT / found[1]
                if not file.exists():
                    yield f"{name}: {a['href']}"
                elif found[3] and int(found[3]) > len(file.read_text(encoding="utf-8").splitlines()):
                    yield f"{name}: {a['href']} is longer than its file"

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

    failures(sorted(set(left())))


def test_the_page_for_lost_readers_works_from_anywhere(pages, prefix):
    soup = pages["404.html"]
    failures(
        e
        for e in soup.select("a[href], link[href], script[src], img[src]")
        if local(h := e.get("href") or e.get("src")) and not h.startswith((prefix, "#"))
    )
    assert "noindex" not in pages["chapters/index.html"].decode()


def test_the_entrance_leads_to_the_first_page(pages):
    assert "chapters/index.html" in pages["index.html"].find("meta", attrs={"http-equiv": "refresh"})["content"]


def test_the_sitemap_lists_every_page_that_one_would_look_for(pages, site):
    listed = set(re.findall(r"<loc>([^<]+)</loc>", (site / "sitemap.xml").read_text(encoding="utf-8")))
    base = pages["chapters/index.html"].find("link", rel="canonical")["href"].removesuffix("chapters/index.html")
    assert listed == {base + name for name in content(pages) if name != "chapters/404.html"}


def test_every_name_in_the_reference_has_a_link_to_its_source(pages):
    for signature in pages["chapters/api.html"].select("dt.sig"):
        assert signature.select_one("a.reference .viewcode-link"), signature.get("id")
        assert signature.find_next_sibling("dd").get_text(strip=True), f"{signature.get('id')} is not described"
