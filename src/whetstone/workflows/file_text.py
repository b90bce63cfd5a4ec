"""The text of a file that somebody hands to a task: plain ones as they are, documents as far as they can be read."""

from __future__ import annotations

from pathlib import Path

from whetstone.errors import DataError

_PLAIN = {"", ".txt", ".md", ".log", ".srt", ".vtt", ".py", ".sql", ".tex", ".rst"}
_MOST_BYTES = 100_000_000


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
