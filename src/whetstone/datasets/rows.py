"""From a source to usable rows: read, columns mapped, targets checked, bad rows set aside."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.columns import Columns, is_filled, joined_text
from whetstone.datasets.readers import ReadOptions, Source, read_rows
from whetstone.datasets.rejects import Rejects
from whetstone.datasets.targets import CURRENCIES, infer_kind, infer_unit, number_and_reason, text_and_reason
from whetstone.errors import DataError
from whetstone.types import TargetKind

ID = "whetstone:id"
TEXT = "whetstone:text"
EXPECTED = "whetstone:expected"
GROUP = "whetstone:group"


@dataclass(frozen=True)
class Target:
    """What a true answer must be. None is inferred from the column.

    Attributes:
        kind: number, label or text.
        unit: the unit of numbers.
        minimum: a number below it is rejected; None is 0 for money, and no limit else.
        maximum: a number above it is rejected; beyond a million million it is rejected in any case.
    """

    kind: TargetKind | None = None
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class UsableRows:
    """The good rows of a source.

    Attributes:
        frame: `ROW`, `LINE`, `ID`, `TEXT`, `EXPECTED` (Float64 for numbers, else String), `GROUP` if there is a group
            column, and the fields under their own names.
        columns: with the fields settled.
        target: with kind, unit and minimum settled.
        total: number of data rows, rejected ones included.
    """

    frame: pl.DataFrame
    columns: Columns
    target: Target
    total: int


def usable_rows(
    source: Source,
    columns: Columns,
    target: Target,
    rejects: Rejects,
    options: ReadOptions | None = None,
    notes: list[str] | None = None,
    *,
    only_fields_found: bool = False,
) -> UsableRows:
    """Read a source and keep its good rows; the bad ones go to `rejects`.

    Args:
        source: where the rows are.
        columns: which column is what.
        target: what a true answer must be.
        rejects: takes the bad rows.
        options: how to read.
        notes: takes remarks for the user.
        only_fields_found: leave out fields that the source lacks, instead of refusing it.

    Raises:
        DataError: the source cannot be read, a column is missing, ids repeat, or most rows are bad.
    """
    settled = columns

    def choose(sample: pl.DataFrame) -> list[str]:
        nonlocal settled
        if only_fields_found and columns.fields is not None:
            settled = columns.with_fields([name for name in columns.fields if name in sample.columns])
        settled = settled.resolve(sample, rejects.source)
        return settled.needed

    raw = read_rows(source, choose, rejects, options, notes)
    total = raw.height + len(rejects)
    rejects.refuse_most(total)
    target = _settled(target, settled.target, raw[settled.target])
    reasons = _reasons(settled, target, raw)
    judged = raw.lazy().with_columns(reasons).collect()
    bad = judged.filter(pl.col(_REASON).is_not_null())
    _set_aside(bad, settled, rejects, total)
    good = judged.filter(pl.col(_REASON).is_null())
    group = [_group(settled.group)] if settled.group is not None else []
    frame = good.select(ROW, LINE, ID, TEXT, EXPECTED, *group, *(settled.fields or ()))
    if settled.id is not None:
        _refuse_repeated_ids(frame, settled.id, rejects.source)
    return UsableRows(frame, settled, target, total)


_REASON, _FIELD = "whetstone:reason", "whetstone:field"


def _settled(target: Target, name: str, column: pl.Series) -> Target:
    kind = target.kind or infer_kind(column)
    if kind != "number":
        return Target(kind, target.unit or "")
    unit = infer_unit(name, column) if target.unit is None else target.unit
    minimum = 0.0 if target.minimum is None and unit and unit in CURRENCIES else target.minimum
    return Target(kind, unit, minimum, target.maximum)


def _reasons(columns: Columns, target: Target, raw: pl.DataFrame) -> list[pl.Expr]:
    """Id, text and expected answer of each row, why it cannot be used (or null), and the column at fault."""
    if target.kind == "number":
        expected, reason = number_and_reason(columns.target, raw.schema[columns.target], target.minimum, target.maximum)
    else:
        expected, reason = text_and_reason(columns.target)
    text = joined_text(columns.text)
    identifier = pl.col(columns.id or ROW).cast(pl.String).str.strip_chars()
    no_text, no_id = ~is_filled(text), identifier.is_null() | (identifier == "")
    return [
        identifier.alias(ID),
        text.alias(TEXT),
        expected.alias(EXPECTED),
        pl.when(reason.is_not_null())
        .then(reason)
        .when(no_text)
        .then(pl.lit("the text is empty"))
        .when(no_id)
        .then(pl.lit("the id is missing"))
        .alias(_REASON),
        pl.when(reason.is_not_null())
        .then(pl.lit(columns.target))
        .when(no_text)
        .then(pl.lit(", ".join(columns.text)))
        .otherwise(pl.lit(columns.id or ""))
        .alias(_FIELD),
    ]


def _group(column: str) -> pl.Expr:
    """A blank group is none: rows without one are not linked."""
    cell = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(cell != "").then(cell).alias(GROUP)


def _set_aside(bad: pl.DataFrame, columns: Columns, rejects: Rejects, total: int) -> None:
    count = len(rejects) + bad.height
    most = 2 * count > total
    for row in bad.head(1 if most else bad.height).iter_rows(named=True):
        content = {name: row[name] for name in columns.needed}
        rejects.add(row[ROW], row[LINE], row[_FIELD], row[_REASON], content)
    rejects.refuse_most(total, count)


def _refuse_repeated_ids(frame: pl.DataFrame, column: str, source: str) -> None:
    repeated = frame.filter(pl.col(ID).is_duplicated())
    if repeated.is_empty():
        return
    value = repeated[ID][0]
    where = repeated.filter(pl.col(ID) == value).head(2)
    word, numbers = ("rows", where[ROW]) if where[LINE].null_count() else ("lines", where[LINE])
    raise DataError(
        f"{source}, {word} {numbers[0]} and {numbers[1]}: the id {value!r} in column {column} occurs twice "
        f"({repeated[ID].n_unique():,} ids repeat); ids must be unique: name another column, or none to count rows"
    )
