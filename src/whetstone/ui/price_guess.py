"""A person guesses the items of a file on the page, without seeing their prices."""

from __future__ import annotations

from typing import Any

from whetstone.datasets.build import build_problem
from whetstone.errors import UsageError
from whetstone.types import Problem
from whetstone.ui.asked import Answered, Asked
from whetstone.ui.price_files import Kept, sent_file
from whetstone.workflows.guessing import Guessing
from whetstone.workflows.known_items import find_columns

MOST_ITEMS = 250


class GuessPages:
    """The problems that people guess. What they guess is kept by `Guessing`."""

    def __init__(self) -> None:
        self._problems: Kept[tuple[Problem, str]] = Kept("items")

    def open(self, asked: Asked) -> Answered:
        """Take a file of items, and begin, or go on where this person was."""
        name = str(asked.get("person", "")).strip()
        count = asked.get("items")
        if not isinstance(count, int) or not 1 <= count <= MOST_ITEMS:
            raise UsageError(f"how many items? A number from 1 to {MOST_ITEMS:,}")
        with sent_file(asked) as path:
            columns = find_columns(path)
            built = build_problem(path, text=columns.text, target=columns.price, id=columns.id, test_size=count)
        with Guessing(built.problem, name) as guessing:
            shown = _shown(guessing)
        return {"guess": self._problems.keep((built.problem, name)), **shown}

    def give(self, asked: Asked) -> Answered:
        """Take a guess; a refused one comes back with the reason under "again"."""
        seconds = asked.get("seconds")
        with self._open(asked) as guessing:
            taken = float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 86_400 else 0.0
            reading = guessing.give(str(asked.get("written", "")), taken)
            again = "" if reading.ok else f"That is no number that can be meant: {reading.note}."
            return {**_shown(guessing), "again": again}

    def back(self, asked: Asked) -> Answered:
        """Take the last guess back."""
        with self._open(asked) as guessing:
            guessing.back()
            return _shown(guessing)

    def _open(self, asked: Asked) -> Guessing:
        problem, name = self._problems.get(str(asked.get("guess")))
        return Guessing(problem, name)


def _shown(guessing: Guessing) -> dict[str, Any]:
    """What the page shows: the item without its price, how far it is, and the guesses as a file."""
    case = guessing.current
    error = guessing.mean_error
    return {
        "text": case.text if case is not None else "",
        "unit": guessing.problem.unit,
        "done": guessing.done,
        "total": len(guessing.cases),
        "error_of_all": "" if error is None else f"{guessing.problem.unit}{error:,.2f}",
        "csv": guessing.csv(),
        "file": f"guesses-{guessing.name}.csv",
    }
