"""Everything in a SQLite file that contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator

from whetstone.retrieval.sqlite_file import SqliteFile
from whetstone.retrieval.store import Fault


def faults_of(file: SqliteFile) -> Iterator[Fault]:
    yield from ()
