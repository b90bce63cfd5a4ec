"""Texts made fit for a tokenizer, and batches computed with several in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Content = TypeVar("Content")
Batch = tuple[list[int], Content]  # positions in the input, and what is computed


def without_lone_surrogates(text: str) -> str:
    """JSON may bring halves of a surrogate pair, which are no characters and which tokenizers refuse."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def in_flight(
    pool: Executor,
    most: int,
    compute: Callable[[Content], npt.NDArray[np.float32]],
    batches: Iterator[Batch[Content]],
) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
    """Compute batches, at most `most` submitted at a time; give back each as it is done."""
    running: dict[Future[npt.NDArray[np.float32]], list[int]] = {}
    exhausted = False
    while running or not exhausted:
        while not exhausted and len(running) < most:
            batch = next(batches, None)
            if batch is None:
                exhausted = True
            else:
                running[pool.submit(compute, batch[1])] = batch[0]
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield running.pop(future), future.result()
