"""Which column is what: the text to answer from, the true answer, the id, the group, and the fields beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import polars as pl

from whetstone.datasets.cells import numbers_where_all_are
from whetstone.errors import DataError, UsageError

# By default a text column is a field when it looks like a category: short (a few dirty cells aside), and at least half
# of its cells repeat.
LONGEST_CATEGORY = 60
MOSTLY = 0.95
_MOST_LISTED = 40


@dataclass(frozen=True)
class Columns:
    """The columns of a source by their part in a problem.

    Attributes:
        text: joined with newlines, they are what a technique answers from.
        target: the true answer.
        id: names each case; None for the number of its row.
        group: rows of one group never come into different splits; None for duplicates only.
        fields: what techniques on tabular data may use. None for every other column that holds numbers, truth values or
            categories (95 % of the texts have at most 60 characters, and at least half of them repeat), judged by the
            first 10,000 rows.
    """

    text: tuple[str, ...]
    target: str
    id: str | None = None
    group: str | None = None
    fields: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.target and self.target in self.text:
            raise UsageError(
                f"The column {self.target!r} is both text and target: the answer would stand in the question"
            )
        if self.fields is not None and self.target in self.fields:
            raise UsageError(f"The target {self.target!r} cannot be one of the fields")

    @property
    def needed(self) -> list[str]:
        """Every column that is used, once."""
        extra = [name for name in (self.id, self.group) if name is not None]
        return list(dict.fromkeys([*self.text, self.target, *extra, *(self.fields or ())]))

    def with_fields(self, fields: Sequence[str]) -> Columns:
        """The same with these fields."""
        return replace(self, fields=tuple(fields))

    def resolve(self, sample: pl.DataFrame, source: str) -> Columns:
        """With the fields settled, from the first rows of the source.

        Raises:
            DataError: a column is missing; near matches and all columns are named.
        UsageError: text or target was not said.
        """
        if not self.text or not self.target:
            raise UsageError(
                f"Say which column of {source} holds the text and which one the target; its columns: "
                f"{_listed(sample.columns)}"
            )
        for name in self.needed:
            if name not in sample.columns:
                raise _missing(name, sample.columns, source)
        if self.fields is not None:
            return self
        used = set(self.needed)
        others = [name for name in sample.columns if name not in used]
        return replace(self, fields=tuple(name for name in others if _is_field(sample, name)))


def _missing(name: str, columns: Sequence[str], source: str) -> DataError:
    folded = {column.casefold(): column for column in columns}
    near = [folded[match] for match in get_close_matches(name.casefold(), list(folded), n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return DataError(f"{source} has no column {name!r}.{hint} Its columns: {_listed(columns)}")


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _MOST_LISTED} more" if len(columns) > _MOST_LISTED else ""
    return ", ".join(columns[:_MOST_LISTED]) + more


def _is_field(sample: pl.DataFrame, name: str) -> bool:
    column = numbers_where_all_are(sample.select(name), [name])[name]
    cells = column.drop_nulls()
    if cells.is_empty():
        return False
    if cells.dtype != pl.String:
        return True
    short = (cells.str.len_chars() <= LONGEST_CATEGORY).sum()
    return short >= MOSTLY * len(cells) and cells.n_unique() <= max(2, len(cells) / 2)


def joined_text(names: Sequence[str]) -> pl.Expr:
    """The text columns as one: filled cells only, a newline between; "" where none is filled.

    A single column is passed on without a copy, which for a large file is half of the memory.
    """
    cells = [pl.col(name).cast(pl.String) for name in names]
    if len(cells) == 1:
        return cells[0].fill_null("")
    return pl.concat_str([pl.when(is_filled(cell)).then(cell) for cell in cells], separator="\n", ignore_nulls=True)


def is_filled(cell: pl.Expr) -> pl.Expr:
    """Whether a text holds anything but blanks; null for null."""
    return cell.str.contains(r"\S")
