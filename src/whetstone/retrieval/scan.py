"""The files of a folder that can be read, and why the others are left out."""

from __future__ import annotations

import os
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from whetstone.errors import DataError
from whetstone.retrieval.reading.formats import kind_of, type_of

__all__ = ["FoundFile", "Scan", "scan"]


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that can be read.

    Attributes:
        path: relative to the folder, "/" between its parts, in Unicode's composed form (NFC): a name in Hangul is the
            same on every system.
        file: where it is, spelled as the disk spells it.
        size: in bytes.
        modified: in nanoseconds since 1970.
    """

    path: str
    file: Path
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Scan:
    """What a folder holds.

    Attributes:
        files: by path, sorted.
        skipped: path -> why it is left out, sorted; a folder that is left out stands for all that is in it.
    """

    files: dict[str, FoundFile]
    skipped: dict[str, str]


def scan(folder: Path) -> Scan:
    """Look through a folder and all folders in it.

    Nothing is opened, and no link is followed, so none can go in circles.

    Raises:
        DataError: there is no such folder, or it cannot be listed.
    """
    files: dict[str, FoundFile] = {}
    skipped: dict[str, str] = {}
    waiting = [(os.fspath(folder), "")]
    while waiting:
        place, above = waiting.pop()
        try:
            with os.scandir(place) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if not above:
                raise _no_folder(folder, error) from error
            skipped[above.rstrip("/")] = f"the folder cannot be listed: {error.strerror or error}"
            continue
        for entry in entries:
            path = above + unicodedata.normalize("NFC", entry.name)
            try:
                why = _look(entry, path, files, waiting)
            except OSError as error:
                why = f"cannot be looked at: {error.strerror or error}"
            if why:
                skipped[_printable(path)] = why
    return Scan(dict(sorted(files.items())), dict(sorted(skipped.items())))


def _look(
    entry: os.DirEntry[str], path: str, files: dict[str, FoundFile], waiting: list[tuple[str, str]]
) -> str | None:
    """Take a file in, or put a folder on the list; else the reason why not."""
    if entry.name.startswith("."):
        return "hidden: its name begins with a dot"
    if path != _printable(path):
        return "its name is not UTF-8; rename it"
    if entry.is_symlink():
        return "a link: links are not followed"
    if entry.is_dir(follow_symlinks=False):
        waiting.append((entry.path, path + "/"))
        return None
    if not stat.S_ISREG((status := entry.stat(follow_symlinks=False)).st_mode):
        return "no file to read (a device, pipe or socket)"
    if kind_of(path) is None:
        suffix = type_of(path)
        return f"files of type .{suffix} are not read" if suffix else "a name without a type (such as .txt) is not read"
    if not os.access(entry.path, os.R_OK):
        return "no permission to read it"
    if path in files:
        return f"its name differs from {files[path].file.name!r} only in its Unicode form; rename one of them"
    files[path] = FoundFile(path, Path(entry.path), status.st_size, status.st_mtime_ns)
    return None


def _printable(path: str) -> str:
    """The path with bytes that are not UTF-8 shown as they are escaped."""
    return path.encode("utf-8", "backslashreplace").decode()


def _no_folder(folder: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"There is no folder {folder}; check the name")
    if isinstance(error, NotADirectoryError):
        return DataError(f"{folder} is a file; name the folder that it is in")
    return DataError(f"{folder} cannot be listed: {error.strerror or error}")
