"""Several techniques put together, with weights learnt from answers to cases that none of them had learnt from."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any

import numpy as np

from whetstone.datasets.balance import balanced_weights
from whetstone.errors import UsageError
from whetstone.evaluation.cross_fit import CrossFitted
from whetstone.evaluation.technique import WAYS, Classed, Remarking, Technique, TechniqueContext, Training, Way, digest
from whetstone.evaluation.techniques.aim import Aim, Floats, from_scale, loss, to_scale
from whetstone.evaluation.techniques.fitted import number_targets, problem_aim
from whetstone.types import Case, Prediction, Problem, Reading

_FEWEST = 20  # answers to learn weights from
_ENOUGH = 50  # validation cases to learn from; with fewer, answers to training cases, out of fold
_MOST_ASKED = 250  # training cases that a member which asks a model answers
_FOLDS = 5

_BALANCED = "balanced:"

Combine = Callable[[Floats], Floats]


class Ensemble:
    """`ensemble:A+B+C`: the specs of two techniques or more, put together; `ensemble:balanced:A+B+C` likewise.

    The members, fitted to the training cases alone, answer the validation cases; where those are few, they answer the
    training cases fold by fold (Wolpert 1992, "Stacked Generalization"). From these answers an offset and weights that
    are not negative are learnt (Breiman 1996, "Stacked Regressions"), which make small what the metric measures: the
    sum of absolute errors for MAE, of squared ones for RMSE, of squared ones of the logarithm for RMSLE. In their place
    stands the median or the mean of the members, where cross-validation finds that better. Then the members are fitted
    as they are when they stand alone. No test case has a part in it.

    With `balanced` each band of the true numbers has the same say in what is learnt: for test cases whose numbers are
    spread otherwise than those of the training cases (Shimodaira 2000, on covariate shift, weighs cases likewise).

    A member without a readable answer is replaced by the median of the others' answers to the case.
    """

    needs_training = True

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        from whetstone.evaluation.techniques import build_technique

        self._balanced = arguments.startswith(_BALANCED)
        specs = [spec.strip() for spec in arguments.removeprefix(_BALANCED).split("+")]
        if len(specs) < 2 or not all(specs):
            raise UsageError(
                f"ensemble takes two techniques or more (ensemble:tfidf+knn:10+lightgbm), not {arguments!r}"
            )
        self._make = [partial(build_technique, spec, context) for spec in specs]
        self._members: list[Technique] = [make() for make in self._make]
        self.name = f"ensemble:{_BALANCED * self._balanced}{'+'.join(member.name for member in self._members)}"
        self._context = context
        self._aim: Aim
        self._range = (0.0, 0.0)
        self._combine: Combine
        self._said: list[str] = []
        self._stamp = ""

    @property
    def model(self) -> str | None:
        return next((member.model for member in self._members if member.model is not None), None)

    @property
    def ways(self) -> tuple[Way, ...]:
        """Those of all members."""
        found = {way for member in self._members if isinstance(member, Classed) for way in member.ways}
        return tuple(way for way in WAYS if way in found)

    @property
    def training(self) -> Training | None:
        """What tuning took, each run once."""
        found = [member.training for member in self._members if isinstance(member, Classed)]
        runs = {one.source: one for one in found if one is not None}
        return reduce(Training.__add__, runs.values()) if runs else None

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"technique": self.name, "members": [dict(member.identity) for member in self._members]}

    @property
    def remarks(self) -> list[str]:
        """What was learnt, and what the members say."""
        said = [
            f"{member.name}: {remark}"
            for member in self._members
            if isinstance(member, Remarking)
            for remark in member.remarks
        ]
        return [*self._said, *said]

    def fit(self, problem: Problem) -> None:
        if problem.kind != "number":
            raise UsageError(f"{self.name} puts numbers together, and {problem.name} asks for a {problem.kind}")
        if not len(problem.train):
            raise UsageError(f"{self.name} learns from training cases, and {problem.name} has none")
        self._aim = problem_aim(problem)
        known = number_targets(problem.train)
        self._range = (float(known.min()), float(known.max()))
        asked, held_out = self._held_out(problem)
        answers = np.column_stack([_answers(member, asked) for member in held_out])
        truth = number_targets(asked)
        whole = np.isfinite(answers).any(axis=1)
        answers, truth = _filled(answers[whole]), truth[whole]
        if len(truth) < _FEWEST:
            raise UsageError(f"{self.name} learns from {_FEWEST} answers or more, and its members gave {len(truth)}")
        weights = balanced_weights(problem, truth.tolist()) if self._balanced else np.ones(len(truth))
        how, self._combine = self._learnt(answers, truth, weights)
        evenly = ", with every band of numbers counting the same" if self._balanced else ""
        self._said = [
            f"{how}, learnt from {len(truth):,} answers to cases that the members had not learnt from{evenly}"
        ]
        self._members = [make() for make in self._make]
        for member in self._members:
            member.fit(problem)
        self._stamp = digest(self.identity, problem.fingerprint, how)

    def _held_out(self, problem: Problem) -> tuple[Sequence[Case], list[Technique]]:
        """Cases to learn the weights from, and members fitted so that they have not seen them."""
        if len(problem.validation) >= _ENOUGH:
            # Without the validation cases, by which some members choose their settings.
            alone = replace(problem, validation=(), test=problem.validation)
            fitted = [make() for make in self._make]
            for member in fitted:
                member.fit(alone)
            return problem.validation, fitted
        cases = list(problem.train)
        if any(member.model is not None for member in self._members) and len(cases) > _MOST_ASKED:
            cases = random.Random(self._context.seed).sample(sorted(cases, key=lambda case: case.id), _MOST_ASKED)
        folded = replace(problem, train=(), validation=(), test=cases, cross_fit=_FOLDS, groups=())
        crossed: list[Technique] = [
            CrossFitted(make) if member.needs_training else make()
            for make, member in zip(self._make, self._members, strict=True)
        ]
        for member in crossed:
            member.fit(folded)
        return cases, crossed

    def _learnt(self, answers: Floats, truth: Floats, weights: Floats) -> tuple[str, Combine]:
        """The way of putting together with the smallest cross-validated loss, in words and as a function."""
        fold = np.random.default_rng(self._context.seed).permutation(len(truth)) % _FOLDS
        guessed = {name: np.empty(len(truth)) for name in _WAYS}
        for number in range(_FOLDS):
            learn, judge = fold != number, fold == number
            for name, way in _WAYS.items():
                _, combine = way(answers[learn], truth[learn], weights[learn], self._aim)
                guessed[name][judge] = self._clipped(combine(answers[judge]))
        best = min(_WAYS, key=lambda name: loss(self._aim, truth, guessed[name], weights))
        shares, combine = _WAYS[best](answers, truth, weights, self._aim)
        if not len(shares):
            return f"{best} of the members", combine
        told = ", ".join(f"{share:.2f} {one.name}" for share, one in zip(shares, self._members, strict=True))
        return f"weights {told}", combine

    def _clipped(self, values: Floats) -> Floats:
        return np.clip(values, *self._range)

    def keys(self, cases: Sequence[Case]) -> list[str]:
        of_members = [member.keys(cases) for member in self._members]
        return [digest(self._stamp, *keys) for keys in zip(*of_members, strict=True)]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        keys = self.keys(cases)
        given = [{one.case_id: one for one in member.predict(cases)} for member in self._members]
        table = np.array([[_number(found.get(case.id)) for found in given] for case in cases])
        values = np.full(len(cases), np.nan)
        answered = np.isfinite(table).any(axis=1)
        if answered.any():
            values[answered] = self._clipped(self._combine(_filled(table[answered])))
        for row, case in enumerate(cases):
            ours = [found[case.id] for found in given if case.id in found]
            reading = Reading("unparsable", note="no member has a readable answer")
            if np.isfinite(values[row]):
                told = "; ".join(f"{m.name} {v:.6g}" for m, v in zip(self._members, table[row], strict=True))
                reading = Reading("value", float(f"{values[row]:.9g}"), told)
            costs = [one.cost for one in ours]
            yield Prediction(
                case.id,
                keys[row],
                reading,
                seconds=sum(one.seconds for one in ours),
                cost=None if None in costs else sum(cost for cost in costs if cost is not None),
            )


def _answers(member: Technique, cases: Sequence[Case]) -> Floats:
    """A member's numbers, shape (len(cases),); NaN where an answer cannot be read."""
    found = {one.case_id: one for one in member.predict(cases)}
    return np.array([_number(found.get(case.id)) for case in cases])


