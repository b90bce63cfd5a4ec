"""A technique that answers cases by running their card: what is judged is what a user of the card gets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from whetstone.errors import BadReplyError, ModelError, UsageError, WhetstoneError
from whetstone.evaluation.technique import TechniqueContext, Way, digest
from whetstone.evaluation.techniques.examples import Examples
from whetstone.evaluation.techniques.fitted import no_arguments
from whetstone.evaluation.techniques.model_technique import ModelTechnique
from whetstone.evaluation.techniques.tuned_model import model_ways
from whetstone.models import RenderingModel
from whetstone.models.base import answers_apart
from whetstone.prompting.few_shot import ExampleChooser
from whetstone.registry import unknown_name
from whetstone.tasks import Card, TaskCase
from whetstone.tasks.result import TaskResult
from whetstone.tasks.run import run_card_many
from whetstone.types import Case, Message, Prediction, Problem, Reading, ReadingStatus
from whetstone.workflows.task_problem import inputs_of

# What a card says to people; the model is not told, so that its answers stay what they are when it is put better.
_SAYING_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("title", "description", "metric", "known_failures", "not_encoder_decoder"), True),
    "inputs": {"__all__": {"title", "description"}},
}
_TECHNIQUES = ("ask", "few-shot")
_VERSION = 1  # of how cards are run; to be raised when the same prompts lead to other answers


class TaskTechnique(ModelTechnique):
    """`ask`: the model, asked as the card asks it; `few-shot:METHOD:K`: with K of the training cases shown as examples.

    METHOD: fixed, random, balanced or nearest, see `whetstone.evaluation.techniques.examples`. Programs are not run
    while they are written: the model does not see the tests by which it is judged.

    Args:
        card: whose problem (`card_problem`) it answers.
        spec: "ask" or "few-shot:fixed:3".

    Raises:
        UnknownNameError: it is another technique, which would not run the card.
        UsageError: its arguments cannot be read.
    """

    def __init__(self, card: Card, spec: str, context: TechniqueContext) -> None:
        name, _, arguments = spec.strip().partition(":")
        if name not in _TECHNIQUES:
            raise unknown_name("technique for a task card", name, list(_TECHNIQUES))
        if name == "ask":
            no_arguments("ask", arguments)
        self._card = card
        self._context = context
        self._shown = Examples(name, arguments or "nearest", context.seed) if name == "few-shot" else None
        self.name = name if self._shown is None else f"{name}:{self._shown.name}"
        self.needs_training = self._shown is not None
        self._shots: dict[str, tuple[TaskCase, ...]] = {}
        self._chooser: ExampleChooser | None = None
        self._training_cases = {case.id: case for case in card.cases("train")}

    @property
    def ways(self) -> tuple[Way, ...]:
        return model_ways(self._tuned, looks_up=self._shown is not None and self._shown.looked_up)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "technique": self.name,
            "version": _VERSION,
            "card": self._card.name,
            "settings": self._card.file.model_dump(mode="json", exclude=_SAYING_NOTHING),
            "prompts": {name: prompt.digest for name, prompt in sorted(self._card.prompts.items())},
            "model": asdict(self._model.identity),
            **({} if self._shown is None else self._shown.identity),
        }

    @property
    def remarks(self) -> list[str]:
        """What a reader of its answers must know."""
        if self._shown is None or not self._shots:
            return []
        counts = {len(shots) for shots in self._shots.values()}
        said = "each case is shown " + (f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}")
        return [f"{said} of the card's {len(self._training_cases)} training cases"]

    def fit(self, problem: Problem) -> None:
        why = self._card.file.not_encoder_decoder
        if why and answers_apart(self._model):
            raise UsageError(f"{self._model.identity.name} cannot do {self._card.name}: {why}; compare chat models")
        if self._shown is None:
            return
        if self._shown.count > len(problem.train):
            raise UsageError(
                f"{self.name}: the card {self._card.name} has {len(problem.train)} training cases to show as examples"
            )
        self._chooser = self._shown.chooser(problem, self.name, self._context.progress, instead="ask")

    def keys(self, cases: Sequence[Case]) -> list[str]:
        self._choose(cases)
        asked = self.identity
        return [
            digest(
                {name: asked[name] for name in ("version", "settings", "prompts", "model")},
                inputs_of(case),
                [(shot.inputs, shot.expected) for shot in self._shots_of(case)],
            )
            for case in cases
        ]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        keys = self.keys(cases)
        found = run_card_many(
            self._card,
            self._model,
            [inputs_of(case) for case in cases],
            shots=[self._shots_of(case) for case in cases],
        )
        for index, outcome in found:
            yield self._prediction(cases[index], keys[index], outcome)

    def reread(self, prediction: Prediction) -> Prediction:
        """An earlier answer: what a card reads does not depend on the problem."""
        return prediction

    def _choose(self, cases: Sequence[Case]) -> None:
        """Choose examples for cases that have none yet."""
        new = [case for case in cases if case.id not in self._shots]
        if self._chooser is not None and new:
            for case, shown in zip(new, self._chooser.choose(new), strict=True):
                self._shots[case.id] = tuple(self._training_cases[example.id] for example in shown)

    def _shots_of(self, case: Case) -> tuple[TaskCase, ...]:
        return self._shots.get(case.id, ())

    def _prediction(self, case: Case, key: str, outcome: TaskResult | WhetstoneError) -> Prediction:
        if isinstance(outcome, WhetstoneError):
            if not isinstance(outcome, ModelError):
                raise outcome
            # A reply that holds no answer of the kind that was asked for is the model's failure, no error of the run.
            status: ReadingStatus = "unparsable" if isinstance(outcome, BadReplyError) else "error"
            return Prediction(case.id, key, Reading(status, note=str(outcome)))
        return Prediction(
            case.id,
            key,
            self._reading(outcome),
            raw=outcome.raw,
            prompt="\n\n".join(self._shown_to_model(step.messages) for step in outcome.steps),
            usage=outcome.usage,
            seconds=outcome.seconds,
            cost=outcome.cost,
            finish_reason=outcome.steps[-1].finish_reason if outcome.steps else None,
        )

    def _reading(self, outcome: TaskResult) -> Reading:
        note = "; ".join(outcome.notes)
        if not isinstance(outcome.output, str):
            listed = [asdict(entity) for entity in outcome.output]
            return Reading("value", json.dumps(listed, ensure_ascii=False), note)
        if not outcome.output.strip():
            return Reading("unparsable", note=note or "the answer is empty")
        return Reading("value", outcome.output.strip(), note)

    def _shown_to_model(self, messages: Sequence[Message]) -> str:
        if isinstance(self._model, RenderingModel):
            return self._model.render(messages)
        return json.dumps(messages, ensure_ascii=False)
