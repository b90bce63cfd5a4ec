"""The model's distributions, corrected by what turned out true on validation cases."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques.priced import Priced
from whetstone.numeric.calibration import FEWEST, Calibration, fit_calibration
from whetstone.numeric.distribution import ESTIMATES, Distribution
from whetstone.numeric.summary import summarise
from whetstone.types import Case, NumberSummary, Problem

_FEW = 0.01  # share of the validation cases that a tuned model may have seen: it moves no correction
_ENOUGH = 250  # cases: more would make a correction of four parameters hardly better


class Calibrated(Priced):
    """`calibrated[:ESTIMATE][:METHOD:K][:chat][:whole]`: as `price`, corrected; intervals cover what they say.

    The correction is the one of `whetstone.numeric.calibration` that cross-validation keeps. It is learnt on the
    validation cases, or, where those are fewer than 20, on training cases: in cross-fitting, on those of the other
    folds. No test case has a part in it.
    """

    technique = "calibrated"
    decoders: Sequence[str] = ESTIMATES

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        super().__init__(arguments, context)
        self.needs_training = True
        self._calibration: Calibration
        self._learnt_on = ""

    def fit(self, problem: Problem) -> None:
        super().fit(problem)
        if self._endpoint is not None:
            raise UsageError(
                f"{self.model} shows only its likeliest tokens, and bounds cannot be corrected: take "
                f"{self.name.replace('calibrated', 'price', 1)}, or a local model (gguf:, hf:)"
            )
        cases, kind = list(problem.validation), "validation"
        if len(cases) < FEWEST and self._tuned is None:  # which is too sure of what it was trained on
            cases, kind = _drawn(problem.train, self._context.seed), "training"
        if len(cases) < FEWEST:
            raise UsageError(
                f"{self.name} learns from {FEWEST} validation cases or more, and {problem.name} has {len(cases)}: use "
                f"{self.name.replace('calibrated', 'price', 1)}"
            )
        if self._tuned is not None and (seen := self._tuned.seen(cases)) > _FEW * len(cases):
            raise UsageError(
                f"{self.name}: {seen:,} of the {len(cases):,} validation items are among the rows that "
                f"{self._tuned.name} was tuned on, and it is too sure of these to be corrected by them: compare with "
                "the data, the seed and the validation size that it was tuned with"
            )
        assert self._numbers is not None
        progress = partial(self._context.progress, f"{self.name}: reading {kind} cases")
        prompts = [prompt.ids for prompt in self._prompts_of(cases)]
        found = {index: one for index, one, _ in self._numbers.read(prompts, progress) if one.inside > 0}
        self._prompts = {}  # remarks are about test cases
        self._calibration = fit_calibration(
            [found[index] for index in sorted(found)],
            [float(cases[index].expected) for index in sorted(found)],
            seed=self._context.seed,
        )
        self._learnt_on = f"{len(found):,} {kind} cases"

    @property
    def remarks(self) -> list[str]:
        crps = self._calibration.crps
        method, before = self._calibration.method, crps["none"]
        kept = f"kept {method}, CRPS {before:.4g} to {crps[method]:.4g}" if method != "none" else "no correction helped"
        return [*super().remarks, f"corrected on {self._learnt_on}: {kept} (cross-validated)"]

    def _more_key(self) -> list[Any]:
        return [self._calibration.to_json()]

    def _corrected(self, found: Distribution) -> Distribution:
        return self._calibration.apply(found)

    def _summary(self, found: Distribution) -> NumberSummary:
        return summarise(found, self._calibration)


def _drawn(cases: Sequence[Case], seed: int) -> list[Case]:
    """All cases, or a sample of them that does not depend on their order."""
    ordered = sorted(cases, key=lambda case: case.id)
    return ordered if len(ordered) <= _ENOUGH else random.Random(seed).sample(ordered, _ENOUGH)
