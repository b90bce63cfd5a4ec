"""The cases of a card as the Tasks tab shows them: to look at, and to try the card on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from whetstone.evaluation.excerpt import head
from whetstone.registry import unknown_name
from whetstone.tasks import Card, TaskCase

_EXCERPT = 160


def cases_html(card: Card) -> str:
    """All cases of a card, each with a button that puts it into the form."""
    cases = card.cases()
    if not cases:
        return '<p class="wh-note">The card has no cases yet, which its file cases.jsonl would hold.</p>'
    rows = "".join(_row(card, case) for case in cases)
    return (
        f'<p class="wh-note">What {escape(card.title.lower())} is judged by. Training cases may be shown to a model as '
        "examples; the score comes from the test cases alone.</p>"
        '<div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th scope="col">case</th>'
        '<th scope="col">split</th><th scope="col">given</th><th scope="col">expected</th><th></th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(card: Card, case: TaskCase) -> str:
    others = "; ".join(
        f"{name}: {said}" for name, said in written_inputs(card, case).items() if name != card.file.main and said
    )
    more = f"<small>{escape(head(others, _EXCERPT))}</small>" if others else ""
    return (
        f'<tr><th scope="row">{escape(case.id)}</th><td>{case.split}</td>'
        f'<td class="wh-lab-words" dir="auto">{escape(head(str(case.inputs[card.file.main]), _EXCERPT))}{more}</td>'
        f'<td class="wh-lab-words" dir="auto">{escape(head(expected_text(case), _EXCERPT))}</td>'
        f'<td><button type="button" class="wh-button wh-strong" data-case="{escape(case.id)}" '
        f'aria-label="Use {escape(case.id)}">Use</button></td></tr>'
    )


def find_case(card: Card, name: str) -> TaskCase:
    """A case by its id.

    Raises:
        UnknownNameError: there is none.
    """
    known = {case.id: case for case in card.cases()}
    if name not in known:
        raise unknown_name(f"case of the card {card.name}", name, list(known))
    return known[name]


def written_inputs(card: Card, case: TaskCase) -> dict[str, str]:
    """A case's inputs as a person would write them into the fields of the card."""
    values: dict[str, str] = {}
    for one in card.inputs:
        value = case.inputs.get(one.name, one.default)
        if isinstance(value, Mapping):
            values[one.name] = "\n".join(f"{term}={said}" for term, said in value.items())
        elif isinstance(value, list | tuple):
            values[one.name] = "\n".join(map(str, value))
        else:
            values[one.name] = "" if value is None else str(value)
    return values


def expected_text(case: TaskCase) -> str:
    """The answer that a case expects, as text."""
    expected: Any = case.expected
    if isinstance(expected, list):
        return "; ".join(f"{one['text']} ({one['type']})" for one in expected)
    if isinstance(expected, Mapping):
        return str(expected.get("text") or expected.get("code") or json.dumps(expected, ensure_ascii=False))
    return str(expected)
