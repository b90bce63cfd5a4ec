"""Where the rows of a problem come from: a packaged catalogue, an uploaded file, or what the server's user names.

Who may name what is settled as for knowledge bases (`knowledge_bases`): a path or a hub id only who could also type it
into a terminal of the server; others upload files.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import polars as pl

from whetstone import settings
from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.opening import FORMATS
from whetstone.datasets.readers import read_rows
from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError, StorageError, UsageError
from whetstone.ui.asked import Asked
from whetstone.ui.knowledge_uploads import add_piece
from whetstone.workflows.known_items import ItemColumns

_UPLOADED = "upload:"
_LONGEST = 80
_CELL = 60


class _EnoughRead(Exception):
    """The first rows of a file are known."""


def upload(asked: Asked) -> dict[str, Any]:
    """Take a piece of a file, `{name, data, at, last, part}`.

    Returns:
        The name under which the next piece comes, or with the last one what the file is called as a source: its place
        is settled by its content, so that the same file is the same source.

    Raises:
        UsageError: files of this kind cannot be read, it is too large, or a piece is missing.
        StorageError: it cannot be kept.
    """
    name = re.sub(r"[^\w.-]", "_", str(asked.get("name", "")))[-_LONGEST:].lstrip(".") or "rows"
    bare = name.removesuffix(".gz")
    if Path(bare).suffix.lower() not in FORMATS:
        raise UsageError(
            f"{name}: files of this kind hold no rows that can be read; choose CSV, TSV, JSON, JSONL or Parquet"
        )
    at = asked.get("at", 0)
    token = str(asked.get("part") or secrets.token_hex(8))
    if not isinstance(at, int) or at < 0 or not re.fullmatch(r"[0-9a-f]{16}", token):
        raise UsageError(f"{name}: a piece of the file is missing: send it again")
    part = _folder() / "arriving" / token
    add_piece(part, name, str(asked.get("data", "")), at, instead="name its place on the server instead")
    if not asked.get("last"):
        return {"part": token}
    try:
        with part.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        (_folder() / content).mkdir(exist_ok=True)
        part.replace(_folder() / content / name)
    except OSError as error:
        raise StorageError(f"{name} cannot be kept: {error.strerror or error}") from error
    return {"source": f"{_UPLOADED}{content}/{name}", "name": name}


def place_of(source: str, *, any_source: bool) -> str:
    """What a source of the page is on this machine.

    Args:
        source: a catalogue's name, what `upload` said, or with `any_source` a path or a hub id.

    Raises:
        UsageError: there is no such source, or it may not be named.
    """
    from whetstone.datasets.catalogues import CATALOGUES

    source = source.strip()
    if not source:
        raise UsageError("no data is chosen: choose a catalogue or a file first")
    if source in CATALOGUES:
        return source
    if source.startswith(_UPLOADED):
        found = re.fullmatch(r"([0-9a-f]{16})/([\w.-]+)", source.removeprefix(_UPLOADED))
        path = _folder() / found[1] / found[2] if found else None
        if path is None or found is None or found[2].startswith(".") or not path.is_file():
            raise UsageError("the server has this file no longer: upload it again")
        return str(path)
    if not any_source:
        raise UsageError("files of the server can be named by its own user only: upload a file instead")
    return source


def source_of(place: str) -> str:
    """What a place of `place_of` is called as a source."""
    folder, path = _folder(), Path(place)
    return f"{_UPLOADED}{path.relative_to(folder)}" if path.is_relative_to(folder) else place


@contextlib.contextmanager
def naming_files() -> Iterator[None]:
    """What is wrong with an uploaded file is said of it by its name."""
    try:
        yield
    except DataError as error:
        raise DataError(without_place(str(error))) from None


def without_place(words: str) -> str:
    """A sentence without the folders of uploaded files: they are our business, the file's name is the person's."""
    return re.sub(rf"{re.escape(str(_folder()))}/[0-9a-f]{{16}}/", "", words)


def _folder() -> Path:
    return settings.home() / "uploads"


@dataclass(frozen=True)
class Peek:
    """The first rows of a source.

    Attributes:
        names: of the columns.
        kinds: of each: "text", "number" or "yes or no".
        first: the first cells of each, as they are shown.
        text: the columns to answer from, as far as their names tell.
        target: the column with the answers, likewise; "" where nothing tells.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    first: tuple[tuple[str, ...], ...]
    text: tuple[str, ...]
    target: str

    @classmethod
    def at(cls, place: str) -> Peek:
        """Look at a file or a hub id.

        Raises:
            DataError: it cannot be read, or is empty.
        """
        found: list[pl.DataFrame] = []

        def choose(sample: pl.DataFrame) -> list[str]:
            found.append(sample)
            raise _EnoughRead

        with contextlib.suppress(_EnoughRead), naming_files():
            read_rows(place, choose, Rejects(Path(place).name))
        if not found:
            raise DataError(f"{Path(place).name} holds no rows")
        return cls.of(found[0].drop([name for name in (ROW, LINE) if name in found[0].columns]))

    @classmethod
    def of(cls, sample: pl.DataFrame) -> Peek:
        """Look at rows."""
        names = tuple(sample.columns)
        kinds = tuple(_kind(sample[name]) for name in names)
        first = tuple(tuple(_cell(value) for value in sample[name].head(3).to_list()) for name in names)
        try:
            usual = ItemColumns.of(names, (), None, False, "")
            text, target = usual.text, usual.price or ""
        except DataError:
            text, target = (), ""
        if not target:
            target = next((name for name in reversed(names) if name not in text and name.casefold() != "id"), "")
        if not text:
            longest = {name: _length(sample[name]) for name in names if name != target}
            text = (max(longest, key=longest.__getitem__),) if longest else ()
        return cls(names, kinds, first, tuple(name for name in text if name != target), target)


