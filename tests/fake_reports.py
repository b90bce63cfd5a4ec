"""Problems, answers and reports made up for tests of what is shown. Texts are as unpleasant as real ones can be."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import erfinv

from whetstone.evaluation.report import Report, RunResult
from whetstone.types import INTERVAL_LEVELS as LEVELS
from whetstone.types import QUANTILE_LEVELS, Case, NumberSummary, Prediction, Problem, Reading, Usage

HOSTILE = (
    '</script><script>alert("x")</script><img src=x onerror=alert(1)> &amp; {{ 7*7 }} [bold]red[/bold] %{x} $a$ $b$'
)
TITLES = (
    "Cordless drill, 18 V, with two batteries",
    "무선 청소기, 흰색, 2년 보증",
    "Gaming mouse 🖱️ with 👩‍💻 sticker",
    f"Cable {HOSTILE}",
    "Lamp \x1b[31mred\x1b[0m \x07 \u202etxet desrever \ud83d",
)


def number_problem(n: int = 60, seed: int = 1, **more: Any) -> Problem:
    """Prices between about $5 and $1,500."""
    rng = random.Random(seed)
    cases = [
        Case(f"row-{i + 1}", f"{TITLES[i % len(TITLES)]}, item {i + 1}", round(math.exp(rng.gauss(4.5, 1.0)), 2))
        for i in range(n)
    ]
    given: dict[str, Any] = {"metric": "mae", "unit": "$", "source": {"rows": n, "columns": {"text": ["title"]}}} | more
    return Problem("prices", "number", "price", train=(), validation=(), test=cases, fingerprint="ab12" * 16, **given)


def answers(
    problem: Problem,
    guess: Callable[[Case], Reading],
    raw: Callable[[Case, Reading], str] = lambda _, reading: str(reading.value),
    cost: float | None = 0.0,
) -> list[Prediction]:
    """An answer to every test case."""
    return [
        Prediction(
            case.id,
            f"key-{case.id}",
            reading := guess(case),
            raw=raw(case, reading),
            prompt=f"What does it cost? {case.text}",
            usage=Usage(40, 5),
            seconds=0.01,
            cost=cost,
        )
        for case in problem.test
    ]


def off_by(spread: float, seed: int = 2, unreadable: float = 0.0) -> Callable[[Case], Reading]:
    """Guesses off by a factor whose logarithm has this standard deviation; a share of them cannot be read."""
    rng = random.Random(seed)

    def guess(case: Case) -> Reading:
        value = round(float(case.expected) * math.exp(rng.gauss(0, spread)), 2)
        if rng.random() < unreadable:
            return rng.choice(
                [
                    Reading("refused", note="declines"),
                    Reading("unparsable", note=HOSTILE),
                    Reading("out_of_range", 1e15),
                ]
            )
        return Reading("value", value)

    return guess


def unsure(
    problem: Problem, predictions: Sequence[Prediction], spread: float, corrected: float | None = None
) -> list[Prediction]:
    """These answers with a distribution around each: lognormal, with this standard deviation of the logarithm.

    Args:
        corrected: the deviation after a correction; None where there was none.
    """
    levels = np.array(QUANTILE_LEVELS)

    def one(prediction: Prediction) -> Prediction:
        if not prediction.reading.ok:
            return prediction
        centre = max(1.0, float(prediction.reading.value or 0.0))
        own, final = (
            tuple((centre * np.exp(width * np.sqrt(2) * erfinv(2 * levels - 1))).tolist())
            for width in (spread, corrected or spread)
        )
        ends = [(level, *(final[round(80 * s) - 1] for s in ((1 - level) / 2, (1 + level) / 2))) for level in LEVELS]
        before = () if corrected is None else own
        summary = NumberSummary(
            final, centre, centre, centre, centre * (corrected or spread), 0.9, 0.0, tuple(ends), before
        )
        return replace(prediction, distribution=summary)

    return [one(prediction) for prediction in predictions]


def result(problem: Problem, predictions: Sequence[Prediction], label: str, **more: Any) -> RunResult:
    """A run of these answers; by default of a technique of this name without a model."""
    return RunResult.build(
        problem, predictions, **{"label": label, "technique": label, "run_id": f"run-{label}"} | more
    )


def number_report(n: int = 60, **more: Any) -> Report:
    """Three runs: a good one, a bad one with unreadable answers and hostile replies, a constant."""
    problem = number_problem(n, **more)
    bad = answers(problem, off_by(1.2, 3, unreadable=0.3), lambda _, reading: f"{HOSTILE} {reading.value}", cost=0.001)
    return Report.build(
        problem,
        [
            result(problem, answers(problem, off_by(0.2)), "few-shot:nearest:3", model="smollm2", build_seconds=1.5),
            result(problem, bad, f"ask {HOSTILE}", model="openai:x", notes=["cross-fitted, 5 folds"]),
            result(problem, answers(problem, lambda _: Reading("value", 90.0)), "constant:median"),
        ],
        notes=["trained on 5,000 rows"],
    )


def label_report(n: int = 60) -> Report:
    """Two runs on labels, one of which is hostile."""
    rng = random.Random(5)
    labels = ("praise", "complaint", HOSTILE)
    cases = [Case(f"{i}", TITLES[i % len(TITLES)], rng.choice(labels)) for i in range(n)]
    problem = Problem("mail", "label", "category", "accuracy", (), (), cases, "cd" * 32, labels=labels)

    def guess(case: Case) -> Reading:
        drawn = rng.random()
        return Reading("refused") if drawn < 0.1 else Reading("value", case.expected if drawn < 0.7 else "praise")

    always = [result(problem, answers(problem, lambda _: Reading("value", "praise")), "constant")]
    return Report.build(problem, [*always, result(problem, answers(problem, guess), "tfidf")])


def text_report(n: int = 30) -> Report:
    """Two runs on short texts."""
    rng = random.Random(6)
    words = ["the", "parcel", "came", "late", "and", "broken", "so", "a", "refund", "was", "promised", "by", "friday"]
    cases = [Case(f"{i}", f"{TITLES[i % len(TITLES)]} {i}", " ".join(rng.choices(words, k=8))) for i in range(n)]
    problem = Problem("calls", "text", "summary", "rouge_l", (), (), cases, "ef" * 32)

    def guess(keep: float) -> Callable[[Case], Reading]:
        def one(case: Case) -> Reading:
            if rng.random() < 0.1:
                return Reading("refused", note="declines")
            kept = (word if rng.random() < keep else rng.choice(words) for word in str(case.expected).split())
            return Reading("value", " ".join(kept))

        return one

    return Report.build(
        problem, [result(problem, answers(problem, guess(keep)), f"ask-{keep}", model="smollm2") for keep in (0.2, 0.8)]
    )
