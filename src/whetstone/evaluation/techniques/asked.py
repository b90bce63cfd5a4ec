"""A language model is asked, plainly or after examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from whetstone.errors import ModelError, UsageError
from whetstone.evaluation.technique import TechniqueContext, Way, digest
from whetstone.evaluation.techniques.examples import Examples
from whetstone.evaluation.techniques.fitted import no_arguments
from whetstone.evaluation.techniques.model_technique import ModelTechnique
from whetstone.evaluation.techniques.read_answer import read_answer
from whetstone.evaluation.techniques.tuned_model import model_ways
from whetstone.models import RenderingModel, replies
from whetstone.models.catalogue import cost
from whetstone.prompting.answers import unit_in_words, write_number
from whetstone.prompting.few_shot import ExampleChooser
from whetstone.prompting.template import Template, load_template
from whetstone.types import Case, Message, Options, Prediction, Problem, Reading, Reply, TargetKind

_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)
# Room for the answer and a few words around it; a reply that rambles on would cost time and say nothing more.
OPTIONS: Mapping[TargetKind, Options] = {
    "number": Options(temperature=0, max_tokens=24),
    "label": Options(temperature=0, max_tokens=24),
    "text": Options(temperature=0, max_tokens=512),
}


@dataclass(frozen=True)
class _Question:
    """One case's conversation, the text that the engine makes of it, and the digest of what is asked."""

    messages: list[Message]
    prompt: str
    key: str


class Ask(ModelTechnique):
    """The language model, asked about one case at a time, greedily.

    Options of the context: `question` (asked instead of "What is the price in dollars?"), `template` (path of a prompt
    template of the user's own; see `whetstone.prompting.template`).
    """

    needs_training = False
    looks_up = False  # whether each case gets something of its own to go by

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        no_arguments("ask", arguments)
        self._set_up("ask", context)

    def _set_up(self, name: str, context: TechniqueContext) -> None:
        self.name = name
        self._context = context
        self._own_question = str(context.options.get("question") or "")
        own = context.options.get("template")
        # The kind of answer is known when a problem comes; the identity is asked for before.
        self._templates: dict[TargetKind, Template] = {kind: load_template(str(own or kind)) for kind in _KINDS}
        self._problem: Problem
        self._questions: dict[str, _Question] = {}
        self._said: list[str] = []

    @property
    def ways(self) -> tuple[Way, ...]:
        return model_ways(self._tuned, looks_up=self.looks_up)

    @property
    def remarks(self) -> list[str]:
        """What a reader of its answers must know."""
        return list(self._said)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "technique": self.name,
            "question": self._own_question,
            "templates": {kind: template.digest for kind, template in self._templates.items()},
            "options": {kind: options.model_dump(exclude_defaults=True) for kind, options in OPTIONS.items()},
            "model": asdict(self._model.identity),
            **self._more_identity(),
        }

    def _more_identity(self) -> Mapping[str, Any]:
        return {}

    def fit(self, problem: Problem) -> None:
        template = self._templates[problem.kind]
        if template.kind != problem.kind:
            raise UsageError(
                f"the template {template.name} is for a {template.kind}, and {problem.name} asks for a {problem.kind}"
            )
        self._problem = problem
        self._questions = {}
        if self._tuned is not None:
            self._said = self._tuned.check(self.name, problem)
            self._own_question = self._tuned.question(self.name, self._own_question)

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return [question.key for question in self._ask_about(cases)]

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        questions = self._ask_about(cases)
        options = OPTIONS[self._problem.kind]
        for index, reply in replies(self._model, [question.messages for question in questions], options):
            yield self._prediction(cases[index], questions[index], reply)

    def reread(self, prediction: Prediction) -> Prediction:
        """An earlier reply, read as an answer to this problem, whose range or labels may be others."""
        cut_off = prediction.finish_reason == "length"
        return replace(prediction, reading=read_answer(prediction.raw, self._problem, cut_off=cut_off))

    def _prediction(self, case: Case, question: _Question, reply: Reply | ModelError) -> Prediction:
        if isinstance(reply, ModelError):
            return Prediction(case.id, question.key, Reading("error", note=str(reply)), prompt=question.prompt)
        return Prediction(
            case.id,
            question.key,
            read_answer(reply.text, self._problem, cut_off=reply.finish_reason == "length"),
            raw=reply.text,
            prompt=question.prompt,
            usage=reply.usage,
            seconds=reply.seconds,
            cost=cost(self._model.identity, reply.usage),
            finish_reason=reply.finish_reason,
        )

    def _ask_about(self, cases: Sequence[Case]) -> list[_Question]:
        """What is asked about each case; made once per case, since `keys` and `predict` both need it."""
        new = [case for case in cases if case.id not in self._questions]
        for case, examples in zip(new, self._examples(new), strict=True):
            self._questions[case.id] = self._question(case, examples)
        return [self._questions[case.id] for case in cases]

    def _examples(self, cases: Sequence[Case]) -> list[list[Case]]:
        return [[] for _ in cases]

    def _question(self, case: Case, examples: Sequence[Case]) -> _Question:
        options = OPTIONS[self._problem.kind]
        messages = self._templates[self._problem.kind].messages(
            self._values(case), [(self._values(example), self._written(example)) for example in examples]
        )
        messages = self._completed(case, messages)
        if isinstance(self._model, RenderingModel):
            prompt = self._model.render(messages, options)
        else:
            prompt = json.dumps(messages, ensure_ascii=False)
        key = digest(prompt, asdict(self._model.identity), options.model_dump(exclude_defaults=True))
        return _Question(messages, prompt, key)

    def _completed(self, case: Case, messages: list[Message]) -> list[Message]:
        """The conversation about a case with what else a technique puts into it."""
        return messages

    def _values(self, case: Case) -> dict[str, Any]:
        return template_values(self._problem, case, self._own_question)

    def _written(self, example: Case) -> str:
        return written_answer(self._problem, example)


def template_values(problem: Problem, case: Case, question: str = "") -> dict[str, Any]:
    """What a template may use when a case is asked about.

    Args:
        question: of the user's own; "" for the template's.
    """
    return {
        "text": case.text,
        "fields": case.fields,
        "question": question,
        "target": problem.target.replace("_", " "),
        "unit": problem.unit,
        "unit_name": unit_in_words(problem.unit),
        "labels": list(problem.labels),
    }


def written_answer(problem: Problem, example: Case) -> str:
    """An example's true answer as the model is to write it."""
    if isinstance(example.expected, str):
        return example.expected
    return write_number(example.expected, problem.unit)


class FewShot(Ask):
    """`few-shot[:METHOD[:K[:DRAW]]]`: the language model, asked after training examples, shown as earlier turns.

    METHOD: fixed (the same representative examples for every case), random (others for each case), balanced (likewise,
    with as many of every label or band of numbers), shared (balanced, the same for every case) or nearest (those with
    the most similar texts, by MiniLM, the most similar last). K: three by default. DRAW: the seed of random, balanced
    and shared examples; the context's by default.
    """

    needs_training = True

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        self._shown = Examples("few-shot", arguments or "nearest", context.seed)
        self.looks_up = self._shown.looked_up
        self._chooser: ExampleChooser
        self._set_up(f"few-shot:{self._shown.name}", context)

    def _more_identity(self) -> Mapping[str, Any]:
        return self._shown.identity

    def fit(self, problem: Problem) -> None:
        super().fit(problem)
        self._chooser = self._shown.chooser(problem, self.name, self._context.progress, instead="ask")

    def _examples(self, cases: Sequence[Case]) -> list[list[Case]]:
        return self._chooser.choose(cases)
