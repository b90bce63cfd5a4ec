"""The client for OpenAI-compatible endpoints, against a real server that misbehaves."""

from __future__ import annotations

import email.utils
import json
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from misbehaving_server import (
    Behaviour,
    Exchange,
    Meeting,
    MisbehavingServer,
    drops,
    half,
    page,
    says,
    silent,
    silent_after,
    status,
)
from whetstone.errors import (
    BadReplyError,
    ContextTooLongError,
    LoginError,
    ModelConnectionError,
    ModelError,
    ModelTimeoutError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    UnknownModelError,
    UsageError,
)
from whetstone.models import ChatModel, drain, openai_attempt, replies, reply
from whetstone.models.base import CompletionModel
from whetstone.models.openai_api import OpenAIModel
from whetstone.models.openai_wire import WholeCharacters
from whetstone.types import ModelIdentity, Options, TokenLogprob, ToolCall, Usage, assistant, user

KEY = "sk-secret-0123456789"
AGAIN = {"Retry-After": "0"}


def model_at(server: MisbehavingServer, **settings: Any) -> OpenAIModel:
    defaults: dict[str, Any] = {"api_key": KEY, "key_env": "TEST_API_KEY", "timeout": 20}
    return OpenAIModel(identity=ModelIdentity("test:m", "openai", "m"), base_url=server.url, **{**defaults, **settings})


def ask(model: ChatModel, text: str = "hi", options: Options = Options()) -> str:  # noqa: B008
    return reply(model, [user(text)], options).text


def test_a_reply_arrives_whole_with_finish_reason_and_usage() -> None:
    cached = {"prompt_tokens_details": {"cached_tokens": 4}}
    with MisbehavingServer(says("The price is $42.", **cached)) as server:
        model = model_at(server)
        assert isinstance(model, ChatModel)
        answer = reply(model, [user("how much?")])
    assert answer.text == "The price is $42."
    assert answer.finish_reason == "stop"
    assert answer.usage == Usage(prompt_tokens=7, completion_tokens=17, cached_tokens=4)
    asked = server.asked[0]
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "how much?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_every_option_reaches_the_endpoint() -> None:
    schema = {"type": "object", "properties": {"price": {"type": "number"}}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    options = Options(
        temperature=0, top_p=0.5, max_tokens=9, seed=3, stop=("\n",), json_schema=schema, top_logprobs=2, tools=(tool,)
    )
    with MisbehavingServer(says("1")) as server:
        ask(model_at(server, extra_body={"cache_prompt": True}), options=options)
        ask(model_at(server, max_tokens_field="max_completion_tokens"), options=Options(max_tokens=9))
    sent = server.asked[0].body
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["seed"]) == (0, 0.5, 9, 3)
    assert sent["stop"] == ["\n"]
    assert sent["response_format"]["json_schema"] == {"name": "reply", "schema": schema, "strict": True}
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)
    assert sent["tools"] == [tool]
    assert sent["cache_prompt"] is True
    assert "tool_choice" not in sent
    assert server.asked[1].body["max_completion_tokens"] == 9
    assert "max_tokens" not in server.asked[1].body


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("choice", ["auto", "none", "required", "look"])
def test_the_choice_of_a_tool_and_penalties_reach_the_endpoint(choice: str) -> None:
    options = Options(tools=(TOOL,), tool_choice=choice, frequency_penalty=0.5, presence_penalty=-1)
    with MisbehavingServer(says("1")) as server:
        ask(model_at(server), options=options)
        ask(model_at(server), options=Options(tool_choice=choice))
    named = {"type": "function", "function": {"name": "look"}}
    sent = server.asked[0].body
    assert sent["tool_choice"] == (named if choice == "look" else choice)
    assert (sent["frequency_penalty"], sent["presence_penalty"]) == (0.5, -1)
    assert "tool_choice" not in server.asked[1].body  # endpoints refuse it without tools


def completion(exchange: Exchange) -> None:
    """A plain completion with log-probabilities in the older form, and a character cut into surrogate halves."""
    exchange.begin()
    logprobs = {"tokens": [" Par", "is"], "token_logprobs": [-0.1, -0.2], "top_logprobs": [{" Par": -0.1}, None]}
    exchange.event({"choices": [{"text": " Paris", "index": 0, "logprobs": logprobs, "finish_reason": None}]})
    exchange.event('{"choices": [{"text": "\\ud83d", "index": 0, "finish_reason": null}]}')
    exchange.event('{"choices": [{"text": "\\ude00", "index": 0, "finish_reason": "length"}]}')
    exchange.usage(prompt_tokens=5, completion_tokens=3)
    exchange.end()


