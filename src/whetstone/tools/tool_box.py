"""The tools that a model is offered, by name, and in the form in which it is told about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from whetstone.errors import UsageError
from whetstone.registry import unknown_name
from whetstone.tools.function_tool import FunctionTool
from whetstone.tools.schema import plain_schema
from whetstone.tools.tool import Tool, ToolSource

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolBox:
    """Tools with unique names. A context manager: leaving it closes the sources among them.

    Args:
        tools: tools, plain functions (see `FunctionTool`), and sources of tools, which are asked what they have each
            time a model is.

    Raises:
        UsageError: one of them is none of these, two have the same name, or a name or schema cannot be offered.
    """

    def __init__(self, tools: Iterable[Tool | ToolSource | Callable[..., Any]] = ()) -> None:
        self._parts: list[Tool | ToolSource] = [_as_part(one) for one in tools]
        self.schemas()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._named().values())

    def __len__(self) -> int:
        return len(self._named())

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The tools as they are now: a box can be a source in another one."""
        return tuple(self)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tools as they are now."""
        return tuple(self._named())

    def get(self, name: str) -> Tool:
        """The tool of that name.

        Raises:
            UnknownNameError: there is none; near matches are offered.
        """
        named = self._named()
        if name not in named:
            raise unknown_name("tool", name, named) if named else UsageError("there are no tools")
        return named[name]

    def schemas(self) -> tuple[dict[str, Any], ...]:
        """The tools in the OpenAI form, as `Options.tools` takes them.

        Raises:
            UsageError: two tools have the same name, or a name or schema cannot be offered.
        """
        return tuple(
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": plain_schema(tool.parameters, tool.name),
                },
            }
            for tool in self
        )

    def close(self) -> None:
        """Close the sources, the last one first. Closing twice is harmless."""
        for part in reversed(self._parts):
            if isinstance(part, ToolSource):
                part.close()

    def _named(self) -> dict[str, Tool]:
        named: dict[str, Tool] = {}
        for part in self._parts:
            for tool in part.tools if isinstance(part, ToolSource) else (part,):
                if not _NAME.fullmatch(tool.name):
                    raise UsageError(
                        f"{tool.name!r} cannot be the name of a tool: take up to 64 letters, digits, _ and -"
                    )
                if tool.name in named:
                    raise UsageError(f"two tools are named {tool.name}: leave one out, or give it another name")
                named[tool.name] = tool
        return named


def _as_part(one: Any) -> Tool | ToolSource:
    if isinstance(one, Tool | ToolSource):
        return one
    if callable(one) and not isinstance(one, type):
        return FunctionTool(one)
    raise UsageError(f"{one!r} is no tool: give a function with types, a tool, or a source of tools")
