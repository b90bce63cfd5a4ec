"""One contained process: its folder, its orders, and its beginning behind guards."""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from whetstone.errors import ContainmentError, StorageError, UsageError
from whetstone.tools.contained_filter import filter_program
from whetstone.tools.contained_watch import MOST_FILES, Limits, Outcome, Watch

PROGRAM = "program.py"

_WARDEN = Path(__file__).with_name("contained_warden.py")
_START_SECONDS = 60.0  # to put the guards up, on the busiest machine
_PIECE = 1 << 16
_OPEN_FILES = 64

# What Python and the libraries under it are read from, besides its own folder. /nix is where Nix keeps every library.
_SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/share/zoneinfo")
_MORE = ("/etc/ld.so.cache", "/nix/store")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Plan:
    """Which guards to put up besides the seccomp filter and the limits.

    Attributes:
        namespaces: no network and a file tree of its own; runs nothing where they cannot be had.
        landlock: paths forbidden by Landlock, where the kernel has it; it has to where `namespaces` is not set.
    """

    namespaces: bool = True
    landlock: bool = True


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
        "disk_files": MOST_FILES,
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
        return Watch(process, stdin, limits, None if plan.namespaces else folder / "work").outcome(landlock)
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
