"""One contained process from start to end: its folder, its orders, its pipes, and what stopped it."""

from __future__ import annotations

import errno
import json
import math
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from whetstone.errors import ContainmentError, StorageError, UsageError
from whetstone.tools.contained_filter import filter_program

PROGRAM = "program.py"
Stopped = Literal["time", "output", "disk"]

_WARDEN = Path(__file__).with_name("contained_warden.py")
_START_SECONDS = 60.0  # to put the guards up, on the busiest machine
_PIECE = 1 << 16
_OPEN_FILES = 64
_DISK_FILES = 2000
_LOOK_SECONDS = 0.1  # between two looks at a folder that no kernel bounds

# What Python and the libraries under it are read from, besides its own folder. /nix is where Nix keeps every library.
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share/zoneinfo")
_MORE = ("/etc/ld.so.cache", "/nix/store")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


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
class Plan:
    """Which guards to put up besides the seccomp filter and the limits.

    Attributes:
        namespaces: no network and a file tree of its own; runs nothing where they cannot be had.
        landlock: paths forbidden by Landlock, where the kernel has it; it has to where `namespaces` is not set.
    """

    namespaces: bool = True
    landlock: bool = True


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


def run_guarded(
    code: str, *, stdin: bytes = b"", files: Mapping[str, str | bytes], limits: Limits, plan: Plan
) -> Outcome:
    """Run Python code in a process of its own behind guards, and wait for its end.

    Args:
        files: to lie in its folder, by relative path; its modules can be imported.

    Raises:
        ContainmentError: a guard of the plan cannot be put up here; nothing was run.
        StorageError: there is no room for its folder.
        UsageError: a file's name leads out of the folder.
    """
    with _folder() as folder:
        work = folder / "work"
        (folder / "root").mkdir()
        work.mkdir()
        _lay(work, {**files, PROGRAM: code})
        outcome = _run(folder, stdin, limits, plan)
        # Where the folder lies is of no concern to who reads an error, and would make equal runs differ.
        places = os.fsencode(work) + b"/"
    return Outcome(
        outcome.stdout,
        outcome.stderr.replace(places, b""),
        outcome.exit,
        outcome.stopped,
        outcome.seconds,
        outcome.landlock,
    )


def python() -> str:
    """The interpreter that contained code is run by: the one below any virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


# Its folder


@contextmanager
def _folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="whet-contained-")).resolve()
    except OSError as error:
        raise StorageError(f"there is no folder to run code in: {error}") from error
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder)
        except (OSError, RecursionError):
            # Folders without rights or a thousand levels deep, which code made where the disk is not its own.
            subprocess.run(["chmod", "-R", "u+rwx", str(folder)], stderr=subprocess.DEVNULL, check=False)
            subprocess.run(["rm", "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)


def _lay(work: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise UsageError(f"{name!r} is no file inside the folder that code is run in")
        # A lone surrogate is no text; Python then says so of the program, as it would of any damaged file.
        data = content.encode(errors="surrogatepass") if isinstance(content, str) else content
        try:
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(data)
        except (OSError, UnicodeError) as error:
            raise StorageError(f"{name} cannot be laid out for the code: {error}") from error


def _fits(work: Path, limits: Limits) -> bool:
    """Whether the files in a folder, which change meanwhile, are within the limits."""
    room, files = limits.disk_mb << 20, _DISK_FILES
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


# Its orders


def _orders(folder: Path, pid: int, limits: Limits, plan: Plan) -> bytes:
    disk = limits.disk_mb << 20
    # Of the processor. Where nothing else is asked for, the clock comes first, and this is for when we are gone.
    own = limits.processor_seconds
    seconds = math.ceil(limits.seconds) + 1 if own is None else math.ceil(own)
    work = str(folder / "work")
    orders: dict[str, Any] = {
        "parent": os.getpid(),
        "namespaces": plan.namespaces,
        "landlock": plan.landlock,
        "root": str(folder / "root"),
        "work": work,
        "readable": _readable(),
        "devices": [path for path in _DEVICES if os.path.exists(path)],
        "disk_bytes": disk,
        "disk_files": _DISK_FILES,
        "limits": {
            "RLIMIT_CPU": (seconds, seconds + 1),
            "RLIMIT_AS": (limits.memory_mb << 20,) * 2,
            "RLIMIT_FSIZE": (disk, disk),
            "RLIMIT_NOFILE": (_OPEN_FILES, _OPEN_FILES),
            "RLIMIT_CORE": (1, 1),  # bytes: with 0, a program that collects dumps is given them all the same
            "RLIMIT_MEMLOCK": (0, 0),
        },
        "filter": b64encode(filter_program(pid, metadata=plan.namespaces)).decode(),
        "command": [python(), "-S", "-B", "-u", "-X", "utf8", PROGRAM],
        # Sets come in the same order in every run.
        "environment": {
            "HOME": work,
            "TMPDIR": work,
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",
        },
    }
    return json.dumps(orders).encode()


def _readable() -> list[str]:
    """The files that Python is made of, links as links, none inside another."""
    own = [os.path.realpath(sys.base_prefix), os.path.realpath(sys.base_exec_prefix), python()]
    paths: list[str] = []
    for path in sorted({*own, *_SYSTEM, *_MORE}, key=len):
        if os.path.exists(path) and not any(path == known or path.startswith(known + "/") for known in paths):
            paths.append(path)
    return paths


# Its run


@dataclass(slots=True)
class _Pipe:
    """One of its pipes, and what came through."""

    file: IO[bytes]
    room: int
    got: bytearray = field(default_factory=bytearray)


def _run(folder: Path, stdin: bytes, limits: Limits, plan: Plan) -> Outcome:
    orders_read, orders_write = os.pipe()
    status_read, status_write = os.pipe()
    try:
        process = subprocess.Popen(
            [python(), "-I", "-S", "-B", str(_WARDEN), str(orders_read), str(status_write)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(orders_read, status_write),
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        os.close(orders_write)
        os.close(status_read)
        raise ContainmentError(f"no process can be started to run code in: {error}") from error
    finally:
        os.close(orders_read)
        os.close(status_write)
    try:
        with os.fdopen(status_read, "rb") as status:
            with os.fdopen(orders_write, "wb") as orders, suppress(BrokenPipeError):
                orders.write(_orders(folder, process.pid, limits, plan))
            landlock = _await_guards(process, status)
        return _Watch(process, stdin, limits, None if plan.namespaces else folder / "work").outcome(landlock)
    finally:
        process.kill()  # it is alone: it can have no children
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _await_guards(process: subprocess.Popen[bytes], status: IO[bytes]) -> int:
    """Wait until the code has taken the warden's place; the version of Landlock that holds it."""
    said = b""
    deadline = time.monotonic() + _START_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(status, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ContainmentError(f"the guards around code were not up after {_START_SECONDS:.0f} s")
            piece = os.read(status.fileno(), _PIECE)
            if not piece:
                break
            said += piece
    try:
        guards = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        process.kill()
        assert process.stderr is not None
        words = process.stderr.read(_PIECE).decode(errors="replace").strip().splitlines()
        raise ContainmentError(
            f"the guards around code could not be put up: {words[-1] if words else 'no word'}"
        ) from None
    if "trouble" in guards:
        raise ContainmentError(guards["trouble"])
    return int(guards["landlock"])


class _Watch:
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
