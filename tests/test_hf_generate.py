"""Batched generation on transformers models: the same answers as `model.generate`, one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_gguf
import tiny_hf
from tiny_hf import load
from whetstone.errors import ContextTooLongError, ModelError, RequestRefusedError
from whetstone.models import replies, reply
from whetstone.models.hf_generate import common_prefix, plan
from whetstone.models.hf_model import HfModel
from whetstone.models.hf_text import TextAssembler
from whetstone.types import Message, Options, Reply, system, user

GREEDY_12 = Options(temperature=0, max_tokens=12)


def conversations(count: int, *, shared: bool, seed: int = 0) -> list[list[Message]]:
    """Conversations of mixed lengths; with `shared`, all begin with the same instruction."""
    rng = random.Random(seed)
    words = " ".join(tiny_hf.SENTENCES).split()
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 40))) for _ in range(count)]
    if shared:
        return [[system("Answer with the number only."), user("What does this cost? " + text)] for text in texts]
    # The role, the first thing in the rendered chat, differs.
    return [[{"role": ("user", "system", "developer")[n % 3], "content": text}] for n, text in enumerate(texts)]  # type: ignore[typeddict-item]


def answers(model: HfModel, chats: Sequence[Sequence[Message]], options: Options) -> list[Reply]:
    found: dict[int, Reply] = {}
    for index, answer in replies(model, chats, options):
        assert isinstance(answer, Reply)
        assert index not in found
        found[index] = answer
    return [found[n] for n in range(len(chats))]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("llama"), eos_token_id=tiny_hf.OFTEN)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("batch_tokens", [8192, 400, 1])
def test_batched_greedy_equals_generate_one_by_one(llama: Path, shared: bool, batch_tokens: int) -> None:
    model, chats = load(llama, f"?batch_tokens={batch_tokens}"), conversations(30, shared=shared)
    found = answers(model, chats, GREEDY_12)
    expected = tiny_hf.plain_loop(llama, [model.render(chat) for chat in chats], 12)
    assert [answer.text for answer in found] == expected
    lengths = {answer.usage.completion_tokens for answer in found}
    assert len(lengths) > 3, "the rows must finish at different times for this to test anything"
    assert {answer.finish_reason for answer in found} == {"stop", "length"}


@pytest.mark.parametrize(
    "kind", ["sliding", "learned_positions", "recurrent", "mamba", "repetition_penalty", "no_ngram_twice"]
)
def test_other_architectures_and_settings_equal_generate(kind: str, tmp_path: Path) -> None:
    import transformers

    settings: dict[str, Any] = {"eos_token_id": tiny_hf.OFTEN}
    if kind == "sliding":
        config: Any = transformers.MistralConfig(**tiny_hf.SIZES, sliding_window=16)
    elif kind == "learned_positions":
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=512)
    elif kind == "recurrent":
        config = transformers.Lfm2Config(
            **{**tiny_hf.SIZES, "num_hidden_layers": 3}, layer_types=["conv", "full_attention", "conv"]
        )
    elif kind == "mamba":
        config = transformers.MambaConfig(hidden_size=32, state_size=8, num_hidden_layers=2)
    else:
        config = transformers.LlamaConfig(**tiny_hf.SIZES)
        settings |= {"repetition_penalty": 1.3} if kind == "repetition_penalty" else {"no_repeat_ngram_size": 2}
    folder = tiny_hf.save(tmp_path / "model", config, **settings)
    model, chats = load(folder), conversations(12, shared=True)
    found = [answer.text for answer in answers(model, chats, GREEDY_12)]
    assert found == tiny_hf.plain_loop(folder, [model.render(chat) for chat in chats], 12)


def test_what_all_prompts_begin_with_is_read_once(llama: Path) -> None:
    model, chats = load(llama), conversations(6, shared=True)
    first, *_ = answers(model, chats, GREEDY_12)
    instruction = model.encode(model.render(chats[0]).split("cost? ")[0] + "cost?", special=True)
    assert len(instruction) <= first.usage.cached_tokens <= len(instruction) + 1
    assert first.usage.prompt_tokens == len(model.encode(model.render(chats[0]), special=True))


def test_encoder_decoder_equals_generate(tmp_path: Path) -> None:
    folder = tiny_hf.t5(tmp_path / "t5", eos_token_id=tiny_hf.OFTEN)
    model, chats = load(folder), conversations(20, shared=True)
    assert model.render(chats[0]) == f"{chats[0][0]['content']}\n\n{chats[0][1]['content']}"
    found = answers(model, chats, GREEDY_12)
    assert [answer.text for answer in found] == tiny_hf.plain_loop(folder, [model.render(c) for c in chats], 12)
    assert len({answer.usage.completion_tokens for answer in found}) > 3
    beginnings = list(model.next_token([model.encode(model.render(chat)) for chat in chats[:3]], top=5))
    assert [len(beginning.ids) for beginning in beginnings] == [5, 5, 5]
    with pytest.raises(RequestRefusedError, match="cannot continue"):
        reply(model, [user("hello"), {"role": "assistant", "content": "hi"}])


def test_stream_and_batch_give_the_same_reply(llama: Path) -> None:
    model, chats = load(llama), conversations(8, shared=True)
    together = answers(model, chats, GREEDY_12)
    for chat, expected in zip(chats, together, strict=True):
        alone = reply(model, chat, GREEDY_12)
        assert (alone.text, alone.finish_reason) == (expected.text, expected.finish_reason)
        assert alone.usage.completion_tokens == expected.usage.completion_tokens


def test_a_seeded_reply_does_not_depend_on_what_it_was_batched_with(llama: Path) -> None:
    model, chats = load(llama), conversations(10, shared=True)
    options = Options(temperature=1.0, top_p=0.9, seed=7, max_tokens=10)
    together = [answer.text for answer in answers(model, chats, options)]
    assert [reply(model, chat, options).text for chat in chats] == together
    assert [answer.text for answer in answers(model, chats, options)] == together
    other = Options(temperature=1.0, top_p=0.9, seed=8, max_tokens=10)
    assert [answer.text for answer in answers(model, chats, other)] != together


def test_sampling_leaves_the_global_generator_alone(llama: Path) -> None:
    import torch

    torch.manual_seed(1)
    before = torch.get_rng_state()
    reply(load(llama), [user("hello")], Options(temperature=1.0, seed=3, max_tokens=5))
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_follow_the_distribution(llama: Path) -> None:
    model = load(llama)
    chat = [user("What does this cost?")]
    prompt = model.encode(model.render(chat), special=True)
    expected = next(model.next_token([prompt], top=1))
    drawn = [
        answer.logprobs[0].token_id
        for answer in answers(model, [chat] * 400, Options(temperature=1.0, max_tokens=1, top_logprobs=0))
    ]
    probability = float(np.exp(expected.logprobs[0]))
    share = drawn.count(int(expected.ids[0])) / len(drawn)
    assert abs(share - probability) < 5 * (probability * (1 - probability) / len(drawn)) ** 0.5
    nucleus = Options(temperature=1.0, top_p=0.01, max_tokens=4)
    assert reply(model, chat, nucleus).text == reply(model, chat, Options(temperature=0, max_tokens=4)).text


def test_a_stop_string_ends_the_reply_and_is_not_shown(tmp_path: Path) -> None:
    model = load(tiny_hf.llama(tmp_path / "model"))
    chat, whole = [user("Name three animals")], ""
    whole = reply(model, chat, Options(temperature=0, max_tokens=40)).text
    stop = whole[10:14]
    options = Options(temperature=0, max_tokens=40, stop=("never there", stop))
    pieces = [chunk.text for chunk in model.stream(chat, options)]
    assert "".join(pieces) == whole[: whole.index(stop)]
    (answer,) = answers(model, [chat], options)
    assert (answer.text, answer.finish_reason) == ("".join(pieces), "stop")
    assert answer.usage.completion_tokens < 40


def test_closing_the_stream_stops_the_work(llama: Path) -> None:
    model = load(llama)
    calls: list[int] = []
    model._model.register_forward_hook(lambda *_: calls.append(1))
    stream = model.stream([user("Name three animals")], Options(temperature=1, seed=0, max_tokens=200, top_logprobs=0))
    next(stream)
    stream.close()
    assert len(calls) == 1


def test_log_probabilities_are_those_of_the_forward_pass(llama: Path) -> None:
    import torch

    model, chats = load(llama), conversations(3, shared=True)
    options = Options(temperature=0, max_tokens=3, top_logprobs=4)
    for chat, answer in zip(chats, answers(model, chats, options), strict=True):
        ids = model.encode(model.render(chat), special=True)
        for token in answer.logprobs:
            with torch.inference_mode():
                expected = model._model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            assert token.token_id == int(expected.argmax())
            assert token.logprob == pytest.approx(float(expected.max()), abs=1e-4)
            assert [value for _, value in token.top] == pytest.approx(expected.topk(4).values.tolist(), abs=1e-4)
            ids.append(token.token_id)
        assert len(answer.logprobs) == answer.usage.completion_tokens


def test_next_token_distributions_sum_to_one_and_keep_the_order_of_prompts(llama: Path) -> None:
    import torch

    model = load(llama)
    prompts = [model.encode(model.render(chat), special=True) for chat in conversations(20, shared=True)]
    found = list(model.next_token(prompts))
    assert len(found) == 20
    for prompt, distribution in zip(prompts, found, strict=True):
        with torch.inference_mode():
            expected = model._model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1).numpy()
        assert np.allclose(expected[distribution.ids], distribution.logprobs, atol=1e-4)
        assert np.exp(distribution.logprobs.astype(float)).sum() == pytest.approx(1, abs=1e-5)
        assert (np.diff(distribution.logprobs) <= 0).all()
    (top,) = model.next_token(prompts[:1], top=3)
    assert top.ids.tolist() == found[0].ids[:3].tolist()
    assert 0 < top.missing_mass < 1
    assert list(model.next_token([])) == []


def test_too_long_prompts_are_refused_before_any_work(tmp_path: Path) -> None:
    folder = tiny_hf.llama(tmp_path / "model", sizes={"max_position_embeddings": 64})
    model = load(folder)
    calls: list[int] = []
    model._model.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ContextTooLongError, match=r"do not fit the 64 tokens .* lower max_tokens"):
        reply(model, [user("diamond " * 80)], GREEDY_12)
    assert not calls
    found = dict(replies(model, [[user("hi")], [user("diamond " * 80)], [user("lamp")]], GREEDY_12))
    assert isinstance(found[1], ContextTooLongError)
    assert isinstance(found[0], Reply)
    assert isinstance(found[2], Reply)
    # Without max_tokens, the reply ends where the context does.
    whole = reply(model, [user("hi")], Options(temperature=0))
    assert whole.usage.prompt_tokens + whole.usage.completion_tokens <= 64


def test_the_last_message_of_the_assistant_is_continued(llama: Path) -> None:
    model = load(llama)
    chat: list[Message] = [user("What does it cost?"), {"role": "assistant", "content": "It costs $"}]
    assert model.render(chat).endswith("<|im_start|>assistant\nIt costs $")
    assert reply(model, chat, GREEDY_12).usage.completion_tokens > 0


def test_a_model_without_a_template_gets_the_plain_contents(tmp_path: Path) -> None:
    model = load(tiny_hf.llama(tmp_path / "base", None))
    assert model.render([system("Prices."), user("A lamp costs $")]) == "Prices.\n\nA lamp costs $"
    assert model.identity.template == ""
    assert reply(model, [user("A lamp costs $")], GREEDY_12).usage.completion_tokens > 0


def test_messages_that_cannot_be_rendered_concern_one_item(tmp_path: Path) -> None:
    strict = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + tiny_hf.CHATML
    )
    model = load(tiny_hf.llama(tmp_path / "strict", strict))
    picture: Message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
    found = dict(replies(model, [[system("x"), user("y")], [user("hello")], [picture], []], GREEDY_12))
    assert "no system role" in str(found[0])
    assert isinstance(found[1], Reply)
    assert "image_url" in str(found[2])
    assert all(isinstance(found[n], ModelError) and found[n].concerns_one_item for n in (0, 2, 3))  # type: ignore[union-attr]


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(0, 50), st.integers(1, 2000))
def test_a_plan_keeps_its_bounds_and_loses_nothing(lengths: list[int], reply_tokens: int, most: int) -> None:
    batches = list(plan(lengths, reply_tokens, most))
    assert sorted(n for batch in batches for n in batch) == list(range(len(lengths)))
    for batch in batches:
        sizes = [lengths[n] for n in batch]
        assert len(batch) == 1 or len(batch) * (max(sizes) + reply_tokens) <= most
        assert 2 * min(sizes) >= max(sizes)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=6))
def test_the_common_prefix_is_common_longest_and_leaves_a_token(prompts: list[list[int]]) -> None:
    shared = common_prefix(prompts)
    length = len(shared)
    assert all(prompt[:length] == shared and len(prompt) > length for prompt in prompts)
    if all(len(prompt) > length + 1 for prompt in prompts):
        assert len({prompt[length] for prompt in prompts}) > 1


def test_text_never_ends_inside_a_character() -> None:
    tokens = tiny_hf.tokenizer()
    text = "naïve 안녕 🎉👩‍👧 done"
    # Byte by byte: the worst that a tokenizer can do.
    alphabet = tokens.convert_tokens_to_ids(tiny_gguf.vocabulary()[:256])
    assembler = TextAssembler(lambda ids: tokens.decode(list(ids), skip_special_tokens=True))
    pieces = [assembler.push(alphabet[byte]) for byte in text.encode()]
    assert "".join(pieces) + assembler.finish() == text
    assert not any("\ufffd" in piece for piece in pieces)
    assert sum(piece != "" for piece in pieces) == len(text)
    cut = TextAssembler(lambda ids: tokens.decode(list(ids), skip_special_tokens=True))
    assert "".join(cut.push(alphabet[byte]) for byte in "né".encode()[:2]) + cut.finish() == "n\ufffd"


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.randoms())
def test_stop_strings_cut_where_a_search_in_the_whole_text_would(
    text: str, stop: list[str], rng: random.Random
) -> None:
    pieces: list[str] = []
    while sum(map(len, pieces)) < len(text):
        done = sum(map(len, pieces))
        pieces.append(text[done : done + rng.randint(1, 3)])
    assembler = TextAssembler(lambda ids: "".join(pieces[n] for n in ids), stop)
    shown = ""
    for n in range(len(pieces)):
        shown += assembler.push(n)
        if assembler.stopped:
            break
    shown += assembler.finish()
    places = [text.index(each) for each in stop if each in text]
    assert assembler.stopped == bool(places)
    assert shown == (text if not places else text[: len(shown)])
    assert not any(each in shown for each in stop)
