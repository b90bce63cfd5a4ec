"""A language model is read number by number: behind "Price is $", every candidate has its probability."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext, Way, digest
from whetstone.evaluation.techniques.examples import METHODS, Examples
from whetstone.evaluation.techniques.model_technique import ModelTechnique
from whetstone.evaluation.techniques.number_question import number_grid, number_prompt
from whetstone.evaluation.techniques.priced_endpoint import EndpointNumbers, shows_all_tokens
from whetstone.evaluation.techniques.tuned_model import model_ways
from whetstone.models.base import ContextModel, VocabularyModel
from whetstone.models.catalogue import cost
from whetstone.numeric.decoding import DECODERS, Decoded, Decoder, NumberDecoder, estimated, read_continuation
from whetstone.numeric.distribution import ESTIMATES, Distribution, Estimate, estimate_for
from whetstone.numeric.grid import Grid
from whetstone.numeric.kept import KeptNumbers
from whetstone.numeric.scoring import number_trie
from whetstone.numeric.summary import summarise
from whetstone.prompting.few_shot import ExampleChooser
from whetstone.prompting.price import Form, PricePrompt
from whetstone.types import Case, Message, NumberSummary, Prediction, Problem, Reading, Usage

AUTO, WHOLE = "auto", "whole"
_ANSWER_TOKENS = 16  # room behind the prompt: the longest candidate, or a short reply
_FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class _Prompt:
    """What is sent for one case, and what had to be left out of it: characters of its text, examples."""

    ids: list[int]
    cut: int
    dropped: int


@dataclass(frozen=True)
class _Spec:
    """`[DECODER][:METHOD[:K]][:chat][:whole]`, read."""

    decoder: str
    examples: str
    form: Form
    whole: bool

    @classmethod
    def parse(cls, technique: str, arguments: str, decoders: Sequence[str]) -> _Spec:
        parts = arguments.split(":") if arguments else []
        whole = bool(parts) and parts[-1] == WHOLE
        if whole:
            parts.pop()
        form = _FORMS[1] if parts and parts[-1] == _FORMS[1] else _FORMS[0]
        if form == _FORMS[1]:
            parts.pop()
        decoder = parts.pop(0) if parts and parts[0] not in METHODS else AUTO
        if decoder != AUTO and decoder not in decoders:
            raise UsageError(
                f"{technique} takes {', '.join(decoders)} or {AUTO}, then examples and chat "
                f"({technique}:median:nearest:3:chat), not {arguments!r}"
            )
        return cls(decoder, ":".join(parts), form, whole)


class Priced(ModelTechnique):
    """`price[:DECODER][:METHOD:K][:chat][:whole]`: the model's number in the course's prompt, read in some way.

    The decoders are those of `whetstone.numeric.decoding`; `auto` is the estimate that the problem's metric rewards.
    METHOD and K show examples from the training split, as few-shot does. With `chat` the prompt is a conversation whose
    reply has begun with the label. What does not fit the model's context is cut from the text's end.

    Distributions are kept on disk by prompt: several decoders read the same ones, and a killed run loses no more than
    32 items. A tuned model is asked in the form in which it was tuned, about as much of each text as it was shown of
    one then; with `whole`, about all of it. An endpoint is asked in a chat for the number alone, and gives bounds of a
    distribution.

    Options of the context: `grid` (the candidates), `question`.
    """

    technique = "price"
    decoders: Sequence[str] = DECODERS

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        spec = _Spec.parse(self.technique, arguments, self.decoders)
        self._shown = Examples(self.technique, spec.examples, context.seed) if spec.examples else None
        shown = [self._shown.name] if self._shown is not None else []
        chat = [spec.form] if spec.form == "chat" else []
        self.name = ":".join([self.technique, spec.decoder, *shown, *chat, *([WHOLE] if spec.whole else [])])
        self.needs_training = self._shown is not None
        self._asked, self._form, self._whole = spec.decoder, spec.form, spec.whole
        self._context = context
        if spec.whole and self._tuned is None:
            raise UsageError(f"{self.technique}: whole is for tuned models; others are asked about whole texts anyway")
        self._question = str(context.options.get("question") or "")
        self._grid_option = str(context.options.get("grid") or "")
        self._decoder: Decoder
        self._problem: Problem
        self._prompt: PricePrompt
        self._grid: Grid
        self._numbers: KeptNumbers | None
        self._other: NumberDecoder | None
        self._endpoint: EndpointNumbers | None = None
        self._chooser: ExampleChooser | None = None
        self._prompts: dict[str, _Prompt] = {}
        self._said: list[str] = []

    @property
    def ways(self) -> tuple[Way, ...]:
        return model_ways(self._tuned, looks_up=self._shown is not None and self._shown.looked_up)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "technique": self.name,
            "question": self._question,
            "grid": self._grid_option,
            "model": asdict(self._model.identity),
            **(self._shown.identity if self._shown is not None else {}),
        }

    @property
    def remarks(self) -> list[str]:
        """What a reader of its answers must know; complete once `keys` was asked."""
        cut = sum(prompt.cut > 0 for prompt in self._prompts.values())
        dropped = sum(prompt.dropped > 0 for prompt in self._prompts.values())
        said = [*self._said]
        if self._other is not None and self._other.warning:
            said.append(self._other.warning)
        if self._endpoint is not None:
            said.append(self._endpoint.remark)
        if cut:
            why = "too long for the model" if self._longest is None else "longer than those that the model was tuned on"
            said.append(f"{cut:,} texts were {why}, and were cut at their end")
        if dropped:
            said.append(f"{dropped:,} prompts have fewer examples, because more did not fit")
        return said

    def fit(self, problem: Problem) -> None:
        """See that the model can be read that way, and choose the candidates. Nothing is learnt."""
        if problem.kind != "number":
            raise UsageError(f"{self.name} answers with numbers, and {problem.name} asks for a {problem.kind}: use ask")
        self._problem = problem
        self._prompts = {}
        self._grid = number_grid(problem, self._grid_option)
        self._prompt = number_prompt(problem, self._grid, self._form, self._question)
        if self._tuned is not None:
            self._said = self._tuned.check(self.name, problem)
            self._prompt = self._tuned.prompt(self.name, self._prompt, self._question)
        self._decoder = estimate_for(problem.metric) if self._asked == AUTO else self._asked  # type: ignore[assignment]
        self._numbers = self._other = self._endpoint = None
        if self._decoder in ESTIMATES and not shows_all_tokens(self._model):
            self._endpoint = EndpointNumbers(self._model, self._grid, self._decoder)
        elif self._decoder in ESTIMATES:
            trie = number_trie(self._model, self._grid, self._prompt.label)
            self._numbers = KeptNumbers(self._model, trie)
        else:
            self._other = NumberDecoder(self._model, self._decoder, self._prompt.label, self._grid, self._sign)
        if self._shown is not None:
            self._chooser = self._shown.chooser(
                problem, self.name, self._context.progress, instead=f"{self.technique}:{self._asked}"
            )

    def keys(self, cases: Sequence[Case]) -> list[str]:
        if self._endpoint is not None:
            return self._endpoint.keys(list(self._conversations(cases).values()))
        # Replies behind the same prompt are the same, whoever reads them.
        how = [self._grid.name, self._decoder] if self._numbers is not None or self._decoder == "top_k" else ["reply"]
        model = asdict(self._model.identity)
        return [digest("number", prompt.ids, model, *how, *self._more_key()) for prompt in self._prompts_of(cases)]

    def _more_key(self) -> list[Any]:
        return []

    def _conversations(self, cases: Sequence[Case]) -> dict[str, list[Message]]:
        """What an endpoint is asked about each case."""
        shown = self._chooser.choose(cases) if self._chooser is not None else [[] for _ in cases]
        return {
            case.id: self._prompt.conversation(case.text, [(one.text, float(one.expected)) for one in examples])
            for case, examples in zip(cases, shown, strict=True)
        }

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        if self._endpoint is not None:
            for answer in self._endpoint.predict(self._conversations(cases)):
                yield replace(answer, reading=self._within(answer.reading))
            return
        keys = self.keys(cases)
        for index, decoded, seconds in self._read(cases):
            found = decoded.distribution
            prompt = self._prompts[cases[index].id]
            usage = Usage(len(prompt.ids), 0)
            reading = self._noted(self._within(decoded.reading), prompt)
            yield Prediction(
                cases[index].id,
                keys[index],
                reading,
                raw=decoded.raw,
                prompt=self._written(prompt),
                usage=usage,
                seconds=seconds,
                cost=cost(self._model.identity, usage),
                distribution=self._summary(found) if found is not None and found.inside > 0 else None,
            )

    def reread(self, prediction: Prediction) -> Prediction:
        """An earlier answer; a reply is read again, since other problems have other ranges and other readers."""
        if prediction.distribution is not None or not prediction.raw:
            return prediction
        reading = read_continuation(prediction.raw, self._decoder, self._sign)
        return replace(prediction, reading=self._within(reading))

    @property
    def _sign(self) -> str:
        """The currency sign that the label ends in; "" where there is none."""
        unit = self._problem.unit
        return unit if unit and self._prompt.label.endswith(unit) else ""

    def _read(self, cases: Sequence[Case]) -> Iterator[tuple[int, Decoded, float]]:
        """`(index, what was read, seconds)` for each case."""
        prompts = [prompt.ids for prompt in self._prompts_of(cases)]
        if self._numbers is not None:
            kind: Estimate = self._decoder  # type: ignore[assignment]
            for index, found, seconds in self._numbers.read(prompts):
                value = estimated(self._corrected(found), kind) if found.inside > 0 else estimated(found, kind)
                yield index, replace(value, distribution=found), seconds
        elif self._other is not None:
            began = time.perf_counter()
            for index, decoded in self._other.decode(prompts):
                yield index, decoded, time.perf_counter() - began
                began = time.perf_counter()

    def _corrected(self, found: Distribution) -> Distribution:
        return found

    def _summary(self, found: Distribution) -> NumberSummary:
        return summarise(found)

    def _within(self, reading: Reading) -> Reading:
        """The reading, judged by the range of the problem."""
        if not reading.ok or self._problem.valid_range is None or not isinstance(reading.value, float):
            return reading
        low, high = self._problem.valid_range
        if low <= reading.value <= high:
            return reading
        return replace(reading, status="out_of_range", note=f"{reading.note}; it cannot be meant")

    def _noted(self, reading: Reading, prompt: _Prompt) -> Reading:
        notes = [reading.note] if reading.note else []
        if prompt.cut:
            notes.append(f"the last {prompt.cut:,} characters of the text were cut")
        if prompt.dropped:
            notes.append(f"{prompt.dropped} examples were left out")
        return replace(reading, note="; ".join(notes))

    def _written(self, prompt: _Prompt) -> str:
        assert isinstance(self._model, VocabularyModel)
        return self._model.vocabulary.decode(prompt.ids)

    def _prompts_of(self, cases: Sequence[Case]) -> list[_Prompt]:
        """What is sent about each case; made once per case, since `keys` and `predict` both need it."""
        new = [case for case in cases if case.id not in self._prompts]
        shown = self._chooser.choose(new) if self._chooser is not None else [[] for _ in new]
        for case, examples in zip(new, shown, strict=True):
            self._prompts[case.id] = self._fitted(case, [(one.text, float(one.expected)) for one in examples])
        return [self._prompts[case.id] for case in cases]

    def _fitted(self, case: Case, examples: list[tuple[str, float]]) -> _Prompt:
        """The prompt in tokens, with as many of the examples (the last, nearest ones) as leave room for the text."""
        limit = self._model.context_length - _ANSWER_TOKENS if isinstance(self._model, ContextModel) else None
        text = self._as_trained(case.text)
        cut = len(case.text) - len(text)
        examples = [(self._as_trained(one), number) for one, number in examples]
        for dropped in range(len(examples)):
            found = self._prompt.ids(self._model, text, examples=examples[dropped:])
            if limit is None or len(found.ids) <= limit:
                return _Prompt(found.ids, found.cut + cut, dropped)
        found = self._prompt.ids(self._model, text, limit)
        return _Prompt(found.ids, found.cut + cut, len(examples))

    def _as_trained(self, text: str) -> str:
        """As much of a text as a tuned model was shown of one: it has never looked further back for a number."""
        if self._longest is None:
            return text
        return text[: len(text) - self._prompt.ids(self._model, text, self._longest).cut]

    @property
    def _longest(self) -> int | None:
        """Tokens of the longest prompt that a tuned model was shown; None where it is asked about whole texts."""
        return None if self._whole or self._tuned is None else self._tuned.longest
