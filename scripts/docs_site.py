"""Hooks of the documentation site. Reads docs/, the notebook and the packs' READMEs, produces pages for MkDocs.

Pages are written for readers on a code host and link to files of the repository. The site has docs/ at its root and
the packs' READMEs under examples/; a link to any other file becomes its text.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = "tutorial/tutorial.ipynb"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?!https?:|#|mailto:)[^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/ or is no Markdown: the packs' READMEs and the notebook."""
    for readme in sorted(ROOT.glob("examples/*/README.md")):
        source = readme.relative_to(ROOT).as_posix()
        files.append(File.generated(config, source, content=readme.read_text(encoding="utf-8")))
    page = NOTEBOOK.replace(".ipynb", ".md")
    files.append(File.generated(config, page, content=notebook_markdown(ROOT / "docs" / NOTEBOOK)))
    return files


def notebook_markdown(path: Path) -> str:
    """A notebook with its stored outputs, as Markdown."""
    import nbformat

    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        printed = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        if text := "".join(printed).rstrip():
            parts.append(f"```text\n{text}\n```")
    return "\n\n".join(parts)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the site's pages; what is no page of it keeps its text alone."""
    source = page.file.src_uri
    folder = (ROOT if source.startswith("examples/") else ROOT / "docs") / Path(source).parent

    def on_site(link: re.Match[str]) -> str:
        text, target, anchor = link[1], (folder / link[2]).resolve(), link[3] or ""
        base = ROOT / "docs" if target.is_relative_to(ROOT / "docs") else ROOT
        if not target.exists() or not target.is_relative_to(base):
            return link[0]  # a wrong link: the strict build reports it
        page_uri = target.relative_to(base).as_posix().replace(".ipynb", ".md")
        if files.get_file_from_path(page_uri) is None:
            return text
        up = "../" * source.count("/")
        return f"[{text}]({up}{page_uri}{anchor})"

    return LINK.sub(on_site, markdown)
