"""Files that a page sends into the folder of a knowledge base, piece by piece, so that no request grows large."""

from __future__ import annotations

import base64
import binascii
import unicodedata
from pathlib import Path

from whetstone.errors import StorageError, UsageError
from whetstone.retrieval.reading import supported
from whetstone.tokens.quoting import visible

MOST_BYTES = 512 * 2**20
_LONGEST_NAME = 200  # bytes; file systems take 255, with a suffix of ours


def take(folder: Path, name: str, data: str, at: int, *, last: bool) -> Path | None:
    """Keep a piece of a file; the file, once it is whole. It replaces an older one of its name.

    Args:
        folder: where the file goes.
        name: as the page calls the file.
        data: the piece in base64.
        at: how many bytes came before it.
        last: nothing follows.

    Raises:
        UsageError: the name or the piece is no good, files of that kind cannot be read, or it is too large.
        StorageError: it cannot be written.
    """
    name = file_name(name)
    # Beside the folder: a scan must not meet half of a file.
    part = folder.parent / f"{folder.name}.arriving" / name
    add_piece(part, name, data, at, instead="put it into a folder and sync that")
    if not last:
        return None
    try:
        return part.replace(folder / name)
    except OSError as error:
        raise StorageError(f"{name} cannot be kept: {error.strerror or error}") from error


def add_piece(part: Path, name: str, data: str, at: int, *, instead: str) -> None:
    """Write a piece of a file behind those before it.

    Args:
        part: where the pieces are put together; its folder is made.
        name: of the file, for messages.
        data: the piece in base64.
        at: how many bytes came before it.
        instead: what to do with a file that is too large.

    Raises:
        UsageError: the piece is no good, one before it is missing, or the file is too large.
        StorageError: it cannot be written.
    """
    try:
        piece = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(f"{name}: what arrived is no base64: send the file again") from None
    if at + len(piece) > MOST_BYTES:
        raise UsageError(f"{name} has over {MOST_BYTES // 2**20} MiB: {instead}")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if at and not (part.is_file() and part.stat().st_size == at):
            raise UsageError(f"{name}: a piece of the file is missing: send it again")
        with part.open("ab" if at else "wb") as file:
            file.write(piece)
    except OSError as error:
        raise StorageError(f"{name} cannot be kept: {error.strerror or error}") from error


def file_name(name: str) -> str:
    """The name under which an uploaded file is kept: one name and no path, of letters that can be seen.

    Raises:
        UsageError: it is none, or files of that kind cannot be read.
    """
    bare = " ".join(visible(unicodedata.normalize("NFC", name)).split())
    if not bare or bare.startswith(".") or "/" in bare or "\\" in bare or ":" in bare or bare != name.strip():
        raise UsageError(f"{bare or 'the file'} cannot be kept under this name: rename it")
    if len(bare.encode("utf-8", "replace")) > _LONGEST_NAME:
        raise UsageError(f"{bare[:40]}…: the file's name is too long, rename it")
    if not supported(bare):
        raise UsageError(f"{bare}: files of this kind cannot be read")
    return bare


def remove(folder: Path, name: str) -> None:
    """Delete an uploaded file; the next sync takes it out of the knowledge base.

    Raises:
        UsageError: it is none.
        StorageError: it cannot be deleted.
    """
    file = folder / file_name(name)
    try:
        file.unlink()
    except FileNotFoundError:
        raise UsageError(f"{name} is gone already") from None
    except OSError as error:
        raise StorageError(f"{name} cannot be deleted: {error.strerror or error}") from error
