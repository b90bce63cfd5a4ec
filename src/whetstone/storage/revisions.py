"""Tuning runs on disk: a folder per run, and in it a folder per revision, complete or absent.

    home()/tuning/RUN/
      config.yaml      the configuration as run
      plan.json        what was expected of the run, and what came
      data.json        fingerprint, counts and source of the rows
      journal.jsonl    one line per step, validation, probe and note
      revisions/step-000120/
        adapter_config.json, adapter_model.safetensors, tokenizer files
        resume/        optimizer, schedule and random state: safetensors and JSON
        revision.json  what the revision is worth

A revision is written into a temporary folder beside its place and renamed when all of it is on the disk.
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone import settings
from whetstone.errors import StorageError, UsageError
from whetstone.registry import unknown_name
from whetstone.storage.files import storage_error, write_atomically

ADAPTER_CONFIG = "adapter_config.json"
_FACTS = "revision.json"
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Revision:
    """One saved state of a run.

    Attributes:
        run: the run's name.
        step: optimizer steps behind it.
        folder: the adapter.
        epoch: passes over the training rows behind it.
        validation_loss: loss on the validation rows; None where it was not measured.
        metric: the task's own error on validation items, lower is better; None where it was not measured.
        metric_name: what the metric is.
        base: spec of the model that it was trained on, without adapter.
    """

    run: str
    step: int
    folder: Path
    epoch: float
    validation_loss: float | None
    metric: float | None
    metric_name: str | None
    base: str

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values, without the folder, which may move."""
        return {
            "run": self.run,
            "step": self.step,
            "epoch": self.epoch,
            "validation_loss": self.validation_loss,
            "metric": self.metric,
            "metric_name": self.metric_name,
            "base": self.base,
        }


def tuning_folder() -> Path:
    """Where all runs are."""
    return settings.home() / "tuning"


def run_folder(name: str) -> Path:
    """A run's folder, whether it exists or not.

    Raises:
        UsageError: no run can have that name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise UsageError(f"{name!r} cannot be a run's name: use letters, digits, dots, - and _")
    return tuning_folder() / name


def runs() -> list[str]:
    """The names of all runs, newest first."""
    found = [path for path in tuning_folder().glob("*") if (path / "config.yaml").is_file()]
    return [path.name for path in sorted(found, key=lambda path: (path / "config.yaml").stat().st_mtime, reverse=True)]


def revisions(folder: Path) -> list[Revision]:
    """A run's complete revisions, by step.

    Args:
        folder: the run's folder.

    Raises:
        StorageError: a revision's facts are damaged.
    """
    found = [
        read_revision(path)
        for path in (folder / "revisions").glob("step-*")
        if _STEP.fullmatch(path.name) and (path / _FACTS).is_file()
    ]
    return sorted(found, key=lambda revision: revision.step)


def read_revision(folder: Path) -> Revision:
    """The facts of one revision.

    Raises:
        StorageError: they are missing or damaged.
    """
    path = folder / _FACTS
    try:
        facts: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Revision(
            run=str(facts["run"]),
            step=int(facts["step"]),
            folder=folder,
            epoch=float(facts["epoch"]),
            validation_loss=_number(facts["validation_loss"]),
            metric=_number(facts["metric"]),
            metric_name=facts["metric_name"],
            base=str(facts["base"]),
        )
    except OSError as error:
        raise storage_error(path, error) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path}: damaged ({error!r}); delete the folder {folder.name}, and use another") from None


def best(found: Sequence[Revision]) -> Revision:
    """The revision with the lowest metric; where none has one, the lowest validation loss; else the last.

    Raises:
        UsageError: there is none.
    """
    if not found:
        raise UsageError("The run has no revision yet; let it run until its first validation")
    for measured in (lambda r: r.metric, lambda r: r.validation_loss):
        having = [(measured(r), r.step, r) for r in found if measured(r) is not None]
        if having:
            return min(having, key=lambda entry: entry[:2])[2]
    return found[-1]


def find_adapter(text: str) -> Path:
    """The folder of an adapter: "RUN" or "RUN@best", "RUN@last", "RUN@120" (a step), or a folder's path.

    Raises:
        UsageError: there is no such run or revision; the sentence says which there are.
    """
    path = Path(text).expanduser()
    if (path / ADAPTER_CONFIG).is_file() or text.startswith((".", "/", "~")):
        return path
    name, _, which = text.partition("@")
    if name not in (known := runs()):
        if path.exists():
            return path
        if not known:
            raise UsageError(f"adapter={text}: there is neither such a folder nor any tuning run; see whet tune")
        raise UsageError(f"adapter={text}: neither a folder nor a run. {unknown_name('tuning run', name, known)}")
    return find_revision(name, which).folder


def find_revision(name: str, which: str = "best") -> Revision:
    """A revision of a run: "best" (or ""), "last", or a step.

    Raises:
        UsageError: the run or the revision does not exist.
    """
    folder = run_folder(name)
    if not (folder / "config.yaml").is_file():
        raise unknown_name("tuning run", name, runs()) if runs() else UsageError("There is no tuning run yet")
    found = revisions(folder)
    if not found:
        raise UsageError(f"{name}: the run has no revision yet; let it run until its first validation")
    if which in ("", "best"):
        return best(found)
    if which == "last":
        return found[-1]
    for revision in found:
        if which.removeprefix("step-").lstrip("0") == str(revision.step):
            return revision
    steps = ", ".join(str(revision.step) for revision in found)
    raise UsageError(f"{name}@{which}: there is no such revision; write best, last, or one of the steps {steps}")


def revision_folder(folder: Path, step: int) -> Path:
    """Where a run's revision of a step is, or will be."""
    return folder / "revisions" / f"step-{step:06d}"


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
        (temporary / _FACTS).write_text(json.dumps(revision.to_json(), indent=1) + "\n", encoding="utf-8")
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


def note_worth(revision: Revision) -> None:
    """Put measurements beside a revision that was written without them.

    Raises:
        StorageError: the disk refuses.
    """
    write_atomically(revision.folder / _FACTS, json.dumps(revision.to_json(), indent=1) + "\n")


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


def _number(value: object) -> float | None:
    if value is None:
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None
