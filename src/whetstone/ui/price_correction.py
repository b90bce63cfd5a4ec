"""Corrections of the Price tab: what a model says of prices, corrected by what items really cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from whetstone.errors import DataError, UsageError
from whetstone.models.pool import ModelPool
from whetstone.numeric.calibration import FEWEST, Calibration
from whetstone.ui.asked import Asked
from whetstone.ui.price_files import Kept, sent_file
from whetstone.workflows.known_items import ItemRow, read_items
from whetstone.workflows.price import Pricer
from whetstone.workflows.price_calibration import learning
from whetstone.workflows.pricers import Pricers

MOST_ITEMS = 500


@dataclass(frozen=True)
class _Learnt:
    """A correction, and what it was learnt for."""

    model: str
    grid: str
    calibration: Calibration


class Corrections:
    """Corrections that pages have asked for, the latest ones kept.

    Args:
        pool: the models.
        pricers: of these models.
    """

    def __init__(self, pool: ModelPool, pricers: Pricers) -> None:
        self._pool = pool
        self._pricers = pricers
        self._kept: Kept[_Learnt] = Kept("known prices")

    def learn(self, asked: Asked, model: str, grid: str) -> Iterator[dict[str, Any]]:
        """How far it is, as `words`, and at the end the name of the correction.

        Raises:
            UsageError: there are too few items, or too many.
            DataError: the file cannot be read.
        """
        with sent_file(asked) as path:
            rows = [row for row in read_items(path, priced=True) if not row.reason]
        if len(rows) < FEWEST:
            raise DataError(f"a correction takes at least {FEWEST} rows with a text and a price, not {len(rows)}")
        if len(rows) > MOST_ITEMS:
            raise UsageError(f"the file has {len(rows):,} items: a correction takes at most {MOST_ITEMS} here")
        return self._learning(rows, model, grid)

    def _learning(self, rows: Sequence[ItemRow], model: str, grid: str) -> Iterator[dict[str, Any]]:
        steps = learning(self._pricers.get(self._pool.get(model), grid), rows)
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                learnt: Calibration = end.value
                break
            yield {"words": f"{done:,} of {total:,} known prices read …"}
        name = self._kept.keep(_Learnt(model, grid, learnt))
        yield {"correction": name, "words": f"Corrected by {len(learnt.ranks):,} known prices ({learnt.method})"}

    def pricer(self, asked: Asked, model: str, grid: str) -> Pricer:
        """The pricer of a model, with the correction that the page names, if it names one.

        Raises:
            UsageError: that correction is gone, or was learnt for something else.
        """
        pricer = self._pricers.get(self._pool.get(model), grid)
        if not asked.get("correction"):
            return pricer
        learnt = self._kept.get(str(asked["correction"]))
        if (learnt.model, learnt.grid) != (model, grid):
            raise UsageError(
                f"the correction was learnt for {learnt.model} and the prices {learnt.grid}: choose the file with the "
                "known prices again"
            )
        return pricer.corrected_by(learnt.calibration)