def _kind(column: pl.Series) -> str:
    if column.dtype == pl.Boolean:
        return "yes or no"
    if column.dtype.is_numeric():
        return "number"
    filled = column.cast(pl.String, strict=False).drop_nulls()
    return (
        "number"
        if len(filled) and filled.str.strip_chars().cast(pl.Float64, strict=False).is_not_null().all()
        else "text"
    )


def _cell(value: object) -> str:
    words = " ".join(str("" if value is None else value).split())
    return words if len(words) <= _CELL else f"{words[:_CELL]}…"


def _length(column: pl.Series) -> float:
    found = column.cast(pl.String, strict=False).str.len_chars().mean()
    return float(found) if isinstance(found, int | float) else 0.0


def is_folder(place: str) -> bool:
    """Whether a place of `place_of` is a folder of this machine."""
    return Path(place).expanduser().is_dir()


def columns_html(peek: Peek, prefix: str, *, several: bool = True) -> str:
    """The columns to choose from.

    Args:
        prefix: of the ids of the fields.
        several: whether several columns may be answered from.
    """
    text = peek.text if several else peek.text[:1]
    box = "checkbox" if several else "radio"
    rows = "".join(
        f'<tr><td><input type="{box}" name="{prefix}-text" class="{prefix}-text" value="{escape(name)}" '
        f'aria-label="answer from {escape(name)}"{" checked" if name in text else ""}></td>'
        f'<td><input type="radio" name="{prefix}-target" value="{escape(name)}" aria-label="{escape(name)} is the '
        f'answer"{" checked" if name == peek.target else ""}></td>'
        f'<th scope="row">{escape(name)}</th><td>{kind}</td><td class="wh-lab-words">'
        f"{escape(' · '.join(first))}</td></tr>"
        for name, kind, first in zip(peek.names, peek.kinds, peek.first, strict=True)
    )
    return (
        '<div class="wh-lab-scroll"><table class="wh-lab-table wh-lab-columns"><thead><tr><th scope="col">answer from'
        '</th><th scope="col">the answer</th><th scope="col">column</th><th scope="col">kind</th>'
        f'<th scope="col">first rows</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def options_html(names: Sequence[str], none: str) -> str:
    """Columns for a list; the first entry stands for none of them."""
    return f'<option value="">{escape(none)}</option>' + "".join(f"<option>{escape(name)}</option>" for name in names)
