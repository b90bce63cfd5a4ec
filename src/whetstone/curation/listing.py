"""A listing: one product as every source is brought to, its cells still as they were found.

A frame of listings has `ROW` and `LINE` (see `whetstone.datasets.cells`) and these text columns; null is "not given".
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from whetstone.datasets.cells import LINE, ROW

ID = "id"
PARENT = "parent"
TITLE = "title"
DESCRIPTION = "description"
FEATURES = "features"
DETAILS = "details"
PRICE = "price"
CATEGORY = "category"
STORE = "store"

CELLS = (ID, PARENT, TITLE, DESCRIPTION, FEATURES, DETAILS, PRICE, CATEGORY, STORE)
SCHEMA: Mapping[str, pl.DataType] = {ROW: pl.Int64(), LINE: pl.Int64(), **{name: pl.String() for name in CELLS}}
