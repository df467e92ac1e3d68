"""Online comparison. Reads a user's id, produces the arm that they are in, always the same one.

A user's place in [0, 1) is a hash of the arms' names and the id, so users spread evenly, new comparisons shuffle them
anew, and nothing has to be kept. Each arm owns a stretch as long as its share. Whoever cannot be told apart from
others (no user is named) gets the first arm and no user in the log, so that the comparison can leave them out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from retrieval.errors import UsageError
from xdrec_agent.settings import ArmSettings, Settings

_SECTIONS: Final = ("retriever", "rerank", "explain")


def arm_of(user: str | None, arms: Sequence[ArmSettings]) -> str:
    """The name of the user's arm; empty if nothing is compared."""
    if not arms:
        return ""
    if user is None:
        return arms[0].name
    mark = " ".join(arm.name for arm in arms)
    digest = hashlib.sha256(f"{mark}\n{user}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64 * sum(arm.share for arm in arms)
    for arm in arms:
        place -= arm.share
        if place < 0:
            return arm.name
    return arms[-1].name  # the sum of the shares was rounded


def settings_by_arm(settings: Settings) -> Mapping[str, Settings]:
    """The settings of each arm, by name; without arms the settings as they are, named "".

    Raises:
        UsageError: two arms have one name, or an arm changes what it cannot.
    """
    arms = settings.service.arms
    if len({arm.name for arm in arms}) < len(arms):
        raise UsageError("two arms have the same name", hint="give each of service.arms its own")
    return {arm.name: _changed(settings, arm) for arm in arms} or {"": settings}


def _changed(settings: Settings, arm: ArmSettings) -> Settings:
    sections: dict[str, Any] = {}
    for name, changes in arm.settings.items():
        if name not in _SECTIONS:
            raise UsageError(f"arm {arm.name!r} changes {name!r}", hint=f"an arm can change: {', '.join(_SECTIONS)}")
        section = getattr(settings, name)
        try:
            sections[name] = type(section).model_validate(section.model_dump() | changes)
        except ValidationError as exc:
            problem = exc.errors()[0]
            where = ".".join(map(str, (name, *problem["loc"])))
            raise UsageError(
                f"arm {arm.name!r}, {where}: {problem['msg']}", hint="see docs/reference/settings.md"
            ) from exc
    return settings.model_copy(update=sections)
