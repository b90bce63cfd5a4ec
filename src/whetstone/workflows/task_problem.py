"""A task card's cases as a problem, so that cards are compared as everything else is: same runs, same reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from whetstone.datasets.fingerprint import fingerprint
from whetstone.errors import DataError, UsageError
from whetstone.evaluation.metrics import deciding_metric
from whetstone.tasks import Card, TaskCase
from whetstone.types import Case, Problem, TargetKind

INPUTS = "inputs"  # the field that holds a case's inputs, as JSON
# Fields by which metrics judge, see `whetstone.evaluation`; "" in cases that have none.
_JUDGING = ("accepted", "points", "language", "tests", "script", "rows", "ordered")


def card_problem(card: Card, metric: str | None = None) -> Problem:
    """The cases of a card: those that may be shown as examples are its training cases, the others its test cases.

    A case's text is the card's main input, below the question where the card takes one; all inputs stand in a field.

    Args:
        metric: the metric that decides; the card's by default.

    Raises:
        UsageError: the card has no test cases, or no such metric.
        DataError: a case's inputs or its expected answer are not what the card takes and gives.
        ContainmentError: its cases are programs to be run, and this machine has no guards for that.
    """
    kind: TargetKind = "label" if card.output == "label" else "text"
    metric = deciding_metric(kind, metric or card.file.metric).name
    if metric == "pass_rate":
        _need_containment()
    train = [_case(card, case) for case in card.cases("train")]
    test = [_case(card, case) for case in card.cases("test")]
    if not test:
        raise UsageError(f"{card.folder} has no test cases: write some into cases.jsonl, with the split test")
    used = tuple(name for name in _JUDGING if any(case.fields[name] for case in [*train, *test]))
    pinned = (INPUTS, *used)
    return Problem(
        name=card.name,
        kind=kind,
        target=card.title,
        metric=metric,
        train=train,
        validation=(),
        test=test,
        fingerprint=fingerprint(kind, metric, train, (), test, pinned),
        labels=tuple(sorted({str(case.expected) for case in [*train, *test]})) if kind == "label" else (),
        source={"card": card.name},
        pinned=pinned,
    )


def inputs_of(case: Case) -> dict[str, Any]:
    """The inputs that a case of `card_problem` was made of."""
    found: dict[str, Any] = json.loads(case.fields[INPUTS])
    return found


def _case(card: Card, case: TaskCase) -> Case:
    place = f"{card.folder / 'cases.jsonl'}, case {case.id}"
    try:
        values = card.check(case.inputs)
        expected, judging = _expected(card, case, values)
    except (UsageError, KeyError, TypeError, ValueError) as error:
        why = f"expected lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{place}: {why}") from None
    question = str(values.get("question") or "")
    text = f"{question}\n\n{values[card.file.main]}" if question else str(values[card.file.main])
    fields = {INPUTS: _written(case.inputs), **{name: judging.get(name, "") for name in _JUDGING}}
    return Case(case.id, text, expected, fields)


def _expected(card: Card, case: TaskCase, values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """A case's true answer as a text, and what else it is judged by.

    Raises:
        KeyError, TypeError, ValueError: the answer is none of what such a card gives.
    """
    expected = case.expected
    if card.output == "code":
        return expected["code"], _checks(values, expected)
    if card.output == "entities":
        listed = [{"type": one["type"], "text": one["text"]} for one in expected]
        for one in listed:
            if one["type"] not in values["types"]:
                raise ValueError(f"{one['type']!r} is none of the types that are asked for")
            if one["text"] not in values["text"]:
                raise ValueError(f"{one['text']!r} does not stand in the text")
        return _written(listed), {}
    if card.output == "label":
        if expected not in values["labels"]:
            raise ValueError(f"{expected!r} is none of its labels")
        return expected, {}
    if isinstance(expected, str):
        return expected, {}
    more = {name: _written(expected[name]) for name in ("accepted", "points") if name in expected}
    return str(expected["text"]), more


def _checks(values: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, str]:
    if values["language"] == "python":
        return {"language": "python", "tests": expected["tests"]}
    return {
        "language": "sql",
        "script": f"{values['tables']}\n{expected['data']}",
        "rows": _written(expected["rows"]),
        "ordered": "yes" if expected.get("ordered") else "",
    }


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _need_containment() -> None:
    """See that programs can be run at all, before a model is asked for any.

    Raises:
        ContainmentError: they cannot.
    """
    from whetstone.tools.contained import run_contained

    run_contained("")
