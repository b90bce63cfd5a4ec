"""Files that a page sends, and what is kept of them for as long as the server runs."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from whetstone.errors import DataError, UsageError
from whetstone.ui.asked import Asked

MOST_BYTES = 10_000_000  # one request holds it, a third longer in base64
T = TypeVar("T")


@contextmanager
def sent_file(asked: Asked, *, instead: str = "whet price --file") -> Iterator[Path]:
    """The file of a request, `{name, data: base64}`, in a folder of its own that is gone afterwards.

    Args:
        instead: the command that takes larger ones.

    Raises:
        UsageError: there is none, or it is too large.
    """
    written = str(asked.get("data", ""))
    if not written:
        raise UsageError("no file is chosen: choose one first")
    try:
        content = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        raise DataError("the file did not arrive whole: send it again") from None
    if len(content) > MOST_BYTES:
        raise UsageError(f"the file has more than {MOST_BYTES // 10**6} MB: use `{instead}` for it")
    if str(asked.get("name", "")).lower().endswith(".gz"):  # a small one may hold more than the memory does
        raise UsageError("unpack the file first (gunzip): packed ones are not taken here")
    name = re.sub(r"[^\w.-]", "_", str(asked.get("name", "")))[-80:].lstrip(".") or "items"
    with tempfile.TemporaryDirectory(prefix="whetstone-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            yield path
        except DataError as error:  # the folder is our business, the name the person's
            raise DataError(str(error).replace(f"{folder}/", "")) from None


class Kept(Generic[T]):
    """Things by names that nobody guesses, the latest ones kept. Safe to use from several threads."""

    def __init__(self, what: str, most: int = 8) -> None:
        self._what = what
        self._most = most
        self._lock = threading.Lock()
        self._things: OrderedDict[str, T] = OrderedDict()

    def keep(self, thing: T) -> str:
        """Keep it; its name."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._things[name] = thing
            while len(self._things) > self._most:
                self._things.popitem(last=False)
        return name

    def get(self, name: str) -> T:
        """What has this name.

        Raises:
            UsageError: there is nothing of this name any more.
        """
        with self._lock:
            if name not in self._things:
                raise UsageError(f"the server knows these {self._what} no longer: choose the file again")
            self._things.move_to_end(name)
            return self._things[name]
