"""What the techniques without a language model share: they learn once, then answer many cases at a time."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext, Training, Way, digest
from whetstone.evaluation.techniques.aim import Aim, Floats, aim_of
from whetstone.types import Case, Prediction, Problem, Reading

_AT_ONCE = 1000  # cases answered together; the first answers arrive early, and a kill costs little


class FittedTechnique(ABC):
    """A technique that learns from training cases.

    A subclass says how it learns and answers; this class checks the problem, keeps numbers within the range of the
    training targets (no technique here can know what lies beyond, and a linear model's negative prices would otherwise
    count as unreadable), and rounds them to nine significant digits, below which the order of a sum shows.

    Args:
        name: canonical, with arguments.
        context: of the comparison.
        settings: what else settles the answers, JSON-ready; part of the identity.
    """

    needs_training: ClassVar[bool] = True

    def __init__(self, name: str, context: TechniqueContext, **settings: Any) -> None:
        self.name = name
        self.identity: Mapping[str, Any] = {"technique": name, **settings}
        self._context = context
        self._stamp = ""
        self._range = (0.0, 0.0)

    @property
    def model(self) -> str | None:
        """The language model that is asked; none, unless a subclass says so."""
        return None

    @property
    def ways(self) -> tuple[Way, ...]:
        return ("fitting",)

    @property
    def training(self) -> Training | None:
        return None

    @abstractmethod
    def _learn(self, problem: Problem) -> None:
        """Learn from the training and validation cases."""

    @abstractmethod
    def _answer(self, cases: Sequence[Case]) -> Floats | Sequence[str]:
        """Numbers, shape (len(cases),), or labels. An answer does not depend on the other cases."""

    def _learned_from(self) -> Any:
        """What was learned from besides the problem's fingerprint, which leaves the fields out; JSON-ready."""
        return None

    def fit(self, problem: Problem) -> None:
        if problem.kind == "text":
            raise UsageError(f"{self.name} answers with numbers or labels, and {problem.name} asks for texts: use ask")
        if not len(problem.train):
            raise UsageError(f"{self.name} learns from training cases, and {problem.name} has none")
        if problem.kind == "number":
            targets = number_targets(problem.train)
            self._range = (float(targets.min()), float(targets.max()))
        self._learn(problem)
        self._stamp = digest(self.identity, problem.fingerprint, self._learned_from())

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return [digest(self._stamp, case.id, case.text, dict(case.fields)) for case in cases]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        for start in range(0, len(cases), _AT_ONCE):
            part = cases[start : start + _AT_ONCE]
            began = time.perf_counter()
            learned = self._answer(part)
            answers: Sequence[float | str] = learned if not isinstance(learned, np.ndarray) else self._kept(learned)
            seconds = (time.perf_counter() - began) / len(part)
            for case, key, answer in zip(part, self.keys(part), answers, strict=True):
                yield Prediction(case.id, key, Reading("value", answer), raw=str(answer), seconds=seconds, cost=0.0)

    def _kept(self, numbers: Floats) -> list[float]:
        return [float(f"{number:.9g}") for number in np.clip(numbers, *self._range).tolist()]


def no_arguments(name: str, arguments: str) -> None:
    """Refuse arguments.

    Raises:
        UsageError: there are some.
    """
    if arguments:
        raise UsageError(f"{name} takes no arguments, but {arguments!r} was given")


def number_targets(cases: Sequence[Case]) -> Floats:
    """True answers of a number problem, shape (len(cases),)."""
    return np.array([case.expected for case in cases], dtype=np.float64)


def label_targets(cases: Sequence[Case]) -> list[str]:
    """True answers of a label problem."""
    return [str(case.expected) for case in cases]


def problem_aim(problem: Problem) -> Aim:
    """What the metric of a number problem asks for."""
    return aim_of(problem.metric, number_targets(problem.train))
