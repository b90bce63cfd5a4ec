"""Linear regression on the fields; logistic regression for labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques.aim import Aim, Floats, from_scale, to_scale
from whetstone.evaluation.techniques.columns import FieldColumns, fields_digest
from whetstone.evaluation.techniques.fitted import (
    FittedTechnique,
    label_targets,
    no_arguments,
    number_targets,
    problem_aim,
)
from whetstone.types import Case, Problem

_MOST_CATEGORIES = 50  # per field; the rest share one column
_RARE = 5  # cases: a category with fewer shares that column too


class Linear(FittedTechnique):
    """Ordinary least squares on the fields: the technique a spreadsheet offers.

    Missing numbers become the median, with a column that says so; numbers are standardised; categories become one
    column each, rare and unknown ones share one. For RMSLE the target is log(1 + value). Labels: multinomial logistic
    regression. The text is not looked at.
    """

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        no_arguments("linear", arguments)
        super().__init__("linear", context)
        self._aim: Aim | None = None
        self._columns: FieldColumns
        self._pipeline: Any
        self._digest = ""

    def _learn(self, problem: Problem) -> None:
        self._columns = FieldColumns(problem.train)
        if not self._columns:
            raise UsageError(
                f"linear works on columns with numbers or categories, and {problem.name} has none that vary and repeat "
                "besides its text and target: use tfidf, knn or lightgbm"
            )
        numbers, categories = self._columns.numbers(problem.train), self._columns.categories(problem.train)
        self._digest = fields_digest(self._columns, numbers, categories)
        self._aim = problem_aim(problem) if problem.kind == "number" else None
        self._pipeline = _pipeline(len(self._columns.numeric), len(self._columns.categorical), self._aim is None)
        targets: Any = label_targets(problem.train)
        if self._aim is not None:
            targets = to_scale(number_targets(problem.train), self._aim)
        elif len(set(targets)) == 1:
            raise UsageError(f"linear needs two labels to tell apart, and every training case is {targets[0]!r}")
        self._pipeline.fit(_joined(numbers, categories), targets)

    def _learned_from(self) -> str:
        return self._digest

    def _answer(self, cases: Sequence[Case]) -> Floats | Sequence[str]:
        answers = self._pipeline.predict(_joined(self._columns.numbers(cases), self._columns.categories(cases)))
        return from_scale(answers, self._aim) if self._aim is not None else [str(label) for label in answers]


def _joined(numbers: Floats, categories: Any) -> Any:
    """One table of objects, numbers first, as a ColumnTransformer takes it."""
    import numpy as np

    return np.concatenate([numbers.astype(object), categories], axis=1)


def _pipeline(numeric: int, categorical: int, labels: bool) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    scaled = make_pipeline(
        FunctionTransformer(_as_floats), SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
    )
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=_RARE, max_categories=_MOST_CATEGORIES, sparse_output=False
    )
    columns = ColumnTransformer(
        [
            ("numbers", scaled, list(range(numeric))),
            ("categories", one_hot, list(range(numeric, numeric + categorical))),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=1000) if labels else LinearRegression())


def _as_floats(table: Any) -> Any:
    return table.astype(float)
