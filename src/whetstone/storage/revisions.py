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

`revision_files` writes revisions; this reads them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone import settings
from whetstone.errors import StorageError, UsageError
from whetstone.registry import unknown_name
from whetstone.storage.files import storage_error
from whetstone.storage.journal import read_journal

ADAPTER_CONFIG = "adapter_config.json"
REVISION_FACTS = "revision.json"
ASKED = "asked.json"  # of a run: how its rows ask; an export has it beside the weights
TEXTS = "texts.npy"  # of a run: keys of the texts that it learned from
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
        base_weights: what tells that model's weights from others; "" where it is not known.
    """

    run: str
    step: int
    folder: Path
    epoch: float
    validation_loss: float | None
    metric: float | None
    metric_name: str | None
    base: str
    base_weights: str = ""

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
            "base_weights": self.base_weights,
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
        if _STEP.fullmatch(path.name) and (path / REVISION_FACTS).is_file()
    ]
    return sorted(found, key=lambda revision: revision.step)


def read_revision(folder: Path) -> Revision:
    """The facts of one revision.

    Raises:
        StorageError: they are missing or damaged.
    """
    path = folder / REVISION_FACTS
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
            base_weights=str(facts.get("base_weights", "")),
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
    for worth in ({r.step: r.metric for r in found}, {r.step: r.validation_loss for r in found}):
        measured = [(value, step) for step, value in worth.items() if value is not None]
        if measured:
            _, step = min(measured)
            return next(r for r in found if r.step == step)
    return found[-1]


def history(folder: Path) -> list[dict[str, Any]]:
    """A run's journal as if nothing had ever stopped it: what was done again after a stop is there once.

    Args:
        folder: the run's folder.

    Raises:
        StorageError: the journal is damaged.
    """
    lines: list[dict[str, Any]] = []
    for line in read_journal(folder / "journal.jsonl"):
        if line.get("kind") == "note" and line.get("resumed"):
            # Behind step 0 nothing was kept, not even the base's validation.
            kept = line["step"] if line["step"] > 0 else -1
            lines = [entry for entry in lines if entry.get("step", 0) <= kept and entry["kind"] != "end"]
        lines.append(line)
    return lines


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


def _number(value: object) -> float | None:
    if value is None:
        return None
    number = float(value)  # type: ignore[arg-type]
    return number if math.isfinite(number) else None
