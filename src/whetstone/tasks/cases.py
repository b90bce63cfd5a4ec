"""A card's cases: questions with the answers that are expected, as JSON Lines beside the card.

    {"id": "harbour", "split": "test", "inputs": {"text": "…"}, "expected": "…"}

What is expected is a text or a label; for entities a list of `{"text", "type"}`; for code an object with "code" and
whatever a check of it needs ("tests", "data", "rows").
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from whetstone.errors import DataError

CaseSplit = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class TaskCase:
    """One case of a card.

    Attributes:
        id: unique in its card.
        split: "train" (may be shown as an example) or "test".
        inputs: as the card takes them.
        expected: the answer; see the module.
    """

    id: str
    split: CaseSplit
    inputs: dict[str, Any]
    expected: Any


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    split: CaseSplit
    inputs: dict[str, Any]
    expected: Any


def read_cases(path: Path) -> tuple[TaskCase, ...]:
    """The cases of a file; none where there is no file.

    Raises:
        DataError: a line is no case, or an id comes twice.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the cases cannot be read: {error}") from None
    found: dict[str, TaskCase] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            case = _Line.model_validate(json.loads(line))
        except ValueError as error:
            said = error.errors()[0] if isinstance(error, ValidationError) else None
            where = f"{'.'.join(map(str, said['loc'])) or 'the line'}: {said['msg']}" if said else str(error)
            raise DataError(f"{path}, line {number}: no case: {where}") from None
        if case.id in found:
            raise DataError(f"{path}, line {number}: the id {case.id!r} comes twice")
        found[case.id] = TaskCase(case.id, case.split, case.inputs, case.expected)
    return tuple(found.values())
