"""What is known of a run before its first step, as HTML: the plan, the checks, and what is learned of five rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from whetstone.tokens.chat import RenderedChat
from whetstone.tokens.spans import MEANINGS
from whetstone.tuning.data import reject_sentences
from whetstone.tuning.plan import Plan
from whetstone.ui.lab_sources import without_place
from whetstone.ui.tokens_conversation import legend, painted
from whetstone.workflows.tune import Prepared

_REJECTS = 12


def prepared_html(prepared: Prepared) -> str:
    """The plan of a run, what the checks found, and the mask of its first rows."""
    plan, data = prepared.plan, prepared.data
    warnings = [*plan.warnings, *([] if prepared.ok else ["the template check found something: see below"])]
    alarm = "".join(f'<p class="wh-error" role="status">{escape(words)}</p>' for words in warnings)
    remarks = [*data.remarks, *prepared.checks]
    listed = "".join(f"<li>{escape(without_place(words))}</li>" for words in remarks)
    rejects = [without_place(words) for words, _ in zip(reject_sentences(data.rejects), range(_REJECTS), strict=False)]
    refused = "".join(f"<li>{escape(words)}</li>" for words in rejects)
    aside = (
        f"<details><summary>{len(data.rejects):,} rows set aside, each with its reason</summary>"
        f'<ul class="wh-lab-notes">{refused}</ul></details>'
        if rejects
        else ""
    )
    notes = f'<ul class="wh-lab-notes">{listed}</ul>' if listed else ""
    return f"<h3>The plan</h3>{alarm}{plan_html(plan)}{notes}{aside}{mask_html(data.kept_texts)}"


def plan_html(plan: Plan) -> str:
    """What a run will take."""
    listed = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in _facts(plan))
    return f'<dl class="wh-facts">{listed}</dl>'


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    rows = f"{plan.rows:,} to learn from, {plan.validation_rows:,} to validate on"
    yield "Rows", f"{rows}; {plan.layout}"
    share = plan.learned / plan.tokens if plan.tokens else 0.0
    yield (
        "Tokens",
        f"{plan.tokens:,} in one pass, {plan.learned:,} of them learned ({share:.0%}); longest row {plan.longest:,}",
    )
    yield "Steps", f"{plan.steps:,}, in {plan.epochs:g} passes; {plan.padding:.0%} of what is computed is padding"
    sizes = f"{_count(plan.parameters)} parameters in {plan.dtype}; {_count(plan.trained)} are trained ({plan.method})"
    yield "Model", f"{plan.base}, {sizes}"
    yield "Memory", f"about {plan.memory / 1e9:.1f} GB of {plan.free / 1e9:.1f} GB that are free ({plan.device})"
    cost = "" if plan.cost is None else f", ${plan.cost:,.2f}"
    yield "Time", f"about {_minutes(plan.minutes)}{cost}; this rests on {plan.minutes_from}"


def _count(number: int) -> str:
    return (
        f"{number / 1e9:.1f} billion"
        if number >= 1e9
        else f"{number / 1e6:.1f} million"
        if number >= 1e5
        else f"{number:,}"
    )


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


def mask_html(rows: Sequence[RenderedChat]) -> str:
    """The first rows as the model reads them: what is learned is underlined."""
    if not rows:
        return ""
    kinds = {span.kind for row in rows for span in row.spans}
    shown = "".join(
        f"<section><h4>Row {number}: {sum(row.trained):,} of {len(row.ids):,} tokens are learned</h4>"
        f"{painted(row, [], f'Row {number}').html}</section>"
        for number, row in enumerate(rows, start=1)
    )
    keys = legend([kind for kind in MEANINGS if kind in kinds], True)
    return f'<h3>What is learned of the first {len(rows)} rows</h3><div class="wh-tk wh-lab-mask">{keys}{shown}</div>'
