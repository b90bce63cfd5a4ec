"""The text of a task: a file of any kind that is read, a pipe, or the words of the command line."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from whetstone.errors import DataError, UsageError

_PLAIN = {"", ".txt", ".md", ".log", ".srt", ".vtt", ".py", ".sql", ".tex", ".rst"}
_LIKE_A_FILE = re.compile(r"\S*\.[A-Za-z][A-Za-z0-9]{0,4}|\S*/\S*\.\S+")
_MOST_BYTES = 100_000_000


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


def file_text(path: Path) -> str:
    """The text of a file: of plain ones as it stands there, so that places in it hold; of others what can be read.

    Raises:
        DataError: it cannot be read; a sentence says why.
        MissingPackageError: it has to be converted, and the extra `documents` is not installed.
    """
    if path.suffix.lower() not in _PLAIN:
        from whetstone.retrieval.reading import document_text, read, supported

        if supported(path.name):
            return document_text(read(path, path.name).blocks)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: larger than {_MOST_BYTES // 1_000_000} MB; cut out what the task is about")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read: {error.strerror or error}") from None
    if b"\0" in data[:100_000]:
        raise DataError(f"{path}: binary, not text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: no UTF-8 text (byte 0x{data[error.start]:02x} at {error.start:,}): convert it first, for example "
            "with `iconv -t utf-8`"
        ) from None
