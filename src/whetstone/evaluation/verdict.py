"""The verdict: the cheapest technique that cannot be told apart from the best, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whetstone.errors import UsageError
from whetstone.evaluation.comparison import MIN_ITEMS, Pair
from whetstone.evaluation.intervals import Interval
from whetstone.evaluation.metrics import Metric, deciding_metric
from whetstone.evaluation.ways import Entry as Entry
from whetstone.evaluation.ways import WayRow, way_rows, way_sentences
from whetstone.evaluation.wording import (
    approximately,
    metric_difference,
    metric_value,
    p_value,
    seconds_in_words,
    with_interval,
)
from whetstone.types import Problem

LEAST_PARSE_RATE = 0.9


@dataclass(frozen=True)
class Verdict:
    """What to take, and why.

    Attributes:
        winner: the cheapest technique that cannot be told apart from the best; "" where nothing can be said.
        best: the technique with the best value of the deciding metric; "" where there is none.
        sentence: the verdict in words.
        reasons: what it rests on, a sentence each.
        ways: prompting, retrieval and fine-tuning, alone and together; () where fewer than two were tried.
    """

    winner: str
    best: str
    sentence: str
    reasons: tuple[str, ...]
    ways: tuple[WayRow, ...] = ()


def verdict(problem: Problem, entries: Sequence[Entry], pairs: Sequence[Pair]) -> Verdict:
    """The cheapest technique that cannot be told apart from the best one.

    Cheapest is least cost per item, then least answering time per item; an unknown cost comes after every known one.
    On a number problem a technique is passed over when its parse rate is significantly below 0.9, since its errors
    leave out the items that it did not answer; on other problems those count as wrong already.

    Args:
        entries: the techniques; at least one.
        pairs: their comparison by the problem's deciding metric.

    Raises:
        UsageError: no entries, or the problem's metric cannot decide.
    """
    metric = deciding_metric(problem.kind, problem.metric)
    if not entries:
        raise UsageError("a verdict needs at least one technique")
    eligible, reasons = _eligible(problem, entries, metric)
    if not eligible:
        most = max(_items(entry, metric) for entry in entries)
        why = f"at least {MIN_ITEMS} answered items are needed, and the most is {most}"
        sentence = why if most < MIN_ITEMS else "no technique answers well enough to be judged"
        return Verdict("", "", f"Nothing can be said: {sentence}.", tuple(reasons))
    versus = {frozenset((pair.a, pair.b)): pair for pair in pairs}
    best = _best(eligible, metric, versus)
    shown = f"{metric.title} {_shown(best, metric, problem)}"
    if len(entries) == 1:
        sentence = f"There is nothing to compare {best.name} with: {shown} on {_items(best, metric):,} items."
        return Verdict("", best.name, sentence, tuple(reasons))
    if len(eligible) == 1:
        return Verdict(best.name, best.name, f"Take {best.name}: {shown}; no other can be judged.", tuple(reasons))

    rivals = [(entry, pair) for entry in eligible if (pair := versus.get(frozenset((entry.name, best.name))))]
    ties = [entry for entry, pair in rivals if pair.n >= MIN_ITEMS and not pair.distinguishable]
    beaten = [entry for entry, pair in rivals if pair.distinguishable]
    winner = min([best, *ties], key=_price)
    told = [pair.sentence for _, pair in sorted(rivals, key=lambda rival: rival[1].distinguishable)]
    prices = [_expense(entry) for entry in sorted([best, *ties], key=_price)] if ties else []
    opening = f"The best {metric.title} is that of {best.name}: {_shown(best, metric, problem)}."
    pair = versus.get(frozenset((winner.name, best.name)))
    sentence = _sentence(problem, metric, winner, best, ties, beaten, pair)
    ways = way_rows(problem, eligible)
    sides = way_sentences(problem, ways, versus)
    return Verdict(winner.name, best.name, sentence, (opening, *sides, *told, *prices, *reasons), ways)


def _interval(entry: Entry, metric: Metric) -> Interval:
    return entry.scores.metrics[metric.name]


def _value(entry: Entry, metric: Metric) -> float | None:
    return _interval(entry, metric).value


def _shown(entry: Entry, metric: Metric, problem: Problem) -> str:
    return with_interval(metric, _interval(entry, metric), problem.unit)


def _price(entry: Entry) -> tuple[bool, float, float]:
    cost = entry.cost_per_item
    return cost is None, cost or 0.0, entry.seconds_per_item


def _items(entry: Entry, metric: Metric) -> int:
    """How many items the metric is over."""
    return entry.scores.n if metric.over == "all" else entry.scores.n_readable


def _eligible(problem: Problem, entries: Sequence[Entry], metric: Metric) -> tuple[list[Entry], list[str]]:
    """The entries that can be judged, and a reason for each that cannot."""
    eligible, reasons = [], []
    for entry in entries:
        n, readable, rate = entry.scores.n, entry.scores.n_readable, entry.scores.metrics["parse_rate"]
        value = _value(entry, metric)
        if value is None:
            why = f"its {metric.title} is not defined"
        elif metric.over == "readable" and rate.high is not None and rate.high < LEAST_PARSE_RATE:
            why = (
                f"only {readable:,} of its {n:,} answers could be read ({100 * readable / n:.0f} %, significantly "
                f"below {100 * LEAST_PARSE_RATE:.0f} %), and its {metric.title} of "
                f"{metric_value(metric, value, problem.unit)} leaves out the others"
            )
        elif _items(entry, metric) < MIN_ITEMS:
            why = f"it answered only {_items(entry, metric)} items"
        else:
            eligible.append(entry)
            continue
        reasons.append(f"{entry.name} is passed over: {why}.")
    return eligible, reasons


def _best(entries: Sequence[Entry], metric: Metric, versus: dict[frozenset[str], Pair]) -> Entry:
    """The entry with the best value, among those that no other beats on the items that both answered."""
    direction = 1 if metric.higher_is_better else -1

    def beats(a: Entry, b: Entry) -> bool:
        pair = versus.get(frozenset((a.name, b.name)))
        if pair is None or not pair.distinguishable or pair.difference is None:
            return False
        return direction * pair.difference * (1 if pair.a == a.name else -1) > 0

    unbeaten = [entry for entry in entries if not any(beats(other, entry) for other in entries)]
    return max(unbeaten or entries, key=lambda entry: direction * (_value(entry, metric) or 0.0))


def _expense(entry: Entry) -> str:
    """What a technique's answers take, in words."""
    cost = entry.cost_per_item
    asks = "asks a language model" if entry.uses_model else "asks no language model"
    money = "at an unknown price" if cost is None else "free of charge" if cost == 0 else f"${1e3 * cost:.3g} per 1,000"
    built = f", after {seconds_in_words(entry.build_seconds)} of fitting" if entry.build_seconds >= 0.1 else ""
    if entry.training is not None and entry.training.seconds:
        built += f", after {seconds_in_words(entry.training.seconds)} of tuning"
    return f"{entry.name} {asks}: {money}, {seconds_in_words(entry.seconds_per_item)} per item{built}."


