"""Entities of a text: listed by the model, found in the text, with where they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence

from whetstone.tasks.asking import Answer, Asking, Plan
from whetstone.tasks.entities import entity_schema, locate, names_in
from whetstone.tasks.reading import Piece, read_text
from whetstone.tasks.result import Outcome
from whetstone.tasks.task import Task

_NONE = {"none", "no", "nothing", "n/a", "-", "unanswerable", ""}


def entity_plan(task: Task) -> Plan[Outcome]:
    """Every mention of what the model lists, of the types that were asked for."""
    types: tuple[str, ...] = task.values["types"]

    def ask(piece: Piece) -> Sequence[Asking]:
        values = {task.card.file.main: piece.text}
        if not task.apart:
            return [task.asking(piece.name, values, schema=entity_schema(types, piece.text), keep=piece.is_part)]
        return [task.asking(f"{piece.name}: {kind}", {**values, "type": kind}, keep=piece.is_part) for kind in types]

    read = yield from read_text(task, ask, "prompt")
    named = [pair for part in read.parts for pair in _names(part.answers, types)]
    found = locate(task.text, named)
    notes = list(read.notes)
    if found.dropped:
        count = len(found.dropped)
        examples = ", ".join(f'"{name}"' for name, _ in found.dropped[:3])
        what = "1 name that is" if count == 1 else f"{count:,} names that are"
        notes.append(f"the model listed {what} not in the text, and was not believed: {examples}")
    if any(answer.cut_off for part in read.parts for answer in part.answers):
        notes.append("a list was cut off at the limit of tokens; max_tokens raises it")
    raw = "\n".join(answer.text for part in read.parts for answer in part.answers)
    return Outcome(found.entities, raw, tuple(notes))


def _names(answers: Sequence[Answer], types: Sequence[str]) -> list[tuple[str, str]]:
    """The (name, type) pairs that were listed: in JSON at once, or in words, an answer for each type."""
    if answers[0].value is not None:
        return names_in(answers[0].value)
    return [(name, kind) for kind, answer in zip(types, answers, strict=True) for name in read_list(answer.text)]


def read_list(said: str) -> list[str]:
    """The entries of a list in words: parted by semicolons or lines, else by commas."""
    parts = re.split(r"[;\n]", said) if re.search(r"[;\n]", said) else said.split(",")
    names = [part.strip(" .-*•\t\"'") for part in parts]
    return [name for name in dict.fromkeys(names) if name.casefold() not in _NONE]
