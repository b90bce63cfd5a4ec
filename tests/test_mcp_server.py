"""`whet mcp`: what other programs may have done here, asked for by a real client."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import CallToolResult, TextContent
from typer.testing import CliRunner

from kb_small import HANDBOOK, synced, write
from running_server import PATIENCE, pool_of, running
from whetstone.cli.main import app as whet
from whetstone.errors import ToolServerError, UsageError
from whetstone.models import ChatModel
from whetstone.models.scripted import ScriptedModel
from whetstone.server.mcp_http import PATH, create_mcp_app
from whetstone.server.mcp_server import create_mcp_server
from whetstone.tools.mcp_client import McpTools
from whetstone.tools.tool import ToolResult
from whetstone.types import Chunk, Message, ModelIdentity, Options
from whetstone.workflows.offered import Call, Offered, Stopped

TOKEN = "a-token-for-tests"


class Endless:
    """A model that goes on until its stream is closed."""

    identity = ModelIdentity("scripted:endless", "scripted", "endless")
    concurrency = 1

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.closed = threading.Event()

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        return self

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if self.begun.is_set() and self.closed.wait(0.01):
            raise StopIteration
        self.begun.set()
        return Chunk("on and ")

    def close(self) -> None:
        self.closed.set()


@contextlib.contextmanager
def offering(models: Mapping[str, ChatModel], bases: Sequence[str] = ()) -> Iterator[Offered]:
    with contextlib.closing(Offered(pool_of(models), list(bases))) as offered:
        yield offered


def asked(offered: Offered, name: str, **arguments: Any) -> CallToolResult:
    """One call by the SDK's own client, in this process."""

    async def ask() -> CallToolResult:
        async with Client(create_mcp_server(offered)) as client:
            return await client.call_tool(name, arguments)

    return anyio.run(ask)


