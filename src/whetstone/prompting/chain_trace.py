"""Traces of chains: every request of a run with its prompt, reply, tokens, seconds, cost and seed.

A run is a folder `chains/RUN/` with `run.json` (the chain itself and what it was given, written once) and
`trace.jsonl` (a journal: a line per request, then one per finished step, and the outputs). The name is derived from
all that decides the run, so that the same command finds the same run and goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from whetstone import settings
from whetstone.errors import UsageError
from whetstone.prompting.chain_file import ChainFile
from whetstone.prompting.chain_record import ChainRecord, Place, Request, StepEnd, read_record
from whetstone.registry import unknown_name
from whetstone.storage.files import write_atomically
from whetstone.storage.journal import JournalWriter


class ChainTrace:
    """A run that is open for writing. Use as a context manager: it holds a lock.

    Attributes:
        id: the run's name.
        requests: those kept so far, by their place; the last one at a place holds.
    """

    def __init__(self, path: Path) -> None:
        self.id = path.name
        self._journal = JournalWriter(path / "trace.jsonl")
        try:
            record = read_record(path)
        except BaseException:
            self._journal.close()
            raise
        self.header = record.header
        self.requests: dict[Place, Request] = {one.place: one for one in record.requests}
        self._ends = {end.step: end for end in record.ends}
        self._outputs = record.outputs

    def kept(self, place: Place, key: str) -> Request | None:
        """The request at this place, if it asked the same, or was taken over from another run."""
        found = self.requests.get(place)
        return found if found is not None and (found.key == key or found.reused) else None

    def keep(self, request: Request) -> None:
        """Keep one request. It survives a kill as soon as this returns."""
        self.requests[request.place] = request
        self._journal.append({"request": asdict(request)})

    def finish_step(self, end: StepEnd) -> None:
        """Note what a step came to."""
        if self._ends.get(end.step) != end:
            self._ends[end.step] = end
            self._journal.append({"end": asdict(end)})

    def finish(self, outputs: Mapping[str, Any]) -> None:
        """Note what came out."""
        if self._outputs != outputs:
            self._outputs = outputs
            self._journal.append({"outputs": dict(outputs)})

    def take_over(self, requests: Iterable[Request], run: str) -> None:
        """Take requests of another run for this one's."""
        for request in requests:
            if request.place not in self.requests:
                self.keep(replace(request, reused=request.reused or run))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()


class ChainStore:
    """All runs of chains under one home folder (`WHETSTONE_HOME` by default)."""

    def __init__(self, home: Path | None = None) -> None:
        self.folder = (home or settings.home()) / "chains"

    def open(
        self,
        chain: ChainFile,
        digest: str,
        *,
        inputs: Mapping[str, Any],
        model: str,
        seed: int,
        replayed: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> ChainTrace:
        """The run of this digest, new or to be gone on with.

        Args:
            digest: of all that decides the run.
            replayed: `run` and `from`, where an earlier run is replayed.
            fresh: a new run, even where there is one.

        Raises:
            StorageError: another process writes this run, or the disk refuses.
        """
        name = f"{re.sub(r'[^A-Za-z0-9.]+', '-', chain.head.name).strip('-').lower()[:40] or 'chain'}-{digest[:10]}"
        path = self.folder / name
        number = 1
        while fresh and path.exists():
            number += 1
            path = self.folder / f"{name}-{number}"
        if not (path / "run.json").exists():
            header = {
                "run": path.name,
                "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "chain": chain.head.name,
                "origin": chain.origin,
                "source": chain.source,
                "files": chain.files,
                "digest": chain.digest,
                "steps": [step.name for step in chain.head.steps],
                "inputs": dict(inputs),
                "model": model,
                "seed": seed,
                "replayed": dict(replayed) if replayed else None,
                "versions": {"whetstone": version("whetstone-llm")},
            }
            write_atomically(path / "run.json", json.dumps(header, indent=1))
        return ChainTrace(path)

    def __iter__(self) -> Iterator[ChainRecord]:
        """Every run, oldest first."""
        records = [read_record(path.parent) for path in self.folder.glob("*/run.json")]
        yield from sorted(records, key=lambda record: (str(record.header["created"]), record.id))

    def find(self, reference: str) -> ChainRecord:
        """The run whose name is, or alone begins with, `reference`; "last" is the newest.

        Raises:
            UsageError: no run, or several, answer to it.
        """
        names = sorted(path.parent.name for path in self.folder.glob("*/run.json"))
        if not names:
            raise UsageError(f"there are no runs in {self.folder} yet: `whet chain run FILE` makes one")
        if reference == "last":
            return list(self)[-1]
        matches = [reference] if reference in names else [name for name in names if name.startswith(reference)]
        if not matches:
            raise unknown_name("run of a chain", reference, names)
        if len(matches) > 1:
            raise UsageError(f"{reference!r} could be any of {', '.join(matches)}: write more of it")
        return read_record(self.folder / matches[0])


def digest(*parts: Any) -> str:
    """24 hex digits of the sha256 of JSON values."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:24]
