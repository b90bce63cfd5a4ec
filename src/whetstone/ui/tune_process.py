"""A tuning run in a process of its own, so that pages stay quick and its memory is given back.

The page may be closed and reloaded: what the run does is in its folder (`storage.revisions`), and how it fares beside
that in a state file that the process writes. It ends with the server that began it, at the end of a step, and can then
be gone on with.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from whetstone import settings
from whetstone.errors import StorageError, UsageError, WhetstoneError
from whetstone.registry import unknown_name
from whetstone.storage.files import write_atomically
from whetstone.tuning.config import TuneConfig, read_config

_PAUSE = 0.4  # seconds between two writings of the state


class _Stopped(BaseException):
    """Goes through what comes before the first step, where nothing asks whether to stop."""


def work_folder() -> Path:
    """Where the states of runs are that the workbench began."""
    return settings.home() / "tuning-work"


def read_state(run: str) -> dict[str, Any]:
    """How a run fares that the workbench began; {} for others.

    Keys: `phase` ("begins", "prepares", "trains", "ended"), `what`, `done`, `total`, `error`, `stopped`, `remarks`.
    """
    try:
        state: dict[str, Any] = json.loads((work_folder() / f"{run}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state


def begun_here(run: str) -> None:
    """See that the workbench began a run, as far as a visitor may know of runs.

    Raises:
        UnknownNameError: it did not.
    """
    known = sorted(path.stem for path in work_folder().glob("*.json"))
    if run not in known:
        raise unknown_name("tuning run", run, known)


class TuneProcess:
    """The process of one run, as its server sees it.

    Args:
        config: of the run.
        overwrite: start afresh.

    Attributes:
        stopping: somebody stopped it.

    Raises:
        StorageError: it cannot be started.
    """

    def __init__(self, config: TuneConfig, *, overwrite: bool = False) -> None:
        self.run = config.run
        self.stopping = False
        folder = work_folder()
        write_atomically(folder / f"{self.run}.yaml", config.to_yaml())
        _write_state(self.run, {"phase": "begins"})
        command = [sys.executable, "-m", __name__, self.run, *(["--overwrite"] if overwrite else [])]
        try:
            with (folder / f"{self.run}.log").open("wb") as written:
                # A session of its own: Ctrl-C at the server is for the server, which then stops the run in order.
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True
                )
        except OSError as error:
            raise StorageError(f"the tuning run cannot be started: {error.strerror or error}") from error

    @property
    def running(self) -> bool:
        """Whether it is at work. Once it is not, its state says why."""
        if self._process.poll() is None:
            return True
        state = read_state(self.run)
        if state.get("phase") != "ended":
            why = {"stopped": True} if self.stopping else {"error": self._killed()}
            _write_state(self.run, {**state, "phase": "ended", **why})
        return False

    def stop(self) -> None:
        """Let it end after the step that it is at."""
        self.stopping = True
        self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it came."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.running

    def kill(self) -> None:
        """End it now; it can be gone on with from its last revision."""
        self._process.kill()
        self._process.wait()

    def _killed(self) -> str:
        code = self._process.returncode
        why = f"signal {-code}" if code < 0 else f"exit code {code}"
        hint = "; the memory may have been full: lower micro_batch_tokens" if code in (-9, 137) else ""
        return f"the run's process ended without a word ({why}){hint}; its log is {work_folder() / f'{self.run}.log'}"


def _write_state(run: str, state: Mapping[str, Any]) -> None:
    write_atomically(work_folder() / f"{run}.json", json.dumps(state, ensure_ascii=False))


class _Child:
    """What follows a run in its own process: writes the state, and knows when to stop."""

    def __init__(self, run: str) -> None:
        self.stopping = False
        self._run = run
        self._server = os.getppid()
        self._state: dict[str, Any] = {"phase": "prepares"}
        self._written = 0.0
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def preparing(self, what: str, done: int, total: int) -> None:
        """Told while rows are read and weights are loaded."""
        if self.stopped():
            raise _Stopped
        self._say(phase="prepares", what=what, done=done, total=total)

    def told(self, event: Mapping[str, Any]) -> None:
        """Told every line of the journal, which is where the page reads them."""
        self._say(phase="trains", what="", done=int(event.get("step", 0)), total=0)

    def stopped(self) -> bool:
        """Asked at each step. A server that has gone is noticed by whose child this is."""
        return self.stopping or os.getppid() != self._server

    def end(self, **state: Any) -> None:
        """Say how it ended."""
        self._state = {"phase": "ended", "stopped": self.stopped(), **state}
        _write_state(self._run, self._state)

    def _say(self, **state: Any) -> None:
        changed = state["phase"] != self._state["phase"]
        self._state = state
        if changed or time.monotonic() - self._written > _PAUSE:
            self._written = time.monotonic()
            _write_state(self._run, state)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Held by the one run that the workbenches of this machine have at work."""
    lock = FileLock(work_folder() / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError("another tuning run is at work on this machine: wait until it has ended, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def main(arguments: list[str]) -> int:
    """Run the configuration that the server left for this run."""
    run, overwrite = arguments[0], "--overwrite" in arguments[1:]
    child = _Child(run)
    try:
        with _alone():
            from whetstone.workflows.tune import run_tuning

            config = read_config(work_folder() / f"{run}.yaml")
            report = run_tuning(config, watcher=child, progress=child.preparing, overwrite=overwrite)
        child.end(remarks=list(report.remarks))
    except _Stopped:
        child.end()
    except WhetstoneError as error:
        child.end(error=str(error))
        return error.exit_code
    except Exception as error:
        logging.getLogger(__name__).exception("a tuning run failed")
        child.end(error=f"Whetstone made a mistake ({type(error).__name__}: {error}). The run's log tells more.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
