"""Anybody's guesses, replayed: a person's, another tool's, an earlier model's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from whetstone.errors import DataError, UsageError
from whetstone.evaluation.technique import TechniqueContext, digest
from whetstone.evaluation.techniques.guess_file import read_guess_file
from whetstone.evaluation.techniques.read_answer import read_answer
from whetstone.types import Case, Prediction, Problem


class Guesses:
    """`guesses:FILE` or `guesses:FILE#COLUMN`: the guesses in a file, matched to the test cases by id or by row.

    By id, if the file has a column `id` with the id of every test case; guesses for other cases are passed over. Else
    by row, in the order of the source: there must be one guess for each test case, or, where cases are known by their
    row number, one for each row of the source (rows that could not be used keep their number).
    """

    model: str | None = None
    needs_training = False

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        if not arguments:
            raise UsageError("guesses takes a file of guesses: guesses:human.csv")
        path, _, column = arguments.partition("#")
        self.name = f"guesses:{arguments}"
        self._file = read_guess_file(Path(path).expanduser(), column)
        self._problem: Problem
        self._guess_of: dict[str, str | float] = {}

    @property
    def identity(self) -> Mapping[str, Any]:
        # By content: the same guesses under another path are the same technique.
        column = self.name.partition("#")[2]
        return {"technique": "guesses", "sha256": hashlib.sha256(self._file.content).hexdigest(), "column": column}

    def fit(self, problem: Problem) -> None:
        self._problem = problem
        ids = [case.id for case in problem.test]
        matched = self._by_id(ids)
        self._guess_of = matched if matched is not None else self._by_row(ids)

    def _by_id(self, ids: Sequence[str]) -> dict[str, str | float] | None:
        if self._file.ids is None:
            return None
        guess_of: dict[str, str | float] = {}
        for row, (identifier, guess) in enumerate(zip(self._file.ids, self._file.guesses, strict=True), start=1):
            if identifier in guess_of:
                raise DataError(
                    f"{self._file.path}: the id {identifier!r} occurs twice, the second time in guess {row}"
                )
            guess_of[identifier] = guess
        missing = [identifier for identifier in ids if identifier not in guess_of]
        if len(missing) == len(ids):
            raise DataError(
                f"{self._file.path}: none of its ids is that of a test case: it has {self._file.ids[0]!r}, and "
                f"{self._problem.name} has {ids[0]!r}; leave the id column out to match by row"
            )
        if missing:
            raise DataError(
                f"{self._file.path}: no guess for {len(missing)} of {len(ids)} test cases, the first with the id "
                f"{missing[0]!r}"
            )
        return guess_of

    def _by_row(self, ids: Sequence[str]) -> dict[str, str | float]:
        guesses = self._file.guesses
        if len(guesses) == len(ids):
            order = sorted(ids, key=int) if _row_numbers(ids) else ids
            return dict(zip(order, guesses, strict=True))
        rows = self._problem.source.get("rows")
        if _row_numbers(ids) and len(guesses) == rows:
            return {identifier: guesses[int(identifier) - 1] for identifier in ids}
        every = f", or one for each of the {rows} rows of the source" if _row_numbers(ids) and rows else ""
        hint = "; if the first line is a header, call the column guess" if len(guesses) == len(ids) + 1 else ""
        raise DataError(
            f"{self._file.path}: {len(guesses)} guesses for {len(ids)} test cases; matched by row, there must be one "
            f"for each{every}; or add a column id{hint}"
        )

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return [digest("guess", case.id, self._guess_of[case.id]) for case in cases]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        for case, key in zip(cases, self.keys(cases), strict=True):
            guess = self._guess_of[case.id]
            # A JSON number is written one way; the unit, by which "1.299" in euros is 1299, has no say in it.
            problem = replace(self._problem, unit="") if isinstance(guess, float) else self._problem
            yield Prediction(case.id, key, read_answer(str(guess), problem), raw=str(guess))


def _row_numbers(ids: Sequence[str]) -> bool:
    """Whether cases are known by the number of their row, as they are where the source names no id."""
    return all(identifier.isascii() and identifier.isdigit() and identifier[0] != "0" for identifier in ids)