def test_a_plain_prompt_is_continued() -> None:
    options = Options(max_tokens=3, temperature=0, stop=(".",), top_logprobs=1, seed=2)
    with MisbehavingServer(completion) as server:
        model = model_at(server, max_tokens_field="max_completion_tokens")
        assert isinstance(model, CompletionModel)
        answer = drain(model.complete("The capital of France is", options))
        drain(model.complete([1, 2, 3]))
        with pytest.raises(UsageError, match="belong to chats"):
            model.complete("x", Options(tools=(TOOL,)))
    assert (answer.text, answer.finish_reason) == (" Paris😀", "length")
    assert answer.usage == Usage(5, 3)
    assert answer.logprobs == (TokenLogprob(" Par", -0.1, None, ((" Par", -0.1),)), TokenLogprob("is", -0.2))
    assert server.asked[0].path == "/v1/completions"
    assert server.asked[0].body == {
        "model": "m",
        "prompt": "The capital of France is",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "seed": 2,
        "max_tokens": 3,
        "stop": ["."],
        "logprobs": 1,
    }
    assert server.asked[1].body["prompt"] == [1, 2, 3]


def test_an_endpoint_without_plain_completions_says_so() -> None:
    with MisbehavingServer(status(404, {"error": {"message": "no such path"}})) as server, pytest.raises(ModelError):
        drain(model_at(server).complete("x"))


def test_an_option_that_the_endpoint_does_not_have_is_refused_before_anything_is_sent() -> None:
    with MisbehavingServer(says("1")) as server:
        model = model_at(server, unsupported={"seed"})
        with pytest.raises(UsageError, match="does not support seed"):
            ask(model, options=Options(seed=1))
        assert ask(model, options=Options(seed=None, temperature=0)) == "1"
    assert len(server.asked) == 1


def test_a_last_assistant_message_is_continued_or_refused() -> None:
    messages = [user("count"), assistant("1, 2,")]
    with MisbehavingServer(says(" 3")) as server:
        assert reply(model_at(server, continue_body={"continue_final_message": True}), messages).text == " 3"
        with pytest.raises(RequestRefusedError, match="cannot continue"):
            reply(model_at(server, continue_body=None), messages)
    assert server.asked[0].body["continue_final_message"] is True


def test_reasoning_tool_calls_and_logprobs_are_read() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.delta(role="assistant", content=None, reasoning_content="let me ")
        exchange.delta(reasoning="see")
        top = [{"token": "4", "logprob": -0.1}, {"token": "5", "logprob": -2.5}]
        exchange.delta(
            content="4", logprobs={"content": [{"id": 19, "token": "4", "logprob": -0.1, "top_logprobs": top}]}
        )
        exchange.delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "look", "arguments": '{"x"'}}])
        exchange.delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "buy", "arguments": "{}"}}])
        exchange.delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}])
        exchange.delta("tool_calls")
        exchange.end()

    with MisbehavingServer(behave) as server:
        answer = reply(model_at(server), [user("hi")])
    assert answer.reasoning == "let me see"
    assert answer.logprobs == (TokenLogprob("4", -0.1, 19, (("4", -0.1), ("5", -2.5))),)
    assert answer.tool_calls == (ToolCall("a", "look", '{"x": 1}'), ToolCall("b", "buy", "{}"))
    assert answer.finish_reason == "tool_calls"


def test_parallel_tool_calls_that_share_an_index_are_told_apart_by_id() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        for name in ("a", "b"):
            exchange.delta(tool_calls=[{"index": 0, "id": name, "function": {"name": name, "arguments": "{}"}}])
        exchange.delta("tool_calls")
        exchange.end()

    with MisbehavingServer(behave) as server:
        assert [c.name for c in reply(model_at(server), [user("hi")]).tool_calls] == ["a", "b"]


