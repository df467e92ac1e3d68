"""What an encoder wants before every text. Reads a sentence-transformers folder, produces it with that prompt set.

It becomes part of the folder, and so of the fingerprint, whoever loads it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

_CONFIG: Final = "config_sentence_transformers.json"
_NAME: Final = "item"


def set_prompt(folder: Path, prompt: str) -> None:
    """Make `prompt` the default one of the model in `folder`. Raises OSError."""
    path = folder / _CONFIG
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    config["prompts"] = {**(config.get("prompts") or {}), _NAME: prompt}
    config["default_prompt_name"] = _NAME
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
