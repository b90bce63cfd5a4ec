"""A comparison as HTML: while it runs, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from whetstone.evaluation.bands import bands_of, describe
from whetstone.evaluation.excerpt import head
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import Report
from whetstone.evaluation.running import running_interval, steps_of
from whetstone.evaluation.tables import (
    best_first,
    columns,
    dollars,
    fit_time,
    interval_cells,
    seconds_in_words,
    sureness_columns,
)
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem, Reading
from whetstone.ui.compare_live import Arm, LiveComparison
from whetstone.ui.lab_plot import Curve, plot_html

_STEPS = 120  # points of a running mean
_EXCERPT = 90


def live_html(live: LiveComparison) -> str:
    """Where a comparison is."""
    if not live.arms:
        return '<p class="wh-note" role="status">Preparing the techniques; models are loaded …</p>'
    drawn = [_curve(arm, live.problem) for arm in live.arms]
    scale = _scale([curve for curve in drawn if curve is not None])
    cards = "".join(_arm_html(arm, live.problem, curve, scale) for arm, curve in zip(live.arms, drawn, strict=True))
    through = sum(arm.done for arm in live.arms)
    return (
        f'<p role="status"><b>{through}</b> of {len(live.arms)} techniques are through.</p>'
        f'<div class="wh-lab-cards">{cards}</div>{_latest_html(live)}'
    )


def _arm_html(arm: Arm, problem: Problem, curve: Curve | None, scale: tuple[float, float]) -> str:
    tally = arm.tally
    if tally is None:
        done, total, state = 0, 1, "waits"
        if arm.preparing is not None:
            what, done, total = arm.preparing
            state = f"{what}: {done:,} of {total:,}"
        words = ""
    else:
        done, total = tally.already + tally.done, tally.total
        earlier = f", {tally.already:,} of them before" if tally.already and not arm.done else ""
        state = f"{done:,} of {total:,}{earlier}" if not arm.done else f"{total:,} answers"
        words = tally.describe()
    plot = ""
    if curve is not None:
        shown = " ± ".join(words.split(" · ")[0].split(" ± "))
        plot = plot_html(
            [curve],
            x=(0, max(1.0, float(total))),
            y=scale,
            label=f"Running mean of {arm.label}: {shown}",
            unit=_unit(problem),
        )
    kind = " done" if arm.done else " waits" if tally is None and arm.preparing is None else ""
    return (
        f'<section class="wh-lab-card{kind}"><h4>{escape(arm.label)}</h4>'
        f'<progress max="{max(1, total)}" value="{done}" aria-label="{escape(arm.label)}"></progress>'
        f'<p class="wh-lab-state">{escape(state)}</p>{plot}<p class="wh-note">{escape(words)}</p></section>'
    )


def _unit(problem: Problem) -> str:
    return problem.unit if problem.kind == "number" else " %" if problem.kind == "label" else ""


def _curve(arm: Arm, problem: Problem) -> Curve | None:
    """The running mean with its band; None before there are two answers."""
    values = np.array(arm.values, dtype=np.float64) * (100 if problem.kind == "label" else 1)
    if len(values) < 2:
        return None
    means, low, high, _ = running_interval(values, share=problem.kind == "label")
    steps = steps_of(len(values), _STEPS)
    return Curve(
        [float(step + 1) for step in steps],
        [float(means[step]) for step in steps],
        [float(low[step]) for step in steps],
        [float(high[step]) for step in steps],
    )


def _scale(curves: Sequence[Curve]) -> tuple[float, float]:
    """One scale for all techniques, so that they can be compared; the first, wild steps do not set it."""
    late = [(curve.low[len(curve.x) // 4 :], curve.high[len(curve.x) // 4 :]) for curve in curves]
    low = min((min(ends) for ends, _ in late), default=0.0)
    high = max((max(ends) for _, ends in late), default=1.0)
    return low, high if high > low else low + 1.0


def _latest_html(live: LiveComparison) -> str:
    """The newest answers, coloured as the Tester does."""
    rows = "".join(
        f'<tr><td><b class="wh-lab-band wh-lab-{band.key}" title="{escape(describe(band, live.problem))}">{band.letter}'
        f"</b></td>{_answer_cells(live.problem, prediction.reading, case.expected, error)}"
        f'<td class="wh-lab-words">{escape(head(case.text, _EXCERPT))}</td></tr>'
        for case, prediction, band, error in live.newest()
    )
    if not rows:
        return ""
    key = " · ".join(f"{band.letter} {escape(describe(band, live.problem))}" for band in bands_of(live.problem))
    return (
        '<h3>Newest answers</h3><div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th></th>'
        '<th scope="col">answer</th><th scope="col">truth</th><th scope="col">off by</th><th scope="col">item</th></tr>'
        f'</thead><tbody>{rows}</tbody></table></div><p class="wh-note">{key}</p>'
    )


def _answer_cells(problem: Problem, reading: Reading, truth: float | str, error: float | None) -> str:
    """Answer, truth, and by how much it is off."""
    nothing = reading.status.replace("_", " ")
    if problem.kind == "number":
        shown = nothing if error is None else with_unit(float(reading.value or 0.0), problem.unit)
        off = "" if error is None else with_unit(error, problem.unit)
        cells = (shown, with_unit(float(truth), problem.unit), off)
    else:
        shown = nothing if error is None else head(str(reading.value), 40)
        off = "" if error is None or problem.kind == "label" else f"{error:.2f}"
        cells = (shown, head(str(truth), 40), off)
    return "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def result_html(report: Report) -> str:
    """What came of it: verdict, and the table of all runs, the best first."""
    problem = report.problem
    shown = columns(problem)
    order = best_first(report)
    more = sureness_columns(order, problem.unit)
    titles = [*(metric.title for metric in shown), *(title for title, _ in more)]
    titles += ["time per item", "time to fit", "cost"]
    heads = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    rows = []
    for number, result in enumerate(order):
        cells = []
        for metric in shown:
            value, interval = interval_cells(metric, result.scores.metrics[metric.name], problem.unit)
            cells.append(f"<td><b>{escape(value)}</b><small>{escape(interval)}</small></td>")
        cells += [f"<td>{escape(column[number])}</td>" for _, column in more]
        cells += [
            f"<td>{escape(cell)}</td>"
            for cell in (seconds_in_words(result.seconds_per_item), fit_time(result), dollars(result.cost))
        ]
        chosen = ' class="wh-lab-chosen"' if result.label == report.verdict.winner else ""
        rows.append(f'<tr{chosen}><th scope="row">{escape(result.label)}</th>{"".join(cells)}</tr>')
    notes = [*report.verdict.reasons[:3]]
    notes += [f"{result.label}: {note}" for result in order for note in result.notes]
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    decided = METRICS[problem.metric].title
    return (
        f'<p class="wh-lab-verdict">{escape(report.verdict.sentence)}</p>'
        f'<p class="wh-note">{escape(problem.name)}: {len(problem.test):,} items, decided by {escape(decided)}, '
        f"intervals 95 %.</p>"
        '<div class="wh-lab-scroll"><table class="wh-lab-table wh-lab-results">'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f'<ul class="wh-lab-notes">{listed}</ul>'
    )