def test_characters_cut_by_the_network_or_inside_json_strings_come_out_whole() -> None:
    text = "값은 42원 👩‍👩‍👧‍👦 €"

    def byte_by_byte(exchange: Exchange) -> None:
        exchange.begin()
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        content = f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n".encode()
        for position in range(len(content)):
            exchange.send(content[position : position + 1])
        # An emoji as two JSON strings that hold half a surrogate pair each, the second of them followed by text.
        exchange.event('{"choices": [{"index": 0, "delta": {"content": "a\\ud83d"}}]}')
        exchange.event('{"choices": [{"index": 0, "delta": {"content": "\\ude00b"}}]}')
        exchange.event('{"choices": [{"index": 0, "delta": {"content": "\\ud83d"}, "finish_reason": "stop"}]}')
        exchange.end()

    with MisbehavingServer(byte_by_byte) as server:
        chunks = list(model_at(server).stream([user("hi")]))
    assert "".join(c.text for c in chunks) == text + "a😀b�"
    for chunk in chunks:
        chunk.text.encode()  # a lone surrogate cannot be encoded


@given(st.text(), st.lists(st.integers(0, 40)))
def test_text_cut_at_any_utf_16_unit_is_put_together_again(text: str, cuts: list[int]) -> None:
    units = text.encode("utf-16-le")
    ends = sorted({*(2 * cut for cut in cuts if 2 * cut < len(units)), len(units)})
    pieces = [
        units[start:end].decode("utf-16-le", "surrogatepass") for start, end in zip([0, *ends], ends, strict=False)
    ]
    whole = WholeCharacters()
    shown = [*(whole.feed(piece) for piece in pieces), whole.finish()]
    assert "".join(shown) == text
    for piece in shown:
        piece.encode()  # no half of a pair


def test_a_rate_limit_is_waited_for_and_asked_again() -> None:
    soon = email.utils.format_datetime(email.utils.localtime(), usegmt=False)
    plan = (
        status(429, headers={"Retry-After": "0.05"}),
        status(429, headers={"Retry-After": soon}),
        status(529, headers={"retry-after-ms": "10"}),
        says("42"),
    )
    with MisbehavingServer(*plan) as server:
        assert ask(model_at(server)) == "42"
    assert len(server.asked) == 4


def test_without_retry_after_the_delay_grows() -> None:
    with MisbehavingServer(status(500), says("42")) as server:
        assert ask(model_at(server)) == "42"
    assert len(server.asked) == 2


def test_a_wait_beyond_the_cap_is_not_waited_for() -> None:
    refusal = status(429, {"message": "Slow down"}, headers={"Retry-After": "3600"})
    with MisbehavingServer(refusal) as server, pytest.raises(RateLimitError, match=r"Slow down.*concurrency"):
        ask(model_at(server))
    assert len(server.asked) == 1


@pytest.mark.parametrize("behaviour", [status(503, headers=AGAIN), status(429, headers=AGAIN)])
def test_retries_end(behaviour: Behaviour) -> None:
    kinds = (ModelConnectionError, RateLimitError)
    with MisbehavingServer(behaviour) as server, pytest.raises(kinds, match="3 attempts"):
        ask(model_at(server, retries=2))
    assert len(server.asked) == 3


def test_a_connection_that_breaks_before_any_text_is_tried_again() -> None:
    def begins_only(exchange: Exchange) -> None:
        exchange.begin()
        exchange.delta(role="assistant", content="")
        exchange.drop()

    with MisbehavingServer(drops, begins_only, says("42")) as server:
        assert ask(model_at(server)) == "42"
    assert len(server.asked) == 3


def test_half_a_stream_is_an_error_that_says_how_much_had_arrived() -> None:
    with MisbehavingServer(half("The price is ")) as server:
        stream = model_at(server).stream([user("hi")])
        assert next(stream).text == "The price is "
        with pytest.raises(ModelConnectionError, match="after 13 characters"):
            next(stream)
    assert len(server.asked) == 1, "text that was shown must not be asked for again"


def test_a_stream_that_ends_in_good_order_but_without_finish_is_half_a_stream() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.delta(content="The pr")
        exchange.send(b"")

    with MisbehavingServer(behave) as server, pytest.raises(ModelConnectionError, match="after 6 characters"):
        ask(model_at(server))


def test_what_breaks_after_the_end_does_not_matter() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.delta(content="42")
        exchange.delta("stop")
        exchange.drop()

    with MisbehavingServer(behave) as server:
        assert ask(model_at(server)) == "42"


def test_an_answer_that_is_never_closed_ends_at_done() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.delta("stop", content="42")
        exchange.event("[DONE]")
        exchange.wait_until_gone()

    with MisbehavingServer(behave) as server:
        assert ask(model_at(server)) == "42"
        assert server.hung_up.wait(10)


