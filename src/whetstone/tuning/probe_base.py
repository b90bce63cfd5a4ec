"""What the base says to a probe: read once in a run, and kept beside it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from whetstone.storage.files import write_atomically
from whetstone.tuning.probe_reading import Tops


@dataclass(frozen=True)
class Answers:
    """What one model can do.

    Attributes:
        right: for each group of items, which are right (for "labels", which are written like training answers).
        logprobs: for groups with right answers, the log-probability of each.
    """

    right: Mapping[str, Sequence[bool]]
    logprobs: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class BaseReadings:
    """The base's readings.

    Attributes:
        content: digest of what was asked; they serve no other questions.
        tops: for each neutral text, the most probable tokens at each place.
        losses: for each neutral text, minus the log-probability of all its tokens.
        answers: what the base can do.
    """

    content: str
    tops: Sequence[Tops]
    losses: Sequence[float]
    answers: Answers

    def save(self, path: Path) -> None:
        """Write them whole, or not at all: arrays of numbers and a JSON text, no pickle.

        Raises:
            StorageError: the disk is full, or refuses.
        """
        facts = {
            "content": self.content,
            "losses": list(self.losses),
            "right": {name: list(values) for name, values in self.answers.right.items()},
            "logprobs": {name: list(values) for name, values in self.answers.logprobs.items()},
        }
        file = io.BytesIO()
        np.savez(
            file,
            facts=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8),
            sizes=np.array([len(tops.ids) for tops in self.tops]),
            ids=np.concatenate([tops.ids for tops in self.tops]),
            logprobs=np.concatenate([tops.logprobs for tops in self.tops]),
        )
        write_atomically(path, file.getvalue())


def load_base(path: Path, content: str) -> BaseReadings | None:
    """Readings that were kept; None where there are none, they are damaged, or other things were asked.

    Args:
        path: as given to `BaseReadings.save`.
        content: the digest of what is asked now.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            cuts = np.cumsum(file["sizes"])[:-1]
            ids: list[npt.NDArray[np.int32]] = np.split(file["ids"], cuts)
            logprobs: list[npt.NDArray[np.float32]] = np.split(file["logprobs"], cuts)
        if facts["content"] != content:
            return None
        tops = [Tops(a, b) for a, b in zip(ids, logprobs, strict=True)]
        return BaseReadings(content, tops, facts["losses"], Answers(facts["right"], facts["logprobs"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None  # they are read again, which costs seconds
