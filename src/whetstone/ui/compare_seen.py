"""The problem that a page describes: read from its fields, and shown before anything is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from whetstone.datasets.build import BuiltProblem
from whetstone.errors import UsageError
from whetstone.evaluation.excerpt import head
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem
from whetstone.ui.asked import Asked
from whetstone.workflows.comparisons import ProblemRequest

_KINDS = ("number", "label", "text")
_SHOWN = 3  # items, rejected rows
_LABELS = 12
_EXCERPT = 300
_LARGEST = 10**9


def problem_request(asked: Asked, place: str) -> ProblemRequest:
    """What the fields of a page ask for.

    Args:
        place: of the rows, as `lab_sources.place_of` says.

    Raises:
        UsageError: a field holds what cannot be meant; the sentence names it.
    """
    given = asked.get("problem")
    fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    texts = fields.get("text")
    text = tuple(map(str, texts)) if isinstance(texts, Sequence) and not isinstance(texts, str) else ()
    kind = str(fields.get("kind", ""))
    if kind and kind not in _KINDS:
        raise UsageError(f"there is no kind of answer named {kind!r}: number, label or text")
    test_all = bool(fields.get("all"))
    seed = _number(fields, "seed", "the seed")
    return ProblemRequest(
        source=place,
        text=text,
        target=str(fields.get("target") or "") or None,
        id=str(fields.get("id") or "") or None,
        group=str(fields.get("group") or "") or None,
        kind=kind or None,
        metric=str(fields.get("metric") or "") or None,
        unit=str(fields.get("unit") or "").strip() or None,
        minimum=_number(fields, "min", "the least target"),
        maximum=_number(fields, "max", "the largest target"),
        test_size=None if test_all else _size(fields, "test", "test items"),
        validation_size=None if test_all else _size(fields, "validation", "validation items"),
        train_size=None if test_all else _size(fields, "train", "training items"),
        test_all=test_all,
        seed=42 if seed is None else int(seed),
    )


def _number(fields: Mapping[str, Any], name: str, words: str) -> float | None:
    text = str(fields.get(name, "") or "").strip().replace(",", "").replace("_", "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= _LARGEST:
        raise UsageError(f"{words}: {text!r} is no number that can be meant")
    return value


def _size(fields: Mapping[str, Any], name: str, words: str) -> int | float | None:
    """A count, or a share below 1."""
    value = _number(fields, name, words)
    if value is None:
        return None
    if value < 0 or (value >= 1 and value != int(value)):
        raise UsageError(f"{words}: {value:g} is neither a count nor a share below 1")
    return int(value) if value >= 1 or value == 0 else value


def problem_html(built: BuiltProblem) -> str:
    """What a problem is: its splits, its answers, a few items, what was remarked and what was set aside."""
    problem = built.problem
    counts = f"{len(problem.test):,} test items"
    if problem.cross_fit:
        counts += f", answered in {problem.cross_fit} folds"
    else:
        counts += f", {len(problem.validation):,} for validation, {len(problem.train):,} to train on"
    facts = [
        ("Items", counts),
        ("An answer is", {"number": "a number", "label": "a label", "text": "a text"}[problem.kind]),
        ("Truth", _answers(problem)),
        ("Decided by", METRICS[problem.metric].title if problem.metric in METRICS else problem.metric),
        ("Fingerprint", problem.fingerprint[:12]),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in facts if words)
    cases = "".join(
        f"<tr><td>{escape(_truth(problem, case.expected))}</td>"
        f'<td class="wh-lab-words">{escape(head(case.text, _EXCERPT))}</td></tr>'
        for case in list(problem.test[:_SHOWN])
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in built.notes)
    return (
        f'<dl class="wh-facts">{listed}</dl><div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr>'
        f'<th scope="col">truth</th><th scope="col">test item</th></tr></thead><tbody>{cases}</tbody></table></div>'
        f"{f'<ul class=wh-lab-notes>{notes}</ul>' if notes else ''}{_rejects_html(built)}"
    )


def _answers(problem: Problem) -> str:
    expected = [case.expected for case in problem.test]
    if problem.kind == "number":
        found = np.quantile(np.array(expected, dtype=np.float64), (0, 0.5, 1)).tolist()
        low, middle, high = (with_unit(value, problem.unit) for value in found)
        return f"from {low} to {high}, {middle} in the middle"
    if problem.kind == "label":
        common = Counter(map(str, expected)).most_common()
        rest = f" and {len(common) - _LABELS} more" if len(common) > _LABELS else ""
        return ", ".join(f"{name} {count:,}" for name, count in common[:_LABELS]) + rest
    return f"{sum(len(str(one)) for one in expected) / max(1, len(expected)):,.0f} characters on average"


def _truth(problem: Problem, value: float | str) -> str:
    return with_unit(float(value), problem.unit) if problem.kind == "number" else head(str(value), _EXCERPT)


def _rejects_html(built: BuiltProblem) -> str:
    if not built.rejects:
        return ""
    rows = "".join(f"<li>{escape(reject.sentence)}</li>" for reject in list(built.rejects)[: 4 * _SHOWN])
    return (
        f"<details><summary>{len(built.rejects):,} rows set aside, each with its reason</summary>"
        f'<ul class="wh-lab-notes">{rows}</ul></details>'
    )
