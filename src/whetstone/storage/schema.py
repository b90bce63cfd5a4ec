"""The form of the tables: which revision a database has, and the way to the newest one.

Each change of the tables is a script in migrations/versions, named by its number. Alembic runs them; as importing it
takes longer than everything else here, it is left alone while there is nothing to run.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import Connection, Engine

from whetstone.errors import StorageError
from whetstone.storage.files import storage_error

VERSION_TABLE = "whetstone_version"  # not Alembic's own name: a PostgreSQL database may hold other programs' tables
SCRIPTS = Path(__file__).parent / "migrations"

_ADVISORY_LOCK = 0x77686574  # "whet"; any number that no other program takes


def revisions() -> list[str]:
    """Every revision that this program knows, oldest first."""
    return sorted(path.name.split("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*.py"))


def bring_up_to_date(engine: Engine, file: Path | None, name: str, wait: float) -> None:
    """Run the migrations that are missing, in one transaction, one process at a time.

    Args:
        engine: of the database.
        file: the file of a SQLite database, which is created if need be.
        name: the database, as messages name it.
        wait: seconds to wait for another process that migrates; longer than for other locks, as it takes longer.

    Raises:
        StorageError: the database belongs to a newer program or to another one, or its folder cannot be written.
    """
    if file is not None and not file.exists():
        _make_folder(file)
    elif not _is_outdated(engine, name):
        return
    if file is None:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round((wait + 50) * 1000)}")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            migrate(connection, name)
        return
    try:
        with FileLock(f"{file}.lock", timeout=wait + 50):
            with engine.connect() as connection:
                raw = connection.connection.dbapi_connection
                assert raw is not None
                # Kept in the file; it cannot be set within a transaction. Readers and a writer do not wait in it.
                raw.cursor().execute("PRAGMA journal_mode = WAL")
            with engine.connect().execution_options(writes=True) as connection, connection.begin():
                migrate(connection, name)
    except Timeout:
        raise StorageError(f"{name} is being brought up to date by another process: wait for it, or stop it") from None
    except OSError as error:
        raise storage_error(file, error) from error


def migrate(connection: Connection, name: str, target: str = "head") -> None:
    """Run the migrations up to `target`, in the transaction that is open."""
    known = revisions()
    if _revision(connection, name, known) == known[-1]:
        return  # another process did it while this one waited
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "version_table": VERSION_TABLE})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    command.upgrade(config, target)


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder of the database {file} cannot be made: {error.strerror or error}") from error


def _is_outdated(engine: Engine, name: str) -> bool:
    known = revisions()
    with engine.connect() as connection:
        return _revision(connection, name, known) != known[-1]


def _revision(connection: Connection, name: str, known: list[str]) -> str | None:
    """The revision of the tables; None for a database without any."""
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE not in tables:
        if tables and connection.dialect.name == "sqlite":
            raise StorageError(
                f"{name} is a database of another program (it holds the table {tables[0]}): name another file"
            )
        return None
    revision = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()
    if revision is not None and revision not in known:
        raise StorageError(
            f"{name} was written by a newer version of Whetstone (its tables have revision {revision}, this program "
            f"knows up to {known[-1]}): update Whetstone, or name another database"
        )
    return revision
