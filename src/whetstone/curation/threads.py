"""Work done on all cores at once: numpy and polars let go of the interpreter while they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from whetstone import settings

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What a function gives for each item, in their order."""
    with ThreadPoolExecutor(settings.threads()) as pool:
        return list(pool.map(function, items))
