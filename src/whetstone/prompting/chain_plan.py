"""A chain made ready to run: prompts and expressions compiled, each step after those that it needs.

Whatever can be known to be wrong is found here, before anything is asked: names that nothing has, steps that wait for
one another, schemas that cannot be filled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from whetstone.errors import DataError, UsageError, WhetstoneError
from whetstone.prompting.chain_file import ChainFile, ChainHead, Step
from whetstone.prompting.expression import Expression
from whetstone.prompting.jinja import ENVIRONMENT, FillingError, compiled, filled
from whetstone.prompting.reply_schema import ReplySchema
from whetstone.prompting.template import Template
from whetstone.types import Message, system, user

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")
_RESERVED = {"true", "false", "none", "not", "and", "or", "in", "is", "if", "else", "loop", "previous", "round"} | set(
    ENVIRONMENT.globals
)


class PlannedStep:
    """One step, compiled.

    Args:
        step: as the file says it.
        files: the texts of the files that the chain names.

    Attributes:
        needs: the names that it uses and does not make itself: inputs, and other steps.
        schema: what its reply must fit; None where that is no schema.

    Raises:
        DataError: something in it cannot be read; the sentence does not name the step.
    """

    def __init__(self, step: Step, files: Mapping[str, str]) -> None:
        self.name = step.name
        self.step = step
        self.when = _expression("when", step.when)
        self.for_each = _expression("for_each", step.for_each)
        self.until = _expression("until", step.repeat.until if step.repeat else None)
        self.value = _expression("value", step.value)
        self._values = {name: _expression(f"with, {name}", source) for name, source in step.values.items()}
        self._file = None if step.template is None else Template(files[step.template], step.template)
        parts = {"system": step.system, "prompt": step.prompt or ""} if self._file is None else {}
        self._prompt = {part: _template(part, text) for part, text in parts.items()}
        self.schema: ReplySchema[Any] | None = None
        if step.output.json_schema is not None:
            try:
                self.schema = ReplySchema(step.output.json_schema)
            except UsageError as error:
                raise DataError(str(error)) from None
        asked = set(self._file.variables) if self._file else set().union(*(names for _, names in self._prompt.values()))
        for name in step.values:
            if name not in asked:
                raise DataError(f"with gives {name!r}, which the prompt does not use")
        made = {step.item} if step.for_each else {"previous", "round"} if step.repeat else set()
        used = (asked - set(step.values)).union(*(one.names for one in self._values.values() if one))
        used |= self.value.names if self.value else set()
        self.needs: set[str] = used - made
        for outside in (self.when, self.for_each):
            self.needs |= outside.names if outside else set()
        if self.until:
            self.needs |= self.until.names - made - {step.name}
        self.needs -= set(ENVIRONMENT.globals)

    def messages(self, scope: Mapping[str, Any]) -> list[Message]:
        """The conversation that asks, for these values.

        Raises:
            UsageError: the prompt fails on a value.
        """
        own = {name: self.evaluate(one, scope) for name, one in self._values.items() if one is not None}
        values = {**scope, **own}
        if self._file is not None:
            return self._file.messages(values)
        try:
            texts = {part: filled(template, values).strip("\n") for part, (template, _) in self._prompt.items()}
        except FillingError as error:
            raise UsageError(f"step {self.name}: the prompt cannot be filled in: {error}") from None
        return [*([system(texts["system"])] if texts["system"] else []), user(texts["prompt"])]

    def evaluate(self, expression: Expression, scope: Mapping[str, Any]) -> Any:
        """What one of its expressions comes to.

        Raises:
            UsageError: it fails on a value.
        """
        try:
            return expression.value(scope)
        except FillingError as error:
            raise UsageError(f"step {self.name}: {expression.source!r} fails: {error}") from None

    @property
    def most_requests(self) -> int:
        """Requests that it may make, repairs aside."""
        step = self.step
        if step.value is not None:
            return 0
        return (step.most or 1) * (step.repeat.most if step.repeat else 1) * (step.vote.samples if step.vote else 1)


class Chain:
    """A chain that can be run.

    Attributes:
        file: where it stands.
        head: what it says.
        steps: in an order in which each comes after those that it needs; else as in the file.
        outputs: the expressions of its outputs.

    Raises:
        DataError: something is wrong with it: the first of `faults`.
    """

    def __init__(self, file: ChainFile) -> None:
        self.file = file
        self.head: ChainHead = file.head
        found = _Checked(file)
        if found.faults:
            raise DataError(f"{file.origin}: {found.faults[0]}")
        self.steps = found.ordered
        self.outputs = found.outputs

    @property
    def most_requests(self) -> int:
        """Requests that a run may make, repairs aside."""
        return sum(step.most_requests for step in self.steps)


def faults(file: ChainFile) -> list[str]:
    """All that is wrong with a chain that could be read, each in a sentence; [] where nothing is."""
    return _Checked(file).faults


class _Checked:
    def __init__(self, file: ChainFile) -> None:
        head = file.head
        self.faults: list[str] = []
        self.outputs: dict[str, Expression] = {}
        planned: dict[str, PlannedStep] = {}
        self._check_names(head)
        for step in head.steps:
            try:
                planned.setdefault(step.name, PlannedStep(step, file.files))
            except WhetstoneError as error:
                self.faults.append(f"step {step.name}: {error}")
        for name, output in head.outputs.items():
            try:
                self.outputs[name] = _expression(f"outputs, {name}", output.value)
            except DataError as error:
                self.faults.append(str(error))
        known = [*head.inputs, *(step.name for step in head.steps)]
        for one in planned.values():
            self._check_known(f"step {one.name}", one.needs, known)
        for name, expression in self.outputs.items():
            self._check_known(f"output {name}", expression.names - set(ENVIRONMENT.globals), known)
        if len(planned) == len(head.steps):
            used = set().union(*(one.needs for one in planned.values()), *(one.names for one in self.outputs.values()))
            self.faults += [f"the input {name!r} is used nowhere" for name in head.inputs if name not in used]
        self.ordered = list(self._in_order(planned))

    def _check_names(self, head: ChainHead) -> None:
        met: set[str] = set()
        items = [(f"step {step.name}", step.item) for step in head.steps if step.for_each]
        own = [("input", name) for name in head.inputs] + [("step", step.name) for step in head.steps]
        for what, name in own:
            if name in met:
                self.faults.append(f"the name {name!r} stands for two things")
            met.add(name)
            self._check_name(what, name)
        for what, name in items:
            self._check_name(f"{what}: item", name)
            if name in met:
                self.faults.append(f"{what}: its items are called {name!r}, which is the name of something else")

    def _check_name(self, what: str, name: str) -> None:
        if not _NAME.fullmatch(name):
            self.faults.append(f"{what} {name!r}: a name has letters, digits and _, and begins with no digit")
        elif name.casefold() in _RESERVED:
            self.faults.append(f"{what} {name!r}: this name means something else in expressions; take another")

    def _check_known(self, where: str, names: Collection[str], known: list[str]) -> None:
        for name in sorted(set(names) - set(known)):
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"
            if name in ("previous", "round"):
                hint = "; it is known in a step with repeat"
            self.faults.append(f"{where} uses {name!r}, which is neither an input nor a step{hint}")

    def _in_order(self, planned: Mapping[str, PlannedStep]) -> Iterator[PlannedStep]:
        """The steps, each after those that it needs; a circle is a fault."""
        waiting = dict(planned)
        while waiting:
            ready = next((one for one in waiting.values() if not one.needs & set(waiting)), None)
            if ready is None:
                self.faults.append(f"the steps wait for one another: {' -> '.join(_circle(waiting))}")
                return
            yield waiting.pop(ready.name)


def _circle(waiting: Mapping[str, PlannedStep]) -> list[str]:
    """Names of steps that need one another, the first again at the end."""
    path = [next(iter(waiting))]
    while True:
        following = min(waiting[path[-1]].needs & set(waiting))
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


def _expression(what: str, source: str | None) -> Any:
    if source is None:
        return None
    try:
        return Expression(source)
    except ValueError as error:
        raise DataError(f"{what} is no expression: {error}") from None


def _template(part: str, text: str) -> Any:
    try:
        return compiled(text)
    except ValueError as error:
        raise DataError(f"the {part} is not valid Jinja: {error}") from None
