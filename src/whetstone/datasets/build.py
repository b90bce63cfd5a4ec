"""`build_problem`: from a source to a frozen problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from whetstone.datasets.catalogues import CATALOGUES
from whetstone.datasets.columns import Columns
from whetstone.datasets.division import Divided, divide, every_row_tested, trained_apart
from whetstone.datasets.fingerprint import fingerprint
from whetstone.datasets.opening import FORMATS
from whetstone.datasets.readers import ReadOptions, Source, source_name
from whetstone.datasets.rejects import Rejects
from whetstone.datasets.rows import EXPECTED, Target, UsableRows, usable_rows
from whetstone.datasets.split import Size, Sizes
from whetstone.datasets.targets import CURRENCIES
from whetstone.errors import UsageError
from whetstone.types import Problem, TargetKind

DEFAULT_METRICS: dict[TargetKind, str] = {"number": "mae", "label": "accuracy", "text": "rouge_l"}
FOLDS = 5
# An answer this many times the largest known target is no answer but a misreading ("ships in 2026 …").
GENEROUS = 1_000.0


@dataclass(frozen=True)
class BuiltProblem:
    """A problem, the rows that could not be used, and remarks on how it was built, a sentence each."""

    problem: Problem
    rejects: Rejects
    notes: list[str]


def build_problem(
    source: Source,
    *,
    text: str | Sequence[str] | None = None,
    target: str | None = None,
    id: str | None = None,
    fields: Sequence[str] | None = None,
    group: str | None = None,
    kind: TargetKind | None = None,
    metric: str | None = None,
    name: str | None = None,
    unit: str | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    valid_range: tuple[float, float] | None = None,
    seed: int = 42,
    test_size: Size | None = None,
    validation_size: Size | None = None,
    train_size: Size | None = None,
    test_all: bool = False,
    train_source: Source | None = None,
    format: str | None = None,
    encoding: str | None = None,
    split: str | None = None,
    config: str | None = None,
    strict: bool = False,
    progress: Callable[[float], None] | None = None,
) -> BuiltProblem:
    """Read rows, map columns, set bad rows aside, split once, freeze.

    Args:
        source: a file (CSV, TSV, JSON, JSONL, each also .gz; Parquet), a pandas or polars frame, a Hugging Face dataset
            (id or folder, "owner/name?split=test&config=en"), or the name of a packaged catalogue ("diamonds"), which
            brings its own columns.
        text: the column to answer from; several are joined with newlines.
        target: the column with the true answer.
        id: a column of unique ids; by default the number of the data row, from "1", rejected rows counted.
        fields: columns for techniques on tabular data; see `Columns.fields` for the default.
        group: rows with the same value here stay together, as rows with the same text always do.
        kind: number, label or text; inferred from the target by default.
        metric: the metric that decides; mae, accuracy or rouge_l by default.
        name: for tables; by default the file's name.
        unit: of numbers; "$" or another currency sign where the column's name or most of its cells say so.
        minimum: smaller targets are rejected; 0 for money by default.
        maximum: larger targets are rejected.
        valid_range: answers outside it are "out of range". By default up to 1,000 times the largest target, and down to
            the minimum where that is 0 or more, else to as far below zero.
        seed: of the split.
        test_size: number or fraction of rows; min(250, 20 %) by default.
        validation_size: likewise; min(250, 10 %).
        train_size: at most so many training rows.
        test_all: every row is a test case, in the order of the source. Techniques that train are cross-fitted.
        train_source: with `test_all`, rows to train on; those that also are test rows, or share a group with one, are
            dropped and counted.
        format: of a file whose name does not say.
        encoding: of a text file that is not UTF-8.
        split: of a Hugging Face dataset, where the source does not say it; not for `train_source`.
        config: likewise.
        strict: make a bad row an error instead of setting it aside.
        progress: told the share of a text file that has been read.

    Raises:
        DataError: the source, a column or (when strict, or most are bad) a row cannot be used.
        UsageError: what was asked for does not fit together, or there are too few rows for it.
        MissingPackageError: the source needs a package that is not installed.
    """
    if train_source is not None and not test_all:
        raise UsageError("Rows to train on (train_source) go with test_all, every row a test case; ask for both")
    if test_all and test_size is not None:
        raise UsageError(
            "Every row is a test case (test_all), so there is no test size to choose; leave one of them out"
        )
    located = _located(source, text, target, id, fields, group, unit)
    options = ReadOptions(format=format, encoding=encoding, split=split, config=config, progress=progress)
    notes: list[str] = []
    rejects = Rejects(located.origin, strict)
    asked = Target(kind, located.unit, minimum, maximum)
    main = usable_rows(located.rows, located.columns, asked, rejects, options, notes)
    sizes = Sizes(test_size, validation_size, train_size)
    if not test_all:
        divided = divide(main, sizes, seed)
    elif train_source is None:
        divided = every_row_tested(main)
    else:
        apart = Rejects(source_name(train_source), strict)
        wanted = main.columns.with_fields(main.columns.fields or ())
        read_apart = replace(options, split=None, config=None)
        train = usable_rows(
            train_source, wanted, main.target, apart, read_apart, notes, only_fields_found=fields is None
        )
        rejects.include(apart)
        divided = trained_apart(main, train, sizes, seed)
    notes += [*divided.notes, *_remarks(main.target, main.columns.target, divided, inferred=kind is None)]
    if rejects.note:
        notes.append(rejects.note)
    return BuiltProblem(
        _problem(
            divided,
            main,
            name=name or _name(source),
            metric=metric,
            valid_range=valid_range,
            source={
                "source": located.origin,
                "train_source": source_name(train_source) if train_source is not None else None,
                "rows": main.total,
                "rejected": len(rejects),
                "columns": asdict(main.columns),
                "seed": seed,
                "test_all": test_all,
            },
        ),
        rejects,
        notes,
    )


@dataclass(frozen=True)
class _Located:
    rows: Source
    columns: Columns
    unit: str | None
    origin: str


def _located(
    source: Source,
    text: str | Sequence[str] | None,
    target: str | None,
    id: str | None,
    fields: Sequence[str] | None,
    group: str | None,
    unit: str | None,
) -> _Located:
    """A source with its columns; a catalogue's own where nothing else was asked for."""
    texts = (text,) if isinstance(text, str) else tuple(text or ())
    chosen = tuple(fields) if fields is not None else None
    if isinstance(source, str) and source in CATALOGUES:
        catalogue = CATALOGUES[source]
        own = catalogue.columns
        columns = Columns(
            texts or own.text, target or own.target, id or own.id, group or own.group, chosen if fields else own.fields
        )
        return _Located(catalogue.load(), columns, catalogue.unit if unit is None else unit, catalogue.origin)
    return _Located(source, Columns(texts, target or "", id, group, chosen), unit, source_name(source))


