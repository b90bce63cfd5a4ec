"""Which weights a GGUF file holds: its sha256, computed once for each version of the file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from whetstone import settings
from whetstone.errors import ModelFileError, StorageError
from whetstone.storage.files import write_atomically
from whetstone.tokens.gguf_file import GgufHeader, read_header

_PART = re.compile(r"-(\d{5})-of-(\d{5})(\.gguf)$")


def parts(header: GgufHeader) -> list[Path]:
    """The files of a model: the one, or all parts of a split one, of which the user names the first.

    Raises:
        ModelFileError: another part than the first was named, or a part is missing or broken.
    """
    count = header.number("split.count")
    if count <= 1:
        return [header.path]
    name = _PART.search(header.path.name)
    if name is None or int(name[2]) != count:
        raise ModelFileError(
            f"{header.path} is one of {count} parts of a model, and its name does not say which; the names must end in "
            f"-00001-of-{count:05}.gguf and so on"
        )
    stem = header.path.name[: name.start()]
    found = [header.path.with_name(f"{stem}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)]
    if header.path != found[0]:
        raise ModelFileError(f"{header.path} is part {name[1]} of a model: name its first part, {found[0].name}")
    for part in found[1:]:
        read_header(part)
    return found


def revision(files: Sequence[Path]) -> str:
    """sha256 of a model's file; of several parts, the sha256 of their digests one after the other.

    Raises:
        ModelFileError: a file cannot be read.
    """
    digests = [_digest(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _digest(path: Path) -> str:
    path = path.resolve()
    try:
        status = path.stat()
        version = {"path": str(path), "size": status.st_size, "modified": status.st_mtime_ns}
        note = settings.home() / "cache" / "gguf" / f"sha256-{hashlib.sha256(str(path).encode()).hexdigest()[:32]}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(note.read_text(encoding="utf-8"))
            if version == {name: known[name] for name in version}:
                return str(known["sha256"])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    with suppress(StorageError):  # then it is hashed again the next time
        write_atomically(note, json.dumps({**version, "sha256": digest}))
    return digest
