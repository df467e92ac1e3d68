"""Who calls. Reads the key of a request, produces a `Caller`, which says for whom it may act and what it may see."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from retrieval.errors import UsageError
from xdrec_agent.app import Key
from xdrec_agent.service.app_state import AppState, State
from xdrec_agent.service.problems import Forbidden, Unauthorised, not_found
from xdrec_agent.settings import ServiceSettings

_bearer = HTTPBearer(auto_error=False, description="A key of `xdrec keys create`.")


def keys_required(service: ServiceSettings) -> bool:
    """Whether requests need a key.

    Raises:
        UsageError: keys are off although other machines can connect.
    """
    local = _is_loopback(service.host)
    if service.keys == "off" and not local:
        raise UsageError(
            f"without keys everybody who reaches {service.host} sees everybody's history",
            hint='set service.keys to "required", or service.host to 127.0.0.1',
        )
    return service.keys == "required" or not local


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Caller:
    """Who calls; `key` is None where keys are off, and then the caller is whoever the request names."""

    key: Key | None

    def acts_for(self, user: str | None) -> str | None:
        """The user that a request is about, when it names `user` (None: nobody).

        Raises:
            Forbidden: the key is bound to another user.
        """
        if self.key is None or self.key.role == "operator":
            return user
        if user is not None and user != self.key.user:
            raise Forbidden("this key is bound to another user", hint="leave the user out, or use an operator's key")
        return self.key.user

    def require_owner(self, what: str, name: str, owner: str | None) -> None:
        """Raises NotFound where the thing is another user's: that it exists is not said."""
        if self.key is not None and self.key.role == "user" and owner != self.key.user:
            raise not_found(what, name)


async def _caller(
    state: State, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    if not state.keys_required:
        return Caller(None)
    return await run_in_threadpool(caller_with, state, credentials.credentials if credentials else None)


def caller_with(state: AppState, secret: str | None, *, count: bool = True) -> Caller:
    """The caller with this key (None: none was sent). `count`: whether it counts against the key's rate.

    Raises:
        Unauthorised: a key is needed and there is none, or none that is in use.
        TooManyRequests: the key has used up its rate.
    """
    if not state.keys_required:
        return Caller(None)
    key = state.keys.find(secret) if secret else None
    if key is None:
        message = "unknown or revoked key" if secret else "no key"
        raise Unauthorised(message, hint="send Authorization: Bearer KEY; xdrec keys create makes one")
    if count:
        state.rate.count(key.id)
    return Caller(key)


AnyCaller = Annotated[Caller, Depends(_caller)]
"""The parameter of a route that any caller with a good key may use; their request counts against the key's rate."""


async def _operator(request: Request, caller: AnyCaller) -> Caller:
    if caller.key is not None and caller.key.role != "operator":
        raise Forbidden(f"{request.url.path} is for operators", hint="xdrec keys create --operator")
    return caller


Operator = Annotated[Caller, Depends(_operator)]
"""The parameter of a route that is for operators alone where keys are needed."""
