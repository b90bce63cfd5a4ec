"""Tools for models whose template has no place for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import BadReplyError, UsageError
from whetstone.models import drain, load_model, reply
from whetstone.models.llamacpp_model import LlamaCppModel
from whetstone.models.llamacpp_prompt import native_tool_choice
from whetstone.models.tool_form import calls_in, in_tool_form, offers_tools, read_form
from whetstone.types import Chunk, Message, Options, ToolCall, assistant, system, user


def tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = tool("get_weather", "The weather of a city now", city={"type": "string"})
ADD = tool("add", "Adds two numbers", a={"type": "number"}, b={"type": "number"})
TOOLS = (WEATHER, ADD)
CALL = {"id": "call_0", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "서울"}'}}
CALLED: list[Message] = [
    user("Will it rain in Seoul?"),
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_0", "content": "18 degrees"},
]


def read(text: str, cut: int = 1000, finish: Any = "stop") -> Any:
    pieces = [Chunk(text=text[at : at + cut]) for at in range(0, len(text), cut)]
    return drain(read_form(iter([*pieces, Chunk(finish_reason=finish)])))


# What is asked


def test_the_tools_join_the_system_message() -> None:
    said, options = in_tool_form([system("Be brief."), user("hi")], Options(tools=TOOLS, temperature=0.5))
    assert [message["role"] for message in said] == ["system", "user"]
    text = str(said[0]["content"])
    assert text.startswith("Be brief.\n")
    assert "get_weather: The weather of a city now" in text
    assert json.dumps(ADD["function"]["parameters"]) in text
    assert (options.tools, options.temperature) == ((), 0.5)
    assert in_tool_form([user("hi")], Options(tools=TOOLS))[0][0]["role"] == "system"


@pytest.mark.parametrize(
    ("choice", "forms"),
    [
        (None, ["get_weather", "add", "reply"]),
        ("auto", ["get_weather", "add", "reply"]),
        ("required", ["get_weather", "add"]),
        ("add", ["add"]),
    ],
)
def test_the_schema_allows_what_the_choice_says(choice: str | None, forms: list[str]) -> None:
    _, options = in_tool_form([user("hi")], Options(tools=TOOLS, tool_choice=choice))
    assert options.json_schema is not None
    schemas = options.json_schema.get("anyOf", [options.json_schema])
    assert [form["properties"].get("tool", {"const": "reply"})["const"] for form in schemas] == forms


@pytest.mark.parametrize("messages", [[user("hi")], [user("hi"), assistant("I th")]])
def test_nothing_is_constrained_when_no_call_can_come(messages: list[Message]) -> None:
    choice = "none" if len(messages) == 1 else None
    asked = Options(tools=TOOLS, tool_choice=choice)
    said, options = in_tool_form(messages, asked)
    assert said == messages
    assert options == Options()
    assert not offers_tools(messages, asked)


def test_after_calls_a_reply_without_tools_is_constrained_to_words() -> None:
    asked = Options(tools=TOOLS, tool_choice="none")
    said, options = in_tool_form(CALLED, asked)
    assert offers_tools(CALLED, asked)
    assert options.json_schema is not None
    assert list(options.json_schema["properties"]) == ["reply"]
    assert "get_weather: The weather of a city now" in str(said[0]["content"])  # the prompt begins as it did before


def test_calls_and_results_are_written_out_for_every_template() -> None:
    said, _ = in_tool_form([*CALLED, user("And tomorrow?")], Options())
    assert said == [
        user("Will it rain in Seoul?"),
        assistant('{"tool": "get_weather", "arguments": {"city": "서울"}}'),
        user("The result of get_weather: 18 degrees\nAnd tomorrow?"),
    ]
    assert calls_in(CALLED) == 1
    answered = [*CALLED, assistant("No."), user("Sure?")]
    assert in_tool_form(answered, Options())[0][3] == assistant("No.")
    assert in_tool_form(answered, Options(tools=TOOLS))[0][4] == assistant('{"reply": "No."}')


def test_a_conversation_without_tools_is_left_alone() -> None:
    messages = [system("a"), user("b"), user("c"), assistant("d"), user("e")]
    assert in_tool_form(messages, Options(seed=1)) == (messages, Options(seed=1))


@pytest.mark.parametrize("form", [in_tool_form, lambda _, options: native_tool_choice(options)])
def test_a_tool_that_is_not_there_cannot_be_chosen(form: Any) -> None:
    with pytest.raises(UsageError, match="tool_choice names the tool nosuch"):
        form([user("hi")], Options(tools=TOOLS, tool_choice="nosuch"))


def test_a_tool_without_a_name_is_refused() -> None:
    with pytest.raises(UsageError, match="a tool has no name"):
        in_tool_form([user("hi")], Options(tools=({"name": "f"},)))


def test_llamacpp_is_offered_only_the_tool_that_is_chosen() -> None:
    options = native_tool_choice(Options(tools=TOOLS, tool_choice="add"))
    assert (options.tools, options.tool_choice) == ((ADD,), "required")
    assert native_tool_choice(Options(tools=TOOLS, tool_choice="auto")).tools == TOOLS


# What is read

WORDS = 'So "it" is 서울 👩‍👩‍👧 \\ \n\t/ é {"a": 1}'


@given(cut=st.integers(1, 9), ascii_only=st.booleans())
def test_words_are_streamed_wherever_the_stream_is_cut(cut: int, ascii_only: bool) -> None:
    text = json.dumps({"reply": WORDS}, ensure_ascii=ascii_only)
    answer = read(text, cut)
    assert (answer.text, answer.tool_calls, answer.finish_reason) == (WORDS, (), "stop")
    pieces = [chunk.text for chunk in read_form(iter(Chunk(text=text[n : n + cut]) for n in range(0, len(text), cut)))]
    assert "".join(pieces) == WORDS
    assert len([piece for piece in pieces if piece]) > 3
    assert all(piece.encode() for piece in pieces)  # no half of a surrogate pair


@pytest.mark.parametrize("cut", [1, 5, 1000])
def test_a_call_is_read_whole(cut: int) -> None:
    answer = read(' {"tool": "get_weather", "arguments": {"city": "서울"}}', cut)
    assert answer.tool_calls == (ToolCall("call_0", "get_weather", '{"city": "서울"}'),)
    assert (answer.text, answer.finish_reason) == ("", "tool_calls")


def test_a_reply_that_was_to_be_json_itself_is_its_text() -> None:
    assert read('{"reply": {"price": 4}}').text == '{"price": 4}'


def test_what_was_cut_off_keeps_its_words_and_calls_nothing() -> None:
    assert read('{"reply": "It is \\u00', finish="length").text == "It is "
    answer = read('{"tool": "add", "arguments": {"a": 1', finish="length")
    assert (answer.text, answer.tool_calls, answer.finish_reason) == ("", (), "length")


@pytest.mark.parametrize("text", ["", "It is 4.", "[1]", '{"tool": "add"}', '{"reply": "a'])
def test_a_complete_reply_of_another_form_is_bad(text: str) -> None:
    with pytest.raises(BadReplyError, match="neither words nor the call of a tool"):
        read(text)


# The embedded model


@pytest.fixture(scope="module")
def smollm2() -> Iterator[LlamaCppModel]:
    model = load_model("smollm2?context=1024")
    assert isinstance(model, LlamaCppModel)
    yield model
    model.close()


def ask(model: LlamaCppModel, messages: list[Message], choice: str | None = None) -> Any:
    return reply(model, messages, Options(temperature=0, max_tokens=40, tools=TOOLS, tool_choice=choice))


def test_the_embedded_model_calls_the_right_tool(smollm2: LlamaCppModel) -> None:
    weather = ask(smollm2, [user("What is the weather in Paris?")])
    assert weather.tool_calls == (ToolCall("call_0", "get_weather", '{"city": "Paris"}'),)
    assert weather.finish_reason == "tool_calls"
    (added,) = ask(smollm2, [user("What is 17 plus 25?")]).tool_calls
    assert (added.name, json.loads(added.arguments)) == ("add", {"a": 17, "b": 25})


def test_the_embedded_model_keeps_to_the_choice(smollm2: LlamaCppModel) -> None:
    question = [user("Say hello to Anna.")]
    answered = ask(smollm2, question)
    assert "Anna" in answered.text
    assert not answered.tool_calls
    assert not answered.text.startswith("{")
    assert [call.name for call in ask(smollm2, question, "add").tool_calls] == ["add"]
    assert ask(smollm2, question, "required").tool_calls
    free = ask(smollm2, question, "none")
    assert free.text == reply(smollm2, question, Options(temperature=0, max_tokens=40)).text


def test_the_embedded_model_goes_on_after_a_result(smollm2: LlamaCppModel) -> None:
    options = Options(temperature=0, max_tokens=40, tools=TOOLS)
    text = smollm2.render(CALLED, options)
    assert "The result of get_weather: 18 degrees" in text
    answer = reply(smollm2, CALLED, options)
    assert answer.usage.prompt_tokens == smollm2.count_tokens(CALLED, options)
    assert [call.id for call in ask(smollm2, CALLED, "required").tool_calls] == ["call_1"]
