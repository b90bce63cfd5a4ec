"""One choice of a prompt search on the validation items: asked in pieces, and given up as soon as it has lost.

Every answer is kept before the next is looked at, and no question is asked twice, whichever choice asks it.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from whetstone.evaluation.answers import align
from whetstone.evaluation.judged import judge_of
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.run import Run, RunStore
from whetstone.evaluation.technique import Technique, TechniqueContext, digest
from whetstone.evaluation.techniques import build_technique
from whetstone.prompting.few_shot import case_seed
from whetstone.types import Case, Prediction, Problem, Reading, Usage
from whetstone.workflows.search_space import Choice

PIECE = 10  # items between two looks at whether a choice has lost
State = Literal["complete", "lost", "out of calls"]


@dataclass(frozen=True)
class Trial:
    """A choice that was tried on validation items.

    Attributes:
        number: in the order of trying, from 1.
        state: "complete"; "lost", given up after a part of the items because it was worse than the best on them; or
            "out of calls".
        items: how many it answered.
        value: the deciding metric on them; None where it is not defined.
        readable: how many answers could be read.
        calls: requests that it took; an answer that an earlier choice had got to the same question takes none.
        prompt_tokens: of a prompt, on average; None where the engine told none.
    """

    number: int
    choice: Choice
    state: State
    items: int
    value: float | None
    readable: int
    calls: int
    prompt_tokens: float | None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        instruction = self.choice.instruction
        return {
            "number": self.number,
            "prompt": instruction.name,
            "question": instruction.question or None,
            "proposed": instruction.proposed,
            "technique": self.choice.technique,
            "state": self.state,
            "items": self.items,
            "value": self.value,
            "readable": self.readable,
            "calls": self.calls,
            "prompt_tokens": self.prompt_tokens,
        }


def validation_problem(problem: Problem, items: int, seed: int) -> Problem:
    """The problem whose test cases are validation cases, in an order that has nothing to do with theirs.

    Args:
        items: how many of them at most.
    """
    chosen = sorted(problem.validation, key=partial(case_seed, seed))[:items]
    print_of = digest("validation", problem.fingerprint, seed, [case.id for case in chosen])
    return replace(
        problem,
        name=f"{problem.name}-validation",
        test=chosen,
        validation=(),
        fingerprint=hashlib.sha256(print_of.encode()).hexdigest(),
        source={},
        cross_fit=0,
        groups=(),
    )


class Race:
    """Tries choices on the same items and counts what that takes.

    Args:
        problem: its test cases are the validation items; see `validation_problem`.
        context: what techniques are built with; their options come from the choices.
        store: where answers are kept.
        calls: requests that may be made in all.

    Attributes:
        calls: made so far, those of earlier processes included.
        usage, cost: of all of them; a cost of None is not known.
    """

    def __init__(self, problem: Problem, context: TechniqueContext, store: RunStore, calls: int) -> None:
        self._problem, self._context, self._store, self._budget = problem, context, store, calls
        self._judge = judge_of(problem)
        self._metric = METRICS[problem.metric]
        self._known: dict[str, Prediction] = {}
        self._middle = (
            statistics.median(float(case.expected) for case in problem.train)
            if problem.kind == "number" and len(problem.train)
            else 0.0
        )
        self.calls = 0
        self.usage = Usage()
        self.cost: float | None = 0.0

    @property
    def left(self) -> int:
        """Requests that may still be made."""
        return max(0, self._budget - self.calls)

    def run(self, number: int, choice: Choice, rival: Any, progress: Callable[[int, int], None]) -> tuple[Trial, float]:
        """Try a choice, piece by piece.

        Args:
            number: of the trial.
            rival: an optuna trial, which is told the loss on each item, and says whether the choice has lost.
            progress: told (items done, items in all).

        Returns:
            The trial, and its loss: the metric, turned so that less is better; infinite where it is not defined.
        """
        before = self.calls
        technique = build_technique(choice.technique, choice.context(self._context))
        technique.fit(self._problem)
        items = self._problem.test
        answers: list[Prediction] = []
        state: State = "complete"
        with self._store.open(self._problem, technique) as run:
            progress(0, len(items))
            for start in range(0, len(items), PIECE):
                piece = items[start : start + PIECE]
                found = self._answer(technique, run, piece)
                if found is None:
                    state = "out of calls"
                    break
                progress(start + len(piece), len(items))
                for position, (case, answer) in enumerate(zip(piece, found, strict=True), start):
                    answers.append(answer)
                    rival.report(self._loss(case, answer), position)
                if len(answers) < len(items) and rival.should_prune():
                    state = "lost"
                    break
        value = self._value(answers)
        tokens = [answer.usage.prompt_tokens for answer in answers if answer.usage.prompt_tokens]
        trial = Trial(
            number,
            choice,
            state,
            len(answers),
            self._shown(answers),
            sum(answer.reading.ok for answer in answers),
            self.calls - before,
            statistics.fmean(tokens) if tokens else None,
        )
        if value is None:
            return trial, float("inf")
        return trial, -value if self._metric.higher_is_better else value

    def _answer(self, technique: Technique, run: Run, cases: Sequence[Case]) -> list[Prediction] | None:
        """The answers to these cases; None where the calls do not suffice for all of them."""
        keys = technique.keys(cases)
        asked = dict(zip((case.id for case in cases), keys, strict=True))
        for case in cases:
            key = asked[case.id]
            if run.has_answer(case.id, key):
                self._count(run.answers[case.id])
            elif key in self._known:
                run.record(replace(self._known[key], case_id=case.id))
        missing = {asked[case.id]: case for case in cases if not run.has_answer(case.id, asked[case.id])}
        if len(missing) > self.left:
            return None
        for prediction in technique.predict(list(missing.values())) if missing else ():
            run.record(prediction)
            self._count(prediction)
        for case in cases:  # the same text twice is one question
            if not run.has_answer(case.id, asked[case.id]):
                run.record(replace(self._known[asked[case.id]], case_id=case.id))
        return [run.answers[case.id] for case in cases]

    def _count(self, answer: Prediction) -> None:
        """Take an answer in: the first one to a question was paid for."""
        if answer.key in self._known:
            return
        self._known[answer.key] = answer
        self.calls += 1
        self.usage += answer.usage
        if answer.reading.status != "error":
            self.cost = None if self.cost is None or answer.cost is None else self.cost + answer.cost

    def _filled(self, answer: Prediction) -> Prediction:
        """A number that could not be read counts as the median of the training numbers, which is what a guess costs.

        Its metrics are over readable answers, so that a prompt would win by being answered on easy items only.
        """
        if answer.reading.ok or self._problem.kind != "number":
            return answer
        return replace(answer, reading=Reading("value", self._middle))

    def _loss(self, case: Case, answer: Prediction) -> float:
        _, error = self._judge(case, self._filled(answer))
        return 1.0 if error is None else error

    def _value(self, answers: Sequence[Prediction]) -> float | None:
        return self._shown([self._filled(answer) for answer in answers])

    def _shown(self, answers: Sequence[Prediction]) -> float | None:
        """The deciding metric on these answers."""
        if not answers:
            return None
        aligned = align(self._problem, answers)
        items = self._metric.items(aligned)
        table = self._metric.features(aligned) if items.any() else None
        if table is None:
            return None
        table = table[items]
        found = np.median(table) if self._metric.form == "median" else self._metric.function(table.mean(axis=0))
        return float(found) if np.isfinite(found) else None
