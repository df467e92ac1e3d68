"""Errors on the wire. Reads exceptions, produces application/problem+json (RFC 9457) with the hints of the CLI."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import Field
from starlette.exceptions import HTTPException

from retrieval.errors import TitleError, XDRecError
from retrieval.types import Frozen
from xdrec_agent.errors import DialogueBusy

MEDIA_TYPE: Final = "application/problem+json"
_TOO_MANY: Final = 5  # validation problems named in one answer
_logger = logging.getLogger("xdrec.service")


class Forbidden(XDRecError):
    """The key is good, but not for this."""

    http_status = 403


class Unauthorised(XDRecError):
    """No key, or one that is not known or was revoked."""

    http_status = 401


class NotHere(XDRecError):
    """What was asked for does not exist, or belongs to somebody else: the two look the same from outside."""

    http_status = 404


class TooMuch(XDRecError):
    """The service is busy or the key has used up its share; `after_s` is when to come again, in seconds."""

    http_status = 429
    retryable = True

    def __init__(self, message: str, *, after_s: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s


class Invalid(Frozen):
    """One thing that is wrong with a request."""

    where: str
    message: str


class Problem(Frozen):
    """An error (RFC 9457). `type` names its kind, `hint` the next thing to do."""

    type: str = Field(examples=["urn:xdrec:unknown-title"])
    title: str = Field(examples=["Unknown title"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no item of films is titled 'Blade Rummer'; nearest: Blade Runner (1982)"])
    hint: str = Field(default="", examples=["use one of the nearest titles"])
    retryable: bool = False
    nearest: tuple[str, ...] = Field(default=(), examples=[["Blade Runner (1982)"]])
    errors: tuple[Invalid, ...] = ()

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The answer to a request."""
        return Response(self.model_dump_json(), self.status, dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: XDRecError) -> Problem:
    """What the caller is told about an error of ours."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", type(error).__name__)
    return Problem(
        type=f"urn:xdrec:{words.replace(' ', '-').lower()}",
        title=words.capitalize(),
        status=error.http_status,
        detail=str(error),
        hint=error.hint,
        retryable=error.retryable,
        nearest=error.nearest if isinstance(error, TitleError) else (),
    )


def note(error: XDRecError) -> None:
    """Have the log say of an error what whoever runs the service should know; errors of callers are not noted."""
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("a request failed", extra={"fields": {"hint": error.hint}}, exc_info=error)


def headers_of(error: XDRecError) -> dict[str, str]:
    """What else the answer to an error carries."""
    if isinstance(error, TooMuch):
        return {"retry-after": str(error.after_s)}
    if isinstance(error, Unauthorised):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, DialogueBusy):
        return {"retry-after": "1"}
    return {"retry-after": "5"} if error.http_status == HTTPStatus.SERVICE_UNAVAILABLE else {}


def install(app: FastAPI) -> None:
    """Translate every exception that leaves a route."""

    async def translated(_request: Request, error: Exception) -> Response:
        if isinstance(error, XDRecError):
            note(error)
            return problem_of(error).response(headers_of(error))
        if isinstance(error, RequestValidationError):
            return _refused(error).response()
        if isinstance(error, HTTPException):
            return _http(error).response(error.headers)
        return _unforeseen(error).response()

    for kind in (XDRecError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, translated)


def _http(error: HTTPException) -> Problem:
    title = HTTPStatus(error.status_code).phrase
    kind = title.lower().replace(" ", "-")
    return Problem(type=f"urn:xdrec:{kind}", title=title, status=error.status_code, detail=str(error.detail))


def _unforeseen(error: Exception) -> Problem:
    # What it says may name files or people: the caller is not told.
    _logger.error("a request failed", exc_info=error)
    detail = "the service failed; its log says why"
    return Problem(type="urn:xdrec:internal", title="Internal error", status=500, detail=detail)


def _refused(error: RequestValidationError) -> Problem:
    errors = [
        Invalid(where=".".join(str(part) for part in one["loc"]), message=str(one["msg"])) for one in error.errors()
    ]
    shown = tuple(errors[:_TOO_MANY])
    return Problem(
        type="urn:xdrec:invalid-request",
        title="Invalid request",
        status=422,
        detail="; ".join(f"{one.where}: {one.message}" for one in shown),
        hint="see /openapi.json for what the request may hold",
        errors=shown,
    )


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may fail with these statuses, as FastAPI takes them."""
    always = (400, 401, 403, 413, 415, 422, 429, 503)
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in sorted({*always, *statuses})
    }


def no_such(what: str, name: str) -> NotHere:
    """The error for something that the caller cannot see."""
    return NotHere(f"there is no {what} {name!r}", hint=f"it may be another person's, or the {what} was deleted")
