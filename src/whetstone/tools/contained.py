"""Code that a model wrote, run where it can do no harm: a process of its own with limits that the kernel keeps.

The process gets a folder of its own, an empty environment, no network, no further processes, nothing to read but
Python's own files, and limits of time, memory, disk and output. `contained_warden.py` puts the guards up, in the
process itself, before the code takes its place. Before the first run a trial proves them, by trying what is forbidden:
where something forbidden succeeds, or there is no such guard (macOS, Windows, old kernels), nothing is run at all.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from whetstone.errors import ContainmentError
from whetstone.tools.contained_guards import Containment, containment
from whetstone.tools.contained_process import run_guarded
from whetstone.tools.contained_watch import Limits, Outcome

__all__ = ["Containment", "Limits", "Ran", "containment", "run_contained"]


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of code that was run.

    Attributes:
        stdout: what it printed, up to the limit.
        stderr: its errors, up to the limit: a traceback names the program as program.py.
        exit: its exit code, or the negative number of the signal that ended it.
        killed_by: None for code that ended itself; "time", "memory", "output", "disk", or a signal: "SIGSEGV".
        seconds: by the clock.
        problem: what was wrong, in one sentence for a model or a person; "" for code that ended well.
    """

    stdout: str
    stderr: str
    exit: int
    killed_by: str | None
    seconds: float
    problem: str

    @property
    def fine(self) -> bool:
        """Whether it ended by itself, with exit code 0."""
        return not self.problem


def run_contained(
    code: str, *, stdin: str = "", files: Mapping[str, str | bytes] | None = None, limits: Limits | None = None
) -> Ran:
    """Run Python code where it can do no harm, and wait for its end.

    It has the standard library, and nothing else to import but `files`.

    Args:
        stdin: its standard input.
        files: to lie in its folder, by relative path. What it writes there goes when it ends.

    Raises:
        ContainmentError: this machine has no guards for it; nothing was run.
        StorageError: there is no room for its folder.
        UsageError: a file's name leads out of the folder.
    """
    held = containment()
    if held.plan is None:
        raise ContainmentError(held.reason)
    limits = limits or Limits()
    outcome = run_guarded(code, stdin=stdin.encode(errors="replace"), files=files or {}, limits=limits, plan=held.plan)
    stderr = outcome.stderr.decode(errors="replace")
    killed_by = _killed_by(outcome, stderr)
    return Ran(
        stdout=outcome.stdout.decode(errors="replace"),
        stderr=stderr,
        exit=outcome.exit,
        killed_by=killed_by,
        seconds=outcome.seconds,
        problem=_problem(outcome, stderr, killed_by, limits),
    )


def _killed_by(outcome: Outcome, stderr: str) -> str | None:
    if outcome.stopped is not None:
        return outcome.stopped
    if outcome.exit == -signal.SIGXCPU:
        return "time"
    if outcome.exit < 0:
        known = {one.value: one.name for one in signal.Signals}
        return known.get(-outcome.exit, f"signal {-outcome.exit}")
    if outcome.exit and _last(stderr).startswith("MemoryError"):
        return "memory"
    return None


def _problem(outcome: Outcome, stderr: str, killed_by: str | None, limits: Limits) -> str:
    match killed_by:
        case "time":
            if outcome.stopped is None and limits.processor_seconds is not None:
                return f"it was stopped after {math.ceil(limits.processor_seconds)} s of computing"
            return f"it was stopped after {limits.seconds:g} s"
        case "memory":
            return f"it needed more than {limits.memory_mb} MB of memory"
        case "output":
            return f"it was stopped after {limits.output_kb} KB of output"
        case "disk":
            return f"it was stopped as its files took more than {limits.disk_mb} MB, or were too many"
        case None:
            last = _last(stderr)
            return (last or f"it ended with exit code {outcome.exit}") if outcome.exit else ""
        case _:
            return f"it was ended by {killed_by}"


def _last(stderr: str) -> str:
    """The last line that is not indented: of a traceback, the error itself."""
    lines = [line for line in stderr.splitlines() if line and not line[0].isspace()]
    return lines[-1] if lines else ""
