"""A report as one self-contained HTML file that opens offline: text, figures, styles and scripts are all in it.

Whatever a model or a data file wrote is text there and stays text: the template escapes it, figures escape it again for
plotly, and a content security policy lets the page run no script but its own two and load nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from whetstone.evaluation.bands import bands_of, describe
from whetstone.evaluation.comparison import Pair
from whetstone.evaluation.excerpt import head, visible
from whetstone.evaluation.figures.parts import Figure
from whetstone.evaluation.figures.runs import forest, price_against_metric
from whetstone.evaluation.figures.shots import shot_figure
from whetstone.evaluation.item_scores import item_score
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import MIXED, Report, RunResult, split_sizes, versions
from whetstone.evaluation.sections import build_section
from whetstone.evaluation.shots import ShotCurve, shot_columns, shot_curves
from whetstone.evaluation.tables import (
    NOTHING,
    best_first,
    columns,
    difference_cells,
    dollars,
    fit_time,
    interval_cells,
    seconds_in_words,
    telling_pairs,
    tokens,
    way_columns,
)
from whetstone.evaluation.wording import p_value

_TEMPLATES = Path(__file__).with_name("templates")
_MOST_CHARACTERS = {"text": 600, "raw": 2_000, "prompt": 6_000}
_REASONS_AT_ONCE = 3


def render_html(report: Report) -> str:
    """The whole page.

    Its size is bounded whatever the number of items: figures draw samples, and tables hold the worst.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": lambda number: f"{number:,}",
        "decimal": lambda value: NOTHING if value is None else f"{value:.3f}",
        "excerpt": _excerpt,
        "figure_data": lambda figure: Markup(_script_json({"data": figure.data, "layout": figure.layout})),
        "head": head,
        "percent": lambda value: NOTHING if value is None else f"{100 * value:.1f} %",
        "visible": visible,
    }
    library = get_plotlyjs()
    script = (_TEMPLATES / "report.js").read_text("utf-8")
    order = best_first(report)
    first, others = telling_pairs(report)
    curves = shot_curves(report)
    reasons = list(report.verdict.reasons)
    return environment.get_template("report.html.j2").render(
        report=report,
        problem=report.problem,
        metric=METRICS[report.problem.metric],
        when=datetime.fromisoformat(report.created),
        reasons=(reasons[:_REASONS_AT_ONCE], reasons[_REASONS_AT_ONCE:]),
        notes=[note for note in report.notes if not note.startswith(MIXED)],
        columns=columns(report.problem),
        rows=[_run_row(report, result) for result in order],
        overview=_overview(report, order, curves),
        shots=[(curve.name, shot_columns(report, curve)) for curve in curves],
        ways=way_columns(report) if report.verdict.ways else [],
        pairs=[_pair_row(report, pair) for pair in first],
        other_pairs=[_pair_row(report, pair) for pair in others],
        error_title=f"1 − {item_score(report.problem.metric).title}" if report.problem.kind == "text" else "error",
        bands=[(band, describe(band, report.problem)) for band in bands_of(report.problem)],
        sections=[build_section(report.problem, result) for result in order],
        facts=list(_facts(report)),
        most=_MOST_CHARACTERS,
        styles=Markup((_TEMPLATES / "report.css").read_text("utf-8")),
        library=Markup(library),
        script=Markup(script),
        allowed_scripts=f"{_source(library)} {_source(script)}",
    )


def _source(script: str) -> str:
    """A script as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor hold a character that a file cannot."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _excerpt(text: str, most: int) -> str:
    """The beginning of a text; how much is left out is said."""
    shown = visible(text[:most])
    return shown if len(text) <= most else f"{shown} … ({len(text) - most:,} more characters)"


def _run_row(report: Report, result: RunResult) -> dict[str, Any]:
    """A line of the table of results."""
    cells = [interval_cells(m, result.scores.metrics[m.name], report.problem.unit) for m in columns(report.problem)]
    return {
        "result": result,
        "winner": result.label == report.verdict.winner,
        "best": result.label == report.verdict.best,
        "cells": cells,
        "per_item": seconds_in_words(result.seconds_per_item),
        "build": fit_time(result),
        "tokens": tokens(result),
        "cost": dollars(result.cost),
    }


def _pair_row(report: Report, pair: Pair) -> dict[str, Any]:
    """A line of the table of pairs."""
    difference, interval = difference_cells(pair, report.problem.unit)
    p = p_value(pair.p_holm).removeprefix("p ").removeprefix("= ")
    return {"pair": pair, "difference": difference, "interval": interval, "p": p}


def _overview(report: Report, order: list[RunResult], curves: list[ShotCurve]) -> list[Figure]:
    """The figures of all runs together."""
    if all(result.scores.metrics[report.problem.metric].value is None for result in order):
        return []
    prices = (price_against_metric(report, order, "seconds"), price_against_metric(report, order, "cost"))
    shots = [shot_figure(report, curves)] if curves else []
    return [forest(report, order), *shots, *(figure for figure in prices if figure is not None)]


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """Where the numbers come from, for the end of the page."""
    problem = report.problem
    yield "Items", ", ".join(f"{number:,} {name}" for name, number in split_sizes(problem).items())
    if problem.cross_fit:
        yield "Cross-fitting", f"trained techniques answered each of {problem.cross_fit} folds, trained on the others"
    yield "Fingerprint", problem.fingerprint
    for name, value in problem.source.items():
        if fact := _fact(value):
            yield name.replace("_", " ").capitalize(), fact
    yield "Seed of the intervals", str(report.seed)
    yield "Versions", ", ".join(f"{name} {number}" for name, number in versions().items())


def _fact(value: Any) -> str:
    """A value of `Problem.source` in words, "" for what says nothing."""
    if isinstance(value, Mapping):
        facts = ((str(name), _fact(item)) for name, item in value.items())
        return "; ".join(f"{name}: {fact}" for name, fact in facts if fact)
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(_fact, value)))
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return "" if value is None else str(value)
