"""Pricers of models and grids, the latest ones kept: putting a grid into a model's tokens takes a while."""

from __future__ import annotations

import threading
from collections import OrderedDict

from whetstone.errors import UsageError
from whetstone.models.base import ChatModel
from whetstone.numeric.grid import parse_grid
from whetstone.workflows.price import Pricer

MOST_CANDIDATES = 10_000
_KEPT = 16  # each some megabytes


class Pricers:
    """Pricers for whoever serves many people. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, str], Pricer] = OrderedDict()

    def get(self, model: ChatModel, grid: str) -> Pricer:
        """The pricer of a model, which must live as long as this does, and a grid.

        Raises:
            UsageError: the grid cannot be read or has more than 10,000 candidates, or the model cannot spell it.
        """
        key = (id(model), grid)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        parsed = parse_grid(grid)
        if len(parsed) > MOST_CANDIDATES:
            raise UsageError(f"the grid has {len(parsed):,} candidates; at most {MOST_CANDIDATES:,} are served at once")
        made = Pricer(model, grid=parsed)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made
