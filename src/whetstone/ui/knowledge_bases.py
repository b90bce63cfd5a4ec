"""Which knowledge bases a page may see and change, and the only way by which the workbench opens one.

Who may do what: without a token only the server's own user talks to it (`server.auth` lets nobody else in), so he sees
every knowledge base and may have any folder read that the server can read, as with `whet kb`. A token lets others in.
They see the knowledge bases that `whet serve --kb` offers and those that the workbench made meanwhile; what they add
are files that they upload, never a path. `--any-model` is for clients trusted like oneself, and lifts that.
"""

from __future__ import annotations

import threading
from pathlib import Path

from whetstone.errors import DataError, StorageError, UsageError
from whetstone.models.knowledge_spec import KNOWLEDGE, knowledge_name, knowledge_offers
from whetstone.models.pool import ModelPool
from whetstone.models.spec import parse_spec
from whetstone.registry import unknown_name
from whetstone.retrieval import library
from whetstone.retrieval.library import Knowledge
from whetstone.retrieval.store import Header

_UPLOADS = "-files"


class KnowledgeBases:
    """Knowledge bases by name. Safe to use from several threads.

    Args:
        pool: its models answer; knowledge bases that are seen are offered in it.
        own_user: nobody but the server's own user can open the page.

    Attributes:
        any_folder: folders of the server may be named.
    """

    def __init__(self, pool: ModelPool, *, own_user: bool) -> None:
        self.any_folder = own_user or pool.any_spec
        self._pool = pool
        self._lock = threading.Lock()
        self._made: set[str] = set()
        self._open: dict[str, Knowledge] = {}

    def names(self) -> list[str]:
        """Those that may be seen, sorted; also those whose files were uploaded and never synced."""
        there = {*library.names(), *(folder.name.removesuffix(_UPLOADS) for folder in _upload_folders())}
        if not self.any_folder:
            specs = map(parse_spec, self._pool.offered.values())
            there &= {knowledge_name(spec) for spec in specs if spec.provider == KNOWLEDGE} | self._made
        return sorted(there)

    def require(self, name: str) -> str:
        """The name of one that may be seen.

        Raises:
            UnknownNameError: there is none, as far as this page may know.
        """
        names = self.names()
        if name not in names:
            raise unknown_name("knowledge base", name, names)
        return name

    def header(self, name: str) -> Header | None:
        """What a knowledge base is; None before its first sync."""
        store = library.open_store(name)
        try:
            return store.header()
        finally:
            store.close()

    def open(self, name: str) -> Knowledge:
        """A knowledge base to read, kept open.

        Raises:
            UnknownNameError: as `require`.
            UsageError: it was never synced.
            StorageError: it cannot be read.
        """
        name = self.require(name)
        with self._lock:
            known = self._open.get(name)
            if known is None or known.store.header() is None:
                if name not in library.names():
                    raise UsageError(f"nothing was synced into {name} yet: see the plan and sync it")
                known = self._open[name] = library.open_knowledge(name)
            return known

    def changed(self, name: str) -> None:
        """A sync has ended: open it anew, as its file may be another one, and let chats use it."""
        with self._lock:
            self._made.add(name)
            self._open.pop(name, None)  # not closed: somebody may be reading
        self.offer()

    def offer(self) -> None:
        """Let chats use the knowledge bases that may be seen and were synced."""
        synced = set(library.names())
        names = [name for name in self.names() if name in synced]
        self._pool.offer(knowledge_offers(self._pool.offered, names))

    def new(self, name: str) -> str:
        """A name for one that is to be made.

        Raises:
            UsageError: it cannot be a name, or it is taken.
        """
        name = library.checked_name(name.strip())
        if name in library.names() or (name not in self._made and _uploads(name).is_dir()):
            raise UsageError(f"the name {name} is taken: choose another one")
        return name

    def uploads(self, name: str) -> Path:
        """The folder of a knowledge base's uploaded files, made if need be.

        Raises:
            UsageError: it follows another folder, or the name cannot be one.
            StorageError: the folder cannot be made.
        """
        folder = _uploads(library.checked_name(name))
        header = self.header(name) if name in library.names() else None
        if header is not None and not self.keeps_uploads(name, header):
            raise UsageError(f"{name} follows a folder of the server: files are added by putting them there")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder}: {error.strerror or error}") from error
        with self._lock:
            self._made.add(name)
        return folder

    def keeps_uploads(self, name: str, header: Header | None) -> bool:
        """Whether the knowledge base is made of uploaded files."""
        folder = _uploads(name)
        return folder.is_dir() if header is None else Path(header.folder) == folder.resolve()

    def folder(self, name: str, named: str) -> Path:
        """The folder that a sync reads: the one that it follows, that of its uploads, or for a new or damaged one the
        one named.

        Raises:
            UsageError: there is none, or folders may not be named.
            DataError: there is no such folder.
        """
        try:
            header = self.header(name) if name in library.names() else None
        except StorageError:  # a rebuild mends it
            header = None
        if header is not None:
            return Path(header.folder)
        if not named.strip():
            if not _uploads(name).is_dir():
                raise UsageError("name a folder, or choose files to upload")
            return _uploads(name)
        if not self.any_folder:
            raise UsageError("folders of the server can be named by its own user only: upload files instead")
        folder = Path(named.strip()).expanduser()
        if not folder.is_absolute():
            raise UsageError(f"{named.strip()}: write the whole path of the folder, from / or ~ on")
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such folder on the server")
        return folder


def _uploads(name: str) -> Path:
    return library.folder() / f"{name}{_UPLOADS}"


def _upload_folders() -> list[Path]:
    return [folder for folder in library.folder().glob(f"*{_UPLOADS}") if folder.is_dir()]
