"""A search for a better prompt: instructions and examples tried on the validation items, reported on the test items.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) suggests what to try next, and its Wilcoxon pruner
gives a choice up as soon as it is worse than the best one on the same items (signed-rank test, p < 0.1). A space that
is small enough is tried as a whole. No test item is looked at before a winner is chosen.

Every answer is kept. Killed at any instant, the same search goes through the same choices again, finds the answers that
it has, and asks only for the rest; so it ends where it would have ended, and no call is paid twice. This is why
optuna's own storage is not used: it would remember what was tried, but not the state of the sampler.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from whetstone.errors import MissingPackageError, UsageError
from whetstone.evaluation.harness import Watcher as AnswersWatcher
from whetstone.evaluation.harness import evaluate
from whetstone.evaluation.metrics import deciding_metric
from whetstone.evaluation.report import Report
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.technique import TechniqueContext, digest
from whetstone.evaluation.techniques import build_technique
from whetstone.models import ChatModel, load_model
from whetstone.prompting.template import load_template
from whetstone.storage.files import write_atomically
from whetstone.types import Problem, Usage
from whetstone.workflows.compare import EMBEDDED_MODEL, run_result
from whetstone.workflows.frozen import keep_problem
from whetstone.workflows.search_propose import Proposer
from whetstone.workflows.search_race import PIECE, Race, Trial, validation_problem
from whetstone.workflows.search_result import SearchResult, in_words, remarks
from whetstone.workflows.search_space import Choice, SearchSpace

INSTALL = "pip install 'whetstone-llm[tasks]'"
_LOST = 0.1  # p-value at which a choice has lost
_FIRST_ITEMS = 2 * PIECE  # before a choice can have lost
_WORST = 1e300  # optuna takes no infinite loss
_REPEATS = 20  # suggestions that were tried before, for each new one, until a search is taken for exhausted


@dataclass(frozen=True)
class SearchLimits:
    """What a search may take.

    Attributes:
        trials: choices that are tried.
        calls: requests on validation items, those for proposals included; the test items are not counted.
        items: validation items.
    """

    trials: int = 20
    calls: int = 1_000
    items: int = 100


class SearchWatcher(Protocol):
    """Somebody who looks on at a search."""

    def proposing(self, count: int) -> None:
        """A model is asked for so many questions."""
        ...

    def trying(self, number: int, choice: Choice, done: int, total: int) -> None:
        """A choice has answered so many of the items."""
        ...

    def tried(self, trial: Trial) -> None:
        """A choice is through, or was given up."""
        ...

    def proving(self) -> None:
        """The winner is chosen; it and the start answer the test items now."""
        ...


class _Nobody:
    def proposing(self, count: int) -> None:
        pass

    def trying(self, number: int, choice: Choice, done: int, total: int) -> None:
        pass

    def tried(self, trial: Trial) -> None:
        pass

    def proving(self) -> None:
        pass


def search_prompts(
    problem: Problem,
    space: SearchSpace,
    *,
    model: str = EMBEDDED_MODEL,
    limits: SearchLimits = SearchLimits(),
    propose: int = 0,
    proposer: str | None = None,
    seed: int = 42,
    store: RunStore | None = None,
    watcher: SearchWatcher | None = None,
    answering: AnswersWatcher | None = None,
    load: Callable[[str], ChatModel] = load_model,
) -> SearchResult:
    """Search for the best way to ask a model, and prove it on the test items.

    Args:
        space: what is chosen among; its start is what the winner is held against.
        model: who answers.
        propose: questions that a model is to propose besides, for the start's prompt.
        proposer: the model that proposes; the one that answers by default.
        seed: of everything random.
        store: where the runs on test items are kept; `WHETSTONE_HOME` by default.
        watcher: looks on at the search.
        answering: follows the answers to the test items.
        load: how a model spec becomes a model.

    Raises:
        UsageError: there are no validation items, or the space does not suit the problem.
        MissingPackageError: optuna is not installed.
        ModelError: a model cannot answer at all. Every answer so far is kept.
    """
    deciding_metric(problem.kind, problem.metric)
    _check(problem, space, limits, propose)
    store, watcher = store or RunStore(), watcher or _Nobody()
    loaded: dict[str, ChatModel] = {}

    def loading(spec: str) -> ChatModel:
        if spec not in loaded:
            loaded[spec] = load(spec)
        return loaded[spec]

    context = TechniqueContext(seed=seed, load_model=loading, model=model)
    try:
        asked = loading(model)
        on = validation_problem(problem, limits.items, seed)
        told = [problem.fingerprint, on.fingerprint, asdict(asked.identity), seed]
        name = re.sub(r"[^a-z0-9.]+", "-", problem.name.lower()).strip("-.")[:40] or "search"
        folder = store.home / "searches" / f"{name}-{digest(*told)[:10]}"
        calls, usage = 0, Usage()
        cost: float | None = 0.0
        if propose:
            watcher.proposing(propose)
            made = _proposed(problem, space, loading(proposer or model), seed, folder)
            start = space.start.instruction
            more = [replace(start, question=question, proposed=True) for question in made.propose(propose)]
            space = replace(space, instructions=(*space.instructions, *more))
            calls, usage, cost = made.calls, made.usage, made.cost
        race = Race(on, context, RunStore(folder), max(0, limits.calls - calls))
        trials, losses, stopped = _raced(race, space, limits, seed, watcher)
        calls, usage = calls + race.calls, usage + race.usage
        cost = None if cost is None or race.cost is None else cost + race.cost
        complete = [trial for trial in trials if trial.state == "complete"]
        if not complete:
            raise UsageError(
                f"{limits.calls:,} calls are too few for the start to answer {len(on.test):,} validation items: allow "
                "more calls, or fewer items"
            )
        winner = min(complete, key=lambda trial: (losses[trial.number], trial.number))
        watcher.proving()
        report = _on_test(problem, trials[0], winner, context, store, answering, seed)
    finally:
        for one in loaded.values():
            one.close()
    result = SearchResult(
        folder,
        tuple(trials),
        winner,
        len(space.choices()),
        calls,
        usage,
        cost,
        report,
        stopped,
        in_words(problem, trials, winner, report, calls, usage, cost),
        remarks(on, winner, trials),
    )
    write_atomically(folder / "result.json", json.dumps(result.to_json(), ensure_ascii=False, indent=1, default=str))
    return result


def _check(problem: Problem, space: SearchSpace, limits: SearchLimits, propose: int) -> None:
    if not len(problem.validation):
        raise UsageError(
            f"{problem.name} has no validation items to search on: give it some (a validation size above 0)"
        )
    if space.shots[-1] > len(problem.train):
        raise UsageError(
            f"{problem.name} has {len(problem.train):,} training cases to take examples from, and "
            f"{space.shots[-1]:,} are asked for"
        )
    if propose and "question" not in load_template(space.start.instruction.path).variables:
        raise UsageError(
            f"the prompt {space.start.instruction.name} has no variable 'question' for proposals to take the place of"
        )
    if propose and not len(problem.train):
        raise UsageError(f"{problem.name} has no training cases to show to the model that proposes questions")
    for name, number in (("trials", limits.trials), ("calls", limits.calls), ("items", limits.items)):
        if number < 1:
            raise UsageError(f"a search needs at least one of its {name}, not {number}")


def _proposed(problem: Problem, space: SearchSpace, model: ChatModel, seed: int, folder: Path) -> Proposer:
    start = space.start.instruction
    asked = start.question or f"What is the {problem.target.replace('_', ' ')}?"
    return Proposer(model, problem, asked, seed, folder / "proposals.jsonl")


def _raced(
    race: Race, space: SearchSpace, limits: SearchLimits, seed: int, watcher: SearchWatcher
) -> tuple[list[Trial], dict[int, float], str]:
    """Every trial, the loss of each, and why there are no more."""
    optuna = _optuna()
    study = optuna.create_study(
        direction="minimize", pruner=optuna.pruners.WilcoxonPruner(p_threshold=_LOST, n_startup_steps=_FIRST_ITEMS)
    )
    choices = space.choices()
    whole = len(choices) <= limits.trials
    rest = choices[1:]
    random.Random(seed).shuffle(rest)
    queue = [choices[0], *(rest if whole else ())]
    trials: list[Trial] = []
    losses: dict[int, float] = {}
    tried: dict[Choice, float] = {}
    attempts = 0
    while len(trials) < limits.trials and attempts < _REPEATS * limits.trials:
        if queue:
            study.enqueue_trial(space.parameters(queue.pop(0)))
        elif whole:
            break
        attempts += 1
        # A sampler of its own for each trial: what is suggested depends on what was tried, and on nothing else.
        study.sampler = optuna.samplers.TPESampler(seed=seed + attempts, n_startup_trials=_random_first(limits.trials))
        suggested = study.ask()
        choice = space.suggest(suggested)
        if choice in tried:
            study.tell(suggested, tried[choice])
            continue
        number = len(trials) + 1
        trial, loss = race.run(number, choice, suggested, partial(watcher.trying, number, choice))
        trials.append(trial)
        losses[number] = loss
        watcher.tried(trial)
        if trial.state == "out of calls":
            return trials, losses, f"the {limits.calls:,} calls are spent"
        tried[choice] = loss
        if trial.state == "lost":
            study.tell(suggested, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(suggested, min(loss, _WORST))
    if len(trials) == len(choices):
        return trials, losses, f"all {len(choices):,} choices were tried"
    return trials, losses, f"{len(trials):,} of {len(choices):,} choices were tried"


def _random_first(trials: int) -> int:
    """Trials that are drawn at random before the estimator has something to go by."""
    return max(3, min(10, trials // 3))


def _optuna() -> Any:
    import warnings

    try:
        import optuna
    except ImportError:
        raise MissingPackageError("optuna", "Searching for a prompt", INSTALL) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _on_test(
    problem: Problem,
    start: Trial,
    winner: Trial,
    context: TechniqueContext,
    store: RunStore,
    answering: AnswersWatcher | None,
    seed: int,
) -> Report:
    keep_problem(store.home, problem)
    arms = [("start", start.choice)] + ([("winner", winner.choice)] if winner is not start else [])
    results = []
    for name, choice in arms:
        label = f"{name}: {choice}"
        technique = build_technique(choice.technique, choice.context(context))
        record = evaluate(problem, technique, store, answering, label=label)
        results.append(run_result(problem, record, label))
    return Report.build(problem, results, seed=seed)
