"""Revisions written whole or not at all, and rotated.

A revision is written into a temporary folder beside its place and renamed when all of it is on the disk.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from whetstone.errors import StorageError
from whetstone.storage.revisions import REVISION_FACTS, Revision, best, revisions


def write_revision(revision: Revision, fill: Callable[[Path], None]) -> None:
    """Write a revision into its folder: complete, or not at all.

    Args:
        revision: its facts; `revision_folder` says where it belongs.
        fill: writes all files but the facts into the folder that it is given.

    Raises:
        StorageError: the disk is full, or refuses. What was there before is whole.
    """
    place, parent = revision.folder, revision.folder.parent
    temporary = parent / f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        clear_unfinished(parent.parent)
        temporary.mkdir(parents=True)
        fill(temporary)
        (temporary / REVISION_FACTS).write_text(json.dumps(revision.to_json(), indent=1) + "\n", encoding="utf-8")
        _force_to_disk(temporary)
        if place.exists():  # the same step again, after the run went back to an earlier revision
            _remove(place)
        os.replace(temporary, place)
        _force_folder(parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise StorageError(
            f"{place}: {error.strerror or error}; this checkpoint was not written, and the earlier ones are whole"
        ) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def clear_unfinished(folder: Path) -> None:
    """Remove what killed writers left behind in a run's folder."""
    for path in (folder / "revisions").glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def rotate(folder: Path, keep: int) -> list[Revision]:
    """Keep the newest measured revisions, the best, and the last, which a resumed run needs; remove the others.

    Args:
        folder: the run's folder.
        keep: how many of the newest.

    Returns:
        What was removed.
    """
    found = revisions(folder)
    if not found:
        return []
    measured = [r for r in found if r.validation_loss is not None or r.metric is not None] or found
    kept = {revision.step for revision in (*measured[-keep:], best(found), found[-1])}
    removed = [revision for revision in found if revision.step not in kept]
    for revision in removed:
        _remove(revision.folder)
    return removed


def _remove(folder: Path) -> None:
    """Remove a revision; first under another name, since a half-removed folder must not look like one."""
    gone = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _force_to_disk(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    for path in (*(p for p in folder.rglob("*") if p.is_dir()), folder):
        _force_folder(path)


def _force_folder(path: Path) -> None:
    if os.name != "posix":  # Windows has no handle of a folder to force
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
