"""Many texts to vectors: by this process, or by Ray Data over processes and machines. The same vectors either way."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from whetstone.embeddings import Embedder, load_embedder
from whetstone.errors import MissingPackageError, ModelError, UsageError

__all__ = ["Engine", "Job", "VectorKeeper", "embed_missing", "open_job"]

Engine = Literal["local", "ray"]

_BATCH = 256  # texts embedded between commits: what a kill can cost


class VectorKeeper(Protocol):
    """What keeps vectors as soon as they are computed: a `Store`, or a `VectorFile`."""

    def with_vectors(self, hashes: Collection[bytes]) -> set[bytes]: ...

    def add_vectors(self, hashes: Sequence[bytes], vectors: npt.NDArray[np.float32]) -> None: ...


class Job(Protocol):
    """An engine that is ready to embed.

    Attributes:
        least: texts that are worth beginning with; fewer are taken when there are no more.
        most: texts at a time, which are sorted by length together.
    """

    @property
    def least(self) -> int: ...

    @property
    def most(self) -> int: ...

    def run(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], npt.NDArray[np.float32]]]:
        """Positions in `texts` and their vectors, a batch at a time, each position once."""
        ...


@contextmanager
def open_job(engine: Engine, embedder: Embedder, spec: str) -> Iterator[Job]:
    """An engine; what it started is ended afterwards.

    Args:
        engine: "local" or "ray".
        embedder: what embeds here.
        spec: loads the same embedder in another process.

    Raises:
        MissingPackageError: "ray" without Ray.
        UsageError: there is no such engine.
    """
    if engine == "local":
        yield _Local(embedder)
    elif engine == "ray":
        with _ray() as ray:
            yield _RayData(ray, embedder, spec)
    else:
        raise UsageError(f"There is no engine {engine!r}: local or ray")


def embed_missing(
    job: Job,
    chunks: dict[bytes, str],
    keeper: VectorKeeper,
    told: Callable[[int], None],
) -> list[bytes]:
    """Embed those texts whose vectors are not kept yet, and keep each batch at once.

    Args:
        job: the engine.
        chunks: hash -> text.
        keeper: where vectors are kept.
        told: how many chunks are settled, after each batch and for those that need nothing.

    Returns:
        Hashes of those that were embedded.

    Raises:
        ModelError: the embedder failed; what came before is kept.
        StorageError: vectors cannot be kept.
    """
    kept = keeper.with_vectors(chunks.keys())
    todo = [one for one in chunks if one not in kept]
    told(len(kept))
    for positions, vectors in job.run([chunks[one] for one in todo]):
        keeper.add_vectors([todo[position] for position in positions], vectors)
        told(len(positions))
    return todo


class _Local:
    least = 512
    most = 8192

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def run(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], npt.NDArray[np.float32]]]:
        # By length over the whole stretch, so that batches inside the embedder are full and need no padding; the
        # longest first, so that a batch of few texts at the end is a quick one.
        order = sorted(range(len(texts)), key=lambda position: -len(texts[position]))
        for start in range(0, len(order), _BATCH):
            positions = order[start : start + _BATCH]
            yield positions, self._embedder.embed([texts[position] for position in positions])


class _RayData:
    least = 65_536  # each stretch is a dataset of its own, whose actors load the embedder
    most = 65_536

    def __init__(self, ray: Any, embedder: Embedder, spec: str) -> None:
        self._ray = ray
        self._embedder = embedder
        self._spec = spec

    def run(self, texts: Sequence[str]) -> Iterator[tuple[Sequence[int], npt.NDArray[np.float32]]]:
        if not texts:
            return
        order = sorted(range(len(texts)), key=lambda position: -len(texts[position]))
        actors = max(1, min(int(self._ray.cluster_resources().get("CPU", 1)), -(-len(texts) // _BATCH)))
        rows = [{"position": position, "text": texts[position]} for position in order]
        dataset = self._ray.data.from_items(rows, override_num_blocks=-(-len(rows) // _BATCH)).map_batches(
            _Actor,
            fn_constructor_args=(self._spec, self._embedder.name),
            batch_size=_BATCH,
            num_cpus=1,
            compute=self._ray.data.ActorPoolStrategy(size=actors),
        )
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="numpy"):
                yield batch["position"].tolist(), np.stack(batch["vector"]).astype(np.float32, copy=False)
        except self._ray.exceptions.RayError as error:
            raise _cause(error) from error


class _Actor:
    """Holds an embedder in a process of Ray."""

    def __init__(self, spec: str, name: str) -> None:
        os.environ["WHETSTONE_THREADS"] = "1"  # Ray counts one core for each actor
        self._embedder = load_embedder(spec)
        if self._embedder.name != name:
            raise UsageError(f"On a worker of Ray {spec} is {self._embedder.name}, here it is {name}: install the same")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"position": batch["position"], "vector": self._embedder.embed([str(text) for text in batch["text"]])}


@contextmanager
def _ray() -> Iterator[Any]:
    """Ray, connected to the cluster of `RAY_ADDRESS`, or started on this machine; it ends with the job."""
    # Said before the import, which reads some of them: nothing is reported to anybody, and nothing is drawn.
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    # Under `uv run`, Ray would have every worker build an environment of its own from PyPI, and wait for it for ever.
    for name, value in {**quiet, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingPackageError("ray", "the engine ray", "pip install 'whetstone-llm[scale]'") from None
    import logging

    from whetstone import settings

    started = not ray.is_initialized()
    if started:
        alone = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": settings.threads(), "include_dashboard": False}
        ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **alone)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        yield ray
    finally:
        if started:
            ray.shutdown()


def _cause(error: BaseException) -> ModelError | UsageError:
    """The error of ours that a worker of Ray raised; else one that says so."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModelError | UsageError):
            return cause
        cause = getattr(cause, "cause", None) or cause.__cause__
    said = " ".join(str(error).split())
    return ModelError(f"The engine ray failed: {said[-300:]}")
