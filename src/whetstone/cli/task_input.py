"""The text of a task: a file of any kind that is read, a pipe, or the words of the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from whetstone.errors import UsageError
from whetstone.workflows.file_text import file_text

_LIKE_A_FILE = re.compile(r"\S*\.[A-Za-z][A-Za-z0-9]{0,4}|\S*/\S*\.\S+")


def main_text(said: str | None, name: str) -> str:
    """The main input of a card.

    Args:
        said: the argument: "-", a file's path, or words; None where there is none.
        name: of the input, for messages.

    Raises:
        UsageError: there is nothing, or it looks like a file that does not exist.
        DataError: the file cannot be read.
    """
    from whetstone.cli.chat_once import read_message

    if said is None or said == "-":
        if said is None and (sys.stdin is None or sys.stdin.isatty()):
            raise UsageError(f"the {name} is missing: name a file, pipe it in, or write it behind the card's name")
        return read_message(None)
    path = _as_file(said)
    if path is not None:
        return file_text(path)
    if _LIKE_A_FILE.fullmatch(said):
        raise UsageError(f"{said}: there is no such file; if these are the words themselves, pipe them in")
    return said


def option_text(said: str) -> str:
    """The value of an option that takes a text: words, or @FILE.

    Raises:
        DataError: the file cannot be read.
    """
    return file_text(Path(said[1:])) if said.startswith("@") and len(said) > 1 else said


def _as_file(said: str) -> Path | None:
    try:
        path = Path(said)
        return path if path.is_file() else None
    except (OSError, ValueError):  # too long for a name, or no name at all
        return None
