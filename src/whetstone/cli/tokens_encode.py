"""`whet tokens encode` and `whet tokens decode`: the plain tokenizer in bulk, lines of JSON in and out.

What a line does not say is as in the `tokenizers` library: `encode` adds special tokens and reads the spelling of a
special token as that token, `decode` leaves special tokens out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from whetstone.tokens.tokenizer import Tokenizer

_BATCH = 1024  # lines, or
_BATCH_BYTES = 4_000_000

_Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer", "-t", help="A folder, a file, a family or a hub id; see whet tokens show. Default: smollm2."
    ),
]
_Line = tuple[int, dict[str, Any] | str]
"""Number of a line, and its object or what is wrong with it."""


def encode(
    text: Annotated[str | None, typer.Argument(help="One text, instead of --jsonl.")] = None,
    tokenizer: _Tokenizer = None,
    jsonl: Annotated[
        str | None,
        typer.Option("--jsonl", help='File of lines {"text", "add_special_tokens"}, or - for standard input.'),
    ] = None,
) -> None:
    """Write the ids of texts, a line {"ids"} for each line, in order.

    As the tokenizers library does by default, special tokens are added unless a line says "add_special_tokens": false,
    and the spelling of a special token in a text becomes that token. A line that cannot be encoded gives {"error"}.
    """

    def run(engine: Tokenizer, batch: list[_Line]) -> list[str]:
        results: list[str] = [""] * len(batch)
        for add in (True, False):
            wanted = []
            for place, (_, row) in enumerate(batch):
                problem = _problem_of_text(row)
                if problem:
                    results[place] = _error(problem)
                elif isinstance(row, dict) and row.get("add_special_tokens", True) is add:
                    wanted.append(place)
            texts = [batch[place][1]["text"] for place in wanted]  # type: ignore[index]
            for place, ids in zip(
                wanted, engine.encode_ids_many(texts, special=True, add_special_tokens=add), strict=True
            ):
                results[place] = f'{{"ids": {ids}}}'
        return results

    _run(run, tokenizer, jsonl, None if text is None else {"text": text}, "a text")


def decode(
    ids: Annotated[list[int] | None, typer.Argument(help="Ids of one text, instead of --jsonl.")] = None,
    tokenizer: _Tokenizer = None,
    jsonl: Annotated[
        str | None,
        typer.Option("--jsonl", help='File of lines {"ids", "skip_special_tokens"}, or - for standard input.'),
    ] = None,
) -> None:
    """Write the texts of ids, a line {"text"} for each line, in order.

    As the tokenizers library does by default, special tokens are left out unless a line says
    "skip_special_tokens": false. A line that cannot be decoded gives {"error"}.
    """
    from whetstone.errors import RequestRefusedError

    def run(engine: Tokenizer, batch: list[_Line]) -> list[str]:
        results = []
        for _, row in batch:
            problem = _problem_of_ids(row)
            if problem or isinstance(row, str):
                results.append(_error(problem))
                continue
            try:
                decoded = engine.decode(row["ids"], skip_special=row.get("skip_special_tokens", True))
            except RequestRefusedError as error:
                results.append(_error(str(error)))
                continue
            results.append(json.dumps({"text": decoded}, ensure_ascii=False))
        return results

    _run(run, tokenizer, jsonl, {"ids": ids} if ids else None, "ids")


def _problem_of_text(row: dict[str, Any] | str) -> str:
    from whetstone.errors import RequestRefusedError
    from whetstone.tokens.tokenizer import check_text

    if isinstance(row, str):
        return row
    if not isinstance(row.get("text"), str):
        return f'"text" must be a text, not {_written(row.get("text"))}'
    if not isinstance(row.get("add_special_tokens", True), bool):
        return f'"add_special_tokens" must be true or false, not {_written(row["add_special_tokens"])}'
    try:
        check_text(row["text"])
    except RequestRefusedError as error:
        return str(error)
    return ""


def _problem_of_ids(row: dict[str, Any] | str) -> str:
    if isinstance(row, str):
        return row
    ids = row.get("ids")
    if not isinstance(ids, list) or not all(type(id) is int for id in ids):
        return f'"ids" must be a list of whole numbers, not {_written(ids)}'
    if not isinstance(row.get("skip_special_tokens", True), bool):
        return f'"skip_special_tokens" must be true or false, not {_written(row["skip_special_tokens"])}'
    return ""


def _written(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _error(problem: str) -> str:
    return json.dumps({"error": problem})


def _run(
    work: Callable[[Tokenizer, list[_Line]], list[str]],
    tokenizer: str | None,
    jsonl: str | None,
    single: dict[str, Any] | None,
    what: str,
) -> None:
    """Read lines, let `work` answer them in batches, and write the answers; exit 2 when a line was bad."""
    from whetstone.errors import DataError, UsageError
    from whetstone.tokens.sources import DEFAULT, load_tokenizer

    if (jsonl is None) == (single is None):
        raise UsageError(f"give either {what} or --jsonl FILE")
    engine = load_tokenizer(tokenizer or DEFAULT)
    out = sys.stdout.buffer
    if single is not None:
        answer = work(engine, [(1, single)])[0]
        if "error" in (read := json.loads(answer)):
            raise DataError(read["error"])
        out.write(answer.encode() + b"\n")
        return
    bad: list[str] = []
    total = 0
    for batch in _batches(jsonl or "-"):
        answers = work(engine, batch)
        total += len(batch)
        for (number, _), answer in zip(batch, answers, strict=True):
            if answer.startswith('{"error"'):
                bad.append(f"line {number}: {json.loads(answer)['error']}")
        # A decoded text can hold what stands for a byte that is no character, but never a lone surrogate.
        out.write("".join(f"{answer}\n" for answer in answers).encode())
        out.flush()
    if bad:
        where = "standard input" if jsonl == "-" else jsonl
        raise DataError(f"{where}: {len(bad):,} of {total:,} lines could not be used; the first: {bad[0]}")


def _batches(jsonl: str) -> Iterator[list[_Line]]:
    from whetstone.errors import DataError

    if jsonl == "-":
        yield from _lines(sys.stdin.buffer)
        return
    try:
        file = Path(jsonl).open("rb")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{jsonl}: {error.strerror or error}") from None
    with file:
        yield from _lines(file)


def _lines(file: IO[bytes]) -> Iterator[list[_Line]]:
    batch: list[_Line] = []
    size = 0
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        batch.append((number, _parsed(line)))
        size += len(line)
        if len(batch) >= _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _parsed(line: bytes) -> dict[str, Any] | str:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return f"no JSON ({error})"
    return value if isinstance(value, dict) else f"no JSON object but {_written(value)}"
