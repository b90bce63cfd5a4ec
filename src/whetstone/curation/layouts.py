"""Layouts of sources: which of their columns is which part of a listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import polars as pl

from whetstone.curation.listing import (
    CATEGORY,
    CELLS,
    DESCRIPTION,
    DETAILS,
    FEATURES,
    ID,
    PARENT,
    PRICE,
    STORE,
    TITLE,
)
from whetstone.datasets.cells import LINE, ROW, plain
from whetstone.errors import DataError, UsageError

Column = Callable[[Mapping[str, pl.DataType]], pl.Expr]
"""Given the columns that a frame has, the expression for one cell of a listing."""

# What a user may write on the left of --map, and the cell that it fills.
MAPPED = {
    "id": ID,
    "group": PARENT,
    "title": TITLE,
    "text": DESCRIPTION,
    "features": FEATURES,
    "details": DETAILS,
    "price": PRICE,
    "category": CATEGORY,
    "store": STORE,
}


@dataclass(frozen=True)
class Layout:
    """How a source's columns become listings.

    Attributes:
        name: of the layout.
        fields: the columns that are read, and as what.
        columns: cell of a listing -> what fills it; cells that are not named stay empty.
    """

    name: str
    fields: Mapping[str, pl.DataType]
    columns: Mapping[str, Column]

    def listings(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Listings of a frame with `ROW`, `LINE` and any of `fields`."""
        schema = frame.schema
        return frame.select(
            pl.col(ROW),
            pl.col(LINE),
            *(
                (self.columns[cell](schema) if cell in self.columns else pl.lit(None)).cast(pl.String).alias(cell)
                for cell in CELLS
            ),
        )


def _text(name: str, separator: str = "\n") -> Column:
    """A column as text; the parts of a list on lines of their own, or joined with `separator`."""

    def column(schema: Mapping[str, pl.DataType]) -> pl.Expr:
        if name not in schema:
            return pl.lit(None)
        if schema[name] == pl.List(pl.String):
            return pl.col(name).list.join(separator, ignore_nulls=True)
        return pl.col(name)

    return column


def _first_of(*columns: Column) -> Column:
    """The first column that is filled."""

    def column(schema: Mapping[str, pl.DataType]) -> pl.Expr:
        cells = [each(schema).cast(pl.String) for each in columns]
        return pl.coalesce(pl.when(cell.str.contains(r"\S")).then(cell) for cell in cells)

    return column


def _branch(name: str, root: str) -> Column:
    """The first element of a path that is not its root; elements are names, or objects with a name."""

    def column(schema: Mapping[str, pl.DataType]) -> pl.Expr:
        if name not in schema:
            return pl.lit(None)
        path = pl.col(name) if schema[name] == pl.List(pl.String) else pl.col(name).cast(pl.String).str.split("\n")
        named = pl.element().str.extract(r'"name": ?"((?:[^"\\]|\\.)*)"')
        names = path.list.eval(pl.coalesce(named, pl.element()))
        return names.list.eval(pl.element().filter(pl.element() != root)).list.first()

    return column


def _labelled(**names: str) -> Column:
    """Columns as details: a JSON object of label -> cell, without the empty ones."""

    def column(schema: Mapping[str, pl.DataType]) -> pl.Expr:
        pairs = [
            pl.when(pl.col(name).cast(pl.String).str.contains(r"\S")).then(
                pl.format('"{}": {}', pl.lit(label), _json_text(pl.col(name).cast(pl.String)))
            )
            for label, name in names.items()
            if name in schema
        ]
        return pl.format("{{{}}}", pl.concat_str(pairs, separator=", ", ignore_nulls=True)) if pairs else pl.lit(None)

    return column


def _json_text(cell: pl.Expr) -> pl.Expr:
    """A text as JSON writes it."""
    escaped = cell.str.replace_many(["\\", '"', "\n", "\r", "\t"], ["\\\\", '\\"', "\\n", "\\r", "\\t"])
    return pl.format('"{}"', escaped)


