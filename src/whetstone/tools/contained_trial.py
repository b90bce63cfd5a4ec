"""Tries, from inside, what contained code must not be able to do; prints what succeeded, as a JSON list.

Run by `contained_guards.py` as contained code before anything else is. Its input is a JSON object: a folder outside, a
file in it that can be read by anybody who is not contained, and the number of the process that waits for the answer.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    """Try everything, and print the names of what could be done."""
    outside = json.load(sys.stdin)
    folder, parent = Path(outside["folder"]), int(outside["parent"])
    forbidden: dict[str, Callable[[], object]] = {
        "read a file outside its folder": lambda: (folder / "secret").read_text(),
        "write a file outside its folder": lambda: (folder / "written").write_text("x"),
        "change the mode of a file outside its folder": lambda: (folder / "secret").chmod(0o600),
        "read the environment of its parent": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
        "open a network socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "open a datagram socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
        "open a local socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        "start a process": _fork,
        "send a signal to its parent": lambda: os.kill(parent, 0),
        "raise its own limits": lambda: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)),
        "have files that nobody counts": lambda: os.memfd_create("x"),
    }
    print(json.dumps([what for what, attempt in forbidden.items() if _succeeds(attempt)]))


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, ValueError):
        return False
    return True


if __name__ == "__main__":
    main()