def text(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def test_each_tool_answers(tmp_path: Path) -> None:
    synced(write(tmp_path / "handbook", HANDBOOK))
    models = {"wise": ScriptedModel(["Forty-two."]), "other": ScriptedModel(lambda _: "40")}
    with offering(models, ["handbook"]) as offered:
        assert text(asked(offered, "ask", question="What is the answer?")) == "Forty-two."
        tokens = asked(offered, "tokenize", text="Hello there world")
        assert tokens.structured_content["count"] == 3
        assert "".join(tokens.structured_content["pieces"]) == "Hello there world"
        found = asked(offered, "search", query="How many days of annual leave?", k=1)
        assert found.structured_content["kb"] == "handbook"
        assert found.structured_content["passages"][0]["path"] == "leave.md"
        assert "27 days" in found.structured_content["passages"][0]["text"]
        priced = asked(offered, "price", text="A chair", model="other", grid="0..99")
        assert (priced.structured_content["estimate"], priced.structured_content["interval"]) == (40, [40, 40])


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("ask", {"question": " "}, "the question is empty"),
        ("ask", {"question": "a", "model": "wsie"}, "There is no model named 'wsie'. Did you mean wise?"),
        ("ask", {"question": "a", "max_tokens": 0}, "max_tokens is 0: an answer has between 1 and 4,096 tokens"),
        ("ask", {"question": "a", "temperature": 9}, "temperature is 9: take one between 0 and 2"),
        ("ask", {"question": "x" * 1_000_001}, "the question has 1,000,001 characters; at most 1,000,000 are taken"),
        ("ask", {}, "the arguments do not fit: question: Field required"),
        ("search", {"query": "a"}, "there is no knowledge base here to search; `whet kb sync FOLDER` makes one"),
        ("search", {"query": "a", "k": 500}, "k is 500: take between 1 and 50 passages"),
        ("price", {"text": "a", "grid": "zz"}, "'zz' is no grid of numbers"),
        ("tokenize", {"text": "x" * 1_000_001}, "the text has 1,000,001 characters"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(name: str, arguments: dict[str, Any], problem: str) -> None:
    with offering({"wise": ScriptedModel(["Forty-two."])}) as offered:
        result = asked(offered, name, **arguments)
    assert result.is_error
    assert text(result).startswith(problem)


def test_an_answer_that_was_cut_says_so() -> None:
    with offering({"wise": ScriptedModel(["one two three four"])}) as offered:
        assert text(asked(offered, "ask", question="count", max_tokens=2)).endswith(
            "[cut: the answer reached max_tokens=2]"
        )


def test_progress_is_told_while_an_answer_comes() -> None:
    told: list[tuple[float, float | None]] = []

    async def progress(done: float, total: float | None, _: str | None) -> None:
        told.append((done, total))

    async def ask(offered: Offered) -> None:
        async with Client(create_mcp_server(offered)) as client:
            await client.call_tool("ask", {"question": "a", "max_tokens": 100}, progress_callback=progress)

    with offering({"wise": ScriptedModel(["word " * 40], chunk=5)}) as offered:
        anyio.run(ask, offered)
    assert told[:2] == [(8, 100), (16, 100)]


def test_a_call_that_is_given_up_stops_the_model() -> None:
    model = Endless()

    async def ask(offered: Offered) -> None:
        async with Client(create_mcp_server(offered)) as client:
            with anyio.move_on_after(PATIENCE), contextlib.suppress(Exception):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.call_tool, "ask", {"question": "a"})
                    await anyio.to_thread.run_sync(model.begun.wait, PATIENCE)
                    tasks.cancel_scope.cancel()

    with offering({"endless": model}) as offered:
        anyio.run(ask, offered)
        assert model.closed.wait(PATIENCE)


def test_a_call_is_stopped_from_another_thread() -> None:
    model, call = Endless(), Call()

    def stop() -> None:
        model.begun.wait(PATIENCE)
        call.stop()

    threading.Thread(target=stop).start()
    with offering({"endless": model}) as offered, pytest.raises(Stopped):
        offered.ask("a", "", "", 16, 0.0, call)


# Over HTTP, and as a process


def test_http_takes_the_token_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGHT", TOKEN)
    monkeypatch.setenv("WRONG", "not-the-token")
    with offering({"wise": ScriptedModel(["Forty-two."])}) as offered:
        app = create_mcp_app(create_mcp_server(offered), offered, TOKEN)
        with running(app) as served:
            url = served.url + PATH
            for address in (url, f"{url}#WRONG"):
                with pytest.raises(ToolServerError, match="wants a token"):
                    McpTools.open(address)
            with McpTools.open(f"{url}#RIGHT") as server:
                tools = {tool.name: tool for tool in server.tools}
                assert tools["ask"].call({"question": "a"}) == ToolResult("Forty-two.")
                assert tools["ask"].call({"question": " "}) == ToolResult("the question is empty", failed=True)
        with pytest.raises(ToolServerError, match="cannot be reached"):  # it has stopped
            McpTools.open(f"{url}#RIGHT")


def test_a_short_token_is_refused() -> None:
    with offering({"wise": ScriptedModel()}) as offered, pytest.raises(UsageError, match="at least 8 characters"):
        create_mcp_app(create_mcp_server(offered), offered, "short")


def test_the_command_serves_a_program_that_starts_it() -> None:
    code = "from whetstone.cli.main import run; run()"
    command = f"$WHETSTONE_HOME {sys.executable} -c '{code}' mcp -m echo=scripted:echo"
    assert os.environ["WHETSTONE_HOME"]
    with McpTools.open(command, start_seconds=PATIENCE * 4) as server:
        assert server.title == "Whetstone"
        tools = {tool.name: tool for tool in server.tools}
        assert list(tools) == ["ask", "price", "search", "tokenize"]
        assert "Models: echo." in tools["ask"].description
        assert tools["ask"].call({"question": "Say this."}).text == "Say this."
        assert json.loads(tools["tokenize"].call({"text": "two words"}).text)["count"] == 2


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--port", "1"], "--port and --token-file go with --http"),
        (["--kb", "no-such-base"], "no-such-base"),
    ],
)
def test_the_command_refuses_what_cannot_be_served(arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(whet, ["mcp", *arguments])
    assert isinstance(result.exception, UsageError)
    assert problem in str(result.exception)
