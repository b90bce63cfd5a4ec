"""A person guesses the same frozen items as the models, blind: one guess after the other, kept at once."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from whetstone import settings
from whetstone.errors import UsageError
from whetstone.numeric.reading import read_number
from whetstone.storage.files import write_atomically
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.types import Case, Problem, Reading


class Guessing:
    """One person's guesses at the test cases of a problem, in the order of these cases.

    Every guess is kept as soon as it is given, below `WHETSTONE_HOME/guesses`, under the problem's fingerprint and the
    person's name; who stops, goes on where they were. Close it, or use it in a `with` block: one program at a time may
    write a person's guesses.

    Args:
        problem: with numbers to guess.
        name: the person's: letters, digits and dashes.

    Raises:
        UsageError: the name is none, or the problem has no numbers to guess.
        StorageError: this person's guesses are being written by another program, or cannot be.
    """

    def __init__(self, problem: Problem, name: str) -> None:
        if not re.fullmatch(r"[\w-]{1,40}", name):
            raise UsageError(f"{name!r} is no name for a file: take letters, digits and dashes, such as anna")
        if problem.kind != "number":
            raise UsageError(f"{problem.name} asks for a {problem.kind}; only numbers are guessed here")
        self.problem = problem
        self.name = name
        self._journal = JournalWriter(settings.home() / "guesses" / f"{problem.fingerprint[:16]}-{name}.jsonl")
        self._guesses: dict[str, dict[str, Any]] = {}
        for entry in read_journal(self._journal.path):
            self._take(entry)
        self._asked = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others write. Closing twice is harmless."""
        self._journal.close()

    @property
    def cases(self) -> Sequence[Case]:
        """All items."""
        return self.problem.test

    @property
    def done(self) -> int:
        """How many are guessed."""
        return len(self._guesses)

    @property
    def current(self) -> Case | None:
        """The item to guess now; None when all are guessed."""
        return next((case for case in self.cases if case.id not in self._guesses), None)

    def give(self, written: str, seconds: float | None = None) -> Reading:
        """Take a guess at the current item. What holds no number that can be meant is not kept; its note says why.

        Args:
            seconds: how long it took, where somebody else has measured it.

        Raises:
            UsageError: all items are guessed.
            StorageError: it cannot be kept.
        """
        case = self.current
        if case is None:
            raise UsageError("all items are guessed")
        reading = read_number(written.strip(), unit=self.problem.unit, valid_range=self.problem.valid_range)
        if reading.ok:
            taken = round(time.monotonic() - self._asked if seconds is None else seconds, 1)
            entry = {"id": case.id, "guess": reading.value, "written": written.strip(), "seconds": taken}
            self._journal.append(entry)
            self._take(entry)
            self._asked = time.monotonic()
        return reading

    def back(self) -> Case | None:
        """Take the last guess back; its item is the current one again. None where there is no guess."""
        last = next(reversed(self._guesses), None)
        if last is None:
            return None
        entry = {"id": last, "guess": None}
        self._journal.append(entry)
        self._take(entry)
        self._asked = time.monotonic()
        return self.current

    @property
    def mean_error(self) -> float | None:
        """The mean absolute error of the guesses; None before all are given, so that nobody learns from it."""
        if self.current is not None or not self.cases:
            return None
        guesses = {identifier: float(entry["guess"]) for identifier, entry in self._guesses.items()}
        return sum(abs(guesses[case.id] - float(case.expected)) for case in self.cases) / len(self.cases)

    def csv(self) -> str:
        """The guesses so far as CSV: id, guess, and the seconds that each took."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "guess", "seconds"])
        for case in self.cases:
            entry = self._guesses.get(case.id)
            if entry is not None:
                writer.writerow([case.id, f"{entry['guess']:.15g}", entry["seconds"]])
        return text.getvalue()

    def write(self, path: Path) -> None:
        """Write `csv` to a file, which the technique `guesses:FILE` reads once all items are guessed.

        Raises:
            StorageError: it cannot be written.
        """
        write_atomically(path, self.csv())

    def _take(self, entry: dict[str, Any]) -> None:
        self._guesses.pop(entry["id"], None)
        if entry["guess"] is not None:
            self._guesses[entry["id"]] = entry
