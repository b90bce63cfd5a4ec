"""Ray Data as an engine: each span is a row of a Ray data set, and a pool of actors cleans them.

The actors write their chunks into the working folder, so on a cluster that folder must be one that all machines share.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whetstone import settings
from whetstone.curation.blocks import Span
from whetstone.curation.work import Plan, Worker, WorkFolder
from whetstone.errors import DataError, MissingPackageError, WhetstoneError

# What a local Ray keeps in memory; spans and journal lines are small, so it never fills.
_STORE_BYTES = 128 << 20


class _CleanSpans:
    """An actor: one tokenizer and one table of words for all its spans."""

    def __init__(self, folder: str, plan: Plan) -> None:
        self._worker = Worker(Path(folder), plan)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        entries = []
        for text in batch["span"]:
            task = json.loads(text)
            span = Span(**task["span"])
            try:
                entries += [
                    json.dumps(self._worker.finish(chunk)) for chunk in self._worker.read(span, frozenset(task["skip"]))
                ]
            except WhetstoneError as error:
                # An exception would come back wrapped in Ray's; a sentence comes back whole.
                entries.append(json.dumps({"error": str(error)}))
        return {"entry": entries}


def run_ray(work: WorkFolder, plan: Plan) -> Iterator[dict[str, Any]]:
    """Clean on Ray: a cluster where RAY_ADDRESS names one, else this machine.

    Raises:
        MissingPackageError: Ray is not installed.
        DataError: a file cannot be read.
    """
    if find_spec("ray") is None:
        raise MissingPackageError("ray", "The engine ray", "pip install 'whetstone-llm[scale]'")
    tasks = [
        {"span": json.dumps({"span": vars(span), "skip": sorted(work.skip(span))})}
        for span in plan.spans()
        if span.last is None or not work.skip(span).issuperset(range(span.first, span.last + 1))
    ]
    if not tasks:
        return
    with _ray() as ray:
        actors = min(len(tasks), max(1, int(ray.cluster_resources().get("CPU", 1))))
        cleaned = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
            _CleanSpans,
            fn_constructor_args=(str(work.chunks.resolve()), plan),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
        )
        for row in cleaned.iter_rows():
            entry = json.loads(row["entry"])
            if "error" in entry:
                raise DataError(entry["error"])
            yield entry


@contextmanager
def _ray() -> Iterator[Any]:
    """Ray, quiet; one that was not running before is shut down afterwards."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Under `uv run`, Ray would have every worker build an environment of its own from PyPI, and wait for it for ever.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray
    import ray.data

    started = not ray.is_initialized()
    if started:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if os.environ.get("RAY_ADDRESS"):
            ray.init(**quiet)
        else:
            ray.init(num_cpus=settings.threads(), include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
    context = ray.data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        context.enable_progress_bars = bars
        if started:
            ray.shutdown()
