"""Runs docs/tutorial/tutorial.ipynb and stores its outputs. Run: .venv/bin/python scripts/run_tutorial.py"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tutorial" / "tutorial.ipynb"


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with fresh outputs, without what libraries write to stderr; a cell that fails raises its error."""
    notebook = nbformat.read(path, as_version=4)
    # The commands of this environment come first; their tables are plain and fit the page.
    path_first = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ |= {"PATH": path_first, "NO_COLOR": "1", "COLUMNS": "110"}
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    nbformat.write(executed(NOTEBOOK), NOTEBOOK)
