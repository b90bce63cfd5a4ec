"""The tools of an MCP server, as tools that a model may call.

Source of the protocol: https://modelcontextprotocol.io/specification; spoken by the `mcp` SDK.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from whetstone.errors import ToolServerError, UsageError
from whetstone.tools.mcp_address import read_address
from whetstone.tools.mcp_connection import Connection
from whetstone.tools.schema import plain_schema
from whetstone.tools.tool import ToolResult

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock
    from mcp.types import Tool as ListedTool

_START_SECONDS = 60.0
_CALL_SECONDS = 30.0  # as long as the loop waits for a tool
_LONGEST_NAME = 64
_LONGEST_DESCRIPTION = 4_000  # characters: it stands in every prompt
_LARGEST_SCHEMA = 50_000  # characters as JSON, for the same reason
_MOST_TOOLS = 500
_MOST_PAGES = 100


@dataclass(frozen=True, slots=True)
class McpTool:
    """One tool of a server.

    Attributes:
        name: as models are told it: the server's own, with "_" for what providers do not allow.
        description: the server's own words, cut where they are very long, which is said.
        parameters: the server's schema.
        own_name: what the server calls it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    own_name: str
    _plain: Mapping[str, Any]  # the schema without references: checking by one that refers to itself may never end
    _connection: Connection
    _seconds: float

    def call(self, arguments: dict[str, Any]) -> ToolResult:
        """Have the server do it, and wait for the result.

        Raises:
            ToolServerError: the server ended, broke off or took too long.
        """
        problem = _misfit(arguments, self._plain)
        if problem:
            return ToolResult(f"the arguments do not fit {self.name}: {problem}", failed=True)
        seconds = self._seconds
        result = self._connection.ask(
            lambda client: client.call_tool(self.own_name, arguments, read_timeout_seconds=seconds), seconds
        )
        return _as_result(result, self.name)


class McpTools:
    """A server's tools, as they are now. A context manager: leaving it closes the connection.

    Attributes:
        address: as it was given.
        title: what the server calls itself.
        left_out: a sentence for each of its tools that no model can be offered.
    """

    def __init__(self, address: str, connection: Connection, seconds: float) -> None:
        self.address = address
        self.left_out: tuple[str, ...] = ()
        self._connection = connection
        self._seconds = seconds
        self._tools: tuple[McpTool, ...] = ()
        self._list()

    @classmethod
    def open(
        cls, address: str, *, start_seconds: float = _START_SECONDS, call_seconds: float = _CALL_SECONDS
    ) -> McpTools:
        """Start a server or connect to one, and ask for its tools.

        Args:
            address: a command ("npx -y some-server") or an address ("https://host/mcp"); see `read_address`.
            start_seconds: how long it may take to start; package runners download first.
            call_seconds: how long one call may take.

        Raises:
            LoginError: an environment variable that is named is not set.
            MissingPackageError: the extra `tools` is not installed.
            ToolServerError: the server did not start, did not answer, or is no MCP server.
            UsageError: the address is none, or there is no such program.
        """
        connection = Connection(read_address(address), start_seconds, call_seconds)
        try:
            return cls(address, connection, call_seconds)
        except BaseException:
            connection.close()
            raise

    @property
    def title(self) -> str:
        return self._connection.title

    @property
    def tools(self) -> tuple[McpTool, ...]:
        """The tools; asked for anew where the server said that they changed, kept where it has ended."""
        if self._connection.tools_changed.is_set() and not self._connection.ended:
            try:
                self._list()
            except ToolServerError:
                self._connection.tools_changed.set()  # it can still be asked later; a call says what is wrong
        return self._tools

    def close(self) -> None:
        """End the connection, and the server's process where it was started. Closing twice is harmless."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _list(self) -> None:
        self._connection.tools_changed.clear()  # before asking: what changes from here on is a new change
        taken: dict[str, McpTool] = {}
        left_out = []
        for listed in self._listed():
            try:
                tool = self._offered(listed)
            except UsageError as error:
                left_out.append(str(error))
                continue
            if tool.name in taken:
                left_out.append(f"the tool {listed.name}: another tool of this server has the same name, {tool.name}")
                continue
            taken[tool.name] = tool
        self._tools = tuple(taken.values())
        self.left_out = tuple(left_out)

    def _listed(self) -> list[ListedTool]:
        found: list[ListedTool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = self._connection.ask(lambda client, at=cursor: client.list_tools(cursor=at))  # type: ignore[misc]
            found.extend(page.tools)
            cursor = page.next_cursor
            if len(found) > _MOST_TOOLS:
                raise ToolServerError(f"the MCP server {self.address} has more than {_MOST_TOOLS} tools")
            if not cursor:
                return found
        raise ToolServerError(f"the MCP server {self.address} never comes to the end of its list of tools")

    def _offered(self, listed: ListedTool) -> McpTool:
        """A tool as models are told of it.

        Raises:
            UsageError: its schema is none, or too large.
        """
        words = (listed.description or listed.title or listed.name).strip()
        if len(words) > _LONGEST_DESCRIPTION:
            words = words[:_LONGEST_DESCRIPTION] + " [cut: the server's description goes on]"
        return McpTool(
            name=re.sub(r"[^A-Za-z0-9_-]", "_", listed.name)[:_LONGEST_NAME] or "_",
            description=words,
            parameters=listed.input_schema,
            own_name=listed.name,
            _plain=_checked(listed.input_schema, listed.name),
            _connection=self._connection,
            _seconds=self._seconds,
        )


def _checked(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A schema without references, found to be one, and small enough to stand in every prompt."""
    from jsonschema import Draft202012Validator, SchemaError

    if len(json.dumps(schema)) > _LARGEST_SCHEMA:
        raise UsageError(f"the tool {name}: the schema of its arguments is too large to show")
    plain = plain_schema(schema, name)
    try:
        Draft202012Validator.check_schema(plain)
    except SchemaError as error:
        raise UsageError(f"the tool {name}: the schema of its arguments is none: {error.message}") from error
    return plain


def _misfit(arguments: dict[str, Any], schema: Mapping[str, Any]) -> str:
    """What is wrong with arguments, in one sentence; "" for nothing."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema).iter_errors(arguments))
    if error is None:
        return ""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    return f"{where}: {error.message}" if where else error.message


# Results


def _as_result(result: CallToolResult, name: str) -> ToolResult:
    texts, unread = [], []
    for block in result.content:
        text, kind = _as_text(block)
        texts.append(text)
        if kind:
            unread.append(kind)
    text = "\n".join(texts)
    if not text and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    if not text:
        text = f"{name} failed, and did not say why" if result.is_error else f"{name} gave nothing"
    return ToolResult(text, failed=result.is_error, note=f"not shown: {', '.join(unread)}" if unread else "")


def _as_text(block: ContentBlock) -> tuple[str, str]:
    """A part of a result for a model that reads text; what of it cannot be read, "" for nothing."""
    from mcp.types import AudioContent, EmbeddedResource, ImageContent, ResourceLink, TextContent, TextResourceContents

    match block:
        case TextContent():
            return block.text, ""
        case ImageContent() | AudioContent():
            kind = f"{block.type} ({block.mime_type})"
            return f"[{kind}, which cannot be shown here]", kind
        case ResourceLink():
            return f"[{block.name}: {block.uri}]" + (f" {block.description}" if block.description else ""), ""
        case EmbeddedResource() if isinstance(block.resource, TextResourceContents):
            return block.resource.text, ""
        case EmbeddedResource():
            kind = f"file ({block.resource.mime_type or 'of unknown kind'})"
            return f"[{kind} {block.resource.uri}, which cannot be shown here]", kind