def _sentence(
    problem: Problem,
    metric: Metric,
    winner: Entry,
    best: Entry,
    ties: Sequence[Entry],
    beaten: Sequence[Entry],
    pair: Pair | None,
) -> str:
    """The verdict in words; `pair` is that of the winner and the best, where they are two."""
    take = f"Take {winner.name}: {metric.title} {_shown(winner, metric, problem)}"
    if not ties:
        others = " and ".join(entry.name for entry in beaten) if len(beaten) < 3 else f"{len(beaten)} others"
        return f"{take}, better than {others} beyond chance." if beaten else f"{take}; no other can be judged."
    lead = "" if beaten else "These items do not tell any technique from the best. "
    if winner is best:
        names = " and ".join(entry.name for entry in ties) if len(ties) < 3 else f"{len(ties)} others"
        return f"{lead}{take}, the best value seen; what cannot be told apart from it ({names}) is no cheaper."
    gap = ""
    if pair is not None and pair.difference is not None:
        size = metric_difference(metric, abs(pair.difference), problem.unit)
        settle = f"about {approximately(pair.needed_items)} items would settle it" if pair.needed_items else ""
        gap = f" The difference of {size} may be chance ({'; '.join(filter(None, (p_value(pair.p_holm), settle)))})."
    rank = f"It is the cheapest that cannot be told apart from the best, {best.name}"
    return f"{lead}{take}. {rank} ({_shown(best, metric, problem)}).{gap}"
