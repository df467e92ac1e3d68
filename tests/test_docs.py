"""Promises of the documentation. Reads README, docs/ and the packs' READMEs, produces lists of what is broken."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("examples/*/README.md")])
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that a code host gives the headings of a page."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file of the repository, and every anchor a heading of it."""
    broken = []
    for target, anchor in LINK.findall(prose(page)):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lists_and_tables_stand_apart(page: Path) -> None:
    """The site's Markdown sees a list or a table only behind an empty line; code hosts are laxer."""
    item = re.compile(r"\||[-*] |\d+\. ")
    glued = []
    previous = ""
    for line in FENCED.sub("```", page.read_text(encoding="utf-8")).splitlines():
        if item.match(line) and not item.match(previous) and previous[:1] not in {"", " ", "#"}:
            glued.append(line)
        # A wrapped line goes on with its item.
        previous = previous if item.match(previous) and line.startswith(" ") else line
    assert glued == []


def test_the_reference_lists_every_room() -> None:
    """A room without a heading in the API reference would be missing from the site."""
    named = re.findall(r"^::: (\S+)$", "".join(p.read_text() for p in DOCS.glob("reference/api/*.md")), re.MULTILINE)
    rooms = {
        f"{package}.{file.parent.name}"
        for package in ("retrieval", "xdrec_agent", "eval")
        for file in ROOT.glob(f"{package}/*/__init__.py")
        if file.parent.name != "cli"
    }
    assert rooms - set(named) == set()


def test_the_site_builds(tmp_path: Path) -> None:
    """`make docs` warns of nothing (links, anchors, references), and no page loads anything from elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"')
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES) / 2
    html = {page.name: page.read_text(encoding="utf-8") for page in pages}
    assert [(name, url) for name, text in html.items() for url in loaded.findall(text)] == []
    assert [
        name for name, text in html.items() if 'class="mermaid"' in text
    ] == []  # would be drawn by a script of a CDN
