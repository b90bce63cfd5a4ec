"""What a run of a chain did, as it is kept and read back: every request with all that belongs to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from whetstone.errors import StorageError
from whetstone.prompting.chain_file import ChainFile
from whetstone.storage.journal import read_journal
from whetstone.types import Usage

Place = tuple[str, int, int, int, int]


@dataclass(frozen=True)
class Request:
    """One request of a run.

    Attributes:
        step: its step; `item` (of for_each), `round` (of repeat), `sample` (of vote) and `attempt` are counted from 0.
        key: digest of what was asked of whom; equal keys need not be asked twice.
        model: the model's spec; `revision` pins its weights.
        messages: what was asked.
        options: sampling options, the seed among them.
        raw: the reply.
        value: what was read out of it; None where that failed, for the reason in `note`.
        note: how it was read, or why it was not.
        tries: with a schema, every attempt: raw, error, constrained.
        cost: US dollars; None where no price is known.
        reused: the run that it was taken over from; "" where it was asked in this one.
    """

    step: str
    item: int
    round: int
    sample: int
    attempt: int
    key: str
    model: str
    revision: str
    messages: list[dict[str, Any]]
    options: dict[str, Any]
    raw: str = ""
    value: Any = None
    note: str = ""
    finish_reason: str | None = None
    tries: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    cost: float | None = None
    reused: str = ""

    @property
    def place(self) -> Place:
        """Where in the run it stands."""
        return self.step, self.item, self.round, self.sample, self.attempt

    @property
    def failed(self) -> bool:
        """Whether nothing could be read out of the reply; `note` says why."""
        return self.value is None and bool(self.note)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `asdict`."""
        return cls(**{**data, "usage": Usage(**data["usage"])})


@dataclass(frozen=True)
class StepEnd:
    """A finished step.

    Attributes:
        value: what it came to; None where it was left out.
        skipped: whether its condition did not hold.
        remarks: sentences: how a vote went, whether a limit was met.
    """

    step: str
    value: Any
    skipped: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChainRecord:
    """A run of a chain, read back.

    Attributes:
        id: its name.
        header: what `run.json` holds.
        requests: in the order in which they were answered.
        ends: the steps that are finished, in the order in which they ended.
        outputs: what came out; None where it did not come to its end.
        asked: requests that were made just now; 0 for a run that was finished before.
    """

    id: str
    header: Mapping[str, Any]
    requests: tuple[Request, ...]
    ends: tuple[StepEnd, ...]
    outputs: Mapping[str, Any] | None
    asked: int = field(default=0, compare=False)

    @property
    def chain(self) -> ChainFile:
        """The chain as it was."""
        return ChainFile(self.header["source"], self.header["origin"], self.header["files"])

    @property
    def usage(self) -> Usage:
        """Tokens of the requests that this run made itself."""
        return sum((one.usage for one in self.requests if not one.reused), Usage())

    @property
    def seconds(self) -> float:
        """Seconds of the requests that this run made itself."""
        return sum(one.seconds for one in self.requests if not one.reused)

    @property
    def cost(self) -> float | None:
        """US dollars for the requests that this run made itself; None where a price is not known."""
        costs = [one.cost for one in self.requests if not one.reused]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            **{key: self.header[key] for key in ("run", "created", "chain", "origin", "inputs", "model", "seed")},
            "replayed": self.header["replayed"],
            "outputs": self.outputs,
            "steps": [asdict(end) for end in self.ends],
            "requests": [asdict(one) for one in self.requests],
            "usage": asdict(self.usage),
            "seconds": self.seconds,
            "cost": self.cost,
        }


def read_record(path: Path) -> ChainRecord:
    """The run of a folder.

    Raises:
        StorageError: it cannot be read, or is damaged.
    """
    try:
        header: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: the header of this run cannot be read ({error}); delete its folder") from None
    requests: dict[Place, Request] = {}
    ends: dict[str, StepEnd] = {}
    outputs: Mapping[str, Any] | None = None
    for number, entry in enumerate(read_journal(path / "trace.jsonl"), start=1):
        try:
            if "request" in entry:
                request = Request.from_json(entry["request"])
                requests.pop(request.place, None)
                requests[request.place] = request
            elif "end" in entry:
                end = StepEnd(**{**entry["end"], "remarks": tuple(entry["end"]["remarks"])})
                ends.pop(end.step, None)
                ends[end.step] = end
            else:
                outputs = entry["outputs"]
        except (KeyError, TypeError):
            raise StorageError(f"{path / 'trace.jsonl'}, line {number}: not of this version of Whetstone") from None
    return ChainRecord(path.name, header, tuple(requests.values()), tuple(ends.values()), outputs)
