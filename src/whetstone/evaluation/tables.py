"""What stands in the tables of a report, on a page and in a terminal alike: the order of runs, columns, and cells."""

from __future__ import annotations

from collections.abc import Sequence

from whetstone.evaluation.comparison import Pair
from whetstone.evaluation.intervals import Interval
from whetstone.evaluation.metrics import METRICS, Metric, metrics_of
from whetstone.evaluation.report import Report, RunResult
from whetstone.evaluation.sureness import Spread
from whetstone.evaluation.ways import WayRow
from whetstone.evaluation.wording import dollars as dollars
from whetstone.evaluation.wording import metric_value, with_unit
from whetstone.evaluation.wording import seconds_in_words as seconds_in_words
from whetstone.types import INTERVAL_LEVELS, Problem

NOTHING = "–"
MOST_PAIRS_TOGETHER = 10


def best_first(report: Report) -> list[RunResult]:
    """The runs, the best value of the deciding metric first; those without a value last."""
    metric = METRICS[report.problem.metric]
    sign = -1 if metric.higher_is_better else 1

    def rank(result: RunResult) -> tuple[bool, float]:
        value = result.scores.metrics[metric.name].value
        return value is None, sign * (value or 0.0)

    return sorted(report.results, key=rank)


def telling_pairs(report: Report) -> tuple[list[Pair], list[Pair]]:
    """The pairs that the verdict rests on, and the others; a few pairs all stand together.

    A verdict rests on the pairs of the best run, which come first, and on those of the run that it chose.
    """
    verdict = report.verdict
    pairs = sorted(report.pairs, key=lambda pair: verdict.best not in (pair.a, pair.b))
    if len(pairs) <= MOST_PAIRS_TOGETHER:
        return pairs, []
    first = [pair for pair in pairs if {verdict.best, verdict.winner} & {pair.a, pair.b}]
    return first, [pair for pair in pairs if pair not in first]


def columns(problem: Problem) -> list[Metric]:
    """The metrics in the order of tables: the deciding one, the parse rate beside it, then the others."""
    names = dict.fromkeys([problem.metric, "parse_rate", *(metric.name for metric in metrics_of(problem))])
    return [METRICS[name] for name in names]


def way_columns(report: Report) -> list[tuple[str, list[str]]]:
    """Prompting, retrieval and fine-tuning side by side: (title, a cell for each of `Verdict.ways`)."""
    rows, metric, unit = report.verdict.ways, METRICS[report.problem.metric], report.problem.unit
    return [
        ("way", [row.title for row in rows]),
        ("its best", [row.best for row in rows]),
        (metric.title, [interval_cell(metric, row.value, unit) for row in rows]),
        ("to build", [_build_cell(row) for row in rows]),
        ("per 1,000", [dollars(row.per_thousand) for row in rows]),
        ("per answer", [seconds_in_words(row.seconds_per_item) for row in rows]),
        ("when facts change", [row.keeps_up for row in rows]),
    ]


def _build_cell(row: WayRow) -> str:
    """ "nothing", "26 min 4 s", "26 min 4 s, $0.41"."""
    if row.build_seconds is None:
        return "unknown"
    time = seconds_in_words(row.build_seconds) if row.build_seconds >= 0.005 else "nothing"
    return f"{time}, {dollars(row.build_cost)}" if row.build_cost else time


def interval_cells(metric: Metric, interval: Interval, unit: str) -> tuple[str, str]:
    """A value and its interval as two short texts: ("$126.55", "$110.15 – $147.40")."""
    if interval.value is None:
        return NOTHING, ""
    value = metric_value(metric, interval.value, unit)
    if interval.low is None or interval.high is None:
        return value, ""
    low, high = (metric_value(metric, end, unit) for end in (interval.low, interval.high))
    if metric.scale == "share":
        low = low.removesuffix(" %")
    return value, f"{low} – {high}"


def interval_cell(metric: Metric, interval: Interval, unit: str) -> str:
    """A value and its interval on one short line: "$126.55 [110, 147]"."""
    value = interval_cells(metric, interval, unit)[0]
    if interval.value is None or interval.low is None or interval.high is None:
        return value
    if metric.scale == "share":
        return f"{value} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    low, high = (f"{end:,.0f}" if abs(end) >= 100 else f"{end:.3g}" for end in (interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def difference_cells(pair: Pair, unit: str) -> tuple[str, str]:
    """The difference of a pair and its interval: ("+$4.20", "−$1.10 to +$9.50"); shares in percentage points."""
    metric = METRICS[pair.metric]

    def written(value: float) -> str:
        size = f"{100 * abs(value):.1f} points" if metric.scale == "share" else metric_value(metric, abs(value), unit)
        return f"{'−' if value < 0 else '+' if value > 0 else ''}{size}"

    if pair.difference is None or pair.low is None or pair.high is None:
        return NOTHING, ""
    low = written(pair.low).removesuffix(" points")
    return written(pair.difference), f"{low} to {written(pair.high)}"


def fit_time(result: RunResult) -> str:
    """How long the technique took to build; nothing where there was nothing to build."""
    return seconds_in_words(result.build_seconds) if result.build_seconds >= 0.005 else NOTHING


def tokens(result: RunResult) -> str:
    """Tokens in and out: "41,200 + 1,310"."""
    usage = result.usage
    if not usage.prompt_tokens and not usage.completion_tokens:
        return NOTHING
    return f"{usage.prompt_tokens:,} + {usage.completion_tokens:,}"


def sureness_columns(order: Sequence[RunResult], unit: str) -> list[tuple[str, list[str]]]:
    """Columns on the distributions of runs: (title, a cell for each run); none where no run has any."""
    known = [result.sureness for result in order]
    if not any(known):
        return []
    levels = " / ".join(f"{100 * level:.0f}" for level in INTERVAL_LEVELS)
    found = [
        ("", [None if one is None else one.answered for one in known]),
        (" uncorrected", [None if one is None else one.uncorrected for one in known]),
    ]
    return [
        column
        for what, spreads in found
        if any(spreads)
        for column in (
            (f"CRPS{what}", [NOTHING if one is None else with_unit(one.crps, unit) for one in spreads]),
            (f"within {levels} %{what}", [NOTHING if one is None else _covered(one) for one in spreads]),
        )
    ]


def _covered(one: Spread) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in one.coverage)
