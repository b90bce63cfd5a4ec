"""What examples in the prompt are worth: the score against their number, and the tokens that they take.

A report holds a curve where a model answered the same items after different numbers of examples, all else alike. Which
these are is read off the techniques' names: "few-shot:METHOD:K" and "card:METHOD:K" show K examples, "ask" and "card"
show none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from whetstone.evaluation.comparison import Pair
from whetstone.evaluation.intervals import Interval
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import Report, RunResult
from whetstone.evaluation.technique import digest
from whetstone.evaluation.wording import with_interval

_SHOWN = re.compile(r"(?:few-shot|card):([a-z-]+):(\d+)(:\d+)?")
_BARE = ("ask", "card")
_OWN_TO_SHOTS = ("technique", "seed", "embedder")  # parts of an identity that examples change


@dataclass(frozen=True)
class ShotPoint:
    """One number of examples.

    Attributes:
        shots: how many.
        label: the run's, in its report.
        value: the deciding metric.
        prompt_tokens: of a prompt, on average; None where the engine told none.
        failed: items on which the model failed: a prompt that is too long, for the most part.
        cost_per_thousand: US dollars per 1,000 items; None where no price is known.
        seconds_per_item: answering time.
    """

    shots: int
    label: str
    value: Interval
    prompt_tokens: float | None
    failed: int
    cost_per_thousand: float | None
    seconds_per_item: float


@dataclass(frozen=True)
class ShotCurve:
    """The score of one model against the number of examples.

    Attributes:
        name: the model and how examples were chosen: "smollm2, balanced".
        points: at least two, with rising numbers of examples.
        tokens_per_shot: what an example adds to a prompt, on average; None where it is not known.
        advised: the fewest examples that are not shown to be worse than the best number.
        sentence: all this in words.
    """

    name: str
    points: tuple[ShotPoint, ...]
    tokens_per_shot: float | None
    advised: int
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def shots_of(result: RunResult) -> tuple[int, str] | None:
    """How many examples a run was shown, and how they were chosen ("" for none); None where that means nothing."""
    if result.technique in _BARE:
        return 0, ""
    found = _SHOWN.fullmatch(result.technique)
    return (int(found[2]), found[1] + (found[3] or "")) if found else None


def shot_curves(report: Report) -> list[ShotCurve]:
    """The curves that a report holds, in the order of its runs."""
    curves = []
    for (model, method), results in _grouped(report.results).items():
        if len(results) > 1:
            name = ", ".join(filter(None, (model, method)))
            curves.append(_curve(report, name, [results[shots] for shots in sorted(results)]))
    return curves


def _grouped(results: Sequence[RunResult]) -> dict[tuple[str, str], dict[int, RunResult]]:
    """Runs that differ in their number of examples alone, by number; one without examples belongs to every method."""
    alike: dict[tuple[str, str], dict[int, list[tuple[str, RunResult]]]] = {}
    for result in results:
        if (known := shots_of(result)) is not None and result.model is not None:
            kin = alike.setdefault((result.model, _besides_examples(result.identity)), {})
            kin.setdefault(known[0], []).append((known[1], result))
    found: dict[tuple[str, str], dict[int, RunResult]] = {}
    for (model, _), by_shots in alike.items():
        methods = dict.fromkeys(method for entries in by_shots.values() for method, _ in entries if method)
        for method in methods:
            name, number = (model, method), 1
            while name in found:  # the same model and method with another prompt
                number += 1
                name = model, f"{method} ({number})"
            found[name] = {
                shots: result for shots, entries in by_shots.items() for way, result in entries if way in ("", method)
            }
    return found


def _besides_examples(identity: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in identity.items() if key not in _OWN_TO_SHOTS})


def _curve(report: Report, name: str, results: Sequence[RunResult]) -> ShotCurve:
    metric = METRICS[report.problem.metric]
    points = []
    for result in results:
        known = shots_of(result)
        points.append(
            ShotPoint(
                shots=known[0] if known else 0,
                label=result.label,
                value=result.scores.metrics[metric.name],
                prompt_tokens=prompt_tokens(result),
                failed=sum(answer.reading.status == "error" for answer in result.predictions),
                cost_per_thousand=result.cost_per_thousand,
                seconds_per_item=result.seconds_per_item,
            )
        )
    per_shot = _tokens_per_shot(points)
    best = _best(points, higher=metric.higher_is_better)
    advised = _advised(report.pairs, points, best)
    return ShotCurve(name, tuple(points), per_shot, advised.shots, _sentence(report, points, best, advised, per_shot))


def prompt_tokens(result: RunResult) -> float | None:
    """Tokens of a prompt, on average over the items that were answered; None where the engine told none."""
    counts = [
        answer.usage.prompt_tokens
        for answer in result.predictions
        if answer.reading.status != "error" and answer.usage.prompt_tokens
    ]
    return fmean(counts) if counts else None


def _tokens_per_shot(points: Sequence[ShotPoint]) -> float | None:
    known = [(point.shots, point.prompt_tokens) for point in points if point.prompt_tokens is not None]
    if len(known) < 2:
        return None
    (fewest, less), (most, more) = known[0], known[-1]
    return (more - less) / (most - fewest)


def _best(points: Sequence[ShotPoint], *, higher: bool) -> ShotPoint:
    sign = 1 if higher else -1
    known = [point for point in points if point.value.value is not None]
    return max(known or points, key=lambda point: (sign * (point.value.value or 0.0), -point.shots))


def _advised(pairs: Sequence[Pair], points: Sequence[ShotPoint], best: ShotPoint) -> ShotPoint:
    """The fewest examples whose difference from the best is not shown to be real."""
    worse = {
        pair.a if pair.b == best.label else pair.b
        for pair in pairs
        if pair.distinguishable and best.label in (pair.a, pair.b)
    }
    return next(point for point in points if point is best or point.label not in worse)


def _sentence(
    report: Report, points: Sequence[ShotPoint], best: ShotPoint, advised: ShotPoint, per_shot: float | None
) -> str:
    metric, unit = METRICS[report.problem.metric], report.problem.unit
    said = f"The best {metric.title} is that of {_counted(best.shots)}: {with_interval(metric, best.value, unit)}"
    if advised is best:
        fewer = [point for point in points if point.shots < best.shots]
        said += "; every smaller number is shown to be worse." if fewer else "; more examples bring nothing."
    else:
        said += (
            f". {_counted(advised.shots).capitalize()} ({with_interval(metric, advised.value, unit)}) cannot be told "
            f"apart from it on {len(report.problem.test):,} items: take {_counted(advised.shots)}, unless more items "
            "show a difference."
        )
    if per_shot is not None:
        said += f" An example takes about {per_shot:,.0f} tokens of every prompt."
    failed = [f"{point.failed:,} with {_counted(point.shots)}" for point in points if point.failed]
    if failed:
        said += f" The model failed on items ({', '.join(failed)}); they count as wrong, or are left out of numbers."
    return said


def _counted(shots: int) -> str:
    return "no examples" if shots == 0 else "1 example" if shots == 1 else f"{shots:,} examples"


def with_shot_costs(results: Sequence[RunResult]) -> list[RunResult]:
    """The runs, those with examples remarking what these take of their prompts."""
    bare = {
        (result.model, _besides_examples(result.identity)): prompt_tokens(result)
        for result in results
        if shots_of(result) == (0, "")
    }
    told = []
    for result in results:
        known, tokens = shots_of(result), prompt_tokens(result)
        if known is not None and known[0] and tokens is not None:
            without = bare.get((result.model, _besides_examples(result.identity)))
            note = f"a prompt takes {tokens:,.0f} tokens"
            if without is not None:
                note += f", its {_counted(known[0])} {tokens - without:,.0f} of them"
                if known[0] > 1:
                    note += f" ({(tokens - without) / known[0]:,.0f} each)"
            result = replace(result, notes=(*result.notes, note))
        told.append(result)
    return told


def shot_columns(report: Report, curve: ShotCurve) -> list[tuple[str, list[str]]]:
    """A curve as a table: (title, a cell for each of its points)."""
    from whetstone.evaluation.tables import dollars, interval_cell, seconds_in_words

    metric, unit = METRICS[report.problem.metric], report.problem.unit
    tokens = [point.prompt_tokens for point in curve.points]
    return [
        ("examples", [f"{point.shots:,}" for point in curve.points]),
        (metric.title, [interval_cell(metric, point.value, unit) for point in curve.points]),
        ("tokens per prompt", ["unknown" if count is None else f"{count:,.0f}" for count in tokens]),
        ("failed", [f"{point.failed:,}" for point in curve.points]),
        ("time per item", [seconds_in_words(point.seconds_per_item) for point in curve.points]),
        ("cost per 1,000", [dollars(point.cost_per_thousand) for point in curve.points]),
    ]
