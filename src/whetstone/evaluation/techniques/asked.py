"""A language model is asked, plainly or after examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any, get_args

from whetstone.embeddings import load_embedder
from whetstone.embeddings.cache import CachedEmbedder
from whetstone.errors import ModelError, UsageError
from whetstone.evaluation.held_out import HeldOut
from whetstone.evaluation.technique import TechniqueContext, digest
from whetstone.evaluation.techniques.fitted import no_arguments
from whetstone.evaluation.techniques.read_answer import read_answer
from whetstone.models import ChatModel, RenderingModel, replies
from whetstone.models.catalogue import cost
from whetstone.prompting.answers import unit_in_words, write_number
from whetstone.prompting.few_shot import ExampleChooser, FixedExamples, NearestExamples, RandomExamples
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


class Ask:
    """The language model, asked about one case at a time, greedily.

    Options of the context: `question` (asked instead of "What is the price in dollars?"), `template` (path of a prompt
    template of the user's own; see `whetstone.prompting.template`).
    """

    needs_training = False

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

    @cached_property
    def _model(self) -> ChatModel:
        return self._context.load_model(self._context.model)

    @property
    def model(self) -> str | None:
        return self._model.identity.spec

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
        """What a template may use."""
        return {
            "text": case.text,
            "fields": case.fields,
            "question": self._own_question,
            "target": self._problem.target.replace("_", " "),
            "unit": self._problem.unit,
            "unit_name": unit_in_words(self._problem.unit),
            "labels": list(self._problem.labels),
        }

    def _written(self, example: Case) -> str:
        """An example's true answer as the model is to write it."""
        if isinstance(example.expected, str):
            return example.expected
        return write_number(example.expected, self._problem.unit)


class FewShot(Ask):
    """The language model, asked after examples from the training split, shown as earlier turns.

    `few-shot:METHOD:K`: fixed (the same representative examples for every case), random (others for each case) or
    nearest (those with the most similar texts, by MiniLM, the most similar last); three by default.
    """

    needs_training = True

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        method, _, count = (arguments or "nearest").partition(":")
        count = count or "3"
        if method not in ("fixed", "random", "nearest"):
            raise UsageError(
                f"few-shot takes fixed, random or nearest, and how many (few-shot:nearest:3), not {arguments!r}"
            )
        if not (count.isascii() and count.isdigit() and int(count) > 0):
            raise UsageError(f"few-shot takes a number of examples from 1 up (few-shot:{method}:3), not {count!r}")
        self._method, self._count = method, int(count)
        self._embedder = CachedEmbedder(load_embedder()) if method == "nearest" else None
        self._chooser: ExampleChooser
        self._set_up(f"few-shot:{method}:{count}", context)

    def _more_identity(self) -> Mapping[str, Any]:
        if self._embedder is not None:
            return {"embedder": self._embedder.name}
        return {"seed": self._context.seed} if self._method == "random" else {}

    def fit(self, problem: Problem) -> None:
        super().fit(problem)
        held_out = HeldOut(problem.test)
        pool = [case for case in problem.train if not held_out.is_item(case.text)]
        if not pool:
            raise UsageError(
                f"{self.name} takes examples from the training cases, and {problem.name} has none: use ask"
            )
        if self._embedder is not None:
            progress = partial(self._context.progress, f"{self.name}: reading training texts")
            self._chooser = NearestExamples(pool, self._count, self._embedder, progress)
        elif self._method == "random":
            self._chooser = RandomExamples(pool, self._count, self._context.seed)
        else:
            self._chooser = FixedExamples(pool, self._count, problem.kind)

    def _examples(self, cases: Sequence[Case]) -> list[list[Case]]:
        return self._chooser.choose(cases)
