"""The process that converts documents: started, limited and, if need be, ended by `converting`.

It reads requests from its input and writes answers to its output until its input ends or nothing comes for a while.
A request is a line of JSON {"kind", "path", "size"} and the file's bytes; an answer is a line with its length, and JSON
{"said", "parts"} or {"problem"}.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from whetstone.errors import DataError
from whetstone.retrieval.document import Block
from whetstone.retrieval.reading.html import html
from whetstone.retrieval.reading.kreuzberg_documents import pdf, sheets
from whetstone.retrieval.reading.mail import mail
from whetstone.retrieval.reading.slides import slides
from whetstone.retrieval.reading.word import word

_MEMORY = 6 << 30  # bytes of address space; threads of the libraries reserve some without ever using it
_IDLE = 60.0  # seconds

_Converter = Callable[[bytes, str], tuple[dict[str, str], list[Block]]]
_CONVERTERS: dict[str, _Converter] = {
    "pdf": pdf,
    "docx": word,
    "pptx": slides,
    "xlsx": sheets,
    "eml": mail,
    "html": lambda data, path: html(data.decode()),
}


def main() -> None:
    """Serve requests."""
    _limit_memory()
    requests = sys.stdin.buffer
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (head := _next_line(requests)) is not None:
        answer = json.dumps(_answer(head, requests.read(head["size"]))).encode()
        answers.write(b"%d\n%s" % (len(answer), answer))
        answers.flush()


def _next_line(requests: BinaryIO) -> Any:
    ready = select.select([requests], [], [], _IDLE)[0] if os.name == "posix" else [requests]
    line = requests.readline() if ready else b""
    return json.loads(line) if line else None


def _answer(head: dict[str, Any], data: bytes) -> dict[str, Any]:
    try:
        said, parts = _CONVERTERS[head["kind"]](data, head["path"])
    except DataError as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": f"{head['path']} needs more memory to be read than it is given; divide it"}
    except RecursionError:
        return {"problem": f"{head['path']} is nested too deeply to be read"}
    return {"said": said, "parts": [[block.kind, block.text, block.level, block.place] for block in parts]}


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on this system
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY if hard < 0 else min(_MEMORY, hard), hard))


if __name__ == "__main__":
    main()
