"""What a tuning run's journal tells, read as it grows: a page that is reloaded, or another server, sees the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whetstone.errors import StorageError
from whetstone.storage.files import storage_error

JOURNAL = "journal.jsonl"


@dataclass
class Story:
    """A run so far.

    Attributes:
        steps: lines of optimizer steps, by step.
        validations, probes: likewise; step 0 is the base before training.
        notes: sentences, in the order in which they came.
        ended: the line of its end; None before.
    """

    steps: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    validations: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    probes: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ended: Mapping[str, Any] | None = None

    @property
    def step(self) -> int:
        """The last step."""
        return max(self.steps, default=0)

    def tell(self, line: Mapping[str, Any]) -> None:
        """Take in one line."""
        kind, step = line.get("kind"), int(line.get("step", 0))
        if kind == "step":
            self.steps[step] = line
        elif kind == "validation":
            self.validations[step] = line
        elif kind == "probe":
            self.probes[step] = line
        elif kind == "end":
            self.ended = line
        elif kind == "note":
            if line.get("resumed"):
                self._go_back(step)
            if (words := str(line.get("text") or "")) and words not in self.notes:
                self.notes.append(words)

    def _go_back(self, step: int) -> None:
        """Forget what was done behind a revision: the run does it again. Behind step 0 nothing was kept at all."""
        kept = step if step > 0 else -1
        for known in (self.steps, self.validations, self.probes):
            for later in [at for at in known if at > kept]:
                del known[later]
        self.ended = None


class Journals:
    """The stories of runs, each line of a journal read once. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[int, int, Story]] = {}  # inode, bytes read, story

    def story(self, folder: Path) -> Story:
        """What the journal of a run's folder tells.

        Raises:
            StorageError: it cannot be read, or is damaged.
        """
        path = folder / JOURNAL
        with self._lock:
            try:
                facts = path.stat()
                inode, at, story = self._known.get(path, (facts.st_ino, 0, Story()))
                if inode != facts.st_ino or facts.st_size < at:  # begun afresh
                    at, story = 0, Story()
                at = _read(path, at, story)
            except FileNotFoundError:
                self._known.pop(path, None)
                return Story()
            except OSError as error:
                raise storage_error(path, error) from error
            self._known[path] = (facts.st_ino, at, story)
            return story


def _read(path: Path, at: int, story: Story) -> int:
    """Take in the whole lines from a place on; where they end."""
    with path.open("rb") as file:
        file.seek(at)
        for line in file:
            if not line.endswith(b"\n"):
                break  # it is being written, or was torn by a kill
            at += len(line)
            try:
                story.tell(json.loads(line))
            except (ValueError, TypeError, AttributeError):
                raise StorageError(f"{path}: a line at byte {at:,} is damaged; delete that line") from None
    return at
