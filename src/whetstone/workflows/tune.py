"""`whet tune` from end to end: data, checks, plan, training, what was forgotten, and what to make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from whetstone.evaluation.techniques.tuned_model import Asked, keep_asked
from whetstone.storage.revisions import history, run_folder
from whetstone.tokens.parity import Check
from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.findings import Evidence, Finding, diagnose, row_facts
from whetstone.tuning.rows import PackedRows, TuneData
from whetstone.tuning.tradeoff import Tradeoff, tradeoff
from whetstone.workflows.parity import check_parity
from whetstone.workflows.tune_metric import TaskMetric, task_metric

if TYPE_CHECKING:
    from whetstone.tokens.tokenizer import Tokenizer
    from whetstone.tuning.load import Base
    from whetstone.tuning.plan import Actual, Plan
    from whetstone.tuning.train import TuneOutcome, Watcher

Progress = Callable[[str, int, int], None]
Event = Mapping[str, Any]

# Where one of these fails, a model is trained on other tokens than it is asked with. The others are told.
_STOPPING: frozenset[Check] = frozenset(
    {"text", "ids", "bos", "generation prompt", "stop trained", "something trained"}
)
_LOOKED_AT = 2_000  # rows
_QUANTILES = 21


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
        actual: what it took, beside the plan; None where no step was done.
        tradeoff: what was learned against what was forgotten, by revision.
        findings: what is to blame, where tuning did not make the model better.
        remarks: what to make of it all, a sentence each; those of `tradeoff` and `findings` included.
    """

    prepared: Prepared
    outcome: TuneOutcome
    actual: Actual | None
    tradeoff: Tradeoff
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        outcome = self.outcome
        return {
            "run": outcome.run,
            "folder": str(outcome.folder),
            "base": self.prepared.config.base,
            "ended": outcome.ended,
            "steps": outcome.steps,
            "total_steps": outcome.total_steps,
            "tokens": outcome.tokens,
            "seconds": outcome.seconds,
            "tokens_per_second": outcome.tokens_per_second,
            "revisions": [revision.to_json() for revision in outcome.revisions],
            "best": outcome.best.to_json() if outcome.revisions else None,
            "plan": self.prepared.plan.to_json(),
            "checks": list(self.prepared.checks),
            "actual": None if self.actual is None else vars(self.actual),
            "tradeoff": self.tradeoff.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "remarks": list(self.remarks),
        }


def prepare(config: TuneConfig, *, progress: Progress | None = None) -> Prepared:
    """Read the rows, check them, and plan the run. Loads no weights.

    Args:
        progress: told `(what, done, total)`; the total is 0 where it is not known.

    Raises:
        UsageError, DataError: the configuration or the data cannot be used.
        MissingPackageError: tuning needs a package that is not installed.
        ModelFileError: the base's files are not what they should be.
    """
    from whetstone.tuning.data import load_data
    from whetstone.tuning.load import require_tuning
    from whetstone.tuning.replay import with_replay

    require_tuning()
    base, tokenizer = _base(config)
    apart = base.encoder_decoder
    data = load_data(config, tokenizer, encoder_decoder=apart, progress=progress)
    data = with_replay(data, config, tokenizer, encoder_decoder=apart, progress=progress)
    checks, ok = _template_check(base, tokenizer, progress) if data.chats else ((), True)
    return Prepared(config, data, plan_of(config, data), checks, ok)


def plan_of(config: TuneConfig, data: TuneData) -> Plan:
    """What a run on these rows will take. Loads no weights."""
    from whetstone.tuning.plan import make_plan

    return make_plan(config, data, _base(config)[0])


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
    from whetstone.tuning.train import tune

    prepared = prepared or prepare(config, progress=progress)
    data = prepared.data
    beginning = _Beginning(prepared, watcher)
    metric = task_metric(config, data)
    outcome = tune(config, data, metric=metric, watch=beginning, resume=resume, overwrite=overwrite)
    events = history(outcome.folder)
    found = tradeoff(events)
    better = improved(events, metric)
    findings = () if better else tuple(_findings(prepared, events, metric))
    return TuneReport(
        prepared,
        outcome,
        _settled(prepared, outcome),
        found,
        findings,
        (
            *_remarks(outcome, events, findings, better),
            *(f"{finding.sentence} {finding.advice}" for finding in findings),
            *(found.sentences() if found.points else ()),
        ),
    )


def improved(events: Sequence[Event], metric: TaskMetric | None = None) -> bool | None:
    """Whether the best revision is better than the base beyond doubt: on the same items, compared in pairs.

    Where the answers to each item are not known, its error has to lie below the interval of the base's; where the task
    has no error of its own, its loss below the base's.

    Args:
        events: a run's journal.
        metric: the run's own.

    Returns:
        None where the base was not measured, or nothing since.
    """
    by_step = {int(event["step"]): event for event in events if event.get("kind") == "validation"}
    base, others = by_step.get(0), [event for step, event in by_step.items() if step > 0]
    if base is None:
        return None
    key = "metric" if base.get("metric") is not None else "loss"
    best = min((event for event in others if event.get(key) is not None), key=lambda event: event[key], default=None)
    if best is None or base.get(key) is None:
        return None
    if metric is not None and "answers" in base and "answers" in best:
        surely = metric.surely_better(best["answers"], base["answers"])
        if surely is not None:
            return surely
    return bool(best[key] < (base.get("low", base[key]) if key == "metric" else base[key]))