def test_silence_is_a_timeout() -> None:
    with MisbehavingServer(silent) as server:
        with pytest.raises(ModelTimeoutError, match=r"within 0\.3 s.*timeout=SECONDS"):
            ask(model_at(server, timeout=0.3, retries=0))
        assert server.hung_up.wait(10)


def test_silence_in_the_middle_is_a_timeout_that_says_how_much_had_arrived() -> None:
    with MisbehavingServer(silent_after("The")) as server, pytest.raises(ModelTimeoutError, match="after 3 characters"):
        ask(model_at(server, timeout=0.3))


def test_nothing_listening_is_said_at_once() -> None:
    with MisbehavingServer(says("1")) as server:
        pass
    with pytest.raises(ModelConnectionError, match=r"nothing listens at .*is the server running") as caught:
        ask(model_at(server))
    assert "attempts" not in str(caught.value)


def test_a_server_that_restarts_is_waited_for() -> None:
    def says_goodbye(exchange: Exchange) -> None:
        says("42")(exchange)
        exchange.handler.close_connection = True

    with MisbehavingServer(says_goodbye) as server:
        model = model_at(server)
        assert ask(model) == "42"
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(ask(model)))
    asking.start()
    time.sleep(0.1)
    with MisbehavingServer(says("43"), port=server.port):
        asking.join(30)
    assert answers == ["43"]


def test_a_web_page_is_no_reply() -> None:
    with MisbehavingServer(page()) as server, pytest.raises(BadReplyError, match=r"text/html.*base_url"):
        ask(model_at(server))


def test_a_web_page_with_an_error_status_is_named_by_its_title() -> None:
    told = "502: a web page titled 'Bad gateway'"
    with MisbehavingServer(page(502, "Bad gateway")) as server, pytest.raises(ModelConnectionError, match=told):
        ask(model_at(server, retries=0))


@pytest.mark.parametrize(
    "event",
    [
        "{broken",
        '"text"',
        "[1]",
        '{"object": "list"}',
        '{"choices": [3]}',
        '{"choices": [{"delta": {"tool_calls": 1}}]}',
    ],
)
def test_events_that_are_no_chat_completion_are_a_bad_reply(event: str) -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event(event)
        exchange.end()

    with MisbehavingServer(behave) as server, pytest.raises(BadReplyError):
        ask(model_at(server))


def test_bytes_that_are_no_utf_8_do_not_end_the_stream_with_a_traceback() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.send(b'data: {"choices": [{"index": 0, "delta": {"content": "\xff"}, "finish_reason": "stop"}]}\n\n')
        exchange.end()

    with MisbehavingServer(behave) as server:
        assert ask(model_at(server)) == "�"


def test_a_reply_without_choices_is_a_bad_reply() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.usage(prompt_tokens=1)
        exchange.end()

    with MisbehavingServer(behave) as server, pytest.raises(BadReplyError, match="without choices"):
        ask(model_at(server))


def test_an_error_inside_a_stream_is_read_like_any_other() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event({"error": {"code": 429, "message": "Rate limit exceeded"}})

    with MisbehavingServer(behave) as server, pytest.raises(RateLimitError):
        ask(model_at(server, retries=0))


