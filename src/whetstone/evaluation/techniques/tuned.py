"""A tuned model as a technique: the run's revision is asked, in any of the ways in which a model can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.technique import Classed, Remarking, Rereading, Technique, TechniqueContext, Training, Way
from whetstone.evaluation.techniques.examples import METHODS
from whetstone.evaluation.techniques.tuned_model import tuned_model, with_adapter
from whetstone.storage.revisions import find_revision
from whetstone.types import Case, Prediction, Problem

_ASKING = ("price", "calibrated", "ask", "few-shot", "hidden-ridge", "retrieved")


class Tuned:
    """`tuned:RUN[@REVISION][:HOW]`: the model of a tuning run, asked as it was tuned.

    REVISION is best (without one), last, or a step; a comparison takes "each" for all of them. HOW is a technique that
    asks a model, with its arguments ("calibrated:median", "price:mean", "hidden-ridge", "retrieved:KB:5"), or the
    arguments of `price` alone ("median", "nearest:3", "mean:nearest:3"): without any, `price` for a run on numbers,
    `ask` for others.

    It is the same as that technique with the model `BASE?adapter=RUN@REVISION`, whatever model the comparison asks.
    """

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        from whetstone.evaluation.techniques import build_technique

        reference, _, how = arguments.partition(":")
        run, _, which = reference.partition("@")
        if not run:
            raise UsageError(
                "tuned takes a tuning run, and how it is asked (tuned:RUN@best:median, tuned:RUN:nearest:3), not "
                f"{arguments!r}"
            )
        revision = find_revision(run, which or "best")
        spec = with_adapter(revision.base, f"{run}@{which or 'best'}")
        tuned = tuned_model(spec)
        numbers = tuned is not None and tuned.asked is not None and tuned.asked.kind == "number"
        self._asking: Technique = build_technique(_technique(how, numbers), replace(context, model=spec))
        self.name = f"tuned:{reference}" + (f":{how}" if how else "")

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._asking.identity, "tuned": self.name}

    @property
    def model(self) -> str | None:
        return self._asking.model

    @property
    def needs_training(self) -> bool:
        return self._asking.needs_training

    @property
    def ways(self) -> tuple[Way, ...]:
        return self._asking.ways if isinstance(self._asking, Classed) else ("tuning",)

    @property
    def training(self) -> Training | None:
        return self._asking.training if isinstance(self._asking, Classed) else None

    @property
    def remarks(self) -> Sequence[str]:
        return self._asking.remarks if isinstance(self._asking, Remarking) else ()

    def fit(self, problem: Problem) -> None:
        self._asking.fit(problem)

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return self._asking.keys(cases)

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        return self._asking.predict(cases)

    def reread(self, prediction: Prediction) -> Prediction:
        return self._asking.reread(prediction) if isinstance(self._asking, Rereading) else prediction


def _technique(how: str, numbers: bool) -> str:
    """The spec of the technique that asks the model.

    Args:
        how: as it was written behind the run.
        numbers: whether the run's rows ask for numbers.
    """
    name = how.partition(":")[0]
    if name in _ASKING:
        return how
    if not numbers and (not how or name in METHODS):
        return f"few-shot:{how}" if how else "ask"
    return f"price:{how}" if how else "price"
