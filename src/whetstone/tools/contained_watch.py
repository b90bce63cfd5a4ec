"""What a contained process may use, and how it is fed, read, and ended at its limits."""

from __future__ import annotations

import errno
import math
import os
import selectors
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from whetstone.errors import UsageError

Stopped = Literal["time", "output", "disk"]
MOST_FILES = 2000

_PIECE = 1 << 16
_LOOK_SECONDS = 0.1  # between two looks at a folder that no kernel bounds


@dataclass(frozen=True, slots=True)
class Limits:
    """What contained code may use.

    Attributes:
        seconds: by the clock.
        processor_seconds: of the processor, rounded up to whole ones; as many as by the clock where it is None. A low
            limit of these and a high one by the clock stop what loops soon, and nothing that merely waits its turn on a
            busy machine.
        memory_mb: address space, in MiB, Python's own 20 or so included. It bounds the threads too: each takes 8.
        output_kb: KiB kept of its output, and as much of its errors.
        disk_mb: MiB that its files may take.
    """

    seconds: float = 10.0
    processor_seconds: float | None = None
    memory_mb: int = 512
    output_kb: int = 256
    disk_mb: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise UsageError(f"code can run for some seconds, not for {self.seconds}")
        if self.processor_seconds is not None and not 0 < self.processor_seconds < math.inf:
            raise UsageError(f"code can take some seconds of the processor, not {self.processor_seconds}")
        if self.memory_mb < 64:
            raise UsageError(f"Python needs 64 MB of memory to run code, and {self.memory_mb} are allowed")
        if self.output_kb < 1 or self.disk_mb < 1:
            raise UsageError("code needs at least 1 KB for its output and 1 MB for its files")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a contained process went.

    Attributes:
        stdout: what it wrote, up to the limit.
        stderr: its errors, up to the limit.
        exit: its exit code, or the negative number of the signal that ended it.
        stopped: the limit that it was ended for, None where it ended itself or the kernel ended it.
        seconds: from when the guards were up.
        landlock: the version of Landlock that held it; 0 for none.
    """

    stdout: bytes
    stderr: bytes
    exit: int
    stopped: Stopped | None
    seconds: float
    landlock: int


@dataclass(slots=True)
class _Pipe:
    """One of its pipes, and what came through."""

    file: IO[bytes]
    room: int
    got: bytearray = field(default_factory=bytearray)


class Watch:
    """Feeds a process, reads it, and ends it at its limits."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes, limits: Limits, shared: Path | None) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._input = process.stdin
        self._unsent = memoryview(stdin)
        room = limits.output_kb << 10
        self._out, self._err = _Pipe(process.stdout, room), _Pipe(process.stderr, room)
        self._limits = limits
        self._shared = shared  # its folder, where that lies on a disk that others use
        self._stopped: Stopped | None = None

    def outcome(self, landlock: int) -> Outcome:
        began = time.monotonic()
        deadline = began + self._limits.seconds
        self._pump(deadline)
        if self._stopped is None:
            try:
                self._process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._stopped = "time"
        seconds = time.monotonic() - began
        self._process.kill()
        code = self._process.wait()
        return Outcome(bytes(self._out.got), bytes(self._err.got), code, self._stopped, seconds, landlock)

    def _pump(self, deadline: float) -> None:
        """Until both of its outputs are closed, or a limit is reached."""
        with selectors.DefaultSelector() as selector:
            for pipe in (self._out, self._err):
                selector.register(pipe.file, selectors.EVENT_READ, pipe)
            if self._unsent:
                os.set_blocking(self._input.fileno(), False)
                selector.register(self._input, selectors.EVENT_WRITE)
            else:
                self._input.close()
            while any(isinstance(key.data, _Pipe) for key in selector.get_map().values()):
                left = deadline - time.monotonic()
                if left <= 0:
                    self._stopped = "time"
                elif self._shared is not None and not _fits(self._shared, self._limits):
                    self._stopped = "disk"
                if self._stopped is not None:
                    return
                for key, _ in selector.select(min(left, _LOOK_SECONDS) if self._shared else left):
                    self._move(selector, key.data)

    def _move(self, selector: selectors.BaseSelector, pipe: _Pipe | None) -> None:
        if pipe is None:
            try:
                self._unsent = self._unsent[os.write(self._input.fileno(), self._unsent[:_PIECE]) :]
            except BrokenPipeError:  # it reads no more
                self._unsent = memoryview(b"")
            if not self._unsent:
                selector.unregister(self._input)
                with suppress(OSError):
                    self._input.close()
            return
        piece = os.read(pipe.file.fileno(), _PIECE)
        if not piece:
            selector.unregister(pipe.file)
            return
        room = pipe.room - len(pipe.got)
        pipe.got += piece[:room]
        if len(piece) > room:
            self._stopped = "output"


def _fits(work: Path, limits: Limits) -> bool:
    """Whether the files in a folder, which change meanwhile, are within the limits."""
    room, files = limits.disk_mb << 20, MOST_FILES
    folders = [str(work)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    files -= 1
                    with suppress(FileNotFoundError):  # gone since
                        room -= entry.stat(follow_symlinks=False).st_size
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                    if room < 0 or files < 0:
                        return False
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # so deep that what lies there cannot be counted
                return False
    return True