REFUSALS: list[tuple[int, object, type[ModelError], str]] = [
    (401, {"message": "Incorrect API key provided"}, LoginError, "TEST_API_KEY"),
    (403, {"message": "Country not supported"}, LoginError, "TEST_API_KEY"),
    (403, {"message": "Your input was flagged by moderation"}, RequestRefusedError, "flagged"),
    (402, {"message": "Insufficient Balance"}, QuotaError, "add credit"),
    (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}, QuotaError, "add credit"),
    (400, {"message": "Your credit balance is too low to access the API"}, QuotaError, "add credit"),
    (404, {"code": "model_not_found", "message": "The model `m` does not exist"}, UnknownModelError, "model's name"),
    (404, 'model "m" not found, try pulling it first', UnknownModelError, "pulling"),  # Ollama
    (400, {"message": "m is not a valid model ID", "code": 400}, UnknownModelError, "valid model"),  # OpenRouter
    (400, {"message": "Model Not Exist"}, UnknownModelError, "Not Exist"),  # DeepSeek
    (404, {"message": "File Not Found", "type": "not_found_error"}, ModelConnectionError, "base_url"),
    (400, {"message": "Unknown parameter: 'seed'"}, RequestRefusedError, "seed"),
    (422, {"message": "Input should be a valid list"}, RequestRefusedError, "valid list"),
    (501, {"message": "not implemented"}, ModelConnectionError, "not implemented"),
    # the prompt is too long, in the words of each of them
    (400, {"code": "context_length_exceeded", "message": "too many"}, ContextTooLongError, "shorten"),
    (400, {"message": "This model's maximum context length is 8192 tokens"}, ContextTooLongError, "shorten"),
    (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}, ContextTooLongError, "shorten"),
    (
        400,
        {"message": "input length and `max_tokens` exceed context limit: 199999 + 9 > 200000"},
        ContextTooLongError,
        "shorten",
    ),
    (
        400,
        {"type": "exceed_context_size_error", "message": "the request exceeds the available context size", "code": 400},
        ContextTooLongError,
        "shorten",
    ),
    (500, {"message": "the input exceeds the context window"}, ContextTooLongError, "shorten"),
    (
        400,
        {"message": "The decoder prompt (length 9) is longer than the maximum model length of 8"},
        ContextTooLongError,
        "shorten",
    ),
    (
        400,
        {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."},
        ContextTooLongError,
        "shorten",
    ),
    (
        400,
        "Trying to keep the first 9 tokens when context the overflows; 9 is greater than the context length",
        ContextTooLongError,
        "shorten",
    ),
    (413, {"message": "Request too large"}, ContextTooLongError, "shorten"),
    (400, {"message": "max_tokens is too large: this model supports 16384"}, RequestRefusedError, "16384"),
]


@pytest.mark.parametrize(("code", "error", "kind", "told"), REFUSALS)
def test_each_providers_words_become_our_error_at_the_first_attempt(
    code: int, error: object, kind: type[ModelError], told: str
) -> None:
    with MisbehavingServer(status(code, error)) as server, pytest.raises(ModelError, match=told) as caught:
        ask(model_at(server))
    assert type(caught.value) is kind
    assert len(server.asked) == 1


def test_an_option_that_the_model_refuses_can_be_omitted() -> None:
    error = {"code": "unsupported_value", "message": "'temperature' does not support 0 with this model."}
    with MisbehavingServer(status(400, error), says("42")) as server:
        with pytest.raises(UsageError, match=r"temperature.*omit=NAME"):
            ask(model_at(server), options=Options(temperature=0))
        assert ask(model_at(server, omit=["temperature"]), options=Options(temperature=0)) == "42"
    assert "temperature" not in server.asked[1].body


def test_an_error_wrapped_in_a_list_is_read() -> None:
    content = json.dumps(
        [{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}]
    ).encode()
    refusal: Behaviour = lambda exchange: exchange.answer(400, content, "application/json")  # noqa: E731
    with MisbehavingServer(refusal) as server, pytest.raises(LoginError, match="API key not valid"):
        ask(model_at(server))


def test_the_key_is_in_no_message_and_no_repr() -> None:
    with MisbehavingServer(status(401, {"message": f"Incorrect API key provided: {KEY}"})) as server:
        model = model_at(server)
        with pytest.raises(LoginError) as caught:
            ask(model)
        assert KEY not in str(caught.value)
        assert "[key]" in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None, "the cause would print the key in a traceback"
        assert KEY not in repr(model) + repr(model.identity)


