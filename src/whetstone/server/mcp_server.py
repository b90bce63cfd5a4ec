"""`whetstone.workflows.offered` as an MCP server: four tools, their progress, their cancellation, errors as sentences.

Spoken by the `mcp` SDK; https://modelcontextprotocol.io/specification.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import Field, ValidationError

from whetstone.errors import WhetstoneError
from whetstone.workflows.offered import Call, Offered, Passages, Stopped, Tokens

_T = TypeVar("_T")
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_TELL_EVERY = 8  # pieces of an answer


def create_mcp_server(offered: Offered) -> MCPServer[Any]:
    """A server of the tools ask, price, search and tokenize."""
    models = f"Models: {', '.join(offered.pool.offered)}."
    bases = f"Knowledge bases: {', '.join(offered.bases) or 'none'}."
    server = _Server(
        "whetstone",
        title="Whetstone",
        version=version("whetstone-llm"),
        instructions=f"Language models and document search on the user's machine. {models} {bases}",
        log_level="CRITICAL",  # standard error is the user's: errors are told in the answers
    )
    tools = _Tools(offered)
    # What there is differs from machine to machine, and stands in the descriptions, which every client shows its model.
    for tool, there_is, structured in (
        (tools.ask, models, False),
        (tools.price, models, True),
        (tools.search, bases, True),
        (tools.tokenize, models, True),
    ):
        server.add_tool(
            tool, description=f"{tool.__doc__} {there_is}", annotations=_READS, structured_output=structured
        )
    return server


_Model = Annotated[str, Field(description="The name of a model; empty for the first.")]


class _Server(MCPServer[Any]):
    """Tells what went wrong in one sentence, without the SDK's words around it."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            return CallToolResult(content=[TextContent(type="text", text=_sentence(error))], is_error=True)


def _sentence(error: ToolError) -> str:
    match error.__cause__:
        case ToolError() as ours:
            return str(ours)
        case ValidationError() as wrong:
            found = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in wrong.errors()]
            return f"the arguments do not fit: {'; '.join(found)}"
        case _:
            return str(error)


class _Tools:
    """The tools; their docstrings and fields are what a client's model reads."""

    def __init__(self, offered: Offered) -> None:
        self._offered = offered

    async def ask(
        self,
        context: Context[Any, Any],
        question: Annotated[str, Field(description="What the model is asked.")],
        model: _Model = "",
        instructions: Annotated[str, Field(description="How it is to answer: its system message.")] = "",
        max_tokens: Annotated[int, Field(description="Most tokens of the answer.")] = 512,
        temperature: Annotated[float, Field(description="0 always takes the likeliest token.")] = 0.0,
    ) -> str:
        """Ask a language model that runs here; one named kb:… answers from the user's documents, and cites them."""
        work = functools.partial(self._offered.ask, question, model, instructions, max_tokens, temperature)
        return await _done(context, work, max_tokens)

    async def price(
        self,
        context: Context[Any, Any],
        text: Annotated[str, Field(description="The item: its title, description, features.")],
        model: _Model = "",
        grid: Annotated[
            str, Field(description="The candidates: 0..999, 0.00..99.99, 0..100:5, log:1..10000:60.")
        ] = "0..999",
        level: Annotated[float, Field(description="Probability that the interval is to hold.")] = 0.8,
    ) -> dict[str, Any]:
        """Estimate what an item costs: one number, an interval, quantiles and the likeliest prices."""
        return await _done(context, functools.partial(self._offered.price, text, model, grid, level))

    async def search(
        self,
        context: Context[Any, Any],
        query: Annotated[str, Field(description="A question or a few words.")],
        kb: Annotated[str, Field(description="The name of a knowledge base; empty for the first.")] = "",
        k: Annotated[int, Field(description="How many passages.")] = 5,
    ) -> Passages:
        """Find the passages of the user's documents that fit a question, best first."""
        return await _done(context, functools.partial(self._offered.search, query, kb, k))

    async def tokenize(
        self, context: Context[Any, Any], text: Annotated[str, Field(description="Any text.")], model: _Model = ""
    ) -> Tokens:
        """Count a text's tokens, and show the ids and pieces that a model reads it as."""
        return await _done(context, functools.partial(self._offered.tokenize, text, model))


async def _done(context: Context[Any, Any], work: Callable[[Call], _T], total: int | None = None) -> _T:
    """Do it on a thread, tell how far it is, and stop it when the client does not want it any more.

    Raises:
        ToolError: what went wrong, in the sentence that the client's model reads.
    """

    def told(pieces: int) -> None:
        if pieces % _TELL_EVERY == 0:
            anyio.from_thread.run(context.report_progress, pieces, total)

    call = Call(told)
    try:
        return await anyio.to_thread.run_sync(work, call, abandon_on_cancel=True)
    except WhetstoneError as error:
        raise ToolError(str(error)) from error
    except anyio.get_cancelled_exc_class():
        call.stop()
        raise
    except Stopped as error:
        raise ToolError("the call was stopped") from error
