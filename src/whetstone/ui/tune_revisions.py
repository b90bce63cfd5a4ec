"""The revisions of a tuning run as HTML: a table of all, and a few side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from whetstone.storage.revisions import Revision
from whetstone.ui.lab_plot import number
from whetstone.ui.tune_curves import drifts_of, finite
from whetstone.ui.tune_journal import Story


def revisions_html(found: Sequence[Revision], story: Story, best: Revision | None) -> str:
    """The revisions of a run, to compare, to chat with, and to name elsewhere."""
    if not found:
        return ""
    drifts = {step: (value, low, high) for step, value, low, high in drifts_of(story)}
    rows = "".join(_revision_html(one, story, drifts.get(one.step), chosen=one == best) for one in reversed(found))
    metric = next((one.metric_name for one in found if one.metric_name), None) or "task's error"
    return (
        '<h3>Revisions</h3><div class="wh-lab-scroll"><table class="wh-lab-table wh-lab-results"><thead><tr><th></th>'
        '<th scope="col">step</th><th scope="col">passes</th>'
        f'<th scope="col">validation loss</th><th scope="col">{escape(metric)}</th><th scope="col">drift</th>'
        f'<th scope="col">as a model</th><th></th></tr></thead><tbody>{rows}</tbody></table></div>'
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-strong" data-beside>Compare the chosen '
        'revisions</button><button type="button" class="wh-button wh-strong" data-arms>Compare them on test items'
        "</button></p>"
    )


def _revision_html(one: Revision, story: Story, drift: tuple[float, Any, Any] | None, *, chosen: bool) -> str:
    line = story.validations.get(one.step, {})
    name = f"{one.run}@{'best' if chosen else one.step}"
    mark = ' class="wh-lab-chosen"' if chosen else ""
    spec = f"{one.base}{'&' if '?' in one.base else '?'}adapter={name}"
    return (
        f'<tr{mark}><td><input type="checkbox" value="{one.step}" aria-label="step {one.step}"></td>'
        f'<th scope="row">{one.step:,}{" (best)" if chosen else ""}</th><td>{one.epoch:.2f}</td>'
        f"<td>{'–' if one.validation_loss is None else f'{one.validation_loss:.4f}'}</td>"
        f"<td>{_estimate(one.metric, line.get('low'), line.get('high'))}</td>"
        f"<td>{_estimate(*drift) if drift is not None else '–'}</td><td><code>{escape(spec)}</code></td>"
        f'<td><button type="button" class="wh-button wh-strong" data-chat="{one.step}">Chat, base beside it</button>'
        "</td></tr>"
    )


def _estimate(value: float | None, low: Any, high: Any) -> str:
    if value is None:
        return "–"
    ends = f"<small>{number(float(low))} – {number(float(high))}</small>" if finite(low) and finite(high) else ""
    return f"<b>{number(value)}</b>{ends}"


def beside_html(found: Sequence[Revision], story: Story) -> str:
    """Revisions side by side: what each has learned, and what each can still do besides."""
    heads = "".join(f'<th scope="col">step {one.step:,}</th>' for one in found)
    rows = [
        _beside_row("validation loss", [_estimate(one.validation_loss, None, None) for one in found]),
        _beside_row(
            next((one.metric_name for one in found if one.metric_name), None) or "task's error",
            [
                _estimate(
                    one.metric,
                    story.validations.get(one.step, {}).get("low"),
                    story.validations.get(one.step, {}).get("high"),
                )
                for one in found
            ],
        ),
    ]
    probes = [story.probes.get(one.step, {}) for one in found]
    drifts = {step: (value, low, high) for step, value, low, high in drifts_of(story)}
    rows.append(
        _beside_row("drift, nats a token", [_estimate(*drifts.get(one.step, (None, None, None))) for one in found])
    )
    texts = [probe.get("texts") or {} for probe in probes]
    rows.append(
        _beside_row("perplexity of neutral text", [_estimate(text.get("perplexity"), None, None) for text in texts])
    )
    for kind in dict.fromkeys(kind for probe in probes for kind in probe.get("shares") or {}):
        cells = []
        for probe in probes:
            share = (probe.get("shares") or {}).get(kind)
            cells.append(_share(share) if share else "–")
        rows.append(_beside_row(_SHARES.get(kind, kind), cells))
    return (
        f'<h3>Side by side</h3><div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th></th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


_SHARES = {
    "instructions": "follows instructions",
    "arithmetic": "arithmetic",
    "facts": "facts",
    "labels": "answers anything like a training row (lower is better)",
    "labels plain": "the same, of plain text",
}


def _share(share: Mapping[str, Any]) -> str:
    changed = f"the base {share['base_right']}; lost {share['lost']}, gained {share['gained']}"
    return f"<b>{share['right']} of {share['n']}</b><small>{changed}</small>"


def _beside_row(name: str, cells: Sequence[str]) -> str:
    return f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
