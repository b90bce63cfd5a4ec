"""What Gradio has sent as history over the years, read as messages; and the plain function `chat(message, history)`."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import whetstone
from whetstone.chat.chat_fn import chat_fn
from whetstone.chat.context import DoesNotFitError
from whetstone.chat.history import as_messages
from whetstone.errors import UsageError
from whetstone.models.scripted import ScriptedModel
from whetstone.types import assistant, user

TALK = [user("I want to buy a tie"), assistant("Which colour?")]


@pytest.mark.parametrize(
    "history",
    [
        TALK,
        [["I want to buy a tie", "Which colour?"]],
        [("I want to buy a tie", "Which colour?")],
        [["I want to buy a tie", None], [None, "Which colour?"]],
        [{"role": "user", "content": [{"type": "text", "text": "I want to buy a tie"}]}, TALK[1]],
        [{"role": "user", "content": "I want to buy a tie", "metadata": None, "options": None}, TALK[1]],
        [TALK[0], {"role": "assistant", "content": "hm", "metadata": {"title": "Thinking"}}, TALK[1]],
    ],
)
def test_every_form_of_history_gives_the_same_messages(history: list[Any]) -> None:
    assert as_messages(history) == TALK


def test_no_history_is_an_empty_one() -> None:
    assert as_messages(None) == []
    assert as_messages([[None, None]]) == []


@pytest.mark.parametrize(
    "content",
    [
        {"text": "what is this?", "files": ["/tmp/photo.png"]},
        [{"type": "file", "file": {"path": "/tmp/x/photo.png"}}, {"type": "text", "text": "what is this?"}],
        [{"path": "/tmp/photo.png", "mime_type": "image/png"}, "what is this?"],
    ],
)
def test_a_file_is_named_and_never_passed_over(content: Any) -> None:
    assert as_messages([{"role": "user", "content": content}]) == [user("[file: photo.png]\nwhat is this?")]


def test_a_file_of_the_older_form_joins_the_text_sent_with_it() -> None:
    history = [[("/tmp/photo.png", "a photo"), None], ["what is this?", "A tie."]]
    assert as_messages(history) == [user("[file: photo.png]\nwhat is this?"), assistant("A tie.")]


@pytest.mark.parametrize(
    ("history", "part"),
    [
        ([{"role": "boss", "content": "x"}], "history entry 0 has the role 'boss'"),
        ([{"role": "user", "content": 7}], "a message holds int"),
        (["just text"], "history entry 0 is str"),
        ([["a", "b", "c"]], "history entry 0 is list"),
    ],
)
def test_a_history_that_cannot_be_read_is_said_to_be_one(history: list[Any], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        as_messages(history)


def test_the_function_has_the_shape_that_chat_interfaces_expect() -> None:
    chat = whetstone.chat_fn("scripted:echo")
    assert list(inspect.signature(chat).parameters) == ["message", "history"]
    assert inspect.isgeneratorfunction(chat)
    assert list(chat("안녕하세요 👋🏽 there", []))[-1] == "안녕하세요 👋🏽 there"


def test_each_call_sends_system_prompt_whole_history_and_message_and_yields_growing_text() -> None:
    model = ScriptedModel(["Silk or wool?"], chunk=4)
    pieces = list(chat_fn(model, system="You sell ties.")("a red one", [["I want to buy a tie", "Which colour?"]]))
    assert pieces == ["Silk", "Silk or ", "Silk or wool", "Silk or wool?"]
    assert [message["role"] for message in model.asked[0].messages] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in model.asked[0].messages] == [
        "You sell ties.",
        "I want to buy a tie",
        "Which colour?",
        "a red one",
    ]


def test_the_system_prompt_may_depend_on_the_message() -> None:
    def instructions(message: str, history: list[whetstone.Message]) -> str:
        asked = "belt" in message or any("belt" in str(turn["content"]) for turn in history)
        return "You help in a shop." + (" The shop sells no belts." if asked else "")

    model = ScriptedModel(lambda messages: "Fine.")
    chat = chat_fn(model, system=instructions)
    list(chat("a tie please", []))
    list(chat("a belt please", []))
    list(chat("why not?", [["a belt please", "No."]]))
    prompts = [request.messages[0]["content"] for request in model.asked]
    assert [str(prompt).endswith("sells no belts.") for prompt in prompts] == [False, True, True]


def test_closing_the_function_s_generator_stops_the_model() -> None:
    model = ScriptedModel(["a reply of many pieces"], chunk=1)
    reading = chat_fn(model)("hello", [])
    assert next(reading) == "a"
    reading.close()
    assert model._open == 0


def test_an_empty_message_is_refused() -> None:
    for empty in ("", "  \n", {"text": "", "files": []}):
        with pytest.raises(UsageError, match="the message is empty"):
            list(chat_fn("scripted:echo")(empty, []))


def test_nothing_is_cut_silently_when_the_history_does_not_fit() -> None:
    history = [[f"question {n} " + "word " * 60, f"answer {n}"] for n in range(10)]
    spec = "scripted:echo?context_length=300"
    with pytest.raises(DoesNotFitError, match="dropping the oldest"):
        list(chat_fn(spec)("so?", history))
    assert list(chat_fn(spec, overflow="drop_oldest")("so?", history))[-1] == "so?"
