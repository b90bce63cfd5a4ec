"""Ridge regression on TF-IDF vectors of the text: the strong plain baseline for short texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques.aim import Aim, Floats, from_scale, loss, to_scale
from whetstone.evaluation.techniques.fitted import (
    FittedTechnique,
    label_targets,
    no_arguments,
    number_targets,
    problem_aim,
)
from whetstone.evaluation.techniques.text_features import fit_tfidf
from whetstone.types import Case, Problem

_ALPHAS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_ENOUGH = 50  # validation cases to choose alpha by; with fewer, cross-validation within the training cases
_FOLDS = 5


class TfidfRidge(FittedTechnique):
    """Ridge regression on words and pairs of words; the ridge classifier for labels.

    The penalty is the one that does best, by the problem's metric, on the validation cases, or in cross-validation
    where those are few. For RMSLE the target is log(1 + value).
    """

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        no_arguments("tfidf", arguments)
        super().__init__("tfidf", context, seed=context.seed)
        self._aim: Aim | None = None
        self._vectorizer: Any
        self._ridge: Any

    def _learn(self, problem: Problem) -> None:
        self._aim = problem_aim(problem) if problem.kind == "number" else None
        self._vectorizer, table = fit_tfidf([case.text for case in problem.train], self.name)
        targets = self._targets(problem.train)
        if self._aim is None and len(set(targets.tolist())) == 1:
            raise UsageError(f"tfidf needs two labels to tell apart, and every training case is {targets[0]!r}")
        balanced = problem.metric == "macro_f1"
        trials = list(self._trials(problem, table, targets))
        losses = [
            sum(self._loss(self._fitted(alpha, balanced, *learn), *judge) for learn, judge in trials)
            for alpha in _ALPHAS
        ]
        self._ridge = self._fitted(_ALPHAS[int(np.argmin(losses))], balanced, table, targets)

    def _targets(self, cases: Sequence[Case]) -> Any:
        return number_targets(cases) if self._aim is not None else np.array(label_targets(cases), dtype=object)

    def _trials(self, problem: Problem, table: Any, targets: Any) -> Iterator[tuple[tuple[Any, Any], tuple[Any, Any]]]:
        """Pairs of (what to fit on, what to judge by), each vectors and targets."""
        if len(problem.validation) >= _ENOUGH:
            judged = self._vectorizer.transform([case.text for case in problem.validation])
            yield (table, targets), (judged, self._targets(problem.validation))
            return
        from sklearn.model_selection import KFold

        folds = min(_FOLDS, len(targets))
        for learn, judge in (
            KFold(folds, shuffle=True, random_state=self._context.seed).split(targets) if folds > 1 else ()
        ):
            if self._aim is not None or len(set(targets[learn].tolist())) > 1:
                yield (table[learn], targets[learn]), (table[judge], targets[judge])

    def _fitted(self, alpha: float, balanced: bool, table: Any, targets: Any) -> Any:
        from sklearn.linear_model import Ridge, RidgeClassifier

        if self._aim is None:
            weights = "balanced" if balanced else None
            return RidgeClassifier(alpha, solver="sparse_cg", class_weight=weights).fit(table, targets.astype(str))
        return Ridge(alpha, solver="sparse_cg").fit(table, to_scale(targets, self._aim).astype(np.float32))

    def _loss(self, ridge: Any, table: Any, targets: Any) -> float:
        if self._aim is None:
            return float((ridge.predict(table) != targets.astype(str)).mean())
        return loss(self._aim, targets, np.clip(from_scale(ridge.predict(table), self._aim), *self._range))

    def _answer(self, cases: Sequence[Case]) -> Floats | Sequence[str]:
        answers = self._ridge.predict(self._vectorizer.transform([case.text for case in cases]))
        return from_scale(answers, self._aim) if self._aim is not None else [str(label) for label in answers]
