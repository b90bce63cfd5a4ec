"""Two sets compared for leaks: any files with a text and a price, or a curated folder's own splits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from whetstone.curation.leaks import Leak, leaks_by_embedding, leaks_by_text
from whetstone.curation.rules.own_price import stating_rows
from whetstone.datasets.columns import Columns
from whetstone.datasets.readers import read_rows
from whetstone.datasets.rejects import Rejects
from whetstone.datasets.targets import number_and_reason
from whetstone.errors import UsageError


@dataclass(frozen=True)
class LeakCheck:
    """What was found.

    Attributes:
        train_rows, test_rows: rows of the sets.
        by_text: test rows that are alike a training row.
        by_embedding: the same by embedding; None where that was not asked for.
        stated_in_train, stated_in_test: positions of the texts that state their own price.
    """

    train_rows: int
    test_rows: int
    by_text: list[Leak]
    by_embedding: list[Leak] | None
    stated_in_train: list[int]
    stated_in_test: list[int]

    @property
    def any(self) -> bool:
        """Whether anything leaks."""
        return bool(self.by_text or self.by_embedding or self.stated_in_train or self.stated_in_test)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; rows count from 0."""
        return {**asdict(self), "leaks": self.any}


def check_leaks(
    train: str, test: str | None = None, *, text: str = "text", price: str = "price", embeddings: bool = False
) -> LeakCheck:
    """Compare a training and a test set.

    Args:
        train: a file, or a curated folder, which has both.
        test: a file; None for a curated folder.
        text: the column with the text.
        price: the column with the price.
        embeddings: whether texts are compared by embedding too.

    Raises:
        DataError: a file cannot be read, or lacks a column.
        UsageError: `test` is needed.
    """
    if test is None:
        data = Path(train) / "data"
        if not data.is_dir():
            raise UsageError(f"{train} is no curated folder; name the training rows and the test rows")
        known, unknown = (_shards(data, split, text, price) for split in ("train", "test"))
    else:
        known, unknown = _read(train, text, price), _read(test, text, price)
    by_embedding = None
    if embeddings:
        from whetstone.embeddings import load_embedder

        by_embedding = leaks_by_embedding(known[text].to_list(), unknown[text].to_list(), load_embedder())
    return LeakCheck(
        known.height,
        unknown.height,
        leaks_by_text(known[text], unknown[text]),
        by_embedding,
        stating_rows(known[text], known[price]),
        stating_rows(unknown[text], unknown[price]),
    )


def _shards(folder: Path, split: str, text: str, price: str) -> pl.DataFrame:
    return pl.scan_parquet(folder / f"{split}-*.parquet").select(text, price).collect()


def _read(source: str, text: str, price: str) -> pl.DataFrame:
    def choose(sample: pl.DataFrame) -> list[str]:
        return Columns((text,), price, fields=()).resolve(sample, source).needed

    rows = read_rows(source, choose, Rejects(source))
    number, _ = number_and_reason(price, rows.schema[price], None, None)
    return rows.select(pl.col(text).cast(pl.String).fill_null(""), number.alias(price))
