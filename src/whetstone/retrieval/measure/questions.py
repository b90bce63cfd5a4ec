"""A file of questions with what a good search finds for each: keywords, or places in the documents."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import DataError

__all__ = ["Question", "Span", "read_questions"]


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a document: `path` in the knowledge base, `start` and `end` in characters of the document's text."""

    path: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what is relevant for it.

    Attributes:
        row: its line in the file, from 1.
        text: the question.
        keywords: what the passages found must contain, each at least once, in any case.
        spans: what of the documents must be found.
        reference_answer: for judges; "" where there is none.
        category: "" where there is none.
    """

    row: int
    text: str
    keywords: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    reference_answer: str = ""
    category: str = ""


def read_questions(path: Path) -> list[Question]:
    """The questions of a JSON Lines file; blank lines are passed over, fields that are not known are ignored.

    A line is `{"question": …, "keywords": […], "spans": [{"path": …, "start": …, "end": …}], "reference_answer": …,
    "category": …}`, with keywords, spans, or both.

    Raises:
        DataError: the file cannot be read, a line cannot be used, or there is none; file, row and field are named.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the file is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    lines = text.split("\n")  # not splitlines: JSON strings may hold other ends of line
    questions = [_question(f"{path}, row {row}", row, line) for row, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise DataError(f'{path}: there are no questions; write one a line: {{"question": "…", "keywords": ["…"]}}')
    return questions


def _question(where: str, row: int, line: str) -> Question:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: this is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected an object with a question, found {_short(value)}")
    text = _field(where, value, "question", _is_text, "a text that is not empty")
    keywords = _field(where, value, "keywords", _are_texts, "a list of texts that are not empty", [])
    spans = _field(where, value, "spans", lambda found: isinstance(found, list), "a list of places", [])
    answer = _field(where, value, "reference_answer", _is_any_text, "a text", "")
    category = _field(where, value, "category", _is_any_text, "a text", "")
    if not keywords and not spans:
        raise DataError(f"{where}: neither keywords nor spans say what is relevant; give at least one")
    places = tuple(_span(f"{where}, field spans[{number}]", span) for number, span in enumerate(spans))
    return Question(row, text.strip(), tuple(keywords), places, answer, category)


def _span(where: str, value: Any) -> Span:
    match value:
        case {"path": str(path), "start": int(start), "end": int(end)} if path and 0 <= start < end:
            return Span(unicodedata.normalize("NFC", path), start, end)
    raise DataError(
        f'{where}: expected {{"path": "…", "start": 0, "end": 10}} with 0 <= start < end, found {_short(value)}'
    )


def _field(
    where: str, value: dict[str, Any], name: str, fits: Callable[[Any], bool], wanted: str, default: Any = None
) -> Any:
    found = value.get(name)
    if found is None and default is not None:
        return default
    if not fits(found):
        what = "it is missing" if name not in value else f"found {_short(found)}"
        raise DataError(f"{where}, field {name}: expected {wanted}, {what}")
    return found


def _is_any_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"
