"""Engines that take a plan's chunks through the same functions: threads of this process, or Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from whetstone import settings
from whetstone.curation.blocks import Chunk
from whetstone.curation.work import Plan, Worker, WorkFolder

Engine = Callable[[WorkFolder, Plan], Iterator[dict[str, Any]]]
"""Yields the journal's line of every chunk that was not finished, as each one is."""


def run_local(work: WorkFolder, plan: Plan) -> Iterator[dict[str, Any]]:
    """Read in this thread, clean in others; a chunk for each, and one that waits, are held."""
    worker = Worker(work.chunks, plan)
    threads = settings.threads()
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[dict[str, Any]]] = deque()
        try:
            for chunk in _unfinished(work, plan, worker):
                while len(running) > threads:
                    yield running.popleft().result()
                running.append(pool.submit(worker.finish, chunk))
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def _unfinished(work: WorkFolder, plan: Plan, worker: Worker) -> Iterator[Chunk]:
    for span in plan.spans():
        skip = work.skip(span)
        if span.last is None or not skip.issuperset(range(span.first, span.last + 1)):
            yield from worker.read(span, skip)
