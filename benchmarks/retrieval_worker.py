"""A side of `retrieval.py` as a process: started, asked line by line, its memory watched, ended."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

_LOOK = 0.02  # seconds between looks at the memory


class Worker:
    """One side, "ours" or "peer", over a folder of its own.

    Attributes:
        started: when the process was started, by `time.perf_counter`.
        peak: most memory (resident set) of the process and its children together so far, in bytes; 0 without /proc.
    """

    def __init__(self, side: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.side, self.folder, self.peak = side, folder, 0
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("retrieval_sides.py")), side, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if side == "peer" else None,  # progress and notices of its libraries
            text=True,
        )
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_memory, daemon=True)
        self._watch.start()

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Run one command of `retrieval_sides`; its result, with "seconds" and "cpu" (seconds of CPU time)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.side} failed at {do}; its command line: {' '.join(map(str, self._process.args))}")
        result: dict[str, Any] = json.loads(line)
        return result

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._ended.set()
        self._watch.join()

    def _watch_memory(self) -> None:
        while not self._ended.wait(_LOOK):
            family = _family(self._process.pid)
            alone = len(family) == 1  # then the kernel's own high-water mark, which misses nothing
            self.peak = max(self.peak, sum(_kilobytes(pid, "VmHWM" if alone else "VmRSS") for pid in family) * 1024)


def disk_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = {int(child) for task in tasks for child in (task / "children").read_text().split()}
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _family(child))]


def _kilobytes(pid: int, field: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
