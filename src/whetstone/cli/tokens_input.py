"""What the commands on tokens read: a text or a file, and the tokenizers that are named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whetstone.tokens.tokenizer import Tokenizer

Tokenizers = Annotated[
    list[str] | None,
    typer.Option(
        "--tokenizer",
        "-t",
        help="A folder, tokenizer.json, SentencePiece .model, .gguf or .tiktoken file; smollm2; tiktoken:NAME; "
        "llama-3.1, phi-3, qwen2, …; a hub id. Repeat for several.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def tokenizers_of(names: list[str] | None) -> list[Tokenizer]:
    """The tokenizers that were named, or the embedded model's."""
    from whetstone.tokens.sources import DEFAULT, load_tokenizer

    return [load_tokenizer(name) for name in dict.fromkeys(names or [DEFAULT])]


@contextmanager
def mistakes() -> Iterator[None]:
    """Here a text or an id that a tokenizer refuses is what the user gave, and no item of a longer work.

    Raises:
        UsageError: it was refused.
    """
    from whetstone.errors import RequestRefusedError, UsageError

    try:
        yield
    except RequestRefusedError as error:
        raise UsageError(str(error)) from None


def text_of(text: str | None, file: Path | None) -> str:
    """The text that was given, or that of a file, or standard input for `-`.

    Raises:
        UsageError: neither was given, or both.
        DataError: the file cannot be read as UTF-8.
    """
    from whetstone.errors import DataError, UsageError

    if (text is None) == (file is None):
        raise UsageError('give either a text or --file: whet tokens "some text"')
    if file is None and text != "-":
        return text or ""
    where = "standard input" if file is None else str(file)
    try:
        data = sys.stdin.buffer.read() if file is None else file.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is no UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from None
    except OSError as error:
        raise DataError(f"{file}: {error.strerror or error}") from None
