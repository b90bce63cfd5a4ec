"""`whet compare CARD`: a task card in place of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whetstone.datasets.build import BuiltProblem
    from whetstone.evaluation.technique import Technique, TechniqueContext


@dataclass(frozen=True)
class CardSource:
    """A card as the source of a comparison.

    Attributes:
        built: its cases as a problem.
        build: how the techniques that do the card are made from their specs.
    """

    built: BuiltProblem
    build: Callable[[str, TechniqueContext], Technique]


def card_source(source: str, metric: str | None, given: Mapping[str, Any]) -> CardSource | None:
    """The card that SOURCE names; None where it names data.

    Args:
        metric: the metric that decides, instead of the card's.
        given: options that are about data, by how they are written, with what was given.

    Raises:
        UsageError: one of these was given with a card.
        DataError: the card cannot be used.
    """
    from whetstone.datasets.build import BuiltProblem
    from whetstone.datasets.rejects import Rejects
    from whetstone.errors import UsageError
    from whetstone.workflows.task_compare import card_named, card_techniques
    from whetstone.workflows.task_problem import card_problem

    card = card_named(source)
    if card is None:
        return None
    for option, value in given.items():
        if value is not None and value is not False and value != []:
            raise UsageError(
                f"{source} is a task card, which brings its own cases and prompts: leave {option} out"
                + (f", or write ./{source} for a file of that name" if card.name == source else "")
            )
    return CardSource(BuiltProblem(card_problem(card, metric), Rejects(source), []), card_techniques(card))
