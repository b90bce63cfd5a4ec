"""What the base says to a probe: read once in a run, and kept beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from whetstone.storage.files import write_atomically
from whetstone.tuning.probe_label import LabelForm
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
        content: digest of what was asked, and the precision; they serve no other questions.
        label: how training answers look.
        tops: for each neutral text, the most probable tokens at each place.
        losses: for each neutral text, minus the log-probability of all its tokens.
        answers: what the base can do.
    """

    content: str
    label: LabelForm
    tops: Sequence[Tops]
    losses: Sequence[float]
    answers: Answers

    def save(self, path: Path) -> None:
        """Write them as safetensors, whole or not at all.

        Raises:
            StorageError: the disk is full, or refuses.
        """
        from safetensors.numpy import save

        facts = {
            "content": self.content,
            "label": {**asdict(self.label), "labels": sorted(self.label.labels)},
            "losses": list(self.losses),
            "right": {name: list(values) for name, values in self.answers.right.items()},
            "logprobs": {name: list(values) for name, values in self.answers.logprobs.items()},
        }
        arrays = {
            "sizes": np.array([len(tops.ids) for tops in self.tops]),
            "ids": np.concatenate([tops.ids for tops in self.tops]),
            "logprobs": np.concatenate([tops.logprobs for tops in self.tops]),
        }
        write_atomically(path, save(arrays, {"facts": json.dumps(facts)}))


def load_base(path: Path) -> BaseReadings | None:
    """Readings that were kept by `BaseReadings.save`; None where there are none, or they are damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            facts = json.loads(file.metadata()["facts"])
            cuts = np.cumsum(file.get_tensor("sizes"))[:-1]
            ids: list[npt.NDArray[np.int32]] = np.split(file.get_tensor("ids"), cuts)
            logprobs: list[npt.NDArray[np.float32]] = np.split(file.get_tensor("logprobs"), cuts)
        tops = [Tops(a, b) for a, b in zip(ids, logprobs, strict=True)]
        label = LabelForm(**{**facts["label"], "labels": frozenset(facts["label"]["labels"])})
        answers = Answers(facts["right"], facts["logprobs"])
        return BaseReadings(str(facts["content"]), label, tops, facts["losses"], answers)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None  # they are read again, which costs seconds
