"""The page. Reads the files in the folder `page`, produces them at `/`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

FOLDER: Final = Path(__file__).with_name("page")


def install(app: FastAPI) -> None:
    """Serve the page below all routes, if there is one."""
    if FOLDER.is_dir():
        app.mount("/", StaticFiles(directory=FOLDER, html=True), name="page")
