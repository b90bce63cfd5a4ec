"""The calls of one reply: looked at, consented to, run side by side, and answered in their order."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from whetstone.errors import UsageError, WhetstoneError
from whetstone.tools.events import Outcome
from whetstone.tools.tool import Tool, ToolResult
from whetstone.tools.tool_box import ToolBox
from whetstone.types import ToolCall

Consent = Callable[[ToolCall], bool]
"""Asks a person whether a call may be made, and waits for the answer."""

_MOST_CALLS = 16  # of one reply; each has a thread while it runs
_QUOTED = 200  # characters of arguments that a sentence quotes


@dataclass
class Running:
    """A call under way.

    Attributes:
        outcome, result, seconds: of the call, once they are known.
    """

    call: ToolCall
    outcome: Outcome | None = None
    result: ToolResult = field(default_factory=lambda: ToolResult(""))
    seconds: float = 0.0


class Caller:
    """Runs calls of tools.

    Args:
        box: the tools.
        consent: asked for each call that is not allowed by name; None refuses those.
        allowed: names of tools that may be called without asking.
    """

    def __init__(self, box: ToolBox, consent: Consent | None, allowed: Collection[str]) -> None:
        self._box = box
        self._consent = consent
        self._allowed = frozenset(allowed)
        self._changed = threading.Condition()
        self._stopped = False

    def stop(self) -> None:
        """Wait for no call any longer, from any thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def prepare(self, calls: Sequence[ToolCall]) -> list[tuple[Running, Tool | None, dict[str, Any]]]:
        """The calls, each with its tool and arguments; without a tool where it is not to be made, which it says.

        A person is asked here, call by call.
        """
        prepared: list[tuple[Running, Tool | None, dict[str, Any]]] = []
        for number, call in enumerate(calls):
            running = Running(call)
            tool, arguments = None, dict[str, Any]()
            try:
                if number >= _MOST_CALLS:
                    raise UsageError(f"one reply may make {_MOST_CALLS} calls: make this one in the next")
                tool = self._box.get(call.name)
                arguments = read_arguments(call)
                if not self._consented(call):
                    tool = None
                    refused = f"the person did not allow this call of {call.name}: go on without it"
                    _settle(running, "refused", ToolResult(refused, failed=True))
            except UsageError as error:
                tool = None
                _settle(running, "not_called", ToolResult(str(error), failed=True))
            prepared.append((running, tool, arguments))
        return prepared

    def run(self, prepared: Sequence[tuple[Running, Tool | None, dict[str, Any]]], seconds: float) -> Iterator[Running]:
        """Make the calls at the same time; each, in their order, as soon as it and those before it are done.

        Args:
            prepared: by `prepare`.
            seconds: after which a call is abandoned: its thread goes on, and nobody waits for it.
        """
        started = time.monotonic()
        for running, tool, arguments in prepared:
            if tool is not None:
                name = f"whetstone-tool-{running.call.name}"
                thread = threading.Thread(target=self._work, args=(running, tool, arguments), name=name, daemon=True)
                thread.start()
        for running, _, _ in prepared:
            with self._changed:
                left = started + seconds - time.monotonic()
                self._changed.wait_for(lambda one=running: self._stopped or one.outcome is not None, max(0.0, left))  # type: ignore[misc]
                if running.outcome is None:
                    late = "it was stopped" if self._stopped else f"no result came within {seconds:.3g} s"
                    told = f"{running.call.name} was abandoned: {late}"
                    running.seconds = time.monotonic() - started
                    _settle(running, "abandoned", ToolResult(told, failed=True))
            yield running

    def _consented(self, call: ToolCall) -> bool:
        return call.name in self._allowed or (self._consent is not None and self._consent(call))

    def _work(self, running: Running, tool: Tool, arguments: dict[str, Any]) -> None:
        started = time.perf_counter()
        try:
            result = tool.call(arguments)
        except WhetstoneError as error:
            result = ToolResult(str(error), failed=True)
        except BaseException as error:  # whatever a tool raises concerns this call alone, sys.exit included
            said = " ".join(str(error).split())
            result = ToolResult(f"{tool.name} failed: {type(error).__name__}{f': {said}' if said else ''}", failed=True)
        with self._changed:
            if running.outcome is None:
                running.seconds = time.perf_counter() - started
                _settle(running, "failed" if result.failed else "done", result)
            self._changed.notify_all()


def read_arguments(call: ToolCall) -> dict[str, Any]:
    """The arguments of a call as the model wrote them; none at all for an empty text.

    Raises:
        UsageError: they are no JSON object.
    """
    if not call.arguments.strip():
        return {}
    wrote = call.arguments[:_QUOTED] + ("…" if len(call.arguments) > _QUOTED else "")
    try:
        arguments = json.loads(call.arguments, strict=False)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deeply")
        raise UsageError(f"the arguments of {call.name} are no JSON ({reason}): {wrote}") from None
    if not isinstance(arguments, dict):
        raise UsageError(f'the arguments of {call.name} must be a JSON object, {{"name": value}}, and are: {wrote}')
    return arguments


def as_wire(call: ToolCall) -> dict[str, Any]:
    """A call as the conversation repeats it to the model.

    Arguments that are no JSON object are left out: templates would fail on them, and the answer to the call has them.
    """
    arguments = call.arguments
    try:
        read_arguments(call)
    except UsageError:
        arguments = "{}"
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments or "{}"}}


def _settle(running: Running, outcome: Outcome, result: ToolResult) -> None:
    running.outcome, running.result = outcome, result
