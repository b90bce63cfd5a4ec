"""Figures of how sure a run was: whether its probabilities came true, and what its doubt is worth."""

from __future__ import annotations

import math
from typing import Any

from whetstone.evaluation.figures.parts import Figure, axis, counted, short, unit_axis
from whetstone.evaluation.sureness import Spread, Sureness
from whetstone.evaluation.wording import with_unit
from whetstone.types import INTERVAL_LEVELS, QUANTILE_LEVELS, Problem

_FEWEST_ANSWERED = 10  # the mean error of fewer answers is noise


def sureness_figures(problem: Problem, known: Sureness) -> list[Figure]:
    """The calibration panel of one run."""
    figures = [_coverage(known), _reliability(known)]
    if len(known.selective) > 1:
        figures.append(_selective(problem, known))
    return figures


def _spreads(known: Sureness) -> list[tuple[str, Spread, dict[str, str]]]:
    """What to draw: name, distributions, colours of bars and lines."""
    own = known.uncorrected
    after = "as answered" if own is None else "corrected"
    drawn = [] if own is None else [("the model's own", own, {"bar": "var(--accent-soft)", "line": "var(--muted)"})]
    return [*drawn, (after, known.answered, {"bar": "var(--accent)", "line": "var(--accent)"})]


def _coverage(known: Sureness) -> Figure:
    """The share of truths within intervals of each level, beside the level itself."""
    names = [f"{level:.0%}".replace("%", " %") for level in INTERVAL_LEVELS]
    data: list[dict[str, Any]] = []
    told = []
    for name, spread, colours in _spreads(known):
        ends = [_wilson(share, known.n) for share in spread.coverage]
        data.append(
            {
                "type": "bar",
                "name": name,
                "x": names,
                "y": [short(100 * share) for share in spread.coverage],
                "marker": {"color": colours["bar"]},
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [
                        short(100 * (high - share)) for (_, high), share in zip(ends, spread.coverage, strict=True)
                    ],
                    "arrayminus": [
                        short(100 * (share - low)) for (low, _), share in zip(ends, spread.coverage, strict=True)
                    ],
                    "color": "var(--ink)",
                    "thickness": 1.2,
                    "width": 4,
                },
                "hovertemplate": f"{name}: %{{y:.1f}} % of the truths lie within %{{x}} intervals<extra></extra>",
            }
        )
        shares = ", ".join(f"{100 * share:.0f} %" for share in spread.coverage)
        told.append(f"{name}: {shares}")
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "what is promised",
            "x": names,
            "y": [100 * level for level in INTERVAL_LEVELS],
            "marker": {"symbol": "line-ew", "size": 46, "line": {"width": 2.5, "color": "var(--far)"}},
            "hoverinfo": "skip",
        }
    )
    return Figure(
        "Do the intervals hold?",
        "The share of truths that lie within the intervals. Below the red line a run is too sure of itself, above it "
        "too cautious. Whiskers are 95 % intervals.",
        f"Bar chart of the truths within 50, 80 and 95 % intervals. {'; '.join(told)}.",
        data,
        {
            "xaxis": axis("interval", type="category", showgrid=False),
            "yaxis": axis("truths within it", ticksuffix=" %", range=[0, 105]),
            "barmode": "group",
            "bargap": 0.35,
        },
    )


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of a share."""
    z = 1.96
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    # Rounding may leave a share of 0 or 1 outside.
    return min(share, (middle - half) / scale), max(share, (middle + half) / scale)


def _reliability(known: Sureness) -> Figure:
    """The share of truths at or below each quantile."""
    levels = [100 * level for level in QUANTILE_LEVELS]
    diagonal = {
        "type": "scatter",
        "mode": "lines",
        "name": "perfect",
        "x": [0, 100],
        "y": [0, 100],
        "line": {"color": "var(--muted)", "width": 1.2, "dash": "4px,3px"},
        "hoverinfo": "skip",
    }
    lines, told = [], []
    for name, spread, colours in _spreads(known):
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": levels,
                "y": [short(100 * share) for share in spread.below],
                "line": {"color": colours["line"], "width": 2},
                "hovertemplate": f"{name}: %{{y:.1f}} % of the truths lie below the %{{x:.1f}} % quantile"
                "<extra></extra>",
            }
        )
        middle = spread.below[len(QUANTILE_LEVELS) // 2]
        told.append(f"{name}: {100 * middle:.0f} % of the truths lie at or below the median")
    return Figure(
        "Do the probabilities come true?",
        "Of the truths, as many should lie below a quantile as its name says. Below the dashed line the run guesses "
        "too low, above it too high.",
        f"Line plot of the share of truths below each quantile. {'; '.join(told)}.",
        [diagonal, *lines],
        {
            "xaxis": axis("quantile", ticksuffix=" %", range=[0, 100]),
            "yaxis": axis("truths at or below it", ticksuffix=" %", range=[0, 100]),
        },
    )


def _selective(problem: Problem, known: Sureness) -> Figure:
    """The mean error when only the surest answers are given."""
    least = min(_FEWEST_ANSWERED / known.n, 0.5)
    points = [(share, error) for share, error in known.selective if share >= least]
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [short(100 * share) for share, _ in points],
        "y": [short(error) for _, error in points],
        "line": {"color": "var(--accent)", "width": 2},
        "hovertemplate": "the surest %{x:.0f} %: mean error %{y:,.4~g}<extra></extra>",
    }
    half = min(points, key=lambda point: abs(point[0] - 0.5))
    told = [
        f"the surest {100 * half[0]:.0f} % of the answers are off by {with_unit(half[1], problem.unit)} on average",
        f"all of them by {with_unit(points[-1][1], problem.unit)}",
    ]
    return Figure(
        "What its doubt is worth",
        "The mean error when only the surest answers are given: those with the narrowest 80 % intervals. Where the "
        "line rises to the right, its doubt tells good answers from bad ones. "
        f"{told[0][:1].upper()}{told[0][1:]}, {told[1]}.",
        f"Line plot of the mean error against the share of {counted(known.n, 'answer')} given. {'; '.join(told)}.",
        [line],
        {
            "xaxis": axis("share of the answers that are given", ticksuffix=" %", range=[0, 102]),
            "yaxis": unit_axis("mean error", problem, rangemode="tozero"),
            "showlegend": False,
        },
    )
