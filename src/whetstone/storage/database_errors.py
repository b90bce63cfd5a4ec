"""What a database complains about, in sentences that say what to do; for SQLite they stand in `sqlite_errors`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError

from whetstone.errors import StorageError
from whetstone.storage.sqlite_errors import sqlite_sentence

_POSTGRES_STATES = (  # the beginning of the SQLSTATE, our sentence
    ("25006", "{name} is read-only: the server is a standby, or was told so"),
    ("42501", "{name}: this user may not do that there ({said}): ask for the right to it"),
    ("53100", "The disk of the server of {name} is full: what was stored before is kept"),
    ("53300", "{name} has too many connections open: close some, or try again"),
    ("55P03", "{name} has been locked by another program for {wait:g} seconds: close it, or try again"),
)

_POSTGRES_CONNECTING = (  # a part of libpq's message, which has no SQLSTATE while connecting
    ("password authentication failed", "{name} refused the user or the password: check the database URL"),
    ("no password supplied", "{name} wants a password: write it into the database URL, or set PGPASSWORD"),
    ("does not exist", "{name} does not exist on the server ({said}): create it, or check the database URL"),
    ("too many", "{name} has too many connections open: close some, or try again"),
)


def explained(error: SQLAlchemyError, secrets: Sequence[str], name: str, wait: float) -> StorageError:
    """The sentence for an error of the database; it holds no secret.

    Args:
        error: what SQLAlchemy raised.
        secrets: what may not be repeated.
        name: the database, as messages name it.
        wait: seconds that were waited for locks.
    """
    if isinstance(error, TimeoutError):
        return StorageError(f"{name}: too many requests at once; all connections stayed busy for half a minute")
    cause = error.orig if isinstance(error, DBAPIError) else error
    said = " ".join(str(cause).split()) or type(cause).__name__
    for secret in secrets:
        said = said.replace(secret, "***")
    sentence = _sentence(cause, said, wait) or "{name}: {said}"
    return StorageError(sentence.format(name=name, said=said, wait=wait))


def _sentence(cause: BaseException | None, said: str, wait: float) -> str:
    if isinstance(cause, sqlite3.Error):
        return sqlite_sentence(said)
    state = getattr(cause, "sqlstate", None)
    if state:
        return next((sentence for beginning, sentence in _POSTGRES_STATES if state.startswith(beginning)), "")
    known = next((sentence for part, sentence in _POSTGRES_CONNECTING if part in said), "")
    return known or "{name} cannot be reached ({said}): check that the server runs, and the database URL"
