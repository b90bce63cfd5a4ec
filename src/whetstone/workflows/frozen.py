"""Frozen problems on disk, so that a stored run can be reported on long after its source is gone."""

from __future__ import annotations

from pathlib import Path

from whetstone.datasets.freeze import METADATA, TEST, freeze, frozen_folder, thaw
from whetstone.errors import StorageError
from whetstone.storage.files import storage_error, write_atomically
from whetstone.types import Problem


def keep_problem(home: Path, problem: Problem) -> None:
    """Write the frozen problem below `home`, once.

    Raises:
        StorageError: it cannot be written.
    """
    folder = home / frozen_folder(problem.fingerprint)
    if (folder / METADATA).exists():
        return
    for name, content in freeze(problem).items():
        write_atomically(folder / name, content)


def load_problem(home: Path, fingerprint: str) -> Problem:
    """The frozen problem of this fingerprint, with its test cases only.

    Raises:
        StorageError: it is not there, or cannot be read.
        DataError: it was damaged.
    """
    folder = home / frozen_folder(fingerprint)
    files = {}
    for name in (TEST, METADATA):
        try:
            files[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            raise StorageError(
                f"{folder / name} is missing: the items of this run are gone, run the comparison again"
            ) from None
        except OSError as error:
            raise storage_error(folder / name, error) from error
    return thaw(files, str(folder))
