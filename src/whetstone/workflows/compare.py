"""Compare: several techniques answer the same frozen test cases, each in a run that can be resumed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from whetstone.evaluation.cross_fit import CrossFitted
from whetstone.evaluation.harness import Following, Unwatched, Watcher, evaluate
from whetstone.evaluation.metrics import Metric, deciding_metric
from whetstone.evaluation.report import Report, RunResult
from whetstone.evaluation.run import RunRecord, RunStore
from whetstone.evaluation.shots import with_shot_costs
from whetstone.evaluation.technique import Technique, TechniqueContext
from whetstone.evaluation.techniques import build_technique, default_techniques
from whetstone.evaluation.techniques.asked import Ask
from whetstone.models import ChatModel, load_model
from whetstone.prompting.families import family_of
from whetstone.prompting.library import PromptLibrary
from whetstone.storage.revisions import find_revision, revisions
from whetstone.types import Problem
from whetstone.workflows.case_passages import OpenPassages
from whetstone.workflows.frozen import keep_problem

EMBEDDED_MODEL = "smollm2"


class _Models:
    """Loads each spec once, and closes what it loaded."""

    def __init__(self, load: Callable[[str], ChatModel]) -> None:
        self._load = load
        self._loaded: dict[str, ChatModel] = {}

    def __call__(self, spec: str) -> ChatModel:
        if spec not in self._loaded:
            self._loaded[spec] = self._load(spec)
        return self._loaded[spec]

    def close(self) -> None:
        for model in self._loaded.values():
            model.close()


def compare(
    problem: Problem,
    techniques: Sequence[str] | None = None,
    *,
    models: Sequence[str] = (EMBEDDED_MODEL,),
    question: str | None = None,
    prompts: Sequence[str] = (),
    grid: str | None = None,
    seed: int = 42,
    store: RunStore | None = None,
    watcher: Watcher | None = None,
    retry_errors: bool = False,
    load: Callable[[str], ChatModel] = load_model,
    build: Callable[[str, TechniqueContext], Technique] = build_technique,
) -> Report:
    """Let techniques answer the test cases of a problem, and report on them.

    Interrupted at any moment, it keeps every answer; called again with the same arguments it asks only for the rest.

    Args:
        techniques: technique specs ("tfidf", "few-shot:nearest:3"); by default all that suit the problem. One that asks
            a language model runs once for each of `models`.
        models: model specs.
        question: what the language model is asked about each case, instead of the default for the problem's target.
        prompts: prompts of the library ("mine", "mine@2") in place of our own; a technique that asks with a prompt runs
            once for each. The variant for the model's family is taken where there is one.
        grid: the candidate numbers of techniques that read distributions, see `whetstone.numeric.grid`.
        seed: seed of every random choice.
        store: where runs are kept; `WHETSTONE_HOME` by default.
        watcher: is told of every answer.
        retry_errors: ask again where an earlier answer was an error.
        load: how a model spec becomes a model.
        build: how a technique's spec becomes a technique.

    Raises:
        UsageError: a technique or the metric is unknown, or cannot work on this problem.
        ModelError: a model cannot answer at all.
        StorageError: an answer cannot be kept.
    """
    problem = _with_fields(problem, deciding_metric(problem.kind, problem.metric))
    store = store or RunStore()
    loaded = _Models(load)
    passages = OpenPassages()
    try:
        specs = each_revision(techniques) if techniques is not None else default_techniques(problem)
        options = {name: value for name, value in (("question", question), ("grid", grid)) if value}
        planned = _plan(problem, specs, models, prompts, options, seed, loaded, passages, watcher or Unwatched(), build)
        keep_problem(store.home, problem)
        results: dict[int, RunResult] = {}
        # Those that ask no model go first: what is wrong with them is told before minutes or money are spent.
        order = sorted(enumerate(planned), key=lambda entry: entry[1].technique.model is not None)
        labels = {
            position: run_label(arm.technique.name, arm.technique.model, len(models), arm.prompt)
            for position, arm in order
        }
        if isinstance(watcher, Following):
            watcher.planned([labels[position] for position, _ in order])
        for position, arm in order:
            technique, label = arm.technique, labels[position]
            record = evaluate(problem, technique, store, watcher, label=label, retry_errors=retry_errors)
            results[position] = run_result(problem, record, label)
    finally:
        loaded.close()
        passages.close()
    return Report.build(problem, with_shot_costs([results[position] for position in sorted(results)]), seed=seed)


def _with_fields(problem: Problem, metric: Metric) -> Problem:
    """The problem with those fields pinned that its metric judges by, so that stored answers can be judged again."""
    there = problem.test[0].fields if metric.reads and len(problem.test) else {}
    more = tuple(name for name in metric.reads if name in there and name not in problem.pinned)
    return replace(problem, pinned=(*problem.pinned, *more)) if more else problem


@dataclass(frozen=True)
class _Arm:
    """A technique to run, and the prompt that it asks with, where several are compared."""

    technique: Technique
    prompt: str = ""


def _plan(
    problem: Problem,
    specs: Sequence[str],
    models: Sequence[str],
    prompts: Sequence[str],
    options: Mapping[str, str],
    seed: int,
    loaded: _Models,
    passages: OpenPassages,
    watcher: Watcher,
    build: Callable[[str, TechniqueContext], Technique],
) -> list[_Arm]:
    """The techniques to run, in order; built before the first one starts, so that a misspelt name costs nothing."""
    planned: list[_Arm] = []
    for spec, model in itertools.product(specs, models):
        if model != models[0] and planned[-1].technique.model is None:
            continue
        for prompt in prompts or ("",):
            context = TechniqueContext(
                seed=seed,
                load_model=loaded,
                model=model,
                options={**options, **({"template": _prompt_path(prompt, model)} if prompt else {})},
                open_passages=passages,
                progress=watcher.preparing,
            )
            technique = build(spec, context)
            asks = isinstance(technique, Ask)
            if technique.needs_training and problem.cross_fit and not len(problem.train):
                technique = CrossFitted(lambda spec=spec, context=context: build(spec, context))  # type: ignore[misc]
            planned.append(_Arm(technique, prompt if asks and len(prompts) > 1 else ""))
            if not asks:
                break
    return planned


def _prompt_path(prompt: str, model: str) -> str:
    """The file of a prompt of the library, for this model."""
    return str(PromptLibrary().find(prompt, family=family_of(model)).path)


def each_revision(specs: Sequence[str]) -> list[str]:
    """The specs, those of the form `tuned:RUN@each[:HOW]` once for each of the run's revisions.

    Raises:
        UsageError: there is no such run, or it has no revision.
    """
    found: list[str] = []
    for spec in specs:
        name, _, rest = spec.strip().partition(":")
        reference, colon, how = rest.partition(":")
        run, at, which = reference.partition("@")
        if name == "tuned" and at and which == "each":
            last = find_revision(run, "last")
            found += [f"tuned:{run}@{one.step}{colon}{how}" for one in revisions(last.folder.parent.parent)]
        else:
            found.append(spec)
    return found


def run_label(technique: str, model: str | None, models: int, prompt: str = "") -> str:
    """How a run is called in tables: its technique, and its prompt and its model where several are compared."""
    return " · ".join(filter(None, (technique, prompt, model if models > 1 else "")))


def run_result(problem: Problem, record: RunRecord, label: str) -> RunResult:
    """A stored run as one line of a report."""
    predictions = record.predictions(problem)
    notes = list(record.remarks)
    if record.header.get("cross_fit"):
        notes.append(f"cross-fitted, {record.header['cross_fit']} folds")
    if len(predictions) < len(problem.test):
        notes.append(f"only {len(predictions):,} of {len(problem.test):,} items answered so far")
    return RunResult.build(
        problem,
        predictions,
        label=label,
        technique=str(record.header["technique"]),
        model=record.header["model"],
        run_id=record.id,
        build_seconds=record.build_seconds,
        notes=tuple(notes),
        identity=record.header["identity"],
        ways=record.ways,
        training=record.training,
    )
