"""Where the LLM is and what it can do. Reads settings and the server's state, produces an `Endpoint`.

What an endpoint can do is asked of it once and kept in the home folder: a second run need not ask again.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field, ValidationError

from retrieval.errors import UsageError
from retrieval.files import write_atomic
from retrieval.types import Frozen
from xdrec_agent.errors import RemoteNotAllowed, ServerNotRunning
from xdrec_agent.server import lifecycle as server
from xdrec_agent.settings import LLMSettings, Settings

_KEPT_S = 24 * 3600
"""A configured endpoint may be upgraded unnoticed, so it is asked again after a day."""


class Endpoint(Frozen):
    """An OpenAI-compatible endpoint: one server, or several that serve the same model.

    `base_url` names one or, separated by commas, several, without user and password: those are in `passwords`, by
    base URL. `instance` tells one start of a managed server from another.
    `notes` is the file for what is learnt about it; None: nothing is kept.
    """

    base_url: str
    key: str | None = Field(default=None, repr=False)
    passwords: dict[str, tuple[str, str]] = Field(default_factory=dict, repr=False)
    model: str
    managed: bool
    instance: str = ""
    notes: Path | None = None

    @property
    def base_urls(self) -> tuple[str, ...]:
        """The servers' base URLs."""
        return tuple(self.base_url.split(","))

    @property
    def loopback(self) -> bool:
        """Whether all of it is on this machine."""
        return all(_is_loopback(urlsplit(url).hostname or "") for url in self.base_urls)


class Capabilities(Frozen):
    """What an endpoint was seen to do.

    `exact_label_logprobs`: log-probabilities of the tokens one names. `top_logprobs`: how many of the most
    probable tokens it reports, 0 for none.
    """

    exact_label_logprobs: bool = False
    top_logprobs: int = 0
    structured_output: bool = False
    tokenize: bool = False
    generative_scoring: bool = False
    max_model_len: int | None = None
    server_version: str | None = None


class Notes(Frozen):
    """What was learnt about an endpoint: its capabilities and the token ids of labels."""

    base_url: str
    model: str
    instance: str
    capabilities: Capabilities
    label_ids: dict[str, int] = Field(default_factory=dict)


def resolve_endpoint(settings: Settings) -> Endpoint:
    """The endpoint that the settings mean: the configured `base_url` as it is, else our own server.

    If only the response cache may answer it is a name, and no server is looked for.

    Raises:
        RemoteNotAllowed: a `base_url` is on another machine, without `allow_remote` or without HTTPS.
        ServerNotRunning: no `base_url` is configured and our server does not run, or runs another model.
        UsageError: `base_url` is no http(s) URL.
    """
    llm = settings.llm
    if llm.cache == "only":
        return Endpoint(base_url="the response cache", model=llm.adapter or llm.model, managed=False)
    if llm.base_url is None:
        return _managed(settings)
    servers = dict(_checked(url.strip(), llm) for url in llm.base_url.split(","))
    base_url = ",".join(servers)
    return Endpoint(
        base_url=base_url,
        passwords={url: login for url, login in servers.items() if login},
        key=llm.api_key.get_secret_value() if llm.api_key else None,
        model=llm.adapter or llm.model,
        managed=False,
        notes=_notes_file(settings, base_url, llm.adapter or llm.model),
    )


def load_notes(endpoint: Endpoint) -> Notes | None:
    """What is known about the endpoint; None if nothing, or if it is of another start or too old."""
    if endpoint.notes is None:
        return None
    try:
        age = time.time() - endpoint.notes.stat().st_mtime
        notes = read_notes(endpoint.notes.read_bytes())
    except FileNotFoundError:
        return None
    asked = (endpoint.base_url, endpoint.model, endpoint.instance)
    same = notes is not None and (notes.base_url, notes.model, notes.instance) == asked
    return notes if same and (endpoint.managed or age < _KEPT_S) else None


def read_notes(kept: bytes) -> Notes | None:
    """Notes that were kept; None if there are none, or if they are of another version."""
    try:
        return Notes.model_validate_json(kept)
    except ValidationError:
        return None


def save_notes(endpoint: Endpoint, notes: Notes) -> None:
    """Keep what was learnt, in one step: readers see the old or the new file."""
    if endpoint.notes is None:
        return
    write_atomic(endpoint.notes, notes.model_dump_json(), concurrent=True)


def _managed(settings: Settings) -> Endpoint:
    found = server.status(settings.server_dir)
    state = found.state
    if state is None or found.condition != "running":
        said = {"starting": "is still starting", "stale": "has ended unexpectedly"}
        raise ServerNotRunning(f"the LLM server {said.get(found.condition, 'does not run')}", hint="xdrec llm up")
    if state.served_name != settings.llm.model:
        raise ServerNotRunning(
            f"the LLM server runs {state.served_name}, not {settings.llm.model}",
            hint="xdrec llm down, then xdrec llm up",
        )
    adapter = settings.llm.adapter
    if adapter and adapter not in state.adapters:
        raise ServerNotRunning(
            f"the LLM server does not serve the adapter {adapter}",
            hint="name it in llm.adapters; xdrec llm down, then xdrec llm up",
        )
    model = adapter or state.served_name
    return Endpoint(
        base_url=state.base_url,
        key=state.key,
        model=model,
        managed=True,
        instance=f"{state.leader.pid} {state.leader.started}",
        notes=_notes_file(settings, state.base_url, model),
    )


def _checked(url: str, llm: LLMSettings) -> tuple[str, tuple[str, str] | None]:
    """The base URL as it may be shown, and the user and password that stood in it."""
    try:
        parts = urlsplit(url)
        host, login = (
            parts.hostname,
            (unquote(parts.username), unquote(parts.password or "")) if parts.username else None,
        )
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"}:
        raise UsageError("llm.base_url is no http(s) URL", hint="write http://HOST:PORT/v1")
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    base_url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")
    if not _is_loopback(host):
        if not llm.allow_remote:
            raise RemoteNotAllowed(
                f"{host} is another machine, and it would get people's histories",
                hint="set llm.allow_remote = true if that is wanted",
            )
        if parts.scheme != "https":
            raise RemoteNotAllowed(f"{base_url} is not encrypted", hint="use an https:// URL")
    return base_url, login


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _notes_file(settings: Settings, base_url: str, model: str) -> Path:
    name = hashlib.sha256(f"{base_url} {model}".encode()).hexdigest()[:16]
    return settings.server_dir / f"capabilities-{name}.json"
