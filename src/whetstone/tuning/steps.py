"""The steps of a run as what a Trainer takes for its data loader: one item is one effective batch.

The Trainer counts, skips and shuffles items; which rows a step has, and how they are put together, is `BatchOrder`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from whetstone.tuning.batches import BatchOrder

Place = tuple[int, int]  # epoch, step within it


class StepLoader(DataLoader):  # type: ignore[misc]
    """Yields the place of each step of an epoch. `accelerate.skip_first_batches` makes one that begins later."""

    def __init__(self, order: BatchOrder) -> None:
        self._steps = _Steps(order.steps_per_epoch)
        super().__init__(_Rows(len(order.lengths)), batch_sampler=self._steps, collate_fn=_only)

    def set_epoch(self, epoch: int) -> None:
        """Begin another pass over the rows."""
        self._steps.set_epoch(epoch)


class _Steps:
    def __init__(self, count: int) -> None:
        self._count = count
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[Place]]:
        return ([(self._epoch, step)] for step in range(self._count))


class _Rows:
    """Has as many rows as the run; an item of it is its own index."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: Place) -> Place:
        return place


def _only(places: list[Any]) -> Any:
    return places[0]