def _problem(
    divided: Divided,
    main: UsableRows,
    *,
    name: str,
    metric: str | None,
    valid_range: tuple[float, float] | None,
    source: dict[str, Any],
) -> Problem:
    kind = main.target.kind or "text"
    metric = metric or DEFAULT_METRICS[kind]
    train, validation, test = divided.cases()
    expected = divided.table[EXPECTED]
    return Problem(
        name=name,
        kind=kind,
        target=main.columns.target,
        metric=metric,
        train=train,
        validation=validation,
        test=test,
        fingerprint=fingerprint(kind, metric, train, validation, test),
        unit=main.target.unit or "",
        labels=tuple(sorted(expected.unique())) if kind == "label" else (),
        valid_range=(valid_range or _valid_range(expected, main.target.minimum)) if kind == "number" else None,
        source=source,
        cross_fit=FOLDS if divided.groups else 0,
        groups=divided.groups,
    )


def _valid_range(expected: pl.Series, minimum: float | None) -> tuple[float, float]:
    largest = GENEROUS * (float(expected.abs().max() or 0.0) or 1.0)  # type: ignore[arg-type]  # a Float64 column
    return (0.0 if minimum is not None and minimum >= 0 else -largest, largest)


def _name(source: Source) -> str:
    if not isinstance(source, (str, Path)):
        return "frame"
    path = Path(str(source).removeprefix("hf:"))
    name = path.stem if path.suffix.lower() == ".gz" else path.name
    return Path(name).stem if Path(name).suffix.lower() in FORMATS else name


def _remarks(settled: Target, target: str, divided: Divided, inferred: bool) -> list[str]:
    """What a user should know about choices that were made for them."""
    remarks = []
    kind, expected = settled.kind, divided.table[EXPECTED]
    distinct = expected.n_unique()
    if inferred and kind == "number" and distinct <= 2 < len(expected):
        remarks.append(f"{target} is read as a number though it has only {distinct} values; for labels say kind label")
    elif inferred and kind == "label":
        remarks.append(f"{target} is read as a label with {distinct} values; for free text say kind text")
    zeros = int((expected == 0).sum()) if kind == "number" and settled.unit in (*CURRENCIES,) else 0
    if zeros:
        remarks.append(f"{zeros:,} targets are 0; to set them aside, ask for a minimum")
    for name in divided.fields:
        cells = divided.table[name]
        if (
            len(expected) > 1
            and cells.dtype in (expected.dtype, pl.Int64)
            and cells.cast(expected.dtype).equals(expected)
        ):
            remarks.append(f"the field {name} equals the target in every row: techniques on fields will simply copy it")
    return remarks
