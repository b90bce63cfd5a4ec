"""Transformers models whose replies obey a JSON Schema, and that call tools."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tiny_hf
from tiny_hf import load
from whetstone.errors import RequestRefusedError, UsageError
from whetstone.models import load_model, replies, reply
from whetstone.models.hf_grammar import Vocabulary
from whetstone.models.hf_model import HfModel
from whetstone.prompting.structured import Structurer
from whetstone.tasks import load_card
from whetstone.tasks.result import TaskResult
from whetstone.tasks.run import run_card_many
from whetstone.tools.limits import ToolLimits
from whetstone.tools.loop import run_tools
from whetstone.tools.opening import open_tools
from whetstone.tools.tool_trace import ToolTrace
from whetstone.types import Message, Options, Reply, TokenLogprob, user

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["lamp", "table", "걸상"]},
        "price": {"type": "integer", "minimum": 1, "maximum": 999},
        "sizes": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
    },
    "required": ["name", "kind", "price", "sizes"],
    "additionalProperties": False,
}
CARRY: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "carry",
        "description": "Carries something to a place",
        "parameters": {
            "type": "object",
            "properties": {"what": {"type": "string", "maxLength": 8}, "times": {"type": "integer", "maximum": 99}},
            "required": ["what", "times"],
            "additionalProperties": False,
        },
    },
}
THINKING = tiny_hf.CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> HfModel:
    """Random weights: without a grammar it writes no JSON in a lifetime."""
    return load(tiny_hf.llama(tmp_path_factory.mktemp("llama"), sizes={"max_position_embeddings": 4096}))


def fits(text: str) -> bool:
    jsonschema.validate(json.loads(text), SCHEMA)
    return True


def test_a_random_model_writes_what_the_schema_asks_for(llama: HfModel) -> None:
    for seed in range(4):
        written = reply(llama, [user("A lamp, 안녕")], Options(json_schema=SCHEMA, temperature=1, seed=seed))
        assert fits(written.text)
        assert written.finish_reason == "stop"
    assert not reply(llama, [user("A lamp")], Options(temperature=0, max_tokens=20)).text.startswith("{")


def test_a_reply_is_the_same_alone_and_in_a_batch(llama: HfModel) -> None:
    chats = [[user(text)] for text in ("A lamp", "Two tables with four legs each", "a", "걸상")]
    options = Options(json_schema=SCHEMA, temperature=1, seed=5)
    together = dict(replies(llama, chats, options))
    for index, chat in enumerate(chats):
        found = together[index]
        assert isinstance(found, Reply)
        assert fits(found.text)
        assert found.text == reply(llama, chat, options).text


def test_log_probabilities_are_the_model_s_own(llama: HfModel) -> None:
    chat = [user("A lamp")]
    options = Options(json_schema=SCHEMA, temperature=0, top_logprobs=1)
    written = reply(llama, chat, options)
    (first, *_) = written.logprobs
    free = reply(llama, chat, Options(temperature=0, max_tokens=1, top_logprobs=1)).logprobs[0]
    assert isinstance(first, TokenLogprob)
    assert first.text.startswith("{")
    assert first.top == free.top  # what it would have liked best
    assert first.logprob < free.logprob


def test_a_reply_that_is_cut_off_says_so(llama: HfModel) -> None:
    written = reply(llama, [user("A lamp")], Options(json_schema=SCHEMA, temperature=0, max_tokens=3))
    assert (written.finish_reason, written.usage.completion_tokens) == ("length", 3)


def test_a_prompt_is_continued_in_the_form_of_a_schema(llama: HfModel) -> None:
    options = Options(json_schema=SCHEMA, temperature=1, seed=1)
    assert fits("".join(chunk.text for chunk in llama.complete("The lamp: ", options)))
    with pytest.raises(UsageError, match="tools belong to chats"):
        list(llama.complete("The lamp: ", Options(tools=(CARRY,))))


def test_schemas_that_no_grammar_follows_are_refused_before_any_work(llama: HfModel) -> None:
    with pytest.raises(RequestRefusedError, match="not"):
        reply(llama, [user("hi")], Options(json_schema={"type": "object", "not": {"required": ["a"]}}))
    with pytest.raises(RequestRefusedError, match="not"):
        list(replies(llama, [[user("hi")]], Options(json_schema={"type": "string", "not": {"const": "a"}})))


def test_reasoning_is_free_to_its_end(llama: HfModel, tmp_path: Path) -> None:
    backend = tiny_hf.tokenizer()
    described = backend.backend_tokenizer
    vocabulary = Vocabulary(described.to_str(), [2], backend.decode)
    guide = vocabulary.grammar(SCHEMA).guide(after="</think>")
    for token in described.encode("hm, a lamp?\n</think").ids:
        assert guide.allowed(300) is None
        assert not guide.take(token)
    (last,) = described.encode(">").ids
    guide.take(last)
    allowed = guide.allowed(500)
    assert allowed is not None
    assert len(allowed) == 500
    assert [backend.decode([int(token)])[0] for token in allowed.nonzero()] == ["{"]
    # A model whose template opens the block, and that never closes it, thinks to its limit.
    thinking = load(tiny_hf.llama(tmp_path / "thinking", THINKING))
    chat = [user("A lamp")]
    free = reply(thinking, chat, Options(temperature=0, max_tokens=12))
    held = reply(thinking, chat, Options(temperature=0, max_tokens=12, json_schema=SCHEMA))
    assert held.reasoning == free.reasoning != ""
    assert held.text == ""


def test_a_tokenizer_without_bytes_is_asked_in_words(tmp_path: Path) -> None:
    folder = tiny_hf.t5(tmp_path)
    tiny_hf.words_of_t5([*tiny_hf.SENTENCES]).save(str(folder / "tokenizer.json"))
    model = load(folder)
    with pytest.raises(RequestRefusedError, match="its tokenizer spells no bytes"):
        reply(model, [user("A lamp")], Options(json_schema=SCHEMA))
    asker = Structurer(model, {"type": "string"}, options=Options(max_tokens=4, temperature=0), repairs=0)
    list(asker.ask_many([[user("A lamp")], [user("Two lamps")]]))
    assert "spells no bytes" in asker.refusal


def test_structured_output_is_constrained(llama: HfModel) -> None:
    asker = Structurer(llama, SCHEMA, options=Options(temperature=1, seed=3))
    outcomes = dict(asker.ask_many([[user(text)] for text in ("A lamp", "A table", "A chair")]))
    assert len(outcomes) == asker.rates.constrained == 3


def test_a_card_s_label_is_one_of_those_offered_whatever_the_model_knows(llama: HfModel) -> None:
    labels = ["praise", "blame"]
    texts = [{"text": text, "labels": labels} for text in ("A lamp", "A table")]
    for _, result in run_card_many(load_card("classify"), llama, texts):  # of a model with random weights
        assert isinstance(result, TaskResult)
        assert result.output in labels
        (step,) = result.steps
        assert (step.constrained, step.attempts) == (True, 1)
        assert json.loads(step.reply) == result.output


# Tools


def calls(model: HfModel, chat: Sequence[Message], **options: Any) -> Reply:
    return reply(model, chat, Options(tools=(CARRY,), temperature=1, **options))


def test_a_required_call_has_arguments_that_fit(llama: HfModel) -> None:
    chat = [user("Carry the lamp")]
    called = calls(llama, chat, tool_choice="required", seed=1)
    (call,) = called.tool_calls
    assert (called.finish_reason, called.text, call.name) == ("tool_calls", "", "carry")
    jsonschema.validate(json.loads(call.arguments), CARRY["function"]["parameters"])
    options = Options(tools=(CARRY,), temperature=1, tool_choice="required", seed=1)
    ((_, together),) = replies(llama, [chat], options)
    assert isinstance(together, Reply)
    assert together.tool_calls == called.tool_calls


def test_tools_are_in_the_prompt_and_counted(llama: HfModel) -> None:
    chat = [user("Carry the lamp")]
    options = Options(tools=(CARRY,))
    assert "carry: Carries something to a place" in llama.render(chat, options)
    assert llama.count_tokens(chat, options) == len(llama.prompt_ids(chat, options)) > llama.count_tokens(chat)
    with pytest.raises(UsageError, match="lift"):
        calls(llama, chat, tool_choice="lift")


def test_calls_and_results_of_before_are_told_in_words(llama: HfModel) -> None:
    call = {"id": "call_0", "type": "function", "function": {"name": "carry", "arguments": '{"what": "lamp"}'}}
    chat: list[Message] = [
        user("Carry the lamp"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_0", "content": "It is there."},
    ]
    shown = llama.render(chat)
    assert "The result of carry: It is there." in shown
    assert '"lamp"' in shown
    assert calls(llama, chat, seed=1, tool_choice="required").tool_calls[0].id == "call_1"


def test_the_embedded_model_on_transformers_calls_a_calculator(hf_smollm2: str) -> None:
    model = load_model(hf_smollm2)
    trace = ToolTrace(model)
    options = Options(temperature=0, max_tokens=60)
    with open_tools(["calculator"]) as box:
        asked = [user("What is 19.99 * 3?")]
        run = run_tools(model, asked, box, options=options, limits=ToolLimits(rounds=1), allowed=box.names)
        for event in run:
            trace.add(event)
    first = trace.rounds[0]
    assert "calculator" in first.prompt
    (done,) = first.calls  # it is a small model: what it writes into the call is not always arithmetic
    assert "19.99" in json.loads(done.call.arguments)["expression"]
    assert trace.ended is not None
