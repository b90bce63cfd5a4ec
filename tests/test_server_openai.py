"""The official `openai` client against a real server, with scripted models and with the embedded one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest

from running_server import Running, app_of, pool_of, running
from whetstone.embeddings import load_embedder
from whetstone.models import load_model
from whetstone.models.scripted import ScriptedModel
from whetstone.models.scripted_plan import FAULTS, Planned, PlannedCall
from whetstone.server.app import create_app

HELLO: Any = [{"role": "user", "content": "hello"}]
KOREAN = "안녕하세요 👋🏽 \u2028 done"
TIE: Any = {
    "type": "function",
    "function": {
        "name": "stock",
        "description": None,  # as `llm` sends it
        "parameters": {
            "type": "object",
            "properties": {"item": {"type": "string"}},
            "required": ["item"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    planned = ScriptedModel(
        [
            Planned(match="^korean$", reply=KOREAN),
            Planned(match="^think$", reply="4", reasoning="two and two"),
            Planned(match="^tie$", tool_calls=(PlannedCall(name="stock", arguments={"item": "tie"}, id="call_7"),)),
            Planned(match="^half$", reply="this breaks off in the middle", fault="half_stream"),
            *(Planned(match=f"^{fault}$", fault=fault) for fault in FAULTS if fault != "half_stream"),
        ],
        chunk=3,
        concurrency=64,
    )
    models = {"echo": load_model("scripted:echo?concurrency=64"), "planned": planned}
    with running(app_of(models)) as serving:
        yield serving


@pytest.fixture(scope="module")
def embedded() -> Iterator[Running]:
    with running(create_app(pool_of({"smollm2": load_model("smollm2?context=1024&slots=2")}))) as serving:
        yield serving


def ask(server: Running, text: str, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return server.openai.chat.completions.create(model=more.pop("model", "planned"), messages=messages, **more)


# Models


def test_models_are_listed_and_found(server: Running) -> None:
    assert [model.id for model in server.openai.models.list()] == ["echo", "planned"]
    assert server.openai.models.retrieve("planned").owned_by == "whetstone"
    with pytest.raises(openai.NotFoundError) as caught:
        server.openai.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"
    assert "echo, planned" in caught.value.message


# Chats


def test_a_whole_answer_has_text_reason_and_counts(server: Running) -> None:
    answer = ask(server, "korean")
    assert answer.choices[0].message.content == KOREAN
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "planned"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_stream_gives_the_same_text_in_whole_characters(server: Running) -> None:
    events = list(ask(server, "korean", stream=True, stream_options={"include_usage": True}))
    texts = [event.choices[0].delta.content or "" for event in events if event.choices]
    assert "".join(texts) == KOREAN
    assert len(texts) > 3
    assert events[0].choices[0].delta.role == "assistant"
    assert [event.choices[0].finish_reason for event in events if event.choices][-1] == "stop"
    assert events[-1].choices == []
    assert events[-1].usage == ask(server, "korean").usage
    assert len({event.id for event in events}) == 1


def test_no_line_of_a_stream_can_be_cut_by_what_the_text_holds(server: Running) -> None:
    body = {"model": "planned", "stream": True, "messages": [{"role": "user", "content": "korean"}]}
    lines = server.http.post("/v1/chat/completions", json=body).text.splitlines()
    assert all(line.startswith("data: ") for line in lines if line)
    assert lines[-2:] == ["data: [DONE]", ""]


def test_usage_comes_only_when_asked_for(server: Running) -> None:
    assert all(event.usage is None for event in ask(server, "korean", stream=True))


def test_reasoning_is_kept_apart(server: Running) -> None:
    assert ask(server, "think").choices[0].message.reasoning_content == "two and two"
    deltas = [event.choices[0].delta for event in ask(server, "think", stream=True)]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "two and two"
    assert "".join(delta.content or "" for delta in deltas) == "4"


def test_a_tool_is_called_and_its_answer_can_be_sent_back(server: Running) -> None:
    answer = ask(server, "tie", tools=[TIE])
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    assert message.content is None
    assert (message.tool_calls[0].id, message.tool_calls[0].function.name) == ("call_7", "stock")
    assert json.loads(message.tool_calls[0].function.arguments) == {"item": "tie"}
    history: Any = [
        {"role": "user", "content": "tie"},
        message.model_dump(),  # with all its nulls, as clients do
        {"role": "tool", "tool_call_id": "call_7", "content": "3 left"},
        {"role": "user", "content": "korean"},
    ]
    again = server.openai.chat.completions.create(model="planned", messages=history, tools=[TIE])
    assert again.choices[0].message.content == KOREAN


def test_a_tool_call_is_streamed(server: Running) -> None:
    with server.openai.chat.completions.stream(
        model="planned", messages=[{"role": "user", "content": "tie"}], tools=[TIE]
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"item": "tie"}'


def test_log_probabilities_have_bytes_and_as_many_alternatives_as_asked_for(server: Running) -> None:
    answer = ask(server, "one 두", model="echo", logprobs=True, top_logprobs=2)
    tokens = answer.choices[0].logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == "one 두"
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)
    streamed = [
        token
        for event in ask(server, "one 두", model="echo", logprobs=True, top_logprobs=2, stream=True)
        for token in (event.choices[0].logprobs.content if event.choices[0].logprobs else ())
    ]
    assert streamed == tokens
    assert all(
        token.top_logprobs == []
        for token in ask(server, "one", model="echo", logprobs=True).choices[0].logprobs.content
    )


def test_several_answers_have_their_own_seeds(server: Running) -> None:
    answer = ask(server, "hello", model="echo", n=3, seed=40)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    model = server.app.state.engine.pool.get("echo")
    assert {asked.options.seed for asked in model.asked[-3:]} == {40, 41, 42}
    one = ask(server, "hello", model="echo").usage
    assert answer.usage.prompt_tokens == one.prompt_tokens
    assert answer.usage.completion_tokens == 3 * one.completion_tokens


def test_several_answers_are_streamed_side_by_side(server: Running) -> None:
    texts = {0: "", 1: ""}
    for event in ask(server, "korean", n=2, stream=True):
        texts[event.choices[0].index] += event.choices[0].delta.content or ""
    assert texts == {0: KOREAN, 1: KOREAN}


def test_stop_cuts_the_answer(server: Running) -> None:
    assert ask(server, "one two three", model="echo", stop=" two").choices[0].message.content == "one"
    assert ask(server, "one two three", model="echo", stop=["x", " three"]).choices[0].message.content == "one two"


def test_both_names_of_the_length_limit_cut_the_answer(server: Running) -> None:
    for limit in ({"max_tokens": 1}, {"max_completion_tokens": 1}):
        choice = ask(server, "one two three", model="echo", **limit).choices[0]
        assert (choice.message.content, choice.finish_reason) == ("one", "length")


def test_the_options_reach_the_model(server: Running) -> None:
    ask(
        server,
        "{}",
        model="echo",
        temperature=0.5,
        top_p=0.9,
        presence_penalty=1,
        frequency_penalty=-1,
        response_format={"type": "json_object"},
        tools=[TIE],
        tool_choice={"type": "function", "function": {"name": "stock"}},
    )
    options = server.app.state.engine.pool.get("echo").asked[-1].options
    assert (options.temperature, options.top_p) == (0.5, 0.9)
    assert (options.presence_penalty, options.frequency_penalty) == (1, -1)
    assert options.json_schema == {"type": "object"}
    assert options.tool_choice == "stock"
    assert "description" not in options.tools[0]["function"]


def test_bookkeeping_fields_are_accepted(server: Running) -> None:
    answer = ask(server, "hello", model="echo", user="me", metadata={"a": "b"}, store=False, service_tier="auto")
    assert answer.choices[0].message.content == "hello"


def test_what_open_webui_sends_is_answered(server: Running) -> None:
    answer = server.chat(
        model="echo",
        stream=False,
        max_tokens=1000,
        metadata={"task": "title_generation", "chat_id": "1"},
        chat_id="1",
        session_id="2",
        background_tasks={"title_generation": True},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logit_bias", {"5": 1}),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("top_k", 40),
        ("parallel_tool_calls", False),
        ("reasoning_effort", "high"),
        ("no_such_field", 1),
    ],
)
def test_a_field_that_would_change_the_answer_is_refused_by_name(server: Running, field: str, value: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(server, "hello", model="echo", extra_body={field: value})
    assert field in caught.value.message
    assert caught.value.param == field


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"n": 99}, "n"),
        ({"n": 0}, "n"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"seed": 2**64}, "seed"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TIE], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"model": 5}, "model"),
    ],
)
def test_what_is_wrong_is_named(server: Running, changes: dict[str, Any], param: str) -> None:
    answer = server.chat(**changes)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert "\n" not in error["message"]


# Failures of models


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("login", 502, "upstream_login_failed"),
        ("quota", 429, "insufficient_quota"),
        ("rate_limit", 429, "rate_limit_exceeded"),
        ("unknown_model", 404, "model_not_found"),
        ("context_too_long", 400, "context_length_exceeded"),
        ("timeout", 504, "upstream_timeout"),
        ("connection", 502, "upstream_unreachable"),
        ("bad_reply", 502, "upstream_bad_reply"),
        ("refused", 400, "request_refused"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_failure_of_a_model_has_its_status_and_code(
    server: Running, fault: str, status: int, code: str, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(server, fault, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert "planned fault" in caught.value.message
    assert ("retry-after" in caught.value.response.headers) == (fault == "rate_limit")


def test_a_failure_in_mid_stream_keeps_what_came_and_is_told(server: Running) -> None:
    came: list[str] = []
    with pytest.raises(openai.APIError, match="planned fault") as caught:
        came.extend(event.choices[0].delta.content or "" for event in ask(server, "half", stream=True))
    assert "".join(came) == "this breaks of"
    assert caught.value.code == "upstream_unreachable"


# Plain completions


def test_prompts_are_continued_each_with_its_answers(server: Running) -> None:
    answer = server.openai.completions.create(model="echo", prompt=["one", "two"], n=2)
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (0, "one"),
        (1, "one"),
        (2, "two"),
        (3, "two"),
    ]
    events = server.openai.completions.create(model="echo", prompt="one two", stream=True)
    assert "".join(event.choices[0].text for event in events) == "one two"


def test_plain_completions_have_log_probabilities_in_their_own_form(server: Running) -> None:
    logprobs = server.openai.completions.create(model="echo", prompt="one two", logprobs=1).choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or ()) == "one two"
    assert logprobs.text_offset == [0, 3]
    assert [len(top) for top in logprobs.top_logprobs or ()] == [1, 1]


@pytest.mark.parametrize("extra", [{"echo": True}, {"suffix": "x"}, {"best_of": 3}, {"prompt": ""}, {"prompt": []}])
def test_what_plain_completions_cannot_do_is_refused(server: Running, extra: dict[str, Any]) -> None:
    answer = server.http.post("/v1/completions", json={"model": "echo", "prompt": "x", **extra})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in extra


# Embeddings


def test_embeddings_are_those_of_the_embedder_in_both_encodings(server: Running) -> None:
    expected = load_embedder("minilm").embed(["a red tie", "넥타이"])
    packed = server.openai.embeddings.create(model="minilm", input=["a red tie", "넥타이"])  # asks for base64
    plain = server.openai.embeddings.create(model="minilm", input=["a red tie", "넥타이"], encoding_format="float")
    for answer in (packed, plain):
        assert np.array_equal(np.array([entry.embedding for entry in answer.data], dtype=np.float32), expected)
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 5
    raw = server.http.post("/v1/embeddings", json={"input": "a red tie", "encoding_format": "base64"}).json()
    assert np.array_equal(np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), "<f4"), expected[0])


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty"),
        ({"input": [1, 2]}, "input", "token ids"),
        ({"input": [[1], [2]]}, "input", "token ids"),
        ({"input": ["fine", "word " * 300]}, "input", r"input\[1\] has 302 tokens"),
        ({"dimensions": 256}, "dimensions", "384"),
        ({"model": "text-embedding-3-small"}, "model", "minilm"),
    ],
)
def test_what_cannot_be_embedded_is_refused(server: Running, changes: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(openai.APIStatusError, match=said) as caught:
        server.openai.embeddings.create(**{"model": "minilm", "input": "x", **changes})
    assert caught.value.param == param


# Tokens


def test_tokens_go_out_and_come_back(embedded: Running) -> None:
    text = "a red tie <|im_end|>"
    tokens = embedded.http.post("/tokenize", json={"content": text}).json()["tokens"]
    assert embedded.http.post("/detokenize", json={"tokens": tokens}).json() == {"content": text}
    as_text = embedded.http.post("/tokenize", json={"content": text, "parse_special": False}).json()["tokens"]
    assert len(as_text) > len(tokens)
    pieces = embedded.http.post("/tokenize", json={"content": text, "with_pieces": True}).json()["tokens"]
    assert [entry["id"] for entry in pieces] == tokens
    assert "".join(entry["piece"] for entry in pieces) == text


def test_the_template_is_shown(embedded: Running) -> None:
    body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}
    prompt = embedded.http.post("/apply-template", json=body).json()["prompt"]
    assert prompt == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )


# The embedded model


def test_the_embedded_model_streams_what_it_says_whole(embedded: Running) -> None:
    question = "What is the capital of France? Answer in one word."
    whole = ask(embedded, question, model="smollm2", temperature=0, max_tokens=8)
    parts = ask(embedded, question, model="smollm2", temperature=0, max_tokens=8, stream=True)
    assert "".join(event.choices[0].delta.content or "" for event in parts) == whole.choices[0].message.content
    assert "Paris" in whole.choices[0].message.content


def test_the_embedded_model_repeats_itself_with_a_seed(embedded: Running) -> None:
    texts = [
        ask(embedded, "Name an animal.", model="smollm2", temperature=1, seed=seed, max_tokens=12)
        .choices[0]
        .message.content
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_the_embedded_model_keeps_to_a_schema(embedded: Running) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "in_europe": {"type": "boolean"}},
        "required": ["city", "in_europe"],
        "additionalProperties": False,
    }
    answer = ask(
        embedded,
        "The capital of France, as JSON.",
        model="smollm2",
        temperature=0,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
    )
    found = json.loads(answer.choices[0].message.content)
    assert set(found) == {"city", "in_europe"}
    assert isinstance(found["in_europe"], bool)


def test_the_embedded_model_calls_a_tool_and_reads_its_answer(embedded: Running) -> None:
    question: Any = {"role": "user", "content": "How many red ties are in stock?"}
    tool: Any = {
        "type": "function",
        "function": {**TIE["function"], "name": "get_stock", "description": "How many of an item the shop has"},
    }
    asked: dict[str, Any] = {"model": "smollm2", "tools": [tool], "temperature": 0, "max_tokens": 60}
    answer = embedded.openai.chat.completions.create(messages=[question], tool_choice="required", **asked)
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    assert message.tool_calls
    assert set(json.loads(message.tool_calls[0].function.arguments)) == {"item"}
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "12"}
    history: Any = [question, message.model_dump(), result]
    final = embedded.openai.chat.completions.create(messages=history, **asked)
    assert "12" in (final.choices[0].message.content or "")


def test_the_embedded_model_gives_log_probabilities(embedded: Running) -> None:
    choice = ask(embedded, "Hi", model="smollm2", temperature=0, max_tokens=5, logprobs=True, top_logprobs=3).choices[0]
    tokens = choice.logprobs.content
    assert "".join(token.token for token in tokens) == choice.message.content
    assert all(token.top_logprobs[0].token == token.token and len(token.top_logprobs) == 3 for token in tokens)
    assert all(token.logprob <= 0 for token in tokens)


def test_the_embedded_model_continues_plain_text(embedded: Running) -> None:
    answer = embedded.openai.completions.create(
        model="smollm2", prompt="The capital of France is", max_tokens=2, temperature=0
    )
    assert answer.choices[0].text.startswith(" Paris")


def test_a_prompt_beyond_the_context_is_refused_with_its_size(embedded: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="1024") as caught:
        ask(embedded, "word " * 2000, model="smollm2", stream=True)
    assert caught.value.code == "context_length_exceeded"