@pytest.mark.parametrize("key", ["sk-äöü", "sk one", "sk\n"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(LoginError, match="TEST_API_KEY") as caught:
        OpenAIModel(
            identity=ModelIdentity("test:m", "openai", "m"), base_url="http://x/v1", api_key=key, key_env="TEST_API_KEY"
        )
    assert key not in str(caught.value)


def test_no_exception_of_the_libraries_underneath_is_unmapped() -> None:
    import httpx2
    import openai

    from whetstone.endpoints.failures import EXCEPTIONS

    by_status = openai.APIStatusError
    public = [c for m in (openai, openai._exceptions, httpx2) for n, c in vars(m).items() if not n.startswith("_")]
    classes = {c for c in public if isinstance(c, type) and issubclass(c, Exception)}
    websockets = {c for c in classes if c.__name__.startswith("WebSocket") and c.__module__.startswith("httpx2")}
    cookies = {httpx2.CookieConflict}  # raised by reading a cookie jar by name, which nothing here does
    ours = {c for c in classes if c.__module__.split(".")[0] in ("openai", "httpx2")} - websockets - cookies
    assert len(ours) > 30
    unmapped = sorted(c.__name__ for c in ours if not issubclass(c, by_status) and c.__name__ not in EXCEPTIONS)
    assert unmapped == []


def test_no_more_requests_are_open_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # A connection whose end is late is given up and replaced; on a busy machine it may be late by half a second.
    monkeypatch.setattr(openai_attempt, "GRACE", 60.0)
    with MisbehavingServer(Meeting(3)) as server:
        model = model_at(server, concurrency=3)
        answers = dict(replies(model, [[user(str(n))] for n in range(9)]))
    assert {index: r.text for index, r in answers.items() if not isinstance(r, ModelError)} == dict.fromkeys(
        range(9), "met"
    )
    assert server.most_at_once == 3
    assert server.connections == 3, "connections are used again"


def test_two_users_of_one_model_share_its_limit() -> None:
    with MisbehavingServer(says("42")) as server:
        model = model_at(server, concurrency=1)
        threads = [threading.Thread(target=ask, args=(model,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.asked) == 4
    assert server.most_at_once == 1


def test_requests_that_wait_for_their_retry_do_not_block_each_other_for_ever() -> None:
    plan = [status(429, headers={"Retry-After": "0.02"})] * 12
    with MisbehavingServer(*plan, says("42")) as server:
        answers = list(replies(model_at(server, concurrency=2, retries=20), [[user(str(n))] for n in range(6)]))
    assert len(answers) == 6


def test_closing_a_stream_stops_the_server() -> None:
    def endless(exchange: Exchange) -> None:
        exchange.begin()
        while True:
            exchange.delta(content="and so on ")
            time.sleep(0.01)

    with MisbehavingServer(endless, says("42")) as server:
        model = model_at(server, concurrency=1)
        stream = model.stream([user("hi")])
        assert next(stream).text == "and so on "
        stream.close()
        assert server.hung_up.wait(10)
        assert list(stream) == []
        assert ask(model) == "42", "the connection was given back"


def test_leaving_a_stream_behind_gives_its_connection_back() -> None:
    with MisbehavingServer(silent_after("The"), says("42")) as server:
        model = model_at(server, concurrency=1)
        for _ in model.stream([user("hi")]):
            break
        assert ask(model) == "42"
        assert server.hung_up.wait(10)


def waits_for_an_answer(server: MisbehavingServer) -> None:
    assert server.waiting.acquire(timeout=10)


@pytest.mark.parametrize(
    "behaviour",
    [silent, silent_after("The"), status(429, headers={"Retry-After": "100"})],
    ids=["head", "body", "delay"],
)
def test_a_stream_is_stopped_from_another_thread_whatever_it_waits_for(behaviour: Behaviour) -> None:
    with MisbehavingServer(behaviour) as server:
        stream = model_at(server).stream([user("hi")])
        ended = threading.Event()

        def consume() -> None:
            drain(stream)
            ended.set()

        threading.Thread(target=consume, daemon=True).start()
        waits_for_an_answer(server)
        stream.close()
        assert ended.wait(10)


def test_a_stream_that_waits_for_its_turn_can_be_stopped() -> None:
    with MisbehavingServer(silent_after("The")) as server:
        model = model_at(server, concurrency=1)
        first = model.stream([user("hi")])
        next(first)
        second = model.stream([user("hi")])
        consumer = threading.Thread(target=drain, args=(second,), daemon=True)
        consumer.start()
        second.close()
        consumer.join(10)
        assert not consumer.is_alive()
        first.close()


def test_a_model_that_is_closed_ends_its_streams_with_an_error() -> None:
    with MisbehavingServer(silent_after("The")) as server:
        model = model_at(server)
        stream = model.stream([user("hi")])
        next(stream)
        model.close()
        model.close()
        with pytest.raises(ModelConnectionError, match="closed"):
            next(stream)


def test_control_c_ends_a_program_that_waits_for_a_silent_server() -> None:
    program = """
import sys
from whetstone.models import load_model, replies
from whetstone.types import user
model = load_model(f"openai:m?base_url={sys.argv[1]}&concurrency=2")
try:
    list(replies(model, [[user(str(n))] for n in range(5)]))
except KeyboardInterrupt:
    print("stopped")
"""
    with MisbehavingServer(silent) as server:
        process = subprocess.Popen([sys.executable, "-c", program, server.url], stdout=subprocess.PIPE, text=True)
        try:
            assert server.waiting.acquire(timeout=60)
            assert server.waiting.acquire(timeout=60)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
        assert out == "stopped\n"
        assert server.hung_up.wait(10)
    assert len(server.asked) == 2