AMAZON = Layout(
    "Amazon Reviews 2023, raw_meta",
    {
        "parent_asin": pl.String(),
        "title": pl.String(),
        "description": pl.List(pl.String()),
        "features": pl.List(pl.String()),
        "details": pl.String(),
        "price": pl.String(),
        "main_category": pl.String(),
        "categories": pl.List(pl.String()),
        "store": pl.String(),
    },
    {
        ID: _text("parent_asin"),
        PARENT: _text("parent_asin"),
        TITLE: _text("title"),
        DESCRIPTION: _text("description", " "),
        FEATURES: _text("features"),
        DETAILS: _text("details"),
        PRICE: _text("price"),
        CATEGORY: _first_of(_text("main_category"), _branch("categories", "")),
        STORE: _text("store"),
    },
)

BEST_BUY = Layout(
    "Best Buy's open data",
    {
        "sku": pl.String(),
        "name": pl.String(),
        "manufacturer": pl.String(),
        "description": pl.String(),
        "category": pl.List(pl.String()),
        "type": pl.String(),
        "price": pl.String(),
        "model": pl.String(),
        "format": pl.String(),
        "genre": pl.String(),
    },
    {
        ID: _text("sku"),
        PARENT: _text("sku"),
        TITLE: _text("name"),
        DESCRIPTION: _text("description"),
        DETAILS: _labelled(Manufacturer="manufacturer", Format="format", Genre="genre"),
        PRICE: _text("price"),
        CATEGORY: _first_of(_branch("category", "Best Buy"), _text("type")),
        STORE: _text("manufacturer"),
    },
)


def mapped(mapping: Mapping[str, str]) -> Layout:
    """The layout of a source whose columns the user names.

    Args:
        mapping: a name of `MAPPED` -> the source's column.

    Raises:
        UsageError: a name that is none, or no price or text.
    """
    for name in mapping:
        if name not in MAPPED:
            near = get_close_matches(name, MAPPED, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"A column can be mapped to {', '.join(MAPPED)}, not to {name!r}.{hint}")
    if "price" not in mapping or not {"title", "text", "features"} & mapping.keys():
        raise UsageError(
            "The map must name a column for price and one for title or text, as in --map title=name,price=cost"
        )
    return Layout(
        "mapped columns",
        {column: pl.String() for column in mapping.values()},
        {MAPPED[name]: _text(column) for name, column in mapping.items()},
    )


def layout_for(columns: Sequence[str], mapping: Mapping[str, str], source: str) -> Layout:
    """The layout of a source with these columns.

    Args:
        columns: what the source has.
        mapping: what the user said; empty where nothing.
        source: what messages call it.

    Raises:
        DataError: a mapped column is missing, or the columns are of no known layout.
        UsageError: the mapping cannot be used.
    """
    if mapping:
        layout = mapped(mapping)
        for column in mapping.values():
            if column not in columns:
                near = get_close_matches(column, columns, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise DataError(f"{source} has no column {column!r}.{hint} Its columns: {', '.join(columns[:40])}")
        return layout
    if {"title", "price"} <= set(columns) and {"parent_asin", "main_category"} & set(columns):
        return AMAZON
    if {"sku", "name", "price"} <= set(columns):
        return BEST_BUY
    raise DataError(
        f"{source} is neither in the layout of {AMAZON.name} nor in that of {BEST_BUY.name}; name its columns, as in "
        f"--map title=name,price=cost,text=description; its columns: {', '.join(columns[:40]) or 'none'}"
    )


def as_cells(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    """The layout's columns of a frame of any types as texts and lists of texts."""
    wanted = [name for name in layout.fields if name in frame.columns]
    lists = [name for name in wanted if frame.schema[name] == pl.List(pl.String)]
    others = plain(frame.select(name for name in wanted if name not in lists))
    return pl.concat([frame.select(lists), others], how="horizontal")
