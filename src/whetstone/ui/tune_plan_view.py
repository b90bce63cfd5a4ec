"""What is known of a run before its first step, as HTML: the plan, the checks, and what is learned of five rows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whetstone.tokens.chat import RenderedChat
from whetstone.tokens.spans import MEANINGS
from whetstone.tuning.data import reject_sentences
from whetstone.tuning.plan import Plan
from whetstone.tuning.plan_words import plan_lines
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
    lines = ((name.capitalize(), without_place(words)) for name, words in plan_lines(plan))
    listed = "".join(f"<dt>{name}</dt><dd>{escape(words)}</dd>" for name, words in lines)
    return f'<dl class="wh-facts">{listed}</dl>'


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
