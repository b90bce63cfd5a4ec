"""The answers of one run beside the truth, as arrays in the order of the test cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whetstone.errors import DataError
from whetstone.types import Case, Prediction, Problem, Reading, TargetKind


@dataclass(frozen=True)
class Answers:
    """What one technique answered to the n cases that it was asked, and what is true.

    Attributes:
        kind: what an answer is.
        positions: (n,) position of each case among `problem.test`, ascending.
        truth: (n,) floats, or a list of n strings.
        guess: (n,) floats, NaN where unreadable; or a list of n strings, None where unreadable.
        readable: (n,) whether the answer could be read. Not so: refused, unparsable, out of range, or an error.
        origin: mean truth of all test cases of a number problem.
        cases: the n cases of a text problem, for metrics that look at what was asked; () otherwise.
    """

    kind: TargetKind
    positions: NDArray[np.int64]
    truth: Any
    guess: Any
    readable: NDArray[np.bool_]
    origin: float = 0.0
    cases: Sequence[Case] = ()

    @property
    def error(self) -> NDArray[np.float64]:
        """Guess minus truth, (n,), of a number problem; NaN where unreadable."""
        return np.asarray(self.guess - self.truth)

    def graded(self, grade: Callable[[Case, str], float], unread: float = 0.0) -> NDArray[np.float64]:
        """What `grade` gives for each answer of a text problem, (n, 1); `unread` where it could not be read."""
        pairs = zip(self.cases, self.guess, strict=True)
        grades = [unread if guess is None else grade(case, guess) for case, guess in pairs]
        return np.array(grades, dtype=np.float64).reshape(-1, 1)

    @cached_property
    def rouge(self) -> NDArray[np.float64]:
        """ROUGE-1 and ROUGE-L F-measures, (n, 2), of a text problem; an unreadable answer has 0."""
        from whetstone.evaluation.rouge import rouge_f

        pairs = zip(self.truth, self.guess, strict=True)
        return np.array([(0.0, 0.0) if guess is None else rouge_f(truth, guess) for truth, guess in pairs])


def align(problem: Problem, predictions: Sequence[Prediction]) -> Answers:
    """The answers in the order of the test cases; cases without a prediction are left out.

    Raises:
        DataError: a prediction on a case that is not a test case of the problem, or two on the same case.
    """
    by_case: dict[str, Reading] = {}
    for prediction in predictions:
        if prediction.case_id in by_case:
            raise DataError(f"case {prediction.case_id!r} of {problem.name} is answered twice in one run")
        by_case[prediction.case_id] = prediction.reading
    positions: list[int] = []
    truth: list[Any] = []
    guess: list[Any] = []
    cases: list[Case] = []
    total = 0.0
    for position, case in enumerate(problem.test):
        if problem.kind == "number":
            total += float(case.expected)
        reading = by_case.pop(case.id, None)
        if reading is not None:
            positions.append(position)
            if problem.kind == "text":
                cases.append(case)
            truth.append(case.expected)
            guess.append(reading.value if reading.ok else None)
    if by_case:
        raise DataError(f"there is an answer to {next(iter(by_case))!r}, which is no test case of {problem.name}")
    index = np.array(positions, dtype=np.int64)
    if problem.kind != "number":
        readable = np.array([value is not None for value in guess], dtype=bool)
        return Answers(problem.kind, index, truth, guess, readable, cases=cases)
    numbers = np.array([math.nan if value is None else value for value in guess], dtype=np.float64)
    numbers[~np.isfinite(numbers)] = math.nan
    origin = total / max(1, len(problem.test))
    return Answers("number", index, np.array(truth, dtype=np.float64), numbers, ~np.isnan(numbers), origin)
