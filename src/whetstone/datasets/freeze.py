"""A problem's test cases as two files, so that a report can be made long after the source is gone.

This module gives and takes bytes; where they are kept is the caller's business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from whetstone.datasets.cases import CaseTable
from whetstone.errors import DataError
from whetstone.types import Problem

METADATA = "problem.json"
TEST = "test.jsonl"
_FORMAT = 1


def frozen_folder(fingerprint: str) -> str:
    """The folder of a frozen problem, below the home folder."""
    return f"problems/{fingerprint[:16]}"


def freeze(problem: Problem) -> dict[str, bytes]:
    """The files of a problem by name. Write them in this order: `problem.json`, the last, says that all is there.

    `test.jsonl` has `id`, `text`, `expected` (and `group` for cross-fitting, `fields` where some are pinned) of each
    test case, in order.
    """
    groups = list(problem.groups)
    lines = []
    for index, case in enumerate(problem.test):
        line: dict[str, Any] = {"id": case.id, "text": case.text, "expected": case.expected}
        if problem.pinned:
            line["fields"] = {name: _cell(case.fields.get(name)) for name in problem.pinned}
        if groups:
            line["group"] = groups[index]
        lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
    test = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    metadata = {
        "format": _FORMAT,
        "fingerprint": problem.fingerprint,
        "name": problem.name,
        "kind": problem.kind,
        "target": problem.target,
        "metric": problem.metric,
        "unit": problem.unit,
        "labels": list(problem.labels),
        "valid_range": list(problem.valid_range) if problem.valid_range is not None else None,
        "cross_fit": problem.cross_fit,
        "counts": {
            "train": len(problem.train),
            "validation": len(problem.validation),
            "test": len(problem.test),
        },
        "source": dict(problem.source),
        "pinned": list(problem.pinned),
        "test_sha256": hashlib.sha256(test).hexdigest(),
    }
    return {TEST: test, METADATA: json.dumps(metadata, ensure_ascii=False, indent=1).encode() + b"\n"}


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def thaw(files: Mapping[str, bytes], place: str = "the frozen problem") -> Problem:
    """The problem of `freeze`, without training and validation cases, and without fields that are not pinned.

    Args:
        files: contents by name.
        place: where they are from, for messages.

    Raises:
        DataError: a file is missing, damaged, changed, or of a later version.
    """
    for name in (METADATA, TEST):
        if name not in files:
            raise DataError(f"{place} lacks {name}; run the comparison again to freeze the problem anew")
    try:
        metadata = json.loads(files[METADATA])
        if metadata["format"] != _FORMAT:
            raise DataError(
                f"{place} was frozen by another version of Whetstone; run the comparison again with this one"
            )
        if hashlib.sha256(files[TEST]).hexdigest() != metadata["test_sha256"]:
            raise DataError(f"{place}: {TEST} was changed after it was frozen; run the comparison again")
        rows = [json.loads(line) for line in files[TEST].splitlines()]
        value_type = pl.Float64 if metadata["kind"] == "number" else pl.String
        valid_range = metadata["valid_range"]
        pinned = tuple(metadata.get("pinned", ()))  # earlier versions had none
        return Problem(
            name=metadata["name"],
            kind=metadata["kind"],
            target=metadata["target"],
            metric=metadata["metric"],
            train=(),
            validation=(),
            test=CaseTable(
                pl.Series("id", [row["id"] for row in rows], dtype=pl.String),
                pl.Series("text", [row["text"] for row in rows], dtype=pl.String),
                pl.Series("expected", [row["expected"] for row in rows], dtype=value_type),
                pl.DataFrame({name: [row["fields"][name] for row in rows] for name in pinned}),
            ),
            fingerprint=metadata["fingerprint"],
            unit=metadata["unit"],
            labels=tuple(metadata["labels"]),
            valid_range=(valid_range[0], valid_range[1]) if valid_range is not None else None,
            source={**metadata["source"], "split": metadata["counts"]},
            cross_fit=metadata["cross_fit"],
            groups=[row["group"] for row in rows] if metadata["cross_fit"] else (),
            pinned=pinned,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place}: {METADATA} is damaged ({error}); run the comparison again") from error
