"""`whet tune` from end to end: data, checks, plan, training, what was forgotten, and what to make of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whetstone.tuning.config import TuneConfig
from whetstone.tuning.rows import TuneData

if TYPE_CHECKING:
    from whetstone.tuning.plan import Plan
    from whetstone.tuning.probe import ProbeResult
    from whetstone.tuning.train import TuneOutcome, Watcher

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Prepared:
    """What is known of a run before its first step.

    Attributes:
        config: as asked for.
        data: the rows as token ids.
        plan: what the run will take.
        checks: what the template check found, a sentence each; () where rows are plain text.
        ok: whether the template check passed.
    """

    config: TuneConfig
    data: TuneData
    plan: Plan
    checks: tuple[str, ...]
    ok: bool


@dataclass(frozen=True)
class TuneReport:
    """What came of a run.

    Attributes:
        prepared: what was known before.
        outcome: of the training itself.
        probes: what the model could do besides the task, by step; step 0 is the base.
        remarks: what to make of it all, a sentence each.
    """

    prepared: Prepared
    outcome: TuneOutcome
    probes: tuple[tuple[int, ProbeResult], ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        raise NotImplementedError


def prepare(config: TuneConfig, *, progress: Progress | None = None) -> Prepared:
    """Read the rows, check them, and plan the run. Loads no weights.

    Args:
        progress: told `(what, done, total)`.

    Raises:
        UsageError, DataError: the configuration or the data cannot be used.
    """
    raise NotImplementedError


def run_tuning(
    config: TuneConfig,
    *,
    prepared: Prepared | None = None,
    watcher: Watcher | None = None,
    resume: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TuneReport:
    """Tune a model, and measure what it has learned and what it has forgotten.

    Killed at any instant and called again with the same configuration, it goes on where it was.

    Args:
        prepared: what `prepare` gave for this configuration, to spare doing it again.
        watcher: told every line of the run's journal, and asked at each step whether to stop.
        resume: go on with a run of this name where it stopped.
        overwrite: start afresh, and remove what a run of this name had.
        progress: told `(what, done, total)` while rows are read.

    Raises:
        UsageError, DataError, ModelError, StorageError: it cannot begin, or cannot go on; what was saved stays.
    """
    raise NotImplementedError
