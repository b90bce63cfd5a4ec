"""The task's own error, measured on the model in training: what revisions are chosen by, and stopping is decided by.

Validation rows are asked as they are trained on: their prompts are the very tokens in front of what is learned.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from whetstone.evaluation.comparison import MIN_ITEMS, compare
from whetstone.evaluation.intervals import wilson
from whetstone.evaluation.metrics import METRICS, score
from whetstone.models.hf_live import LiveModel
from whetstone.numeric.distribution import estimate_for
from whetstone.numeric.grid import Grid
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.numeric.trie import NumberTrie
from whetstone.prompting.price import PricePrompt
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.probe_reading import at_rest
from whetstone.tuning.rows import TuneData, TuneRow
from whetstone.types import Case, Prediction, Problem, Reading

_FEWEST = 5
_SHORT = 32  # tokens: no longer answer is likely to be the same to the letter
_RESAMPLES = 1_999  # a quarter of a second instead of one; the ends differ by a hundredth of the width


def task_metric(config: TuneConfig, data: TuneData) -> NumberMetric | SameAnswer | None:
    """The error that suits the rows; None where nothing but their loss says how good an answer is.

    Numbers are judged by the problem's own metric, short answers by whether they are the same to the letter.
    """
    rows = _drawn([row for row in data.validation if not row.replay], _count(config, data), config.seed)
    if config.validation_metric == "loss" or len(rows) < _FEWEST or not config.completion_only_loss:
        return None
    if data.problem is not None and data.form is not None and data.grid is not None:
        return NumberMetric(config.base, data.problem, data.form, data.grid, rows)
    if all(0 < row.learns <= _SHORT and _answered_once(row) for row in rows):
        return SameAnswer(config.base, rows)
    return None


class TaskMetric(ABC):
    """The task's own error on some items, and what was answered to each, so that revisions can be compared in pairs.

    Attributes:
        name: of the error.
        written: the answers as last written, beside the expected ones; () where no text is written.
    """

    name: str
    written: Sequence[tuple[str, str]] = ()

    @abstractmethod
    def __call__(self, model: Any) -> Mapping[str, Any]:
        """`metric` with the ends `low` and `high` of its 95 % interval, on the model as it is now; and `answers`."""

    @abstractmethod
    def judged(self, answers: Sequence[float | None]) -> tuple[Problem, Sequence[Prediction]]:
        """The items as a problem, and these answers to them."""

    def surely_better(self, now: Sequence[float | None], before: Sequence[float | None]) -> bool | None:
        """Whether answers are better beyond doubt, by the paired bootstrap at 5 %; None of too few items."""
        problem, first = self.judged(now)
        _, second = self.judged(before)
        (pair,) = compare(problem, {"now": first, "before": second}, resamples=_RESAMPLES)
        if pair.n < MIN_ITEMS or pair.difference is None:
            return None
        better = (pair.difference > 0) is METRICS[pair.metric].higher_is_better
        return pair.distinguishable and better


class NumberMetric(TaskMetric):
    """The error of what is read off the model's distributions, as `price` reads it.

    Args:
        base: spec of the model in training.
        problem: its metric decides.
        form: how the rows ask.
        grid: the numbers that are considered.
        rows: the items.
    """

    def __init__(self, base: str, problem: Problem, form: PricePrompt, grid: Grid, rows: Sequence[TuneRow]) -> None:
        self._base, self._form, self._grid = base, form, grid
        self._problem, self._rows = problem, rows
        self._metric = METRICS[problem.metric]
        # Lower is better for whoever chooses among revisions.
        self.name = f"1 - {self._metric.title}" if self._metric.higher_is_better else self._metric.title
        self.items = [Case(str(n), "", float(row.target or 0.0)) for n, row in enumerate(rows)]
        self._live: LiveModel | None = None
        self._trie: NumberTrie

    def __call__(self, model: Any) -> Mapping[str, Any]:
        if self._live is None:
            self._live = LiveModel(self._base, model)
            self._trie = number_trie(self._live, self._grid, self._form.label)
        kind = estimate_for(self._problem.metric)
        prompts = [row.ids if row.number_at is None else row.ids[: row.number_at] for row in self._rows]
        with at_rest(model):
            found = dict(read_numbers(self._live, prompts, self._trie))
        answers = [found[n].estimate(kind) if found[n].inside > 0 else None for n in range(len(self.items))]
        known = score(*self.judged(answers), resamples=_RESAMPLES).metrics[self._metric.name]
        ends = {"metric": known.value, "low": known.low, "high": known.high}
        if self._metric.higher_is_better:
            ends = {
                "metric": None if known.value is None else 1 - known.value,
                "low": None if known.high is None else 1 - known.high,
                "high": None if known.low is None else 1 - known.low,
            }
        return {"answers": answers, **{name: float(value) for name, value in ends.items() if value is not None}}

    def judged(self, answers: Sequence[float | None]) -> tuple[Problem, Sequence[Prediction]]:
        """The items as a problem, and these answers to them."""
        asked = self._problem
        problem = Problem(asked.name, "number", asked.target, asked.metric, (), (), self.items, "")
        return problem, [
            Prediction(case.id, "", Reading("unparsable") if answer is None else Reading("value", answer))
            for case, answer in zip(self.items, answers, strict=True)
        ]


class SameAnswer(TaskMetric):
    """The share of answers that are not the expected one, up to case and blanks, written greedily.

    Args:
        base: spec of the model in training.
        rows: each with one answer.
    """

    name = "share of wrong answers"

    def __init__(self, base: str, rows: Sequence[TuneRow]) -> None:
        self._base, self._rows = base, rows
        self._live: LiveModel | None = None

    def __call__(self, model: Any) -> Mapping[str, Any]:
        if self._live is None:
            self._live = LiveModel(self._base, model)
        live = self._live
        written = [("", "")] * len(self._rows)
        parts = [_prompt_and_answer(row) for row in self._rows]
        with at_rest(model):
            most = max(len(answer) for _, answer in parts) + 1
            for index, text in live.continue_many([prompt for prompt, _ in parts], most):
                written[index] = text, _written(live, parts[index][1])
        self.written = written
        wrong = [float(_plain(text) != _plain(expected)) for text, expected in written]
        low, high = wilson(sum(wrong), len(wrong))
        return {"metric": sum(wrong) / len(wrong), "low": low, "high": high, "answers": wrong}

    def judged(self, answers: Sequence[float | None]) -> tuple[Problem, Sequence[Prediction]]:
        """The items as a problem, and these answers to them: 1 for each that is wrong."""
        cases = [Case(str(n), "", "right") for n in range(len(self._rows))]
        problem = Problem("same answer", "label", "answer", "accuracy", (), (), cases, "")
        return problem, [
            Prediction(case.id, "", Reading("value", "wrong" if wrong else "right"))
            for case, wrong in zip(cases, answers, strict=True)
        ]


def _count(config: TuneConfig, data: TuneData) -> int:
    """How many items are asked about at each validation: as many as a run of this length can afford."""
    from whetstone.tuning.job import items_asked, steps_between_validations, steps_in_all

    steps = steps_in_all(config, -(-len(data.train) // config.batch_size))
    return items_asked(steps_between_validations(config, steps), config.batch_size)


def _drawn(rows: Sequence[TuneRow], count: int, seed: int) -> list[TuneRow]:
    return list(rows) if len(rows) <= count else random.Random(seed).sample(list(rows), count)


def _answered_once(row: TuneRow) -> bool:
    """Whether what is learned is one stretch, and not the answers of several turns."""
    if row.labels is not None:
        return True
    start = row.learned.index(True)
    return start > 0 and all(row.learned[start : start + row.learns])


def _prompt_and_answer(row: TuneRow) -> tuple[list[int], list[int]]:
    if row.labels is not None:
        return row.ids, row.labels
    start = row.learned.index(True)
    return row.ids[:start], row.ids[start : start + row.learns]


def _written(live: LiveModel, answer: Sequence[int]) -> str:
    """An answer's text without the tokens that end it."""
    control = {token.id for token in live.vocabulary.added if token.special}
    return live.decode([token for token in answer if token not in control])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
