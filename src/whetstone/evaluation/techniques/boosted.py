"""Gradient-boosted trees on the fields and on the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from whetstone import settings
from whetstone.embeddings import load_embedder
from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques.aim import Aim, Floats, from_scale, to_scale
from whetstone.evaluation.techniques.columns import CategoryCodes, FieldColumns, fields_digest
from whetstone.evaluation.techniques.fitted import (
    FittedTechnique,
    label_targets,
    number_targets,
    problem_aim,
)
from whetstone.evaluation.techniques.text_features import EmbeddedTexts, TextDimensions
from whetstone.types import Case, Problem

_TEXT_DIMENSIONS = 64
_MOST_TREES = 2000
_PATIENCE = 50  # trees without a better validation loss before growing stops
_FEW = 10  # training cases too few to hold any out
_HELD_OUT = 0.15  # share of the training cases to stop by, where there are few validation cases
_ENOUGH = 50
# Below this, one thread: OpenMP's threads spin while they wait for each other, dozens of times a tree. 1,000 rows
# on 2 busy cores took 42 s with two threads and 3.6 s with one; the trees are the same.
_MANY_ROWS = 20_000


class BoostedTrees(FittedTechnique):
    """`lightgbm[:embeddings]`: LightGBM (Ke et al. 2017) on numeric and categorical fields, and the text's dimensions.

    The text's dimensions are 64 of a truncated SVD of its TF-IDF vectors, or, with `embeddings`, MiniLM's 384. The
    former did better on 1,148 products without fields (82.6 against 87.6 MAE on held-out products), and take seconds
    for 50,000 texts where the latter take minutes. Where there are fields, trees are grown with and without the text,
    and those with the smaller loss on the validation cases are kept: a text that merely repeats the fields does harm
    (diamonds: 366 against 314 MAE).

    The loss is the metric's: absolute for MAE, squared for RMSE and R², squared of the logarithm for RMSLE. The
    number of trees is set by early stopping on the validation cases. Deterministic, whatever the number of threads.
    """

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        if arguments not in ("", "embeddings"):
            raise UsageError(f"lightgbm takes embeddings (lightgbm:embeddings) or nothing, not {arguments!r}")
        self._embedded = bool(arguments)
        more = {"embedder": load_embedder().name} if self._embedded else {}
        super().__init__("lightgbm:embeddings" if arguments else "lightgbm", context, seed=context.seed, **more)
        self._aim: Aim | None = None
        self._labels: list[str] = []
        self._columns: FieldColumns
        self._codes: CategoryCodes
        self._digest = ""
        self._text: TextDimensions | EmbeddedTexts | None = None  # None where the texts have no words
        self._trees: Any

    def _learn(self, problem: Problem) -> None:
        self._aim = problem_aim(problem) if problem.kind == "number" else None
        self._labels = sorted(set(label_targets(problem.train))) if self._aim is None else []
        if len(self._labels) == 1:
            raise UsageError(f"lightgbm needs two labels to tell apart, and every case is {self._labels[0]!r}")
        self._columns = FieldColumns(problem.train)
        numbers, categories = self._columns.numbers(problem.train), self._columns.categories(problem.train)
        self._digest = fields_digest(self._columns, numbers, categories)
        self._codes = CategoryCodes(categories)
        fields = np.concatenate([numbers, self._codes(categories)], axis=1)
        text = self._fit_text([case.text for case in problem.train])
        learn, stop, judges = self._division(problem)
        judged = self._features(judges) if judges is not None else np.concatenate([fields, text], axis=1)[stop]
        targets = self._targets(problem.train)
        goal = targets[stop] if judges is None else self._targets(judges)
        grown = [
            self._grow(problem.metric, table[learn], targets[learn], judged[:, : table.shape[1]], goal)
            for table in self._candidates(fields, text)
        ]
        self._trees = min(grown, key=_held_out_loss)

    def _candidates(self, fields: Floats, text: Floats) -> Iterator[Floats]:
        """The tables to grow trees on: the fields, and the fields with the text."""
        if fields.shape[1]:
            yield fields
        if text.shape[1]:
            yield np.concatenate([fields, text], axis=1)

    def _division(self, problem: Problem) -> tuple[Any, Any, Sequence[Case] | None]:
        """Rows of the training cases to learn from, and rows to stop by, or else the cases to stop by."""
        rows = np.arange(len(problem.train))
        known = [case for case in problem.validation if self._aim is not None or str(case.expected) in self._labels]
        if len(known) >= _ENOUGH:
            return rows, rows[:0], known
        if len(rows) < _FEW:
            return rows, rows, None
        order = np.random.default_rng(self._context.seed).permutation(len(rows))
        cut = round(len(rows) * _HELD_OUT)
        return order[cut:], order[:cut], None

    def _grow(self, metric: str, table: Floats, targets: Any, judged: Floats, goal: Any) -> Any:
        """Trees on a table, as many as are best for the targets `goal` of the table `judged`."""
        import lightgbm

        first = len(self._columns.numeric)
        categorical = list(range(first, first + len(self._columns.categorical)))
        parameters = self._parameters(len(targets))
        weights = _balancing(targets) if metric == "macro_f1" else None
        data = lightgbm.Dataset(table, targets, weight=weights, params=parameters, categorical_feature=categorical)
        return lightgbm.train(
            parameters,
            data,
            _MOST_TREES,
            valid_sets=[lightgbm.Dataset(judged, goal, reference=data)],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )

    def _targets(self, cases: Sequence[Case]) -> Any:
        if self._aim is not None:
            return to_scale(number_targets(cases), self._aim)
        return np.array([self._labels.index(label) for label in label_targets(cases)])

    def _fit_text(self, texts: Sequence[str]) -> Floats:
        """The dimensions of the training texts, shape (len(texts), at most 64, or 384 of embeddings)."""
        if self._embedded:
            self._text = EmbeddedTexts(texts, partial(self._context.progress, f"{self.name}: reading training texts"))
            return self._text.training
        try:
            self._text = TextDimensions(texts, _TEXT_DIMENSIONS, self._context.seed, self.name)
        except UsageError:
            if self._columns:
                return np.empty((len(texts), 0))
            raise
        return self._text.training

    def _features(self, cases: Sequence[Case]) -> Floats:
        parts = [self._columns.numbers(cases), self._codes(self._columns.categories(cases))]
        if self._text is not None:
            parts.append(self._text([case.text for case in cases]))
        return np.concatenate(parts, axis=1)

    def _parameters(self, rows: int) -> dict[str, Any]:
        goal: dict[str, Any] = {"objective": "l1" if self._aim == "absolute" else "l2"}
        if self._aim is None:
            goal = {"objective": "multiclass", "num_class": len(self._labels)}
        return {
            **goal,
            "learning_rate": 0.05,
            "num_leaves": 31,
            "min_data_in_leaf": 10,
            "feature_fraction": 0.7,
            "seed": self._context.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": settings.threads() if rows >= _MANY_ROWS else 1,
            "verbose": -1,
        }

    def _learned_from(self) -> str:
        return self._digest

    def _answer(self, cases: Sequence[Case]) -> Floats | Sequence[str]:
        answers = self._trees.predict(self._features(cases)[:, : self._trees.num_feature()])
        if self._aim is not None:
            return from_scale(answers, self._aim)
        return [self._labels[index] for index in np.argmax(answers, axis=1)]


def _held_out_loss(trees: Any) -> float:
    (losses,) = trees.best_score.values()
    return float(next(iter(losses.values())))


def _balancing(targets: Any) -> Any:
    """Weights with which every label counts the same, as macro F1 counts them."""
    from sklearn.utils.class_weight import compute_sample_weight

    return compute_sample_weight("balanced", targets)
