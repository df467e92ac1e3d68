"""The page. Reads the files in the folder `page`, produces them at `/` under a content security policy."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from retrieval.types import Frozen

FOLDER: Final = Path(__file__).with_name("static")
_POLICY: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"


class PageFacts(Frozen):
    """What the page has to know of the service before it asks anything."""

    keys_required: bool
    cover_hosts: tuple[str, ...]


class _Files(StaticFiles):
    """The files, with a policy that lets nothing in but themselves, pictures as data, and covers of named hosts."""

    def __init__(self, cover_hosts: tuple[str, ...]) -> None:
        super().__init__(directory=FOLDER, html=True)
        images = " ".join(["'self'", "data:", *(f"https://{host}" for host in cover_hosts)])
        self._policy = f"default-src 'self'; img-src {images}; {_POLICY}"

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; a browser asks each time whether it has changed."""
        response = await super().get_response(path, scope)
        response.headers["content-security-policy"] = self._policy
        response.headers["cache-control"] = "no-cache"
        return response


def install(app: FastAPI, cover_hosts: tuple[str, ...], *, keys_required: bool) -> None:
    """Serve the page below all routes, and what it must know of the service at `/page.json`."""
    facts = PageFacts(keys_required=keys_required, cover_hosts=cover_hosts)

    @app.get("/page.json", include_in_schema=False)
    async def page_facts() -> PageFacts:
        return facts

    app.mount("/", _Files(cover_hosts), name="page")
