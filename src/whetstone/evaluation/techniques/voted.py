"""A language model is asked several times about each case, and its answers vote: self-consistency."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from whetstone.errors import ModelError, UsageError
from whetstone.evaluation.technique import TechniqueContext, digest
from whetstone.evaluation.techniques.asked import OPTIONS, Ask
from whetstone.evaluation.techniques.examples import Examples
from whetstone.evaluation.techniques.kept_samples import KeptSamples, Sample
from whetstone.evaluation.techniques.read_answer import read_answer
from whetstone.models import BatchModel, replies
from whetstone.models.catalogue import cost
from whetstone.prompting.consistency import How, sampling, vote
from whetstone.prompting.few_shot import ExampleChooser
from whetstone.types import Case, Options, Prediction, Problem, Reading, Reply, TargetKind, Usage

_USUAL, _MOST = 5, 50
_BATCH = 32  # cases that a model which answers in batches is asked about together
# A prompt of the user's own may let the model reason before it answers, which is what voting is best for.
_OWN_TEMPLATE_TOKENS = 512


class Voted(Ask):
    """`vote[:N[:few-shot[:METHOD[:K]]]]`: the language model, asked N times (five), with a vote at the end.

    Labels and texts by majority, numbers by their median (Wang et al. 2022; see `whetstone.prompting.consistency`). A
    sample that cannot be read has no vote. With few-shot, examples stand before the question as `few-shot` shows them.
    """

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        count, _, rest = (arguments or str(_USUAL)).partition(":")
        technique, _, shown = rest.partition(":")
        if not (count.isascii() and count.isdigit() and 2 <= int(count) <= _MOST) or technique not in ("", "few-shot"):
            raise UsageError(
                f"vote takes how many samples, 2 to {_MOST}, and after that few-shot with its arguments, or nothing "
                f"(vote:5, vote:5:few-shot:nearest:3), not {arguments!r}"
            )
        self._count = int(count)
        name = f"vote:{self._count}"
        self._shown = Examples(f"{name}:few-shot", shown or "nearest", context.seed) if technique else None
        self._chooser: ExampleChooser
        if self._shown is not None:
            self.needs_training = True
            self.looks_up = self._shown.looked_up
            name = f"{name}:few-shot:{self._shown.name}"
        self._set_up(name, context)

    def _more_identity(self) -> Mapping[str, Any]:
        shown = dict(self._shown.identity) if self._shown is not None else {}
        return {**shown, "sampling": self._sampling("number").model_dump(exclude_defaults=True), "samples": self._count}

    def _sampling(self, kind: TargetKind, sample: int = 0) -> Options:
        """How one of the samples is asked for."""
        options = OPTIONS[kind]
        if self._context.options.get("template"):
            options = options.model_copy(update={"max_tokens": _OWN_TEMPLATE_TOKENS})
        return sampling(options, self._context.seed, sample)

    def fit(self, problem: Problem) -> None:
        super().fit(problem)
        if self._shown is not None:
            self._chooser = self._shown.chooser(
                problem, self.name, self._context.progress, instead=f"vote:{self._count}"
            )

    def _examples(self, cases: Sequence[Case]) -> list[list[Case]]:
        return self._chooser.choose(cases) if self._shown is not None else super()._examples(cases)

    def keys(self, cases: Sequence[Case]) -> list[str]:
        return [self._key(key) for key in super().keys(cases)]

    def _key(self, question: str) -> str:
        """The digest of a question asked so often and so, given that of the question."""
        asked = self._sampling(self._problem.kind).model_dump(exclude_defaults=True)
        return digest(question, "vote", self._count, asked)

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        """An answer to each case. They are asked about a few at a time, and their samples kept until they are there."""
        size = _BATCH if isinstance(self._model, BatchModel) else max(1, self._model.concurrency)
        for start in range(0, len(cases), size):
            yield from self._predict_together(cases[start : start + size])

    def _predict_together(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        questions = self._ask_about(cases)
        stores = [KeptSamples(self._key(question.key)) for question in questions]
        sampled = [kept.read() for kept in stores]
        for number in range(self._count):
            missing = [index for index, samples in enumerate(sampled) if number not in samples]
            options = self._sampling(self._problem.kind, number)
            for position, reply in replies(self._model, [questions[index].messages for index in missing], options):
                index = missing[position]
                sampled[index][number] = sample = self._sample(number, reply, options)
                if not sample.error:
                    stores[index].keep(sample)
        for case, question, kept, samples in zip(cases, questions, stores, sampled, strict=True):
            ordered = [samples[number] for number in range(self._count)]
            told = [sample.told() for sample in ordered]
            costs = [sample.cost for sample in ordered if not sample.error]
            yield Prediction(
                case.id,
                self._key(question.key),
                self._voted(told),
                raw=json.dumps(told, ensure_ascii=False),
                prompt=question.prompt,
                usage=sum((sample.usage for sample in ordered), Usage()),
                seconds=sum(sample.seconds for sample in ordered),
                cost=None if None in costs else sum(price for price in costs if price is not None),
            )
            kept.forget()  # whoever asks for the next answer has kept this one

    def _sample(self, number: int, reply: Reply | ModelError, options: Options) -> Sample:
        if isinstance(reply, ModelError):
            return Sample(number, options.seed, error=str(reply))
        price = cost(self._model.identity, reply.usage)
        return Sample(number, options.seed, reply.text, reply.finish_reason, "", reply.usage, reply.seconds, price)

    def reread(self, prediction: Prediction) -> Prediction:
        """Earlier replies, read as answers to this problem."""
        return replace(prediction, reading=self._voted(json.loads(prediction.raw)))

    def _voted(self, given: Sequence[Mapping[str, Any]]) -> Reading:
        """What the samples come to; where none can be read, what is wrong with most of them."""
        readings = [self._read(one) for one in given]
        how: How = "median" if self._problem.kind == "number" else "majority"
        result = vote([reading.value if reading.ok else None for reading in readings], how)
        if result.readable:
            return Reading("value", result.value, str(result))
        status, _ = Counter(reading.status for reading in readings).most_common(1)[0]
        note = next(reading.note for reading in readings if reading.status == status)
        return Reading(
            "unparsable" if status == "out_of_range" else status, note=f"no sample of {len(given)} counts: {note}"
        )

    def _read(self, one: Mapping[str, Any]) -> Reading:
        if "error" in one:
            return Reading("error", note=one["error"])
        return read_answer(one["reply"], self._problem, cut_off=one["finish_reason"] == "length")
