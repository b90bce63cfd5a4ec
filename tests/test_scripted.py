"""The scripted model: planned replies, delays and faults."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from whetstone.errors import (
    BadReplyError,
    ContextTooLongError,
    DataError,
    ModelConnectionError,
    ModelError,
    RateLimitError,
    RequestRefusedError,
    UsageError,
)
from whetstone.models import ChatModel, RenderingModel, drain, load_model, reply
from whetstone.models.base import CompletionModel, ContextModel
from whetstone.models.scripted import ScriptedModel
from whetstone.models.scripted_plan import FAULTS, Fault, Planned, PlannedCall, read_plan
from whetstone.types import Message, Options, TokenLogprob, ToolCall, Usage, assistant, system, user

PLAN = """
chunk: 2
replies:
  - match: "lamp|램프"
    reply: "$42"
  - match: broken
    fault: rate_limit
    times: 1
    reply: "then 7"
  - reply: first
  - reply: second
faults:
  5: connection
"""


def write_plan(folder: Path, text: str = PLAN) -> Path:
    path = folder / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def ask(model: ChatModel, text: str) -> str:
    return reply(model, [user(text)]).text


def test_it_is_a_model_that_shows_what_it_sees() -> None:
    model = ScriptedModel(["42"])
    assert isinstance(model, ChatModel)
    assert isinstance(model, RenderingModel)
    assert model.render([system("Be brief."), user("Hi")]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert model.render([user("Count"), assistant("1, 2,")]).endswith("<|im_start|>assistant\n1, 2,")


def test_replies_come_in_order_and_a_conversation_keeps_its_reply() -> None:
    model = ScriptedModel(["one", "two"])
    assert [ask(model, text) for text in ("a", "b", "a")] == ["one", "two", "one"]
    with pytest.raises(RequestRefusedError, match="no reply is planned for 'c'"):
        ask(model, "c")
    assert [request.messages[-1]["content"] for request in model.asked] == ["a", "b", "a", "c"]


def test_a_function_of_the_messages_answers() -> None:
    model = ScriptedModel(lambda messages: str(len(messages)))
    assert reply(model, [system("x"), user("y")]).text == "2"


def test_text_is_streamed_in_whole_characters_and_tokens_are_words() -> None:
    model = ScriptedModel(["값은 $42 원 😀"], chunk=2)
    chunks = list(model.stream([system("Be brief."), user("how much is it")]))
    assert [chunk.text for chunk in chunks[:-1]] == ["값은", " $", "42", " 원", " 😀"]
    assert chunks[-1].finish_reason == "stop"
    # Each message with its two marks and its role, the line breaks between them, and the mark of the reply.
    assert chunks[-1].usage == Usage(prompt_tokens=(4 + 1) + (7 + 1) + 3 + 1, completion_tokens=4)


def test_max_tokens_and_stop_end_a_reply() -> None:
    model = ScriptedModel(lambda _: "one two three\nfour")
    cut = reply(model, [user("x")], Options(max_tokens=2))
    assert (cut.text, cut.finish_reason) == ("one two", "length")
    stopped = reply(model, [user("x")], Options(stop=("\n",), max_tokens=9))
    assert (stopped.text, stopped.finish_reason) == ("one two three", "stop")


def test_tokens_are_counted_as_the_stream_reports_them() -> None:
    model = ScriptedModel(lambda _: "yes")
    for messages in ([user("one two")], [system("a  b "), user(""), assistant("so")], [user("<|im_end|> x<|im_end|>")]):
        assert model.count_tokens(messages) == reply(model, messages).usage.prompt_tokens
    plain = [system("Be brief."), user("Hi there\n"), assistant("Hello"), user("and?")]
    assert model.count_tokens(plain) == len(model.encode(model.render(plain), special=True))


def test_marks_are_control_tokens_only_when_asked_for() -> None:
    model = ScriptedModel()
    assert model.encode("<|im_start|>x<|im_end|>", special=True) == [0, 2, 1]
    assert not {0, 1} & set(model.encode("<|im_start|> x <|im_end|>"))
    # A message that spells a mark adds words, never marks.
    assert model.count_tokens([user("a <|im_end|> b")]) == model.count_tokens([user("a b c")])


@pytest.mark.parametrize("text", ["", " one  two\n", "값은 <|im_end|> 😀"])
def test_ids_decode_to_their_text(text: str) -> None:
    model = ScriptedModel()
    assert model.decode(model.encode(text)) == text
    with pytest.raises(RequestRefusedError, match="only the token ids"):
        model.decode([10_000])


def test_a_prompt_that_leaves_no_room_is_refused_and_a_reply_ends_where_the_context_does() -> None:
    model = load_model("scripted:reply?text=one two three&context_length=10")
    assert isinstance(model, ContextModel)
    assert model.context_length == 10
    answer = reply(model, [user("a")])
    assert (answer.text, answer.finish_reason) == ("one two", "length")
    with pytest.raises(ContextTooLongError, match="the prompt has 17 tokens and the context holds 10"):
        reply(model, [user("a b c d e f g h i j")])


def test_a_prompt_is_continued_as_planned_for_it_alone() -> None:
    model = ScriptedModel([Planned(match="sky", reply=" blue")])
    assert isinstance(model, CompletionModel)
    assert drain(model.complete("The sky is")).text == " blue"
    ids = model.encode("The sky is")
    assert drain(model.complete(ids)).usage.prompt_tokens == 3


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def test_a_planned_call_is_made_and_its_result_answered() -> None:
    call = PlannedCall(name="weather", arguments={"city": "서울"})
    model = ScriptedModel([Planned(match="rain", reply="No.", reasoning="Let me look.", tool_calls=(call,))], chunk=5)
    offered = Options(tools=(TOOL,))
    asked: list[Message] = [user("Will it rain?")]
    first = reply(model, asked, offered)
    assert first.tool_calls == (ToolCall("call_0", "weather", '{"city": "서울"}'),)
    assert (first.text, first.reasoning, first.finish_reason) == ("", "Let me look.", "tool_calls")
    result: Message = {"role": "tool", "content": "sunny", "tool_call_id": "call_0"}
    assert reply(model, [*asked, result], offered).text == "No."
    assert reply(model, asked, Options(tools=(TOOL,), tool_choice="none")).text == "No."
    assert reply(model, asked).text == "No."


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_made_up_log_probabilities_come_with_the_text_of_their_token(chunk: int) -> None:
    model = ScriptedModel(["값은 $42  원 😀 "], chunk=chunk)
    text = ""
    seen: list[TokenLogprob] = []
    for piece in model.stream([user("x")], Options(top_logprobs=7)):
        text += piece.text
        seen += piece.logprobs
        assert text.startswith("".join(token.text for token in seen))
    assert "".join(token.text for token in seen) == text
    for token in seen:
        assert len({other for other, _ in token.top}) == 7
        assert (token.text, token.logprob) in token.top
        assert sum(math.exp(value) for _, value in token.top) <= 1
        assert [value for _, value in token.top] == sorted((value for _, value in token.top), reverse=True)
    again = reply(model, [user("x")], Options(top_logprobs=7)).logprobs
    assert again == tuple(seen)
    assert reply(model, [user("x")]).logprobs == ()


def test_a_reply_that_is_no_json_is_not_said_where_json_is_asked_for() -> None:
    asked = Options(json_schema={"type": "object"})
    assert reply(ScriptedModel(['{"a": 1}']), [user("x")], asked).text == '{"a": 1}'
    with pytest.raises(BadReplyError, match="planned is 'hello'"):
        reply(ScriptedModel(["hello"]), [user("x")], asked)


def test_a_plan_file_matches_the_last_user_message_and_fails_as_often_as_planned(tmp_path: Path) -> None:
    model = load_model(f"scripted:{write_plan(tmp_path)}")
    assert reply(model, [user("x"), assistant("y"), user("red 램프")]).text == "$42"
    with pytest.raises(RateLimitError, match="planned fault rate_limit"):
        ask(model, "a broken chair")
    assert ask(model, "a broken chair") == "then 7"
    assert ask(model, "vase") == "first"
    assert ask(model, "cup") == "second"
    with pytest.raises(ModelConnectionError):  # request number 5
        ask(model, "vase")


@pytest.mark.parametrize("fault", get_args(Fault))
def test_every_fault_raises_its_error(fault: Fault) -> None:
    model = ScriptedModel([Planned(reply="42", fault=fault)])
    with pytest.raises(ModelError) as caught:
        ask(model, "x")
    assert type(caught.value) is FAULTS[fault]


def test_half_a_stream_gives_half_the_text_first() -> None:
    stream = ScriptedModel([Planned(reply="0123456789", fault="half_stream")], chunk=5).stream([user("x")])
    assert next(stream).text == "01234"
    with pytest.raises(ModelConnectionError, match="after 5 characters"):
        next(stream)


def test_closing_ends_a_delay() -> None:
    model = ScriptedModel(["42"], delay=3600)
    stream = model.stream([user("x")])
    stream.close()
    assert drain(stream).text == ""


def test_specs_that_need_no_file() -> None:
    assert ask(load_model("scripted:echo"), "Say this") == "Say this"
    assert ask(load_model("scripted:reply?text=Price is $42"), "x") == "Price is $42"
    number = load_model("scripted:number")
    assert ask(number, "lamp") == ask(load_model("scripted:number?chunk=1"), "lamp") == "$741.00"
    assert ask(number, "lamp") != ask(number, "chair")


def test_the_identity_pins_the_plan_and_leaves_out_what_changes_no_reply(tmp_path: Path) -> None:
    path = write_plan(tmp_path)
    first = load_model(f"scripted:{path}?delay=0.001&concurrency=4&log={tmp_path / 'log'}")
    assert first.identity == load_model(f"scripted:{path}").identity
    assert first.concurrency == 4
    write_plan(tmp_path, PLAN.replace("$42", "$43"))
    assert load_model(f"scripted:{path}").identity.revision != first.identity.revision
    assert load_model("scripted:reply?text=a").identity != load_model("scripted:reply?text=b").identity


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("replies: [{reply: a, wrong: 1}]", r"plan\.yaml: replies\.0\.wrong"),
        ("replies: [{reply: a, match: '('}]", r"replies\.0\.match.*no regular expression"),
        ("replies: [{reply: a, fault: explode}]", r"replies\.0\.fault='explode'"),
        ("chunk: 0", "chunk=0"),
        ("- a", "holds no mapping"),
        ("replies: [", "no YAML"),
    ],
)
def test_a_broken_plan_names_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_plan(write_plan(tmp_path, text))


def test_what_cannot_be_played_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.yaml: No such file"):
        load_model(f"scripted:{tmp_path / 'absent.yaml'}")
    with pytest.raises(UsageError, match="scripted:echo"):
        load_model("scripted:nonsense")
    with pytest.raises(UsageError, match="text belongs to"):
        load_model("scripted:echo?text=a")


def test_the_log_of_several_processes_has_every_request_on_a_line_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "asked.jsonl"
    program = """
import sys
from whetstone.models import load_model, reply
from whetstone.types import user
model = load_model("scripted:echo?log=" + sys.argv[1])
for number in range(20):
    reply(model, [user(f"{sys.argv[2]}-{number} " + "x" * 9000)])
"""
    processes = [subprocess.Popen([sys.executable, "-c", program, str(log), name]) for name in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    asked = [line["messages"][-1]["content"].split()[0] for line in lines]
    assert sorted(asked) == sorted(f"{name}-{number}" for name in "ab" for number in range(20))
