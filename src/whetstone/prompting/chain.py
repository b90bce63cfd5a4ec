"""Runs chains: each step in its turn, every request kept as soon as it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whetstone.errors import MisfitError, UsageError
from whetstone.prompting.chain_asking import Asking, Running, plain
from whetstone.prompting.chain_plan import Chain, PlannedStep
from whetstone.prompting.chain_record import Request, StepEnd
from whetstone.prompting.chain_types import read_inputs
from whetstone.prompting.consistency import derived_seed, sampling, vote
from whetstone.prompting.expression import Expression
from whetstone.prompting.jinja import FillingError
from whetstone.prompting.structured import REPAIRS
from whetstone.types import Options

DEFAULTS = Options(temperature=0, max_tokens=512)


class ChainRunner:
    """Runs one chain.

    Args:
        chain: checked.
        running: what its steps need to ask.
    """

    def __init__(self, chain: Chain, running: Running) -> None:
        self._chain = chain
        self._running = running

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs.

        Raises:
            UsageError: an input is not of its type, or an expression or a prompt fails on a value.
            ModelError: a model could not answer, or not as it was to; what was answered is kept.
        """
        scope = read_inputs(self._chain.head.inputs, inputs)
        for step in self._chain.steps:
            end = self._step(step, scope)
            self._running.trace.finish_step(end)
            scope[step.name] = end.value
        outputs = {}
        for name, expression in self._chain.outputs.items():
            value = _output(name, expression, scope)
            try:
                outputs[name] = self._chain.head.outputs[name].check(value)
            except ValueError as error:
                raise UsageError(f"{self._chain.file.origin}: the output {name} {error}") from None
        self._running.trace.finish(outputs)
        return outputs

    def _step(self, step: PlannedStep, scope: Mapping[str, Any]) -> StepEnd:
        if step.when is not None and not step.evaluate(step.when, scope):
            return StepEnd(step.name, None, skipped=True)
        if step.for_each is not None:
            scopes = [{**scope, step.step.item: item} for item in self._items(step, scope)]
            found, remarks = self._once(step, scopes)
            return StepEnd(step.name, found, remarks=tuple(remarks))
        if step.until is not None:
            return self._repeated(step, scope)
        (value,), remarks = self._once(step, [scope])
        return StepEnd(step.name, value, remarks=tuple(remarks))

    def _items(self, step: PlannedStep, scope: Mapping[str, Any]) -> list[Any]:
        assert step.for_each is not None
        items = step.evaluate(step.for_each, scope)
        most = step.step.most or 0
        if not isinstance(items, list):
            raise UsageError(f"step {step.name}: for_each is to be a list, not {str(items)[:60]!r}")
        if len(items) > most:
            raise UsageError(f"step {step.name}: for_each has {len(items):,} items, and most is {most:,}; raise most")
        return items

    def _repeated(self, step: PlannedStep, scope: Mapping[str, Any]) -> StepEnd:
        assert step.step.repeat is not None
        assert step.until is not None
        value: Any = None
        remarks: list[str] = []
        for number in range(step.step.repeat.most):
            around = {"previous": value, "round": number + 1}
            (value,), remarks = self._once(step, [{**scope, **around}], number)
            if step.evaluate(step.until, {**scope, **around, step.name: value}):
                break
        else:
            remarks.append(f"{step.until.source!r} did not hold after {step.step.repeat.most} rounds")
        return StepEnd(step.name, value, remarks=tuple(remarks))

    def _once(
        self, step: PlannedStep, scopes: Sequence[Mapping[str, Any]], number: int = 0
    ) -> tuple[list[Any], list[str]]:
        """What a step comes to for each of these values, and what must be known of it.

        Args:
            number: of the round.
        """
        if step.value is not None:
            return [step.evaluate(step.value, scope) for scope in scopes], []
        conversations = [step.messages(scope) for scope in scopes]
        options = DEFAULTS.model_copy(update=step.step.options.model_dump(exclude_unset=True))
        if step.step.vote is None:
            if options.temperature != 0 and options.seed is None:
                options = options.model_copy(update={"seed": derived_seed(self._running.seed, step.name, number)})
            asked = Asking(self._running, step, options, number)
            requests = asked.all(conversations, repairs=REPAIRS)
            for index, one in enumerate(requests):
                if one.failed:
                    raise MisfitError(f"{asked.named(index)}: {one.note}", one.raw)
            return [one.value for one in requests], _cut_off(requests, asked)
        sampled: list[list[Request]] = [[] for _ in scopes]
        for sample in range(step.step.vote.samples):
            chosen = sampling(options, self._running.seed, sample, step.name, number)
            for index, one in enumerate(
                Asking(self._running, step, chosen, number, sample).all(conversations, repairs=0)
            ):
                sampled[index].append(one)
        votes = [vote([one.value for one in requests], step.step.vote.how) for requests in sampled]
        for index, result in enumerate(votes):
            if result.readable == 0:
                named = Asking(self._running, step, options, number).named(index)
                raise MisfitError(f"{named}: none of {result.samples} samples has an answer: {sampled[index][-1].note}")
        return [plain(result.value) for result in votes], [str(result) for result in votes]


def _output(name: str, expression: Expression, scope: Mapping[str, Any]) -> Any:
    try:
        return expression.value(scope)
    except FillingError as error:
        raise UsageError(f"output {name}: {expression.source!r} fails: {error}") from None


def _cut_off(requests: Sequence[Request], asked: Asking) -> list[str]:
    return [
        f"{asked.named(i)}: {one.note}"
        for i, one in enumerate(requests)
        if one.value is not None and "cut off" in one.note
    ]
