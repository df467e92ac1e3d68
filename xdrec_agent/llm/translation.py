"""Where exceptions of openai and httpx2 become ours. Reads an exception, produces an `LLMError`.

Imported only once a request is made: importing openai takes most of a second.
"""

from __future__ import annotations

import email.utils
import math
import time

import httpx2
import openai

from xdrec_agent.errors import LLMError, LLMOverloaded, LLMRefused, LLMReplyInvalid, LLMTimeout, LLMUnreachable

FOREIGN = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.CookieConflict,
    httpx2.StreamError,
)
"""What a request can raise."""

_KINDS: tuple[tuple[type[Exception], type[LLMError]], ...] = (
    (openai.APITimeoutError, LLMTimeout),
    (openai.APIConnectionError, LLMUnreachable),
    (openai.APIResponseValidationError, LLMReplyInvalid),
    (openai.LengthFinishReasonError, LLMReplyInvalid),
    (openai.ContentFilterFinishReasonError, LLMReplyInvalid),
    (openai.RateLimitError, LLMOverloaded),
    (openai.InternalServerError, LLMOverloaded),
    (openai.APIStatusError, LLMRefused),
    (openai.WebSocketConnectionClosedError, LLMUnreachable),
    (openai.WebSocketQueueFullError, LLMOverloaded),
    (httpx2.TimeoutException, LLMTimeout),
    (httpx2.TransportError, LLMUnreachable),
    (httpx2.DecodingError, LLMReplyInvalid),
    (httpx2.TooManyRedirects, LLMRefused),
    (httpx2.HTTPStatusError, LLMRefused),
    (httpx2.StreamError, LLMUnreachable),
    (httpx2.InvalidURL, LLMRefused),
    (httpx2.CookieConflict, LLMRefused),
)
_BASES = {openai.OpenAIError, openai.APIError, httpx2.HTTPError, httpx2.RequestError}
"""Mapped by themselves only, so that a new subclass is noticed."""
_UNEXPORTED = {
    "APIRemovedInV1",
    "MutuallyExclusiveAuthError",
    "StreamAlreadyConsumed",
    "SubjectTokenProviderError",
    "_AmbiguousModuleClientUsageError",
}
"""Wrong uses of openai, in modules that it does not export."""
_NEVER_AGAIN = {501, 505}
"""Statuses of the 5xx range that another attempt does not change."""


def kind_of(foreign: type[Exception]) -> type[LLMError] | None:
    """Our class for a foreign one by its type alone; None if nobody has thought of it."""
    if foreign in _BASES or foreign.__name__ in _UNEXPORTED:
        return LLMRefused
    return next((ours for theirs, ours in _KINDS if issubclass(foreign, theirs)), None)


def translate(exc: Exception, base_url: str) -> LLMError:
    """Our error for a foreign exception, with a hint; to be raised `from` it."""
    if isinstance(exc, openai.APIConnectionError) and isinstance(exc.__cause__, httpx2.DecodingError):
        exc = exc.__cause__  # openai takes what cannot be read for a lost connection
    kind = kind_of(type(exc)) or LLMRefused
    status = exc.status_code if isinstance(exc, openai.APIStatusError) else None
    if status in _NEVER_AGAIN:
        kind = LLMRefused
    if status == httpx2.codes.REQUEST_TIMEOUT:
        kind = LLMTimeout
    return kind(f"{base_url}: {_reason(exc)}", hint=_hint(kind, status))


def retry_after(exc: BaseException | None) -> float:
    """Seconds that the server asked to wait (`Retry-After`, as seconds or as a date); 0 if it cannot be read."""
    cause = exc.__cause__ if exc else None
    value = cause.response.headers.get("retry-after", "") if isinstance(cause, openai.APIStatusError) else ""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0


def _reason(exc: Exception) -> str:
    if isinstance(exc, openai.APIStatusError):
        return f"{exc.status_code} {exc.message}"[:500]
    # openai's own message is a bare "Connection error."; what it wraps says which.
    return str(exc.__cause__ or exc)[:500] or type(exc).__name__


def _hint(kind: type[LLMError], status: int | None) -> str:
    if status in {401, 403}:
        return "check llm.api_key"
    if status == httpx2.codes.NOT_FOUND:
        return "check llm.model and llm.base_url"
    if kind in {LLMUnreachable, LLMTimeout}:
        return "xdrec llm status"
    if kind is LLMOverloaded:
        return "lower llm.concurrency or raise llm.timeout_s"
    return "xdrec llm logs"
