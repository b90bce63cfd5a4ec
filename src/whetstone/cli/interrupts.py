"""Ctrl-C while a library is being loaded.

A compiled library that is interrupted during its own start reports that as its own failure: an ImportError, caused by
the KeyboardInterrupt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for an ImportError that Ctrl-C caused."""
    try:
        yield
    except ImportError as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise


def _interrupted(error: BaseException) -> bool:
    met: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in met:
        if isinstance(cause, KeyboardInterrupt):
            return True
        met.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return False
