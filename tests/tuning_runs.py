"""Makes tuning runs without tuning: revisions whose adapters are random, and what a run keeps beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import tiny_adapter
from whetstone.evaluation.techniques.tuned_model import Asked, keep_asked
from whetstone.storage.revision_files import write_revision
from whetstone.storage.revisions import Revision, revision_folder, run_folder
from whetstone.types import Case


def run(
    base: Path,
    name: str = "shop",
    *,
    errors: Sequence[float] = (30.0, 20.0, 25.0),
    asked: Asked | None = None,
    cases: Sequence[Case] | None = None,
    seconds: float = 60.0,
    price_per_hour: float | None = None,
) -> Path:
    """A run with a revision every ten steps, whose validation errors these are.

    Args:
        base: folder of the model.
        asked, cases: what the run keeps of its rows; nothing where `asked` is None.
        seconds: of each step that the journal tells of.
        price_per_hour: of the configuration.
    """
    folder = run_folder(name)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"base: hf:{base}\nprice_per_hour: {json.dumps(price_per_hour)}\n")
    lines = []
    for number, error in enumerate(errors, start=1):
        step = 10 * number
        lines.append({"kind": "step", "step": step, "loss": 1.0, "seconds": seconds})
        lines.append({"kind": "validation", "step": step, "metric": error, "seconds": 0.0})
        revision = Revision(
            run=name,
            step=step,
            folder=revision_folder(folder, step),
            epoch=number / len(errors),
            validation_loss=None,
            metric=error,
            metric_name="mean absolute error",
            base=f"hf:{base}",
        )
        write_revision(revision, lambda place, seed=number: fill(base, place, seed))  # type: ignore[misc]
    lines.append({"kind": "end", "step": 10 * len(errors), "ended": "done", "seconds": 1e6})
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if asked is not None:
        keep_asked(folder, asked, cases)
    return folder


def fill(base: Path, place: Path, seed: int) -> None:
    """Put an adapter into a folder; made once for each model and seed."""
    made = base.parent / f"adapter-{seed}"
    if not made.exists():
        tiny_adapter.adapter(base, made, tiny_adapter.ATTENTION, seed=seed, std=0.5)
    place.mkdir(parents=True, exist_ok=True)
    for file in made.iterdir():
        shutil.copyfile(file, place / file.name)
