"""JSON as it goes over the wire."""

from __future__ import annotations

import json
import re
from typing import Any

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# No line ends to JSON, but to the `splitlines` with which some clients cut a stream into lines.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def text(value: Any) -> str:
    """JSON on one line, for whatever reads lines."""
    encoded = _ENCODER.encode(value)
    if _LINE_ENDS.search(encoded):
        return _LINE_ENDS.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded)
    return encoded


def utf8(encoded: str) -> bytes:
    """The bytes of JSON. Half a character becomes its escape, which JSON can hold and UTF-8 cannot."""
    return encoded.encode("utf-8", "backslashreplace")


def dumps(value: Any) -> bytes:
    """JSON in UTF-8."""
    return utf8(text(value))
