"""Tools in `whet chat` and in the plain function `chat(message, history)`: kept as turns, asked about, shown."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from terminal import terminal
from whetstone.chat.chat_fn import chat_fn
from whetstone.chat.session import ChatSession
from whetstone.chat.store import ConversationStore
from whetstone.chat.tool_answer import ToolAnswer, ToolUse
from whetstone.cli.main import app
from whetstone.errors import ModelConnectionError, UsageError
from whetstone.models.pool import ModelPool
from whetstone.models.scripted import ScriptedModel
from whetstone.models.scripted_plan import Planned, PlannedCall
from whetstone.storage.database import open_database
from whetstone.tools.function_tool import tool
from whetstone.tools.limits import ToolLimits
from whetstone.tools.tool_box import ToolBox
from whetstone.types import Turn

CALL = {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6 * 7"}}]}


def plan(folder: Path, *replies: dict[str, Any], **more: Any) -> str:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"replies": list(replies), **more}), encoding="utf-8")
    return f"scripted:{path}"


def whet(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def stored() -> list[Turn]:
    """The turns of the latest conversation."""
    store = ConversationStore(open_database())
    conversation = store.latest()
    assert conversation is not None
    return store.turns(conversation.id)


def test_a_call_and_its_result_are_kept_as_turns(tmp_path: Path) -> None:
    model = plan(tmp_path, CALL, {"reply": "It is 42."})
    result = whet("chat", "6 times 7?", "-m", model, "--tool", "calculator", "--allow", "calculator")
    assert (result.exit_code, result.stdout) == (0, "It is 42.\n"), result.output
    assert result.stderr.splitlines() == [
        'whet: calls calculator {"expression": "6 * 7"}',
        "whet: calculator: 42",
    ]
    asked, called, returned, answered = stored()
    assert [turn.parent for turn in (called, returned, answered)] == [asked.id, called.id, returned.id]
    (call,) = called.message["tool_calls"]
    assert call["function"] == {"name": "calculator", "arguments": '{"expression": "6 * 7"}'}
    assert returned.message["role"] == "tool"
    assert returned.message["tool_call_id"] == call["id"]
    assert returned.message["content"] == "42"
    assert answered.message["content"] == "It is 42."
    assert called.origin is not None
    assert [one["function"]["name"] for one in called.origin.options.tools] == ["calculator"]
    # The prompt that is kept shows the tool as the model saw it.
    prompt = ConversationStore(open_database()).prompt(called.origin.prompt_hash)
    assert "- calculator: Works out an arithmetic expression" in prompt
    shown = whet("chats", "show", asked.conversation)
    assert "Calls `calculator`" in shown.stdout
    # Going on without tools, what was called is told to the model all the same.
    again = whet("chat", "Sure?", "-m", plan(tmp_path, {"reply": "Yes."}), "--continue")
    assert again.stdout == "Yes.\n"


def test_a_call_that_nobody_can_be_asked_about_is_refused_and_said_to_be(tmp_path: Path) -> None:
    model = plan(tmp_path, CALL, {"reply": "I cannot say."})
    result = whet("chat", "6 times 7?", "-m", model, "--tool", "calculator", "--json")
    told = json.loads(result.stdout)
    assert told["reply"] == "I cannot say."
    assert [(call["name"], call["outcome"]) for call in told["tool_calls"]] == [("calculator", "refused")]
    assert (told["whole_answer"]["ended"], told["whole_answer"]["replies"]) == ("answered", 2)
    assert "--allow calculator allows it" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tool", "calculater"], "Did you mean calculator"),
        (["--tool", "calculator", "--allow", "date"], "There is no tool named 'date'"),
        (["--allow", "date"], "give --tool as well"),
        (["--tool", "calculator", "--tool", "calculator"], "two tools are named calculator"),
        (["--tool", "calculator", "--tool-cost", "0"], "must be above 0"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_in_a_sentence(arguments: list[str], said: str) -> None:
    result = whet("chat", "hi", "-m", "scripted:echo", *arguments)
    assert result.exit_code != 0
    assert said in f"{result.output} {result.exception}"
    assert ConversationStore(open_database()).latest() is None


def session(*replies: Any, faults: Any = None) -> tuple[ChatSession, ScriptedModel]:
    model = ScriptedModel(list(replies), faults=faults)
    store = ConversationStore(open_database())
    conversation = store.create(model="scripted:python")
    return ChatSession(store, _Pool(model), conversation), model


class _Pool(ModelPool):
    """A pool with one model that is there already."""

    def __init__(self, model: ScriptedModel) -> None:
        super().__init__({})
        self._model = model

    def get(self, name: str) -> ScriptedModel:
        return self._model


@tool
def lookup(word: str) -> str:
    """Looks a word up."""
    return f"{word}: a thing"


def use(**more: Any) -> ToolUse:
    return ToolUse(ToolBox([lookup]), allowed=["lookup"], **more)


CALLING = Planned(tool_calls=(PlannedCall(name="lookup", arguments={"word": "tree"}),))


def test_a_model_that_fails_after_a_call_leaves_the_call_and_can_be_asked_again() -> None:
    talk, model = session(CALLING, "A tree is a thing.", faults={1: "connection"})
    answer = talk.ask("What is a tree?", tools=use())
    with pytest.raises(ModelConnectionError):
        list(answer)
    assert [turn.state for turn in talk.path()] == ["complete", "complete", "complete", "failed"]
    again = talk.retry(tools=use())
    assert "".join(chunk.text for chunk in again) == "A tree is a thing."
    assert [message["role"] for message in model.asked[-1].messages] == ["user", "assistant", "tool"]
    assert len(talk.path()) == 4


def test_an_answer_that_was_stopped_at_a_call_can_be_gone_on_from() -> None:
    talk, model = session(CALLING, "Fine.")
    answer = talk.ask("What is a tree?", tools=use())
    for chunk in answer:
        if chunk.tool_calls:
            break
    answer.close()
    assert talk.path()[-1].message["role"] == "assistant"
    assert "".join(chunk.text for chunk in talk.ask("Never mind.")) == "Fine."
    roles = [message["role"] for message in model.asked[-1].messages]
    assert roles == ["user", "assistant", "tool", "user"]
    assert "not made" in str(model.asked[-1].messages[2]["content"])


def test_limits_end_an_answer_in_words() -> None:
    talk, model = session(CALLING, "That is all.")
    answer = talk.ask("What is a tree?", tools=use(limits=ToolLimits(rounds=1)))
    assert isinstance(answer, ToolAnswer)
    assert "".join(chunk.text for chunk in answer) == "That is all."
    assert answer.ended is not None
    assert answer.ended.reason == "rounds"
    assert model.asked[-1].options.tool_choice == "none"


def test_a_person_is_asked_in_the_terminal_and_sees_the_calls(tmp_path: Path) -> None:
    model = plan(tmp_path, CALL, {"reply": "It is 42."}, CALL, {"reply": "Still 42."})
    with terminal("chat", "-m", model, "--tool", "calculator") as screen:
        screen.line("6 times 7?")
        screen.until("calls calculator")
        screen.until("Call calculator?")
        screen.keys("a\r")
        screen.until("calculator: ")
        screen.until("It is 42.")
        screen.line("/tools")
        screen.until("calculator  (called without asking)")
        screen.until("You can call tools.")
        screen.line("And again?")
        assert "Call calculator?" not in screen.until("Still 42.")
        screen.leave()


# The plain function


def test_the_plain_function_calls_tools_and_yields_the_growing_answer() -> None:
    model = ScriptedModel([CALLING, "A tree is a thing."])
    chat = chat_fn(model, tools=[lookup])
    texts = list(chat("What is a tree?", []))
    assert texts[-1] == "A tree is a thing."
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))


def test_the_plain_function_wants_consent_or_names_for_tools_of_others(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="calculator may not be called"):
        chat_fn("scripted:echo", tools=["calculator"])
    asked: list[str] = []

    def consent(call: Any) -> bool:
        asked.append(call.name)
        return True

    plan = [Planned(tool_calls=(PlannedCall(name="calculator", arguments={"expression": "1 + 1"}),)), "2"]
    assert list(chat_fn(ScriptedModel(plan), tools=["calculator"], consent=consent)("1 + 1?"))[-1] == "2"
    assert asked == ["calculator"]
    assert list(chat_fn(ScriptedModel(plan), tools=["calculator"], allowed=["calculator"])("1 + 1?"))[-1] == "2"
    assert asked == ["calculator"]
