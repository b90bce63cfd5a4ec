"""The same answer to everything: what any other technique has to beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques.aim import Floats, centre
from whetstone.evaluation.techniques.fitted import FittedTechnique, label_targets, number_targets, problem_aim
from whetstone.types import Case, Problem


class Constant(FittedTechnique):
    """`constant[:mean|median|mode]`: a typical training answer, whatever the case.

    Without an argument, the one that the problem's metric rewards: the median for absolute errors, the mean for squared
    ones, the exponential of the mean logarithm for RMSLE, the most frequent label. Of equally frequent answers the mode
    is the smallest.
    """

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        if arguments not in ("", "mean", "median", "mode"):
            raise UsageError(f"constant takes mean, median or mode (constant:median), not {arguments!r}")
        super().__init__(f"constant:{arguments}" if arguments else "constant", context)
        self._which = arguments
        self._constant: float | str = 0.0

    def _learn(self, problem: Problem) -> None:
        if problem.kind == "label":
            if self._which in ("mean", "median"):
                raise UsageError(f"labels have no {self._which}: use constant:mode on {problem.name}")
            self._constant = _mode(label_targets(problem.train))
            return
        values = number_targets(problem.train)
        if self._which == "mode":
            self._constant = _mode(values.tolist())
        elif self._which == "mean":
            self._constant = float(values.mean())
        elif self._which == "median":
            self._constant = float(np.median(values))
        else:
            self._constant = float(centre(values[None, :], np.ones((1, len(values))), problem_aim(problem))[0])

    def _answer(self, cases: Sequence[Case]) -> Floats | Sequence[str]:
        if isinstance(self._constant, str):
            return [self._constant] * len(cases)
        return np.full(len(cases), self._constant)


def _mode(values: Sequence[float] | Sequence[str]) -> float | str:
    counts: Counter[float | str] = Counter(values)
    most = max(counts.values())
    return min(value for value, count in counts.items() if count == most)
