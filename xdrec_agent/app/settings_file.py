"""The file of settings. Reads and writes xdrec.toml, keeping comments and everything that is not changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from retrieval.errors import UsageError
from retrieval.files import translated_writes, write_atomic

Value = str | dict[str, str] | None


def set_values(path: Path, section_name: str, values: Mapping[str, Value]) -> None:
    """Set values of a section; None takes one out. The file is made where it is missing.

    Raises:
        UsageError: the file is not TOML.
        BackendError: it cannot be written; it stays as it was.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8") if path.is_file() else "")
    except (TOMLKitError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path}: {exc}", hint="mend the file") from exc
    section = document.setdefault(section_name, tomlkit.table())
    for name, value in values.items():
        if value is None:
            section.pop(name, None)
        elif isinstance(value, dict):
            section[name] = tomlkit.inline_table() | value
        else:
            section[name] = value
    with translated_writes(path, "make room, or check the folder's permissions"):
        write_atomic(path, tomlkit.dumps(document))
