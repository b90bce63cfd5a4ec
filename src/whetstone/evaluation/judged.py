"""Single answers beside the truth, each with its error and its grade: what the report shows item by item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whetstone.evaluation.bands import FAR, GOOD, UNREADABLE, Band, number_band, score_band
from whetstone.evaluation.item_scores import item_score
from whetstone.types import Case, Prediction, Problem

_LARGEST = 1e150  # of an error: as good as infinite, and its square is still finite


@dataclass(frozen=True, slots=True)
class Judged:
    """One answer to one test case.

    Attributes:
        number: position of the case among the test cases, from 1.
        case: what was asked.
        prediction: what was answered.
        band: its grade.
        error: how far off it is: |guess - truth| of a number, 0 or 1 of a label, 1 minus the score of a text
            (see `whetstone.evaluation.item_scores`); None where the answer could not be read.
    """

    number: int
    case: Case
    prediction: Prediction
    band: Band
    error: float | None


def judge(problem: Problem, predictions: Sequence[Prediction]) -> list[Judged]:
    """The answers in the order of the test cases; cases that have none yet are left out."""
    one = judge_of(problem)
    by_case = {prediction.case_id: prediction for prediction in predictions}
    judged = []
    for number, case in enumerate(problem.test, start=1):
        if (prediction := by_case.get(case.id)) is not None:
            band, error = one(case, prediction)
            judged.append(Judged(number, case, prediction, band, error))
    return judged


def judge_of(problem: Problem) -> Callable[[Case, Prediction], tuple[Band, float | None]]:
    """A function that grades one answer of this problem: (band, error as in `Judged`)."""
    score = item_score(problem.metric).score

    def text(value: float | str, case: Case) -> tuple[Band, float]:
        found = score(case, str(value))
        return score_band(found), 1 - found

    grade = {"number": _number, "label": _label, "text": text}[problem.kind]

    def one(case: Case, prediction: Prediction) -> tuple[Band, float | None]:
        value = prediction.reading.value
        if not prediction.reading.ok or value is None or value != value or value in (float("inf"), float("-inf")):
            return UNREADABLE, None
        return grade(value, case)

    return one


def _number(value: float | str, case: Case) -> tuple[Band, float]:
    guess, expected = float(value), float(case.expected)
    return number_band(guess, expected), min(abs(guess - expected), _LARGEST)


def _label(value: float | str, case: Case) -> tuple[Band, float]:
    return (GOOD, 0.0) if value == case.expected else (FAR, 1.0)
