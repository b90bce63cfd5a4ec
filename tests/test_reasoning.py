"""Reasoning is taken apart from the answer, however the stream is cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from misbehaving_server import Exchange, MisbehavingServer
from whetstone.models import drain, reply
from whetstone.models.openai_api import OpenAIModel
from whetstone.models.reasoning import opens_reasoning, separate_reasoning, separate_reply
from whetstone.types import Chunk, ModelIdentity, Reply, TokenLogprob, Usage, user

CASES = [
    # text, whether it starts inside, the answer, the reasoning
    ("<think>\nTwo and two.\n</think>\n\nFour.", False, "Four.", "Two and two."),
    ("  \n<think>x</think>y", False, "y", "x"),
    ("<thinking>x </think> y</thinking>z", False, "z", "x </think> y"),
    ("<think></think>\n\nFour.", False, "Four.", ""),
    ("<think>never closed </thi", False, "", "never closed </thi"),
    ("<think>", False, "", ""),
    ("Four. <think>no</think>", False, "Four. <think>no</think>", ""),
    (" \n Four.", False, " \n Four.", ""),
    ("<thin", False, "<thin", ""),
    ("<thinker>a", False, "<thinker>a", ""),
    ("", False, "", ""),
    ("Two and two.\n</think>\n\nFour.", True, "Four.", "Two and two."),
    ("생각 😀 </think> 답 <b> </think>", True, "답 <b> </think>", "생각 😀"),
    ("still thinking", True, "", "still thinking"),
]


@pytest.mark.parametrize(("text", "inside", "answer", "reasoning"), CASES)
def test_a_finished_reply_is_separated(text: str, inside: bool, answer: str, reasoning: str) -> None:
    separated = separate_reply(Reply(text), starts_inside=inside)
    assert (separated.text, separated.reasoning) == (answer, reasoning)


@given(case=st.sampled_from(CASES), cuts=st.lists(st.integers(0, 50), max_size=12))
def test_a_stream_is_separated_wherever_it_is_cut(case: tuple[str, bool, str, str], cuts: list[int]) -> None:
    text, inside, answer, reasoning = case
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(edges)]
    usage = Usage(3, 4)
    chunks = [Chunk(text=piece, logprobs=(TokenLogprob(piece, -1.0),)) for piece in pieces]
    whole = drain(separate_reasoning(iter([*chunks, Chunk(finish_reason="stop", usage=usage)]), starts_inside=inside))
    assert (whole.text, whole.reasoning) == (answer, reasoning)
    assert [token.text for token in whole.logprobs] == pieces
    assert (whole.finish_reason, whole.usage) == ("stop", usage)
    cut_off = drain(separate_reasoning(iter(chunks), starts_inside=inside))
    assert (cut_off.text, cut_off.reasoning) == (answer, reasoning)


def test_words_are_shown_as_they_come() -> None:
    chunks = separate_reasoning(
        iter([Chunk(text=text) for text in ("<think>", "a", " b", "</think>", "\n", "c", " d")])
    )
    assert [(chunk.text, chunk.reasoning) for chunk in chunks] == [("", "a"), ("", " b"), ("c", ""), (" d", "")]


def test_reasoning_that_the_engine_set_apart_is_left_alone() -> None:
    chunks = separate_reasoning(iter([Chunk(reasoning="a"), Chunk(text="b"), Chunk(finish_reason="stop")]))
    whole = drain(chunks)
    assert (whole.text, whole.reasoning) == ("b", "a")


def test_closing_closes_the_stream_below() -> None:
    closed = []

    def below() -> Iterator[Chunk]:
        try:
            yield Chunk(text="a")
            yield Chunk(text="b")
        finally:
            closed.append(True)

    chunks = separate_reasoning(below())
    next(chunks)
    chunks.close()
    assert closed == [True]


def test_a_prompt_that_opens_a_block_is_recognised() -> None:
    assert opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert not opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_tags_that_an_endpoint_leaves_in_the_text_are_set_apart() -> None:
    def behave(exchange: Exchange) -> None:
        exchange.begin()
        for text in ("<th", "ink>\nlet me", " see</think>", "\n\n", "It is ", "4."):
            exchange.delta(content=text)
        exchange.delta("stop")
        exchange.end()

    with MisbehavingServer(behave) as server:
        model = OpenAIModel(identity=ModelIdentity("test:m", "openai", "m"), base_url=server.url, api_key="k")
        answer = reply(model, [user("2 + 2?")])
    assert (answer.text, answer.reasoning) == ("It is 4.", "let me see")