def _number(prediction: Prediction | None) -> float:
    if prediction is None or not prediction.reading.ok or prediction.reading.value is None:
        return float("nan")
    return float(prediction.reading.value)


def _filled(answers: Floats) -> Floats:
    """Answers with the median of the row in place of those that could not be read; every row has one that could."""
    return np.where(np.isfinite(answers), answers, np.nanmedian(answers, axis=1, keepdims=True))


def _median(answers: Floats, truth: Floats, weights: Floats, aim: Aim) -> tuple[Floats, Combine]:
    return np.empty(0), lambda table: np.median(table, axis=1)


def _mean(answers: Floats, truth: Floats, weights: Floats, aim: Aim) -> tuple[Floats, Combine]:
    return np.empty(0), lambda table: from_scale(to_scale(table, aim).mean(axis=1), aim)


def _weighted(answers: Floats, truth: Floats, weights: Floats, aim: Aim) -> tuple[Floats, Combine]:
    """An offset and weights of the members that are not negative, and make the loss smallest."""
    scaled, goal = to_scale(answers, aim), to_scale(truth, aim)
    shares, offset = (_least_absolute if aim == "absolute" else _least_squares)(scaled, goal, weights)
    return shares, lambda table: from_scale(to_scale(table, aim) @ shares + offset, aim)


_WAYS: dict[str, Callable[[Floats, Floats, Floats, Aim], tuple[Floats, Combine]]] = {
    "the median": _median,
    "the mean": _mean,
    "weights": _weighted,
}


def _least_squares(table: Floats, goal: Floats, weights: Floats) -> tuple[Floats, float]:
    from scipy.optimize import nnls

    middle, height = np.average(table, axis=0, weights=weights), float(np.average(goal, weights=weights))
    root = np.sqrt(weights)
    shares, _ = nnls((table - middle) * root[:, None], (goal - height) * root)
    return shares, height - float(middle @ shares)


def _least_absolute(table: Floats, goal: Floats, weights: Floats) -> tuple[Floats, float]:
    """Least absolute deviations as a linear programme: what is over and what is under, both not negative."""
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, hstack

    count, members = table.shape
    prices = np.concatenate([np.zeros(members + 1), weights, weights])
    equations = hstack([table, np.ones((count, 1)), eye_array(count), -eye_array(count)]).tocsr()
    bounds = [(0, None)] * members + [(None, None)] + [(0, None)] * (2 * count)
    found = linprog(prices, A_eq=equations, b_eq=goal, bounds=bounds, method="highs")
    return np.asarray(found.x[:members]), float(found.x[members])
