"""The file of settings. Reads and writes xdrec.toml, keeping comments and everything that is not changed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from retrieval.adapt import written
from retrieval.errors import UsageError

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
    partial = path.with_name(f".{path.name}.partial")

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(tomlkit.dumps(document), encoding="utf-8")
        os.replace(partial, path)

    written(write, path, partial)
