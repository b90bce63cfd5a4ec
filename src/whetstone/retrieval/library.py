"""Knowledge bases by name: a SQLite file each in `WHETSTONE_HOME/knowledge`, or tables of a PostgreSQL by URL."""

from __future__ import annotations

import re
import threading
import unicodedata
from pathlib import Path
from types import TracebackType

from whetstone import settings
from whetstone.embeddings import Embedder, load_embedder
from whetstone.errors import StorageError, UnknownNameError, UsageError
from whetstone.registry import unknown_name
from whetstone.retrieval.store import Header, Store

__all__ = [
    "DEFAULT_NAME",
    "Knowledge",
    "checked_name",
    "folder",
    "loaded_embedder",
    "names",
    "open_knowledge",
    "open_store",
    "require",
]

DEFAULT_NAME = "default"

_NAME = re.compile(r"[\w-]{1,60}")  # \w: letters and digits of any script, and _
_SUFFIX = ".db"


class Knowledge:
    """A knowledge base that can be searched: its store, and the embedder that its vectors come from.

    Args:
        store: open; closed together with this.
        embedder: in place of the one that the header names, where it is loaded already.
    """

    def __init__(self, store: Store, embedder: Embedder | None = None) -> None:
        self.store = store
        self._embedder = embedder
        self._loading = threading.Lock()

    @property
    def name(self) -> str:
        """What the knowledge base is called."""
        return self.store.name

    @property
    def header(self) -> Header:
        """As it stands now: a sync by another process changes it.

        Raises:
            StorageError: it was deleted meanwhile.
        """
        header = self.store.header()
        if header is None:
            raise StorageError(
                f"{self.store.where}: the knowledge base {self.name} is gone: `whet kb sync` makes it anew"
            )
        return header

    @property
    def embedder(self) -> Embedder:
        """The embedder of the vectors, loaded when it is first asked for.

        Raises:
            StorageError: what its name stands for now is another embedder than the one that made the vectors.
        """
        with self._loading:
            header = self.header
            if self._embedder is None or self._embedder.name != header.embedder:
                self._embedder = loaded_embedder(self.name, header)
            return self._embedder

    def close(self) -> None:
        """Close the store. Closing twice is harmless."""
        self.store.close()

    def __enter__(self) -> Knowledge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def loaded_embedder(name: str, header: Header) -> Embedder:
    """The embedder that a header names.

    Raises:
        StorageError: what the spec stands for now is another embedder than the one that made the vectors.
    """
    embedder = load_embedder(header.embedder_spec)
    if embedder.name != header.embedder:
        raise StorageError(
            f"The vectors of the knowledge base {name} were made by {header.embedder}, but {header.embedder_spec} is "
            f"now {embedder.name}: `whet kb reembed --kb {name} --embedder {header.embedder_spec}` makes them anew"
        )
    return embedder


def _unknown(name: str, known: list[str]) -> UnknownNameError:
    if known:
        return unknown_name("knowledge base", name, known)
    return UnknownNameError(
        f"There is no knowledge base named {name!r} yet: `whet kb sync FOLDER --kb {name}` makes it"
    )


def checked_name(name: str) -> str:
    """The name as it is kept: composed letters.

    Raises:
        UsageError: it cannot be a name.
    """
    composed = unicodedata.normalize("NFC", name)
    if not _NAME.fullmatch(composed):
        raise UsageError(
            f"{name!r} cannot name a knowledge base: up to 60 letters of any script, digits, - and _, such as handbook"
        )
    return composed


def folder() -> Path:
    """Where the SQLite files are."""
    return settings.home() / "knowledge"


def _server(database_url: str | None) -> str:
    """URL of the PostgreSQL that keeps the knowledge bases; "" when they are files."""
    url = database_url if database_url is not None else settings.database_url()
    return url if url.strip().startswith(("postgres:", "postgresql:", "postgresql+")) else ""


def open_store(name: str = DEFAULT_NAME, *, database_url: str | None = None, wait: float = 10.0) -> Store:
    """The store of a knowledge base, which may be new: then its `header()` is None.

    Args:
        name: of the knowledge base.
        database_url: a PostgreSQL by URL; None means `WHETSTONE_DATABASE_URL`, and without that (or when it names a
            SQLite database, which keeps conversations) a file in `folder()`.
        wait: seconds to wait for a lock that another program holds.

    Raises:
        UsageError: the name cannot be one.
        MissingPackageError: PostgreSQL without its driver.
        StorageError: the store cannot be opened.
    """
    name = checked_name(name)
    if url := _server(database_url):
        from whetstone.retrieval.postgres_store import PostgresStore

        return PostgresStore(url, name, wait=wait)
    from whetstone.retrieval.sqlite_store import SqliteStore

    return SqliteStore(folder() / f"{name}{_SUFFIX}", wait=wait)


def names(*, database_url: str | None = None) -> list[str]:
    """The knowledge bases that there are, sorted.

    Raises:
        StorageError: the server cannot be reached.
    """
    if url := _server(database_url):
        from whetstone.retrieval import postgres_store

        return sorted(postgres_store.names(url))
    return sorted(unicodedata.normalize("NFC", file.stem) for file in folder().glob(f"*{_SUFFIX}"))


def require(name: str, *, database_url: str | None = None) -> str:
    """The name as it is kept, of a knowledge base that there is, readable or not.

    Raises:
        UnknownNameError: there is none; near matches are offered.
        UsageError: the name cannot be one.
    """
    name = checked_name(name)
    known = names(database_url=database_url)
    if name not in known:
        raise _unknown(name, known)
    return name


def open_knowledge(name: str = DEFAULT_NAME, *, database_url: str | None = None, wait: float = 10.0) -> Knowledge:
    """A knowledge base that was synced before.

    Raises:
        UnknownNameError: there is none of that name; near matches are offered.
        UsageError: the name cannot be one.
        StorageError: it cannot be opened or read.
    """
    name = require(name, database_url=database_url)  # opening the store of another name might make one
    store = open_store(name, database_url=database_url, wait=wait)
    try:
        if store.header() is None:
            raise _unknown(name, [other for other in names(database_url=database_url) if other != name])
    except BaseException:
        store.close()
        raise
    return Knowledge(store)
