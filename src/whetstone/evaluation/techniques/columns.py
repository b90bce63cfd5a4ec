"""The fields of cases as numeric and categorical columns."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.evaluation.techniques.aim import Floats
from whetstone.types import Case

MISSING = ""  # a category of its own: that a value is missing often says something


class FieldColumns:
    """Which fields of training cases can be used, and how; it is true if there are any.

    A field is numeric when every value in it is a number, a truth value, a date, or a text that spells a number. Else
    it is categorical, unless hardly any value repeats (more than half of them differ): such a field is an identifier
    or free text. Fields that never vary, and lists and objects, are left out.

    Args:
        cases: the training cases.

    Attributes:
        numeric, categorical: names of the usable fields, in the order of their first occurrence.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.numeric: list[str] = []
        self.categorical: list[str] = []
        rows = [case.fields for case in cases]
        for name in dict.fromkeys(name for row in rows for name in row):
            values = [value for row in rows if not _is_missing(value := row.get(name))]
            if any(isinstance(value, list | dict | tuple | bytes) for value in values):
                continue
            if all(_as_number(value) is not None for value in values):
                if len({_as_number(value) for value in values}) > 1:
                    self.numeric.append(name)
                continue
            distinct = len({str(value) for value in values})
            if distinct + (len(values) < len(rows)) > 1 and distinct <= len(values) / 2:
                self.categorical.append(name)

    def __bool__(self) -> bool:
        return bool(self.numeric or self.categorical)

    def numbers(self, cases: Sequence[Case]) -> Floats:
        """The numeric fields, shape (len(cases), len(numeric)); NaN where a value is missing or no number."""
        table = np.full((len(cases), len(self.numeric)), np.nan)
        for row, case in enumerate(cases):
            for column, name in enumerate(self.numeric):
                value = case.fields.get(name)
                number = None if _is_missing(value) else _as_number(value)
                if number is not None:
                    table[row, column] = number
        return table

    def categories(self, cases: Sequence[Case]) -> npt.NDArray[np.object_]:
        """The categorical fields as texts, shape (len(cases), len(categorical)); `MISSING` where there is no value."""
        table = np.full((len(cases), len(self.categorical)), MISSING, dtype=object)
        for row, case in enumerate(cases):
            for column, name in enumerate(self.categorical):
                value = case.fields.get(name)
                if not _is_missing(value):
                    table[row, column] = str(value)
        return table


class CategoryCodes:
    """Whole numbers for categories, the frequent ones first; one seen once or never in training is NaN (unknown).

    Args:
        table: categories of the training cases, shape (n, columns).
    """

    def __init__(self, table: npt.NDArray[np.object_]) -> None:
        self._codes: list[dict[str, int]] = []
        for column in table.T:
            counts = Counter(column.tolist())
            ranked = sorted((value for value, count in counts.items() if count > 1), key=lambda v: (-counts[v], v))
            self._codes.append({value: code for code, value in enumerate(ranked)})

    def __call__(self, table: npt.NDArray[np.object_]) -> Floats:
        """Codes, shape of `table`."""
        coded = np.full(table.shape, np.nan)
        for index, codes in enumerate(self._codes):
            coded[:, index] = [codes.get(value, np.nan) for value in table[:, index]]
        return coded


def fields_digest(columns: FieldColumns, numbers: Floats, categories: npt.NDArray[np.object_]) -> str:
    """A digest of the fields that were learned from, which a problem's fingerprint leaves out."""
    whole = hashlib.sha256(repr((columns.numeric, columns.categorical)).encode("utf-8", "surrogatepass"))
    whole.update(np.ascontiguousarray(numbers).tobytes())
    whole.update("\0".join(categories.ravel().tolist()).encode("utf-8", "surrogatepass"))
    return whole.hexdigest()[:24]


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and not value.strip()


def _as_number(value: Any) -> float | None:
    """A value as a finite number; None if it is none."""
    if isinstance(value, datetime):
        number = (value.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
    elif isinstance(value, date):
        number = float(value.toordinal())
    else:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
    return number if math.isfinite(number) else None
