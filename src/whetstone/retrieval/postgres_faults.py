"""Everything in a knowledge base on PostgreSQL that contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator

from whetstone.retrieval.postgres_base import Base, Cursor
from whetstone.retrieval.store import Fault


def faults_of(cursor: Cursor, base: Base) -> Iterator[Fault]:
    yield from ()