class _Beginning:
    """Keeps beside a run, as soon as it has begun, how its rows ask and what was planned; tells the watcher the rest.

    Not earlier: until then the run of this name may be another one, and refused.
    """

    def __init__(self, prepared: Prepared, watcher: Watcher | None) -> None:
        self._prepared, self._watcher = prepared, watcher
        self._begun = False

    def told(self, event: Event) -> None:
        if not self._begun:
            self._keep()
            self._begun = True
        if self._watcher is not None:
            self._watcher.told(event)

    def stopped(self) -> bool:
        return self._watcher is not None and self._watcher.stopped()

    def stop_heard(self) -> None:
        from whetstone.tuning.run_log import HearsStop

        if isinstance(self._watcher, HearsStop):
            self._watcher.stop_heard()

    def _keep(self) -> None:
        from whetstone.tuning.plan import read_plan, write_plan

        config, data = self._prepared.config, self._prepared.data
        folder, problem = run_folder(config.run), data.problem
        if problem is None:
            keep_asked(folder, Asked(), None)
        else:
            numbers = [float(case.expected) for case in problem.train] if problem.kind == "number" else []
            shares = np.quantile(numbers, np.linspace(0, 1, _QUANTILES)) if numbers else np.empty(0)
            asked = Asked(problem.kind, data.form, config.question, tuple(shares.tolist()), _longest_prompt(data))
            keep_asked(folder, asked, problem.train)
        if not read_plan(folder):
            write_plan(folder, self._prepared.plan)


def _longest_prompt(data: TuneData) -> int | None:
    """Tokens of the longest prompt that asks for a number, where texts were cut to keep to it."""
    if data.form is None:
        return None
    rows = data.train if isinstance(data.train, PackedRows) else PackedRows.of(data.train)
    asks = ~np.isnan(rows.targets)
    if not (rows.cut[asks] > 0).any():
        return None
    return int(rows.prompt_lengths[asks].max())


def _base(config: TuneConfig) -> tuple[Base, Tokenizer]:
    from whetstone.tuning.load import find_base

    base = find_base(config.base)
    return base, load_tokenizer(str(base.source.folder))


def _template_check(base: Base, tokenizer: Tokenizer, progress: Progress | None) -> tuple[tuple[str, ...], bool]:
    """What the template check found, in words, and whether it passed."""
    if not tokenizer.template:
        return (), True
    if progress is not None:
        progress("checking the chat template", 0, 0)
    found = list(check_parity(str(base.source.folder)))
    bad = [finding for finding in found if not finding.good]
    if not bad:
        return (f"the chat template holds in {len(found)} checks: training and use make the same tokens",), True
    told = dict.fromkeys(f"template check, {one.check} ({one.path}): {one.detail}" for one in bad)
    return tuple(told), not any(one.check in _STOPPING for one in bad)


def _settled(prepared: Prepared, outcome: TuneOutcome) -> Actual | None:
    """What the run took, kept beside its plan."""
    from whetstone.tuning.plan import settle
    from whetstone.tuning.processes import process_number

    return settle(outcome.folder, prepared.plan) if process_number() == 0 else None


def _findings(prepared: Prepared, events: Sequence[Event], metric: TaskMetric | None) -> list[Finding]:
    """What is likely to blame for a run that made nothing better."""
    config, data = prepared.config, prepared.data
    _, tokenizer = _base(config)
    problem = data.problem
    number = problem is not None and problem.kind == "number"
    written = () if metric is None else metric.written
    # The end of an answer, and what templates write behind it.
    ends = frozenset(token.id for token in tokenizer.added if token.special) | frozenset(tokenizer.encode("\n").ids)
    return diagnose(
        Evidence(
            journal=events,
            facts=row_facts(data.train[:_LOOKED_AT], ends),
            epochs=config.num_train_epochs,
            completions=[expected for _, expected in written],
            replies=[reply for reply, _ in written],
            train_targets=[float(case.expected) for case in problem.train] if number and problem else (),
            test_targets=[float(case.expected) for case in problem.test] if number and problem else (),
        )
    )


def _remarks(
    outcome: TuneOutcome, events: Sequence[Event], findings: Sequence[Finding], better: bool | None
) -> Iterator[str]:
    """What the run came to, a sentence each."""
    if not outcome.revisions:
        yield f"{outcome.run} has no revision yet."
        return
    best = outcome.best
    by_step = {int(event["step"]): event for event in events if event.get("kind") == "validation"}
    base, now = by_step.get(0), by_step.get(best.step)
    measured = now is not None and now.get("metric") is not None
    key, name = ("metric", best.metric_name) if measured else ("loss", "validation loss")
    if now is not None and now.get(key) is not None:
        said = f"{outcome.run}@best is step {best.step:,} of {outcome.total_steps:,}: {name} {_with_ends(now, key)}"
        if base is not None and base.get(key) is not None:
            said += f"; the base has {_with_ends(base, key)}"
        yield f"{said}."
    if outcome.ended == "early":
        yield "It ended early, because validations got no better."
    if better is False:
        what = ". What may be to blame:" if findings else "; more steps, or more rows, may."
        yield f"Tuning did not make the model better beyond doubt{what}"


def _with_ends(event: Event, key: str) -> str:
    value = f"{event[key]:.4g}"
    if key == "metric" and event.get("low") is not None and event.get("high") is not None:
        value += f" (95 % interval {event['low']:.4g} to {event['high']:.4g})"
    return value
