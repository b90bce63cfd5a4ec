"""Documents converted in a process of their own, which a document may bring down without harm.

PDFs and archives can be made to take any time and memory, and a converter in another language may crash. One process
converts one document after the other; it is ended and started anew where a document takes too long or kills it.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, cast

from whetstone import settings
from whetstone.errors import DataError, MissingPackageError, StorageError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.laying import part

SECONDS = 120.0
"""What a document may take."""
_BY_KREUZBERG = {"pdf": "PDF", "xlsx": "workbooks (XLSX)"}
_DOCUMENTS = 500  # that one process converts, whatever its libraries may leak


def convert(data: bytes, kind: str, path: str, seconds: float = SECONDS) -> tuple[dict[str, str], list[Block]]:
    """What a document says of itself, and its parts, not laid out yet.

    Args:
        data: the file.
        kind: "pdf", "docx", "pptx", "xlsx", "eml" or "html" (in UTF-8).
        path: what messages call it.
        seconds: how long it may take.

    Raises:
        DataError: it cannot be read.
        MissingPackageError: the extra `documents` is needed, and not installed.
        StorageError: WHETSTONE_HOME cannot be written.
    """
    if kind in _BY_KREUZBERG and find_spec("kreuzberg") is None:
        raise MissingPackageError(
            "kreuzberg", f"Reading {_BY_KREUZBERG[kind]}", "pip install 'whetstone-llm[documents]'"
        )
    return _CONVERSION.convert(data, kind, path, seconds)


class _Conversion:
    """The process, started when it is first needed; threads take turns."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._done = 0

    def convert(self, data: bytes, kind: str, path: str, seconds: float) -> tuple[dict[str, str], list[Block]]:
        with self._turn:
            answer = self._asked(data, kind, path, seconds)
        if "problem" in answer:
            raise DataError(answer["problem"])
        parts = [part(kind, text, level, place) for kind, text, level, place in answer["parts"]]
        return answer["said"], parts

    def _asked(self, data: bytes, kind: str, path: str, seconds: float) -> dict[str, Any]:
        request = json.dumps({"kind": kind, "path": path, "size": len(data)}).encode() + b"\n"
        while True:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            late = threading.Event()
            timer = threading.Timer(seconds, _end, (process, late))
            timer.daemon = True
            timer.start()
            try:
                process.stdin.write(request)
                process.stdin.write(data)
                process.stdin.flush()
                answer = process.stdout.read(int(process.stdout.readline()))
                self._done += 1
                return cast("dict[str, Any]", json.loads(answer))
            except (OSError, ValueError) as error:
                self.stop()
                if late.is_set():
                    raise DataError(f"{path} took longer than {seconds:.0f} s to be read, and was left out") from error
                if process.returncode != 0:
                    raise DataError(
                        f"{path} brought its converter down (damaged, or made to); open it and save it anew"
                    ) from error
                # It had ended because nothing came for a while: ask a new one.
            except BaseException:  # Ctrl-C between a question and its answer
                self.stop()
                raise
            finally:
                timer.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a fork must not talk to the process of its parent
            self._process, self._owner = None, os.getpid()
        if self._done >= _DOCUMENTS:
            self.stop()
        if self._process is None or self._process.poll() is not None:
            # kreuzberg unpacks PDFium into the folder for temporary files, under a name that anybody could take first.
            folder = settings.home() / "cache" / "converter"
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"{folder} cannot be made: {error.strerror or error}") from error
            self._process = subprocess.Popen(
                # -P: a module that lies in the working folder, among the documents, is not run.
                [sys.executable, "-P", "-m", "whetstone.retrieval.reading.converter"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"TMPDIR": str(folder), "TMP": str(folder), "TEMP": str(folder)},
            )
            self._done = 0
        return self._process

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was still to be written to it
                    stream.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


_CONVERSION = _Conversion()
atexit.register(_CONVERSION.stop)
