"""Which process this is, in words that another process can check: whether it still runs."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from a later one with the same number.

    Attributes:
        host: the machine, its boot and its numbering of processes (containers have their own).
        pid: its number there.
        started: when it started, in the system's own words; "" where the system does not say.
    """

    host: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.started}"

    @classmethod
    def parse(cls, text: str) -> Process:
        """The process that `str()` wrote down."""
        host, pid, started = text.split(" ", 2)
        return cls(host, int(pid), started)

    def runs(self) -> bool | None:
        """Whether it still runs; None where that cannot be told from here."""
        if self.host != _host() or not self.started:
            return None
        return _started(self.pid) == self.started


def this_process() -> Process:
    """The process that asks."""
    return _identify(os.getpid())  # by number, as a fork has a new one


@functools.lru_cache(maxsize=1)
def _identify(pid: int) -> Process:
    return Process(_host(), pid, _started(pid))


@functools.lru_cache(maxsize=1)
def _host() -> str:
    parts = [platform.node().replace(" ", "-") or "localhost"]
    for path, read in (
        ("/proc/sys/kernel/random/boot_id", lambda path: Path(path).read_text().strip()),
        ("/proc/self/ns/pid", os.readlink),
    ):
        try:
            parts.append(read(path))
        except OSError:  # no Linux
            continue
    return "/".join(parts)


_ps_lock = threading.Lock()


def _started(pid: int) -> str:
    """When a process started; "" when there is none of that number, or the system does not say."""
    if sys.platform == "linux":
        try:
            # The name of the program, in brackets, may hold blanks and brackets itself.
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # a zombie writes nothing any more
    if sys.platform == "win32":
        return ""
    with _ps_lock:
        found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()
