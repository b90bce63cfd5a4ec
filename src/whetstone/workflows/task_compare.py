"""Task cards in comparisons: `whet compare summarize -m A -m B --shots 0,1,3`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from whetstone.evaluation.harness import Watcher
from whetstone.evaluation.report import Report
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.technique import Technique, TechniqueContext
from whetstone.models import ChatModel, load_model
from whetstone.tasks import Card, load_card
from whetstone.tasks.card import NAMES
from whetstone.workflows.compare import EMBEDDED_MODEL, compare
from whetstone.workflows.shot_curve import DEFAULT_METHOD, shot_arms
from whetstone.workflows.task_problem import card_problem
from whetstone.workflows.task_technique import TaskTechnique


def card_named(source: str) -> Card | None:
    """The card that a comparison's source names: one of ours, or the folder of the user's own; None for other sources.

    A file of the name of one of our cards is meant by its path: ./summarize.

    Raises:
        DataError: the folder holds a card.yaml that is none.
    """
    if source in NAMES:
        return load_card(source)
    folder = Path(source)
    if not (folder / "card.yaml").is_file():
        return None
    return load_card(source if "/" in source else f"./{source}")


def card_techniques(card: Card) -> Callable[[str, TechniqueContext], Technique]:
    """How the techniques of a card's comparison are built from their specs, see `TaskTechnique`."""
    return lambda spec, context: TaskTechnique(card, spec, context)


def compare_card(
    card: Card,
    *,
    shots: Sequence[int] = (0,),
    method: str = DEFAULT_METHOD,
    models: Sequence[str] = (EMBEDDED_MODEL,),
    metric: str | None = None,
    seed: int = 42,
    store: RunStore | None = None,
    watcher: Watcher | None = None,
    retry_errors: bool = False,
    load: Callable[[str], ChatModel] = load_model,
) -> Report:
    """Let models do a card's test cases, with so many of its training cases shown as examples, and report on them.

    Interrupted at any moment, it keeps every answer; called again, it asks only for the rest.

    Args:
        shots: numbers of examples; each is a run for each model.
        method: how examples are chosen: fixed, random, balanced or nearest.
        metric: the metric that decides, instead of the card's.

    Raises:
        UsageError: the card does not suit a model, or has too few training cases.
        ContainmentError: the cases are programs to be run, and this machine has no guards for that.
        ModelError: a model cannot answer at all.
        StorageError: an answer cannot be kept.
    """
    problem = card_problem(card, metric)
    return compare(
        problem,
        shot_arms(problem, shots, method),
        models=models,
        seed=seed,
        store=store,
        watcher=watcher,
        retry_errors=retry_errors,
        load=load,
        build=card_techniques(card),
    )
