"""The tools of MCP servers: real processes, well-behaved and not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from whetstone.errors import LoginError, ToolServerError, UsageError
from whetstone.models.scripted import Planned, ScriptedModel
from whetstone.models.scripted_plan import PlannedCall
from whetstone.tools.events import Ended, Returned
from whetstone.tools.loop import run_tools
from whetstone.tools.mcp_address import ServerCommand, ServerUrl, read_address
from whetstone.tools.mcp_client import McpTools
from whetstone.tools.tool import Tool, ToolSource
from whetstone.tools.tool_box import ToolBox
from whetstone.types import user

SERVER = f"{sys.executable} -S {Path(__file__).with_name('plain_mcp_server.py')}"


def opened(how: str, call_seconds: float = 60.0) -> McpTools:
    return McpTools.open(f"{SERVER} {how}", call_seconds=call_seconds)


# Where a server is


def test_an_address_is_a_command_or_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    assert read_address("npx -y 'some server'") == ServerCommand(("npx", "-y", "some server"), {})
    assert read_address("$MY_TOKEN run") == ServerCommand(("run",), {"MY_TOKEN": "secret"})
    assert read_address("https://host/mcp#MY_TOKEN") == ServerUrl("https://host/mcp", "secret")
    assert read_address("http://127.0.0.1:80/mcp#MY_TOKEN") == ServerUrl("http://127.0.0.1:80/mcp", "secret")
    assert "secret" not in str(read_address("https://host/mcp#MY_TOKEN"))


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("", "is named by a command"),
        ("run 'open quote", "cannot be read as a command"),
        ("ftp://host/mcp", "no http or https address"),
        ("https://", "no http or https address"),
        ("https://me:pw@host/mcp", "holds no password"),
        ("https://host/mcp#sk-123", "and not its value"),
        ("http://host/mcp#MY_TOKEN", "take https"),
        ("no-such-program --flag", "there is no program 'no-such-program'"),
        ("/", "cannot be started"),
    ],
)
def test_an_address_that_is_none_is_told(address: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "secret")
    with pytest.raises(UsageError, match=problem):
        McpTools.open(address)


def test_a_variable_that_is_not_set_is_told() -> None:
    with pytest.raises(LoginError, match="NO_SUCH_TOKEN, which is not set"):
        read_address("$NO_SUCH_TOKEN run")


# A server that does what it should


def test_tools_are_listed_and_called() -> None:
    with opened("normal") as server:
        assert server.title == "A plain server"
        (add,) = server.tools
        assert isinstance(server, ToolSource)
        assert isinstance(add, Tool)
        assert (add.name, add.description) == ("numbers_add", "Add two numbers.")
        assert add.call({"a": 1, "b": 2}).text == "3"
        missing = add.call({"a": "x", "b": 2})
        assert (missing.failed, missing.text) == (
            True,
            "the arguments do not fit numbers_add: a: 'x' is not of type 'number'",
        )


def test_calls_from_several_threads_get_their_own_answers() -> None:
    answers: dict[int, str] = {}
    with opened("normal") as server:
        (add,) = server.tools

        def ask(number: int) -> None:
            answers[number] = add.call({"a": number, "b": 0}).text

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: str(number) for number in range(8)}


def test_a_server_that_changes_its_tools_is_asked_anew() -> None:
    with opened("changes") as server:
        (add,) = server.tools
        assert add.call({"a": 1, "b": 2}).text == "3"
        assert [tool.name for tool in server.tools] == ["sum"]


def test_failures_and_what_is_no_text_are_told() -> None:
    with opened("fails") as server:
        failed = server.tools[0].call({"a": 1, "b": 2})
        assert (failed.text, failed.failed) == ("the disk is full", True)
    with opened("refuses") as server, pytest.raises(ToolServerError, match="refused: not today"):
        server.tools[0].call({"a": 1, "b": 2})
    with opened("pictures") as server:
        shown = server.tools[0].call({"a": 1, "b": 2})
        assert shown.text.splitlines() == [
            "see",
            "[image (image/png), which cannot be shown here]",
            "[a.txt: file:///a.txt]",
            "what b says",
        ]
        assert shown.note == "not shown: image (image/png)"


def test_tools_that_no_model_can_be_offered_are_left_out_with_the_reason() -> None:
    with opened("odd") as server:
        assert [tool.name for tool in server.tools] == ["numbers_add", "tree", "talks"]
        assert len(server.left_out) == 4
        for name in ("far", "wrong", "wide", "numbers_add"):
            assert any(sentence.startswith(f"the tool {name}:") for sentence in server.left_out), name
        tree, talks = server.tools[1:]
        assert tree.call({"child": {"child": {"child": {"child": {"name": 1}}}}, "name": 1}).failed  # a cycle ends
        assert talks.description.endswith("[cut: the server's description goes on]")


def test_a_server_gets_no_key_of_ours_but_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("FOR_IT", "given")
    with McpTools.open(f"$FOR_IT {SERVER} environment") as server:
        environment = json.loads(server.tools[0].call({"a": 1, "b": 2}).text)
    assert environment["FOR_IT"] == "given"
    assert "OPENAI_API_KEY" not in environment


def test_a_model_calls_a_server_and_is_told_when_it_dies() -> None:
    for how, outcome, told in (("normal", "done", "3"), ("dies", "failed", "ended with exit code 7: out of luck")):
        call = Planned(tool_calls=(PlannedCall(name="numbers_add", arguments={"a": 1, "b": 2}),))
        with ToolBox([opened(how)]) as box:
            run = run_tools(ScriptedModel([call, "So be it."]), [user("1 + 2?")], box, allowed=["numbers_add"])
            events = list(run)
        (returned,) = [event for event in events if isinstance(event, Returned)]
        assert returned.outcome == outcome
        assert told in returned.told
        assert isinstance(events[-1], Ended)
        assert events[-1].text == "So be it."


# A server that does not


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("exits", "ended with exit code 3: no configuration found"),
        ("babbles", "wrote what is no MCP: 'Listening on port 8080'"),
        ("endless-line", "sent a message of more than 16 MB"),
    ],
)
def test_what_is_no_server_is_told(how: str, problem: str) -> None:
    with pytest.raises(ToolServerError, match=problem):
        opened(how)


def test_a_server_that_says_nothing_is_given_up() -> None:
    with pytest.raises(ToolServerError, match=r"did not answer within 0\.5 s"):
        McpTools.open(f"{SERVER} silent", start_seconds=0.5)


def test_garbage_between_messages_is_passed_over() -> None:
    with opened("noisy") as server:
        assert server.tools[0].call({"a": 1, "b": 2}).text == "3"


def test_a_server_that_dies_during_a_call_is_told_and_its_tools_stay_listed() -> None:
    with opened("dies") as server:
        (add,) = server.tools
        for _ in range(2):
            with pytest.raises(ToolServerError, match="ended with exit code 7: out of luck"):
                add.call({"a": 1, "b": 2})
        assert server.tools == (add,)


@pytest.mark.parametrize("how", ["hangs", "garbage-answer"])
def test_a_call_without_an_answer_is_given_up(how: str) -> None:
    with opened(how, call_seconds=0.3) as server, pytest.raises(ToolServerError, match=r"did not answer within 0\.3 s"):
        server.tools[0].call({"a": 1, "b": 2})


def test_an_answer_of_twenty_megabytes_ends_the_connection() -> None:
    with opened("huge") as server, pytest.raises(ToolServerError, match="sent a message of more than 16 MB"):
        server.tools[0].call({"a": 1, "b": 2})


@pytest.mark.skipif(sys.platform == "win32", reason="processes have no groups there")
def test_no_process_is_left_behind(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with opened(f"children {note}") as server:
        assert server.tools
        child = int(note.read_text())
        assert _runs(child)
    _until(lambda: not _runs(child))


def test_a_program_that_forgets_to_close_leaves_no_process_behind(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"from whetstone.tools.mcp_client import McpTools\nserver = McpTools.open({f'{SERVER} children {note}'!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    _until(lambda: not _runs(int(note.read_text())))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"  # a zombie does not
    except OSError:
        return sys.platform != "linux"


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
