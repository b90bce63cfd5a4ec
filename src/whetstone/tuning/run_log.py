"""What a run says of itself while it goes on: lines in its journal, and the same to whoever watches."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

from whetstone.storage.journal import JournalWriter
from whetstone.tuning.processes import process_number


class Watcher(Protocol):
    """Somebody who looks on."""

    def told(self, event: Mapping[str, Any]) -> None:
        """A line of the journal, as it is written."""

    def stopped(self) -> bool:
        """Whether the run is to stop; asked at each step."""


@runtime_checkable
class HearsStop(Protocol):
    """A watcher that is told at once that Ctrl-C came: the step that is being computed may take a while."""

    def stop_heard(self) -> None:
        """The run stops behind this step. Called by a signal handler."""


class RunLog:
    """The journal of a run and its watcher; silent in all processes but the first.

    Args:
        folder: the run's.
        watch: who looks on.

    Raises:
        StorageError: another process trains this run, or the disk refuses.
    """

    def __init__(self, folder: Path, watch: Watcher | None) -> None:
        self._watch = watch
        self._journal = JournalWriter(folder / "journal.jsonl") if process_number() == 0 else None

    def tell(self, kind: str, step: int, **facts: Any) -> None:
        """Write a line.

        Raises:
            StorageError: the disk is full.
        """
        if self._journal is None:
            return
        line = {"kind": kind, "step": step, **{name: value for name, value in facts.items() if value is not None}}
        self._journal.append(line)
        if self._watch is not None:
            self._watch.told(line)

    def stop_asked(self) -> bool:
        """Whether the watcher wants the run to stop."""
        return self._watch is not None and self._watch.stopped()

    def stop_heard(self) -> None:
        """Tell the watcher that the run will stop behind this step."""
        if isinstance(self._watch, HearsStop):
            self._watch.stop_heard()

    def close(self) -> None:
        """Force the journal to the disk."""
        if self._journal is not None:
            self._journal.close()


class Interrupts:
    """Ctrl-C, and the signal by which schedulers end a job, as a wish to stop behind the step that is being computed.

    Until there is a step to be lost, and at a second Ctrl-C, Python's usual KeyboardInterrupt comes at once.

    Args:
        heard: called when the first one comes, by the signal handler.

    Attributes:
        asked: whether the run is to stop.
        at_work: whether a step has begun.
    """

    # A launcher passes on to its processes what the terminal has sent to all of them already.
    _SAME = 2.0  # seconds

    def __init__(self, heard: Callable[[], None]) -> None:
        self.asked = self.at_work = False
        self._heard = heard
        self._first = 0.0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch signals while inside; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.at_work or (self.asked and number == signal.SIGINT and now - self._first > self._SAME):
            raise KeyboardInterrupt
        if not self.asked:
            self.asked, self._first = True, now
            self._heard()
