"""Texts of models and data files, made fit to be shown: no control character reaches a terminal, a page or a file."""

from __future__ import annotations

import re

# C0 and C1 controls but tab and line feed, the marks that turn the direction of all text after them, lone surrogates.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with every control character but tab and line feed written as its code: "\\x1b"."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return _INVISIBLE.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if found[0] < "Ā" else f"\\u{ord(found[0]):04x}", text
    )


def head(text: str, most: int = 80) -> str:
    """The first characters of a text on one line, at most `most`."""
    line = visible(" ".join(text[: 4 * most].split()))
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def without_surrogates(text: str) -> str:
    """The text with each lone surrogate, which no UTF-8 file can hold, as the replacement character."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
