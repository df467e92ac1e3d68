"""The agent's branch of the error tree (root: `retrieval.errors.XDRecError`; number: exit code).

XDRecError
├── LLMError                  4  the model gave no usable answer
│   ├── LLMUnreachable           connection refused, reset, name not found (retryable)
│   │   └── LLMLeftOut           failed too often a moment ago, not asked
│   ├── LLMTimeout               no answer within the deadline (retryable)
│   ├── LLMOverloaded            429 or 5xx (retryable)
│   ├── LLMRefused               any other 4xx: key, model name, prompt too long
│   └── LLMReplyInvalid          an answer, but not of the promised shape (retryable)
├── SetupError (retrieval)    3
│   ├── CacheMiss                only the response cache may answer, and it cannot
│   ├── ModelSourceUnavailable   neither the hub nor a package answers
│   ├── ModelCorrupt             a checksum does not fit
│   ├── ServerNotRunning         `xdrec llm up` has not been run
│   ├── PortTaken                something else listens on the configured port
│   └── ServerDied               vLLM ended before it was ready; the message ends with its log
├── UsageError (retrieval)    2
│   └── RemoteNotAllowed         a remote base_url without opt-in or without HTTPS
└── DialogueBusy              1  another turn of the dialogue runs, or has changed it meanwhile (retryable)
"""

from __future__ import annotations

from retrieval.errors import SetupError, UsageError, XDRecError


class LLMError(XDRecError):
    """The model gave no usable answer. Never turned into a ranking."""

    exit_code = 4
    http_status = 502


class LLMUnreachable(LLMError):
    """Nothing answers at the base URL."""

    http_status = 503
    retryable = True


class LLMLeftOut(LLMUnreachable):
    """Every server has failed too often a moment ago; none was asked."""

    retryable = False


class LLMTimeout(LLMError):
    """No answer within the deadline."""

    http_status = 504
    retryable = True


class LLMOverloaded(LLMError):
    """The server answered 429 or 5xx."""

    http_status = 503
    retryable = True


class LLMRefused(LLMError):
    """The server refuses this request and would refuse it again."""


class LLMReplyInvalid(LLMError):
    """The answer is not of the promised shape."""

    retryable = True


class CacheMiss(SetupError):
    """A reply is not in the response cache, and nothing else may answer. Never turned into a degraded result."""


class ModelSourceUnavailable(SetupError):
    """Neither the model hub nor a package index gives the model."""


class ModelCorrupt(SetupError):
    """The files are not the ones that were promised."""


class ServerNotRunning(SetupError):
    """No LLM server of ours runs and no base_url is configured."""


class PortTaken(SetupError):
    """Something else listens on the configured port."""


class ServerDied(SetupError):
    """The server process ended before it answered."""


class RemoteNotAllowed(UsageError):
    """People's histories go to another machine only after an explicit opt-in, and over HTTPS."""


class DialogueBusy(XDRecError):
    """Another turn of the dialogue runs, or has changed it meanwhile; this one has changed nothing since."""

    http_status = 409
    retryable = True
