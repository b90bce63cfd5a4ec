"""A comparison as it runs, as the page shows it: each technique's answers, and their running mean with its band."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from whetstone.evaluation.bands import Band
from whetstone.evaluation.judged import judge_of
from whetstone.evaluation.tally import Tally
from whetstone.types import Case, Prediction, Problem

LATEST = 6  # answers that are shown as they come


@dataclass
class Arm:
    """One technique of a comparison.

    Attributes:
        label: as tables call it.
        tally: counts and sums; None before it starts.
        values: of each answer that counts, what the running mean is of, in the order in which they came.
        preparing: what it does before it starts: (what, done, total).
        done: it is through.
    """

    label: str
    tally: Tally | None = None
    values: list[float] = field(default_factory=list)
    preparing: tuple[str, int, int] | None = None
    done: bool = False


class LiveComparison:
    """Follows a comparison, and is looked at by the page from another thread.

    Args:
        problem: what is asked.
        tell: called at every step of the work; it does not return once the comparison was stopped.

    Attributes:
        arms: the techniques in the order in which they answer; [] until they are known.
        latest: the last answers of the technique at work, the newest last.
    """

    def __init__(self, problem: Problem, tell: Callable[[LiveComparison], None]) -> None:
        self.problem = problem
        self.arms: list[Arm] = []
        self.latest: deque[tuple[Case, Prediction, Band, float | None]] = deque(maxlen=LATEST)
        self._tell = tell
        self._judge = judge_of(problem)
        self._at = 0
        self._cases: dict[str, Case] = {}
        self._earlier: Sequence[Prediction] = ()
        self._lock = threading.Lock()

    def planned(self, labels: Sequence[str]) -> None:
        """These techniques will answer, in this order."""
        self.arms = [Arm(label) for label in labels]
        self._tell(self)

    def preparing(self, what: str, done: int, total: int) -> None:
        """A technique is being built, and has come so far."""
        if self._at < len(self.arms):
            self.arms[self._at].preparing = (what, done, total)
        self._tell(self)

    def opened(self, run: str, answers: Sequence[Prediction]) -> None:
        """The technique that starts next has these answers from an earlier run."""
        self._earlier = answers

    def start(self, label: str, total: int, already: int) -> None:
        """A technique begins."""
        arm = self._arm
        arm.label, arm.preparing = label, None
        arm.tally = Tally(self.problem, label, total, already)
        self._cases = self._cases or {case.id: case for case in self.problem.test}
        for answer in self._earlier:
            band, error = self._judge(self._cases[answer.case_id], answer)
            if (value := arm.tally.add_earlier(band, error)) is not None:
                arm.values.append(value)
        self._earlier = ()
        with self._lock:
            self.latest.clear()
        self._tell(self)

    def item(self, case: Case, prediction: Prediction) -> None:
        """A new answer."""
        arm, (band, error) = self._arm, self._judge(case, prediction)
        if arm.tally is not None and (value := arm.tally.add(band, error, prediction.cost)) is not None:
            arm.values.append(value)
        with self._lock:
            self.latest.append((case, prediction, band, error))
        self._tell(self)

    def finish(self) -> None:
        """The technique is through, or was stopped; it says nothing, since work that was stopped ends here."""
        arm = self._arm
        if arm.tally is not None:
            arm.tally.end()
            arm.done = arm.tally.already + arm.tally.done >= arm.tally.total
        self._at += 1

    def newest(self) -> list[tuple[Case, Prediction, Band, float | None]]:
        """The last answers, the newest first."""
        with self._lock:
            return list(reversed(self.latest))

    @property
    def _arm(self) -> Arm:
        return self.arms[self._at]
