"""What chats need of llama.cpp: counts, plain prompts, the prefix cache, whole characters, a stop that stops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiny_gguf import gguf, tiny_model
from whetstone import settings
from whetstone.errors import ContextTooLongError, RequestRefusedError, UsageError
from whetstone.models import drain, load_model, reply
from whetstone.models.base import CompletionModel, ContextModel, TokenizingModel
from whetstone.models.llamacpp_model import LlamaCppModel
from whetstone.models.llamacpp_server import SERVERS, ServerConfig
from whetstone.tokens.embedded import embedded_weights
from whetstone.tokens.gguf_file import read_array, read_header
from whetstone.types import Message, Options, assistant, system, user

CONTEXT = 1024
GREEDY_8 = Options(temperature=0, max_tokens=8)
LINE = "안녕하세요 🎉 뷁 👩‍👩‍👧 é 🇰🇷"


@pytest.fixture(scope="module")
def smollm2() -> Iterator[LlamaCppModel]:
    model = load_model(f"smollm2?context={CONTEXT - 100}")  # which is rounded up
    assert isinstance(model, LlamaCppModel)
    yield model
    model.close()


# Tokens


@pytest.mark.parametrize(
    "messages",
    [
        [user("hi")],
        [system("Be brief.\n"), user(" 값이 얼마예요? 🎉 "), assistant("It is"), user("")],
        [user("Count."), assistant("1, 2,")],
        [user("<|im_end|><|im_start|>system")],
    ],
)
def test_tokens_are_counted_as_the_stream_reports_them(smollm2: LlamaCppModel, messages: list[Message]) -> None:
    assert isinstance(smollm2, ContextModel)
    assert smollm2.context_length == CONTEXT
    counted = smollm2.count_tokens(messages)
    assert counted == reply(smollm2, messages, Options(max_tokens=1)).usage.prompt_tokens
    assert counted == len(smollm2.prompt_ids(messages))


def test_ids_are_spelled_out(smollm2: LlamaCppModel) -> None:
    assert isinstance(smollm2, TokenizingModel)
    assert smollm2.decode([1, *smollm2.encode(LINE), 2]) == f"<|im_start|>{LINE}<|im_end|>"
    assert smollm2.decode(smollm2.encode("뷁")[:1]) == "\ufffd"
    assert smollm2.decode([]) == ""
    with pytest.raises(RequestRefusedError, match="only the token ids 0 to 49151"):
        smollm2.decode([49152])


def test_arrays_are_read_out_of_the_header(tmp_path: Path) -> None:
    header = read_header(embedded_weights())
    tokens = read_array(header, "tokenizer.ggml.tokens")
    assert len(tokens) == header.lengths["tokenizer.ggml.tokens"] == 49152
    assert tokens[:3] == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert read_array(header, "tokenizer.ggml.token_type")[:3] == [3, 3, 3]
    assert read_array(header, "nothing") == []


# Plain prompts


def test_a_prompt_is_continued(smollm2: LlamaCppModel) -> None:
    assert isinstance(smollm2, CompletionModel)
    answer = drain(smollm2.complete("The capital of France is", Options(temperature=0, max_tokens=3, top_logprobs=2)))
    assert answer.text.startswith(" Paris")
    assert answer.usage.prompt_tokens == 5
    assert "".join(token.text for token in answer.logprobs) == answer.text
    assert [len(token.top) for token in answer.logprobs] == [2, 2, 2]
    assert drain(smollm2.complete(smollm2.encode("The capital of France is"), GREEDY_8)).text.startswith(answer.text)


def test_the_ids_of_messages_continue_as_the_chat_does(smollm2: LlamaCppModel) -> None:
    messages = [system("Be brief."), user("Name three colours.")]
    assert (
        drain(smollm2.complete(smollm2.prompt_ids(messages), GREEDY_8)).text == reply(smollm2, messages, GREEDY_8).text
    )


def test_a_spelling_in_a_plain_prompt_is_text_and_an_id_is_sent_as_it_is(smollm2: LlamaCppModel) -> None:
    spelled = drain(smollm2.complete("a<|im_end|>", Options(max_tokens=1)))
    assert spelled.usage.prompt_tokens == len(smollm2.encode("a<|im_end|>")) > 3
    assert drain(smollm2.complete([1, 2], Options(max_tokens=1))).usage.prompt_tokens == 2


def test_a_plain_prompt_begins_as_the_tokenizer_says(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf(*tiny_model(tokenizer__ggml__add_bos_token=True)))
    model = load_model(f"gguf:{path}")
    assert isinstance(model, LlamaCppModel)
    assert drain(model.complete("abc", Options(max_tokens=1))).usage.prompt_tokens == 4
    assert drain(model.complete(model.encode("abc"), Options(max_tokens=1))).usage.prompt_tokens == 3
    model.close()


def test_options_hold_for_plain_prompts(smollm2: LlamaCppModel) -> None:
    free = drain(smollm2.complete("one, two, three,", Options(temperature=0, max_tokens=12)))
    stopped = drain(smollm2.complete("one, two, three,", Options(temperature=0, max_tokens=12, stop=("five",))))
    assert "five" in free.text
    assert (stopped.text, stopped.finish_reason) == (free.text.partition("five")[0], "stop")
    hot = Options(temperature=1.5, max_tokens=8, seed=3)
    assert drain(smollm2.complete("I", hot)).text == drain(smollm2.complete("I", hot)).text
    schema = {"type": "object", "properties": {"a": {"const": 4}}, "required": ["a"], "additionalProperties": False}
    constrained = drain(smollm2.complete("JSON:", Options(temperature=0, max_tokens=30, json_schema=schema)))
    assert json.loads(constrained.text) == {"a": 4}


def test_a_plain_prompt_that_cannot_be_continued_is_refused(smollm2: LlamaCppModel) -> None:
    for wrong in ("", [], [-1], [49152]):
        with pytest.raises(RequestRefusedError):
            smollm2.complete(wrong)
    with pytest.raises(ContextTooLongError, match=f"context holds {CONTEXT}"):
        drain(smollm2.complete([100] * 2 * CONTEXT))
    with pytest.raises(UsageError, match="belong to chats"):
        smollm2.complete("a", Options(tools=({"type": "function", "function": {"name": "f"}},)))


def test_closing_a_plain_prompt_s_stream_frees_the_slot(smollm2: LlamaCppModel) -> None:
    server = SERVERS.acquire(ServerConfig(embedded_weights(), CONTEXT, slots=1, threads=settings.threads()))
    stream = smollm2.complete("Once upon a time", Options(temperature=0, max_tokens=600))
    next(stream)
    assert any(slot["is_processing"] for slot in server.get("/slots"))
    stream.close()
    assert drain(smollm2.complete("a", Options(max_tokens=1))).usage.completion_tokens == 1
    assert not any(slot["is_processing"] for slot in server.get("/slots"))
    SERVERS.release(server)


# The prefix cache


def test_a_sampled_retry_reads_nothing_again(smollm2: LlamaCppModel) -> None:
    messages = [user("Tell me of the sea, the wind and the ships that sail between the islands.")]
    sampled = Options(temperature=0.8, max_tokens=4)
    first = reply(smollm2, messages, sampled).usage
    again = reply(smollm2, messages, sampled).usage
    assert again.cached_tokens == first.prompt_tokens - 1
    for repeatable in (GREEDY_8, Options(temperature=0.8, seed=1, max_tokens=4)):
        assert reply(smollm2, messages, repeatable).usage.cached_tokens == 0


def test_a_question_asked_again_after_the_talk_went_on_gets_the_same_answer(smollm2: LlamaCppModel) -> None:
    options = Options(temperature=0, max_tokens=8, top_logprobs=1)
    messages = [user("Name three fruits.")]
    first = reply(smollm2, messages, options)
    talk = [*messages, assistant(first.text), user("And more?")]
    assert reply(smollm2, talk, options).usage.cached_tokens > 10
    again = reply(smollm2, messages, options)
    assert (again.text, again.logprobs) == (first.text, first.logprobs)


# Characters


@pytest.mark.parametrize("through", ["chat", "literal", "plain"])
def test_no_piece_of_a_stream_ends_inside_a_character(smollm2: LlamaCppModel, through: str) -> None:
    schema = {
        "type": "object",
        "properties": {"line": {"const": LINE}},
        "required": ["line"],
        "additionalProperties": False,
    }
    options = Options(temperature=0, max_tokens=200, json_schema=schema)
    if through == "plain":
        stream = smollm2.complete("JSON:", options)
    else:
        stream = smollm2.stream([user("Give me JSON." + "<|im_end|>" * (through == "literal"))], options)
    pieces = [chunk.text for chunk in stream]
    assert json.loads("".join(pieces)) == {"line": LINE}
    assert len([piece for piece in pieces if piece]) > 10
    assert not any("\ufffd" in piece for piece in pieces)


# Penalties


def test_penalties_reach_the_engine(smollm2: LlamaCppModel) -> None:
    messages = [user("Say the word yes for ever."), assistant("yes yes yes yes")]
    plain = reply(smollm2, messages, Options(temperature=0, max_tokens=12)).text
    spread = reply(smollm2, messages, Options(temperature=0, max_tokens=12, frequency_penalty=2)).text
    assert spread.count("yes") < plain.count("yes")


def test_a_template_that_reads_reasoning_is_recognised(smollm2: LlamaCppModel, tmp_path: Path) -> None:
    assert not smollm2.sends_reasoning_back
    template = "{% for m in messages %}{{ m.reasoning_content }}{{ m.content }}{% endfor %}"
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf(*tiny_model(tokenizer__chat_template=template)))
    model = load_model(f"gguf:{path}")
    assert isinstance(model, LlamaCppModel)
    assert model.sends_reasoning_back
