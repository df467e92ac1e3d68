"""Problems. Reads exceptions, produces application/problem+json (RFC 9457) with the hints of the CLI."""

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


class NotFound(XDRecError):
    """What was asked for does not exist, or belongs to another user: the two look the same from outside."""

    http_status = 404


class BodyTooLarge(XDRecError):
    """The request's body is larger than `service.body_kib`."""

    http_status = 413


class WrongHost(XDRecError):
    """Without keys, a request for another host than this machine."""

    http_status = 400


class TooManyRequests(XDRecError):
    """The service is busy or the key has used up its rate; come again after `retry_after_s` seconds."""

    http_status = 429
    retryable = True

    def __init__(self, message: str, *, retry_after_s: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class InvalidField(Frozen):
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
    errors: tuple[InvalidField, ...] = ()

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """The answer to a request."""
        return Response(self.model_dump_json(), self.status, dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: XDRecError) -> Problem:
    """The description of an error of ours."""
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


def log_error(error: XDRecError) -> None:
    """Log what the operator should know of an error; errors of callers are not logged."""
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("a request failed", extra={"fields": {"hint": error.hint}}, exc_info=error)


def response_of(error: XDRecError) -> Response:
    """The answer to a request that ended with an error of ours."""
    headers = {}
    if isinstance(error, TooManyRequests):
        headers["retry-after"] = str(error.retry_after_s)
    elif isinstance(error, Unauthorised):
        headers["www-authenticate"] = "Bearer"
    elif isinstance(error, BodyTooLarge):
        headers["connection"] = "close"
    elif isinstance(error, DialogueBusy):
        headers["retry-after"] = "1"
    elif error.http_status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = "5"
    return problem_of(error).response(headers)


def install(app: FastAPI) -> None:
    """Translate every exception that leaves a route."""

    async def translated(_request: Request, error: Exception) -> Response:
        if isinstance(error, XDRecError):
            log_error(error)
            return response_of(error)
        if isinstance(error, RequestValidationError):
            return _invalid(error).response()
        if isinstance(error, HTTPException):
            return _http_problem(error).response(error.headers)
        return _unexpected(error).response()

    for kind in (XDRecError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, translated)


def _http_problem(error: HTTPException) -> Problem:
    title = HTTPStatus(error.status_code).phrase
    kind = title.lower().replace(" ", "-")
    return Problem(type=f"urn:xdrec:{kind}", title=title, status=error.status_code, detail=str(error.detail))


def _unexpected(error: Exception) -> Problem:
    # What it says may name files or people: the caller is not told.
    _logger.error("a request failed", exc_info=error)
    detail = "the service failed; its log says why"
    return Problem(type="urn:xdrec:internal", title="Internal error", status=500, detail=detail)


def _invalid(error: RequestValidationError) -> Problem:
    errors = [
        InvalidField(where=".".join(str(part) for part in one["loc"]), message=str(one["msg"]))
        for one in error.errors()
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


def not_found(what: str, name: str) -> NotFound:
    """The error for something that the caller cannot see."""
    return NotFound(f"there is no {what} {name!r}", hint=f"it may be another person's, or the {what} was deleted")
