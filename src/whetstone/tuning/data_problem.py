"""The problem that a configuration names as data: a curated folder, or whatever `whet compare` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from whetstone.datasets.build import DEFAULT_METRICS, GENEROUS, build_problem
from whetstone.datasets.cases import CaseTable
from whetstone.datasets.catalogues import CATALOGUES
from whetstone.datasets.fingerprint import fingerprint
from whetstone.datasets.rejects import Reject
from whetstone.errors import DataError, UsageError
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.rows import Progress
from whetstone.types import Problem

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ProblemSource:
    """A problem to train on, and what came up when it was read."""

    problem: Problem
    rejects: Sequence[Reject]
    notes: Sequence[str]
    layout: str


def is_curated(source: str) -> bool:
    """Whether a folder is one that `whet data curate` wrote."""
    folder = Path(source).expanduser()
    first = next((folder / "data").glob("train-*.parquet"), None)
    if first is None or not (folder / "README.md").is_file():
        return False
    try:
        return {"text", "price", "sample_weight"} <= set(pl.read_parquet_schema(first))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{first} cannot be read as Parquet ({str(error).splitlines()[0]})") from error


def read_problem(config: TuneConfig, progress: Progress | None = None) -> ProblemSource:
    """The problem that a configuration names: a curated folder, or what `whet compare` takes.

    Raises:
        DataError, UsageError: it cannot be built.
    """
    if is_curated(config.data):
        return _curated(Path(config.data).expanduser(), config)
    read = (lambda share: progress(f"reading {config.data}", round(100 * share), 100)) if progress else None
    columns: dict[str, Any] = {"text": config.text, "target": config.target, "group": config.group}
    sizes: dict[str, Any] = {"validation_size": config.validation_size}
    source: str = config.data
    if config.test_data is not None:
        if config.test_size is not None:
            raise UsageError("test_data are the test items, so there is no test_size to choose; leave one of them out")
        source, sizes["train_source"], sizes["test_all"] = config.test_data, config.data, True
    else:
        sizes["test_size"] = config.test_size
    built = build_problem(
        source, **columns, **sizes, kind=config.kind, unit=config.unit, seed=config.seed, progress=read
    )
    asked = {"number": "a number", "label": "a label", "text": "a text"}[built.problem.kind]
    layout = f"a problem that asks for {asked}: {built.problem.target}"
    return ProblemSource(built.problem, list(built.rejects), built.notes, layout)


def is_problem(config: TuneConfig) -> bool:
    """Whether a configuration names columns, or data that bring theirs."""
    return bool(config.text or config.target) or config.data in CATALOGUES or is_curated(config.data)


def _curated(folder: Path, config: TuneConfig) -> ProblemSource:
    """The problem of a curated folder, with the splits that curation drew."""
    asked = [
        key for key in ("text", "target", "group", "test_data", "test_size", "validation_size") if getattr(config, key)
    ]
    if asked:
        raise UsageError(
            f"{folder} was made by whet data curate and has columns and splits of its own; leave {asked[0]} away"
        )
    frames = {name: _shards(folder, name) for name in _SPLITS}
    whole = pl.concat(frames.values())
    if not frames["train"].height:
        raise DataError(f"{folder}: there are no rows to train on")
    ids = pl.Series([f"{name}-{number}" for name in _SPLITS for number in range(1, frames[name].height + 1)])
    every = CaseTable(ids, whole["text"], whole["price"].cast(pl.Float64), whole.select([]))
    ends = np.cumsum([frames[name].height for name in _SPLITS])
    train, validation, test = (
        every.take(np.arange(end - frames[name].height, end)) for name, end in zip(_SPLITS, ends, strict=True)
    )
    metric = DEFAULT_METRICS["number"]
    problem = Problem(
        name=folder.name,
        kind="number",
        target="price",
        metric=metric,
        train=train,
        validation=validation,
        test=test,
        fingerprint=fingerprint("number", metric, train, validation, test),
        unit="$",
        valid_range=(0.0, GENEROUS * float(np.abs(np.array(every.expected())).max())),
        source={"source": str(folder), "columns": {"text": ["text"], "target": "price"}},
    )
    return ProblemSource(problem, [], [], "a folder that whet data curate made: text and price, with its splits")


def _shards(folder: Path, split: str) -> pl.DataFrame:
    files = sorted((folder / "data").glob(f"{split}-*.parquet"))
    if not files:
        return pl.DataFrame(schema={"text": pl.String, "price": pl.Float64})
    try:
        return pl.concat(pl.read_parquet(file, columns=["text", "price"]) for file in files)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{folder / 'data'}: the {split} rows cannot be read ({str(error).splitlines()[0]}); curate them again"
        ) from error
