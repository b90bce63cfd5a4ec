"""Items from files: a text, a price where one is known, an id; and the known ones that are like another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.columns import is_filled, joined_text
from whetstone.datasets.readers import ReadOptions, Source, read_rows, source_name
from whetstone.datasets.rejects import Rejects
from whetstone.datasets.targets import number_and_reason
from whetstone.embeddings import Embedder, load_embedder
from whetstone.embeddings.cache import CachedEmbedder
from whetstone.embeddings.nearest import nearest
from whetstone.errors import DataError
from whetstone.prompting.price import LABEL, QUESTION
from whetstone.workflows.price import Neighbour

# Where nobody says which columns are meant: the first of each that is there; titles and descriptions go together.
_TEXTS = ("text", "prompt", "summary", "item", "input")
_PARTS = ("title", "name", "description", "features", "details")
_PRICES = ("price", "completion", "cost", "amount")
NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A row of a file of items.

    Attributes:
        row: its number among the data rows, from 1.
        line: its first line in the file; None where there are no lines.
        id: from a column `id`; "" where there is none.
        text: what is priced; "" where there is none.
        price: None where none is known.
        reason: why the row cannot be used; "" where it can.
    """

    row: int
    line: int | None
    id: str
    text: str
    price: float | None
    reason: str


def read_items(
    source: Source,
    *,
    text: Sequence[str] = (),
    price: str | None = None,
    priced: bool = False,
    encoding: str | None = None,
) -> list[ItemRow]:
    """The rows of a file, in order, those that cannot be used with the reason.

    Args:
        source: CSV, TSV, JSON, JSONL (also .gz), Parquet, or what else `read_rows` takes.
        text: columns, joined with newlines; by default `text`, `prompt` (without the question and the label),
            `summary`, or titles and descriptions.
        price: a column; by default `price`, `completion` or `cost`.
        priced: every row must have a price.
        encoding: of a text file that is not UTF-8.

    Raises:
        DataError: the file cannot be read, or has no such column.
    """
    name = source_name(source)
    rejects = Rejects(name)
    columns: ItemColumns | None = None

    def choose(sample: pl.DataFrame) -> list[str]:
        nonlocal columns
        columns = ItemColumns.of(sample.columns, tuple(text), price, priced, name)
        return columns.needed

    frame = read_rows(source, choose, rejects, ReadOptions(encoding=encoding))
    broken = [ItemRow(one.row, one.line, "", "", None, one.reason) for one in rejects]
    if columns is None:
        return broken
    return sorted([*_rows(frame, columns, priced), *broken], key=lambda row: row.row)


@dataclass(frozen=True)
class ItemColumns:
    """Which columns of a file of items are which.

    Attributes:
        text: joined with newlines.
        price: None where there is none.
        id: likewise.
    """

    text: tuple[str, ...]
    price: str | None
    id: str | None

    @property
    def needed(self) -> list[str]:
        """Every column that is used, once."""
        return list(dict.fromkeys([*self.text, *filter(None, (self.price, self.id))]))

    @classmethod
    def of(
        cls, names: Sequence[str], text: tuple[str, ...], price: str | None, priced: bool, source: str
    ) -> ItemColumns:
        """Those that are named, else those whose names are usual.

        Args:
            names: of all columns.
            text, price: what is named.
            priced: whether there must be prices.
            source: the file, for messages.

        Raises:
            DataError: a column is missing.
        """
        folded = {name.casefold(): name for name in reversed(names)}
        one = next((folded[name] for name in _TEXTS if name in folded), None)
        parts = tuple(folded[name] for name in _PARTS if name in folded)
        text = text or ((one,) if one else parts)
        price = price or next((folded[name] for name in _PRICES if name in folded), None)
        told = f"its columns: {', '.join(names)}"
        for name in [*text, *([price] if price else [])]:
            if name not in names:
                raise DataError(f"{source} has no column {name!r}; {told}")
        if not text:
            raise DataError(f"{source} has no column text, prompt, title or description; name it; {told}")
        if priced and price is None:
            raise DataError(f"{source} has no column price, completion or cost; name it; {told}")
        return cls(text, price, folded.get("id"))


