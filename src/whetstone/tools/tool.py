"""What a tool is: a name, a description, a schema of its arguments, and a call that gives text back to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave.

    Attributes:
        text: for the model: the result, or, of a failed call, one sentence that says what was wrong and what to do.
        failed: the call did not do what it was asked.
        note: for the person who watches, "" for nothing: "12 of 400 rows".
    """

    text: str
    failed: bool = False
    note: str = ""


@runtime_checkable
class Tool(Protocol):
    """Something that a model may call.

    Attributes:
        name: 1 to 64 letters, digits, "_" and "-", as the providers' APIs ask; unique in a tool box.
        description: what it does and when to use it, in words for the model.
        parameters: the JSON Schema of its arguments, of type object.
    """

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def parameters(self) -> Mapping[str, Any]: ...

    def call(self, arguments: dict[str, Any]) -> ToolResult:
        """Do it, and wait for the result.

        Runs on a thread of its own, beside other calls, and is abandoned at the loop's limit of time: a tool that waits
        for something keeps a limit of its own. The text may be of any length; the loop cuts it, and marks it as data.

        Args:
            arguments: a JSON object as the model wrote it. It is the tool that checks whether it fits `parameters`.

        Raises:
            Exception: whatever went wrong; its sentence is told to the model as a failed result.
        """
        ...


@runtime_checkable
class ToolSource(Protocol):
    """Where tools come from when something has to be closed after them: a server's process, a connection.

    Attributes:
        tools: the tools as they are now; a server may change them.
    """

    @property
    def tools(self) -> Sequence[Tool]: ...

    def close(self) -> None:
        """End what the tools need. Closing twice is harmless."""
        ...
