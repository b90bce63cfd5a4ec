"""One sync of a knowledge base at a time, over all machines; the lock is given back when its process dies."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from whetstone.errors import UsageError
from whetstone.storage.database import Database
from whetstone.storage.process import this_process

_POLL = 0.05  # seconds


@contextmanager
def syncing(database: Database, name: str, wait: float) -> Iterator[None]:
    """Hold PostgreSQL's advisory lock of a knowledge base, on a connection of its own that names this process.

    Raises:
        UsageError: another process, or another thread, holds it and did not let go within `wait` seconds.
        StorageError: the server cannot be reached.
    """
    key = int.from_bytes(hashlib.blake2b(f"whetstone kb {name}".encode(), digest_size=8).digest(), "big", signed=True)
    until = time.monotonic() + wait
    with database.driver() as connection:
        try:
            connection.autocommit = True
            _introduce(connection)
            while not connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()[0]:
                if time.monotonic() >= until:
                    raise UsageError(
                        f"The knowledge base {name} in {database.name} is being synced by {_holder(connection, key)}:"
                        " wait until it is done, or stop it (what was there before is kept)"
                    )
                time.sleep(min(_POLL, max(0.0, until - time.monotonic())))
            yield
        finally:
            connection.close()  # and not given back to the pool: whatever happens, the lock goes with it


def _introduce(connection: Any) -> None:
    """Say who this is, and let the server hear within two minutes that the machine at this end is gone."""
    process = this_process()
    connection.execute(
        "SELECT set_config('application_name', %s, false), set_config('tcp_keepalives_idle', '60', false),"
        " set_config('tcp_keepalives_interval', '10', false), set_config('tcp_keepalives_count', '6', false)",
        (f"whet kb: process {process.pid} on {process.host.partition('/')[0]}"[:63],),
    )


def _holder(connection: Any, key: int) -> str:
    row = connection.execute(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.granted"
        " AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.database = (SELECT oid FROM pg_database"
        " WHERE datname = current_database()) AND l.classid = %s::bigint::oid AND l.objid = %s::bigint::oid",
        ((key >> 32) & 0xFFFFFFFF, key & 0xFFFFFFFF),
    ).fetchone()
    return row[0].removeprefix("whet kb: ") if row and row[0] else "another process"  # it has just let go
