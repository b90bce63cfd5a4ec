"""Where a command's result goes: a file, or standard output for `-`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def write_result(path: str, content: str) -> None:
    """Write to `path`, or to standard output for `-`. A file appears whole or not at all."""
    from whetstone.storage.files import write_atomically

    if path == "-":
        sys.stdout.write(content if content.endswith("\n") else content + "\n")
        return
    write_atomically(Path(path), content)


def as_json(value: Any) -> str:
    """Readable JSON that keeps every script as it is written."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False, default=str) + "\n"
