"""A real pseudo-terminal with a program in it, for tests: type keys, wait for what it shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

WHET = [sys.executable, "-c", "from whetstone.cli.main import run; run()"]
PROMPT = "Enter sends"  # is shown wherever a prompt is still empty
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78])")


class Terminal:
    """A program in a terminal of so many columns and rows.

    Attributes:
        raw: everything it wrote.
    """

    def __init__(self, *arguments: str, columns: int = 100, rows: int = 30) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONUTF8": "1"}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [*WHET, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.raw = ""
        self._bytes = b""
        self._seen = 0

    @property
    def text(self) -> str:
        """Everything it wrote, without the terminal's control sequences."""
        return _SEQUENCE.sub("", self.raw).replace("\r", "")

    def keys(self, text: str) -> None:
        """Strike keys."""
        os.write(self._master, text.encode())

    def line(self, text: str) -> None:
        """Wait for the next prompt, type a line, and Enter."""
        self.until(PROMPT)
        self.keys(text)
        self.keys("\r")

    def leave(self) -> None:
        """Wait for the next prompt, and strike Ctrl-D."""
        self.until(PROMPT)
        self.keys("\x04")
        assert self.end() == 0, self.text

    def paste(self, text: str) -> None:
        """Paste, as terminals do."""
        self.keys(f"\x1b[200~{text}\x1b[201~")

    def until(self, sought: str, seconds: float = 60) -> str:
        """Wait for a text after what was waited for before; what came up to and with it."""
        deadline = time.monotonic() + seconds
        while (found := self.text.find(sought, self._seen)) < 0:
            if time.monotonic() > deadline or not self._read(0.1):
                raise AssertionError(f"{sought!r} did not come; since then:\n{self.text[self._seen :]}")
        begin, self._seen = self._seen, found + len(sought)
        return self.text[begin : self._seen]

    def end(self, seconds: float = 60) -> int:
        """Wait for the program to end; its exit code."""
        deadline = time.monotonic() + seconds
        while self._read(0.1) and time.monotonic() < deadline:
            pass
        return self.process.wait(timeout=max(0.1, deadline - time.monotonic()))

    def close(self) -> None:
        """End it whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        """Read what there is; False at the end."""
        if select.select([self._master], [], [], seconds)[0]:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return False
            if not data:
                return False
            self._bytes += data
            self.raw = self._bytes.decode("utf-8", "replace")
        return True


@contextlib.contextmanager
def terminal(*arguments: str, columns: int = 100, rows: int = 30) -> Iterator[Terminal]:
    """A program in a terminal, ended at the end."""
    program = Terminal(*arguments, columns=columns, rows=rows)
    try:
        yield program
    finally:
        program.close()
