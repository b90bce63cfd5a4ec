"""Whether a run begins, goes on, or is over, by what its folder holds."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import StorageError, UsageError
from whetstone.storage.files import storage_error, write_atomically
from whetstone.storage.journal import JournalWriter
from whetstone.storage.revisions import Revision, best, history, revisions, run_folder
from whetstone.tuning.config import TuneConfig, read_config
from whetstone.tuning.job import Ended
from whetstone.tuning.rows import TuneData


@dataclass(frozen=True)
class TuneOutcome:
    """What a run has come to.

    Attributes:
        run: its name.
        folder: where it is kept.
        revisions: what it left, by step.
        steps: that it made, over all sessions.
        total_steps: that it was to make.
        ended: "done"; "early", because validations got no better; "stopped", by who watched; "interrupted", by Ctrl-C
            or a signal. Behind the latter two the same command goes on.
        tokens: that were trained on, padding not included.
        seconds: that its steps took, without validations, probes and checkpoints.
        memory: most bytes that were in use at a time in the last session.
    """

    run: str
    folder: Path
    revisions: tuple[Revision, ...]
    steps: int
    total_steps: int
    ended: Ended
    tokens: int
    seconds: float
    memory: int

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.ended in ("done", "early")

    @property
    def best(self) -> Revision:
        """The revision that validated best."""
        return best(self.revisions)

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


def open_run(config: TuneConfig, data: TuneData, *, resume: bool, overwrite: bool) -> Path:
    """The folder of a run: a new one, or that of a run that goes on.

    Raises:
        UsageError: a run of that name has another configuration or other rows, or may not go on.
        StorageError: the disk refuses, or another process trains this run.
    """
    folder = run_folder(config.run)
    again = "choose another name (run: NAME), or start afresh with --overwrite, which removes what it has"
    if (folder / "config.yaml").is_file() and not overwrite:
        if not resume:
            raise UsageError(f"The run {config.run} exists already: {again}")
        kept = read_config(folder / "config.yaml")
        if differing := config.differences(kept):
            raise UsageError(
                f"The run {config.run} exists with another configuration ({'; '.join(differing)} there): {again}"
            )
        if _facts(folder).get("fingerprint") != data.fingerprint:
            raise UsageError(f"The run {config.run} exists with other training rows: {again}")
    try:
        if overwrite and folder.is_dir():
            JournalWriter(folder / "journal.jsonl").close()  # somebody may be training it
            shutil.rmtree(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    write_atomically(folder / "data.json", json.dumps(_describe(data), indent=1, ensure_ascii=False) + "\n")
    # Last: a folder with a configuration is a run.
    write_atomically(folder / "config.yaml", config.to_yaml())
    return folder


def outcome(config: TuneConfig, folder: Path, ended: Ended, total_steps: int, memory: int) -> TuneOutcome:
    """What a run has come to, by its journal."""
    steps = [line for line in history(folder) if line["kind"] == "step"]
    return TuneOutcome(
        run=config.run,
        folder=folder,
        revisions=tuple(revisions(folder)),
        steps=max((int(line["step"]) for line in steps), default=0),
        total_steps=total_steps,
        ended=ended,
        tokens=sum(int(line["tokens"]) for line in steps),
        seconds=sum(float(line["seconds"]) for line in steps),
        memory=memory,
    )


def finished(config: TuneConfig, folder: Path) -> TuneOutcome | None:
    """What a run has come to that has nothing left to do; None for any other."""
    last = next((line for line in reversed(history(folder)) if line["kind"] == "end"), None)
    if last is None or last.get("ended") not in ("done", "early") or not revisions(folder):
        return None
    return outcome(config, folder, last["ended"], int(last["total_steps"]), int(last["memory"]))


def _facts(folder: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder / 'data.json'}: cannot be read: {error}; start afresh with --overwrite") from None
    return facts


def _describe(data: TuneData) -> dict[str, Any]:
    return {
        "fingerprint": data.fingerprint,
        "source": data.source,
        "layout": data.layout,
        "train": len(data.train),
        "validation": len(data.validation),
        "rejects": len(data.rejects),
        "remarks": list(data.remarks),
    }
