"""How far one technique has come, and how well it does so far."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

from whetstone.evaluation.bands import BANDS, Band
from whetstone.evaluation.item_scores import item_score
from whetstone.evaluation.tables import dollars, seconds_in_words
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem


@dataclass
class Tally:
    """Counts and sums over the answers of one technique since it began, and over earlier ones that it is given.

    Attributes:
        label: what the technique is called.
        total: its cases.
        already: of them, those that had answers before.
        began, ended: `time.perf_counter`; None while it goes on.
        done: new answers.
        bands: how many answers have each grade, by letter.
        counted, sum, squares: of their errors (numbers), or of 1 - error, unreadable ones as 0 (labels and texts).
        cost: US dollars, where prices are known.
    """

    problem: Problem
    label: str
    total: int
    already: int
    began: float = field(default_factory=time.perf_counter)
    ended: float | None = None
    done: int = 0
    bands: Counter[str] = field(default_factory=Counter)
    counted: int = 0
    sum: float = 0.0
    squares: float = 0.0
    cost: float = 0.0

    def add(self, band: Band, error: float | None, cost: float | None) -> float | None:
        """Count a new answer; `error` as in `whetstone.evaluation.judged.Judged`.

        Returns:
            What the mean is of; None where the answer does not count.
        """
        self.done += 1
        self.cost += cost or 0.0
        return self.add_earlier(band, error)

    def add_earlier(self, band: Band, error: float | None) -> float | None:
        """Count an answer of an earlier run: it is no new one, and costs nothing now."""
        self.bands[band.letter] += 1
        value = error if self.problem.kind == "number" else 0.0 if error is None else 1.0 - error
        if value is not None:
            self.counted += 1
            self.sum += value
            self.squares += value * value
        return value

    def end(self) -> None:
        """Stop its clock."""
        self.ended = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return (time.perf_counter() if self.ended is None else self.ended) - self.began

    def describe(self) -> str:
        """ "mean error $42.10 ± 3.20 · G 12 O 3 R 4 U 1 · 8.2/s · 3 min 4 s to go · $0.02"."""
        rate = self.done / self.elapsed if self.elapsed > 0 else 0.0
        if self.ended is not None:
            clock = seconds_in_words(self.elapsed)
        else:
            clock = f"{seconds_in_words((self.total - self.already - self.done) / rate)} to go" if rate else ""
        return " · ".join(
            filter(
                None,
                (
                    self._mean(),
                    " ".join(f"{band.letter} {count:,}" for band in BANDS if (count := self.bands[band.letter])),
                    f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s" if rate else "",
                    clock,
                    dollars(self.cost) if self.cost else "",
                ),
            )
        )

    def _mean(self) -> str:
        """The mean so far, with half of its 95 % interval."""
        if not self.counted:
            return "no readable answer" if self.bands else ""
        mean = self.sum / self.counted
        variance = max(0.0, self.squares / self.counted - mean**2) / max(1, self.counted - 1)
        half = 1.96 * math.sqrt(variance) if self.counted > 1 else None
        if self.problem.kind == "number":
            name, shown, spread = "mean error", with_unit(mean, self.problem.unit), with_unit(half or 0.0, "")
        elif self.problem.kind == "label":
            name, shown, spread = "accuracy", f"{100 * mean:.1f} %", f"{100 * (half or 0.0):.1f}"
        else:
            name, shown, spread = f"mean {item_score(self.problem.metric).title}", f"{mean:.3f}", f"{half or 0.0:.3f}"
        return f"{name} {shown}" + ("" if half is None else f" ± {spread}")
