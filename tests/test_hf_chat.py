"""What chats need of transformers models: counts, plain prompts, penalties, reasoning set apart, whole characters."""

from __future__ import annotations

from pathlib import Path

import pytest

import tiny_hf
from tiny_hf import load
from whetstone.errors import RequestRefusedError
from whetstone.models import drain, replies, reply
from whetstone.models.base import CompletionModel, ContextModel, TokenizingModel
from whetstone.models.hf_sampling import Sampler, Sampling
from whetstone.types import Message, Options, Reply, system, user

torch = pytest.importorskip("torch")


def conversations(count: int) -> list[list[Message]]:
    return [[system("Answer with the number only."), user(text)] for text in tiny_hf.SENTENCES[:count]]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_hf.llama(tmp_path_factory.mktemp("llama"), eos_token_id=tiny_hf.OFTEN)


def test_tokens_are_counted_as_the_stream_reports_them(llama: Path) -> None:
    model = load(llama)
    assert isinstance(model, ContextModel)
    assert model.context_length == 512
    for chat in conversations(3):
        assert model.count_tokens(chat) == reply(model, chat, Options(max_tokens=1)).usage.prompt_tokens


def test_a_prompt_is_continued_as_it_is(llama: Path) -> None:
    model = load(llama)
    assert isinstance(model, CompletionModel)
    chat = conversations(1)[0]
    options = Options(temperature=0, max_tokens=12, top_logprobs=2)
    through_ids = drain(model.complete(model.prompt_ids(chat), options))
    assert through_ids.text == reply(model, chat, options).text
    assert len(through_ids.logprobs) == through_ids.usage.completion_tokens
    spelled = drain(model.complete("A lamp <|im_end|>", Options(max_tokens=1)))
    assert spelled.usage.prompt_tokens == len(model.encode("A lamp <|im_end|>"))
    for wrong in ("", [], [10_000], [-1]):
        with pytest.raises(RequestRefusedError):
            drain(model.complete(wrong))


def test_ids_are_spelled_out(llama: Path) -> None:
    model = load(llama)
    assert isinstance(model, TokenizingModel)
    assert model.decode([1, *model.encode("안녕 🎉"), 2]) == "<|im_start|>안녕 🎉<|im_end|>"
    assert model.decode(model.encode("안")[:1]) == "\ufffd"
    with pytest.raises(RequestRefusedError, match="only the token ids"):
        model.decode([10_000])


@pytest.mark.parametrize("field", ["frequency_penalty", "presence_penalty"])
def test_penalties_lower_what_the_reply_holds_already(field: str) -> None:
    logits = torch.tensor([[2.0, 1.5, 0.0], [2.0, 1.5, 0.0]])
    sampler = Sampler(Sampling(**{field: 0.4}), str)
    written = [[0], [0, 0, 1]]
    chosen = [choice.token_id for choice in sampler.choose(logits, [None, None], [], written)]
    # Once costs 0.4, twice costs 0.8 where it is counted: 1.6 and 1.5; then 1.2 or 1.6, and 1.1.
    assert chosen == [0, 0]
    sampler = Sampler(Sampling(**{field: 0.6}), str)
    chosen = [choice.token_id for choice in sampler.choose(logits, [None, None], [], [[0], [0, 0]])]
    assert chosen == [1, 1]
    assert logits[0].tolist() == [2.0, 1.5, 0.0]


def test_a_frequency_is_counted_and_a_presence_is_not() -> None:
    logits = torch.tensor([[2.0, 1.5, 0.0]])
    for field, chosen in (("frequency_penalty", 1), ("presence_penalty", 0)):
        (choice,) = Sampler(Sampling(**{field: 0.3}), str).choose(logits, [None], [], [[0, 0]])
        assert choice.token_id == chosen


def test_penalties_reach_the_reply(tmp_path: Path) -> None:
    model = load(tiny_hf.llama(tmp_path / "model"))
    chat = conversations(1)[0]
    plain = drain(model.stream(chat, Options(temperature=0, max_tokens=40, top_logprobs=0)))
    spread = drain(model.stream(chat, Options(temperature=0, max_tokens=40, top_logprobs=0, presence_penalty=2)))
    different = [len({token.token_id for token in answer.logprobs}) for answer in (plain, spread)]
    assert different[0] <= different[1]
    assert plain.text != spread.text


def test_a_block_of_reasoning_is_set_apart_in_streams_and_batches(tmp_path: Path) -> None:
    opened = tiny_hf.CHATML.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n")
    model = load(tiny_hf.llama(tmp_path / "model", template=opened))
    chats = conversations(2)
    options = Options(temperature=0, max_tokens=8)
    batched = [answer for _, answer in replies(model, chats, options)]
    for answer in [reply(model, chats[0], options), *batched]:
        assert isinstance(answer, Reply)
        assert (answer.text, bool(answer.reasoning)) == ("", True)  # the random model never closes it
    assert not model.sends_reasoning_back


def test_tools_that_may_not_be_called_are_no_obstacle(llama: Path) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    chat = conversations(1)[0]
    options = Options(temperature=0, max_tokens=4)
    refused = options.model_copy(update={"tools": (tool,), "tool_choice": "none"})
    assert reply(load(llama), chat, refused).text == reply(load(llama), chat, options).text
