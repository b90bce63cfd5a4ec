"""Cross-fitting: when every row is a test case, a trained technique answers each fold after training on the others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.technique import Classed, Remarking, Rereading, Technique, Training, Way
from whetstone.types import Case, Prediction, Problem


def assign_folds(groups: Sequence[str], folds: int) -> list[int]:
    """A fold for each case: cases of one group share it, folds hold nearly the same number of groups.

    Groups are dealt out in the order of their hash, so the assignment does not depend on the order of rows.
    """
    order = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest())
    fold_of = {group: index % folds for index, group in enumerate(order)}
    return [fold_of[group] for group in groups]


class CrossFitted:
    """A technique fitted once per fold, so that no case is answered by something trained on it.

    Args:
        make: builds a fresh, unfitted technique.
    """

    def __init__(self, make: Callable[[], Technique]) -> None:
        self._make = make
        self._first = make()
        self._fold_of: dict[str, int] = {}
        self._fitted: list[Technique] = []

    @property
    def name(self) -> str:
        return self._first.name

    @property
    def identity(self) -> Mapping[str, Any]:
        return {**self._first.identity, "cross_fitted": True}

    @property
    def model(self) -> str | None:
        return self._first.model

    @property
    def needs_training(self) -> bool:
        return True

    @property
    def ways(self) -> tuple[Way, ...]:
        return self._first.ways if isinstance(self._first, Classed) else ()

    @property
    def training(self) -> Training | None:
        return self._first.training if isinstance(self._first, Classed) else None

    def fit(self, problem: Problem) -> None:
        groups = list(problem.groups) or [case.id for case in problem.test]
        folds = min(problem.cross_fit, len(set(groups)))
        if folds < 2:
            raise UsageError(
                f"{self.name} needs training cases, and all rows of {problem.name} are duplicates of one another"
            )
        assigned = assign_folds(groups, folds)
        cases = list(problem.test)
        self._fold_of = {case.id: fold for case, fold in zip(cases, assigned, strict=True)}
        self._fitted = []
        for fold in range(folds):
            technique = self._first if fold == 0 else self._make()
            technique.fit(
                replace(
                    problem,
                    train=[case for case, of in zip(cases, assigned, strict=True) if of != fold],
                    validation=(),
                    test=[case for case, of in zip(cases, assigned, strict=True) if of == fold],
                    fingerprint=f"{problem.fingerprint}/fold{fold}of{folds}",
                    cross_fit=0,
                    groups=(),
                )
            )
            self._fitted.append(technique)

    @property
    def remarks(self) -> list[str]:
        """What the techniques of the folds say; what not all of them say, with the fold's number."""
        said = [list(technique.remarks) if isinstance(technique, Remarking) else [] for technique in self._fitted]
        common = [remark for remark in dict.fromkeys(chain(*said)) if all(remark in one for one in said)]
        own = [
            f"fold {number}: {remark}"
            for number, one in enumerate(said, start=1)
            for remark in one
            if remark not in common
        ]
        return [*common, *own]

    def _by_fold(self, cases: Sequence[Case]) -> Iterator[tuple[Technique, list[int]]]:
        for fold, technique in enumerate(self._fitted):
            indices = [i for i, case in enumerate(cases) if self._fold_of[case.id] == fold]
            if indices:
                yield technique, indices

    def keys(self, cases: Sequence[Case]) -> list[str]:
        keys = [""] * len(cases)
        for technique, indices in self._by_fold(cases):
            for index, key in zip(indices, technique.keys([cases[i] for i in indices]), strict=True):
                keys[index] = key
        return keys

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        for technique, indices in self._by_fold(cases):
            yield from technique.predict([cases[i] for i in indices])

    def reread(self, prediction: Prediction) -> Prediction:
        return self._first.reread(prediction) if isinstance(self._first, Rereading) else prediction
