"""Calls of tools and what became of them, on a terminal. All texts in it are made harmless."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from whetstone.cli.chat_tools import ChatTools
from whetstone.cli.visible import one_line, visible
from whetstone.models import ChatModel, RenderingModel
from whetstone.tools.events import Returned
from whetstone.tools.tool_trace import as_seen
from whetstone.types import Message, Options, ToolCall, user

_ARGUMENTS = 300  # characters of arguments
_LINES = 6  # of a result
_WIDTH = 200  # characters of one of them


def call_line(call: ToolCall) -> str:
    """A call on one line."""
    return f"calls {call.name} {one_line(call.arguments, _ARGUMENTS)}".rstrip()


def returned_line(returned: Returned) -> str:
    """What became of a call, on one line."""
    result = returned.result
    if result.failed:
        return one_line(f"{returned.call.name}: {result.text}", _ARGUMENTS)
    note = f" ({result.note})" if result.note else ""
    return f"{returned.call.name}{note}: {one_line(result.text, _WIDTH)}"


def show_call(console: Console, call: ToolCall) -> None:
    """That the model asks for a call."""
    console.print(Text(f"→ {call_line(call)}", style="cyan"))


def show_returned(console: Console, returned: Returned) -> None:
    """What became of a call: the first lines of its result."""
    result = returned.result
    if result.failed:
        console.print(Text(f"← {one_line(result.text, _ARGUMENTS)}", style="red"))
        return
    note = f"{result.note}, " if result.note else ""
    console.print(Text(f"← {returned.call.name}: {note}{returned.seconds:.1f} s", style="cyan"))
    lines = visible(result.text).splitlines()
    for line in lines[:_LINES]:
        console.print(Text(f"  {one_line(line, _WIDTH)}", style="dim"))
    if len(lines) > _LINES:
        console.print(Text(f"  … {len(lines) - _LINES:,} more lines", style="dim"))


def show_tools(console: Console, tools: ChatTools, model: ChatModel, told: Sequence[Message], options: Options) -> None:
    """The tools, which of them are asked about, and the request as the model would see it.

    Raises:
        ModelError: the model cannot be loaded, or its template refuses the conversation.
    """
    for tool in tools.box:
        asked = "called without asking" if tool.name in tools.allowed else "asks before each call"
        console.print(Text(f"  {tool.name}  ({asked})", style="bold"))
        console.print(Text(f"    {one_line(tool.description, _ARGUMENTS)}"))
    offered = options.model_copy(update={"tools": tools.box.schemas()})
    seen = as_seen(model, [*told, user("…")], offered)
    rendered = isinstance(model, RenderingModel)
    how = "The prompt as its chat template makes it" if rendered else "The request as it is sent"
    console.print(Text(f"{how}, with “…” for your next message:", style="dim"))
    console.print(Text(visible(seen)))
