"""The pages: links lead somewhere, they stay short, and docs/index.md knows all of them."""

import re

import pytest

from tests.common import ROOT
from tests.pages import GENERATED, PAGES, words

CARDS = [*ROOT.glob("experiments/pretrained/*/*.md")]
LINKED = sorted({*ROOT.glob("*.md"), *PAGES, *CARDS})


def anchors(text: str) -> set[str]:
    """What a link may name in a page, as GitHub makes it from the headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links(page):
    links = re.findall(r"\]\(([^)\s]+)[^)]*\)", page.read_text())
    local = [link.partition("#") for link in links if "://" not in link]
    assert [link for link, _, _ in local if not (page.parent / link).exists()] == []
    for link, _, anchor in local:
        target = page.parent / link if link else page
        assert not anchor or anchor in anchors(target.read_text()), f"{link}#{anchor}"


def test_there_are_pages_with_links():
    assert len(LINKED) > 10 and "](docs/" in (ROOT / "README.md").read_text()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_all_pages_together_are_short():
    """The rule stands in docs/index.md."""
    counted = {
        page.relative_to(ROOT).as_posix(): words(page.read_text()) for page in PAGES if page not in GENERATED
    }
    assert len(counted) > 15 and min(counted.values()) > 50
    assert sum(counted.values()) < 14_000, counted


def test_what_counts_as_a_word():
    text = "# A *b*\n[two words](x.md) 3 | 4.5 dB\n```bash\nno no\n```\n    python no.py\n"
    marked = "<!-- table: brief x -->\n| no |\n<!-- end -->\nend\n"
    assert words(text + marked) == 6


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "index.md").read_text()
    listed = {(ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", index)}
    assert [page for page in PAGES if page not in listed and page.name != "index.md"] == []
    assert "](docs/index.md)" in (ROOT / "README.md").read_text()


def test_every_page_begins_with_a_title():
    for page in PAGES:
        assert page.read_text().startswith("# "), page