def find_columns(source: Source, *, text: Sequence[str] = (), price: str | None = None) -> ItemColumns:
    """The columns of a file of items with prices.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    name = source_name(source)
    found: list[ItemColumns] = []

    def choose(sample: pl.DataFrame) -> list[str]:
        found.append(ItemColumns.of(sample.columns, tuple(text), price, True, name))
        return found[0].needed

    read_rows(source, choose, Rejects(name))
    if not found:
        raise DataError(f"{name} holds no rows")
    return found[0]


def _rows(frame: pl.DataFrame, columns: ItemColumns, priced: bool) -> list[ItemRow]:
    text = joined_text(columns.text)
    identifier = pl.col(columns.id).cast(pl.String).fill_null("") if columns.id else pl.lit("")
    number: Sequence[pl.Expr] = (pl.lit(None, pl.Float64).alias("expected"), pl.lit(None, pl.String).alias("reason"))
    if columns.price is not None:
        number = number_and_reason(columns.price, frame.schema[columns.price], 0.0, None)
    told = frame.select(
        ROW, LINE, text.alias("text"), identifier.alias("id"), is_filled(text).fill_null(False).alias("filled"), *number
    )
    rows = []
    for row, line, found, name, filled, price, reason in told.iter_rows():
        wrong = "" if filled else "the text is empty"
        if not wrong and priced and reason is not None:
            wrong = f"{columns.price}: {reason}"
        rows.append(ItemRow(row, line, name, _bare(found), None if reason is not None else price, wrong))
    return rows


def _bare(text: str) -> str:
    """An item's text without the question and the label, where it is a whole prompt."""
    return text.removeprefix(f"{QUESTION}\n\n").removesuffix(LABEL).rstrip("\n") if text.startswith(QUESTION) else text


class KnownItems:
    """Items whose prices are known, to be searched by likeness of their texts.

    Args:
        items: each with a price.
        count: how many neighbours are given.
        embedder: MiniLM by default, whose vectors are kept.
        progress: told `(done, total)` while the texts are embedded.
    """

    def __init__(
        self,
        items: Sequence[ItemRow],
        *,
        count: int = NEIGHBOURS,
        embedder: Embedder | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._items = items
        self._count = count
        self._embedder = CachedEmbedder(embedder or load_embedder())
        self._vectors: npt.NDArray[np.float32] = self._embedder.embed([item.text for item in items], progress)

    def __len__(self) -> int:
        return len(self._items)

    @classmethod
    def read(
        cls, source: str | Path, *, count: int = NEIGHBOURS, progress: Callable[[int, int], None] | None = None
    ) -> tuple[KnownItems, list[ItemRow]]:
        """The known items of a file, and the rows that cannot be used.

        Raises:
            DataError: the file cannot be read, or no row has a text and a price.
        """
        good, bad = priced_items(source)
        return cls(good, count=count, progress=progress), bad

    def nearest(self, texts: Sequence[str]) -> list[tuple[Neighbour, ...]]:
        """The known items most like each text, the most like first; of equals the one that stands first."""
        rows, cosines = nearest(self._embedder.embed(texts), self._vectors, self._count)
        return [
            tuple(
                Neighbour(self._items[place].text, self._items[place].price or 0.0, float(cosine))
                for place, cosine in zip(found, near, strict=True)
            )
            for found, near in zip(rows.tolist(), cosines.tolist(), strict=True)
        ]


def priced_items(source: str | Path) -> tuple[list[ItemRow], list[ItemRow]]:
    """The rows of a file that have a text and a price, and those that cannot be used.

    Raises:
        DataError: the file cannot be read, or no row can be used.
    """
    rows = read_items(source, priced=True)
    good = [row for row in rows if not row.reason]
    bad = [row for row in rows if row.reason]
    if not good:
        raise DataError(f"{source}: no row has a text and a price" + (f"; the first: {bad[0].reason}" if bad else ""))
    return good, bad
