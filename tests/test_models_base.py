"""Many replies at once: bounded, errors in their place, and stoppable at any moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import cast

import pytest

from whetstone.errors import ContextTooLongError, LoginError, ModelError
from whetstone.models import ChatModel, drain, replies
from whetstone.models.scripted import ScriptedModel
from whetstone.models.scripted_plan import Planned
from whetstone.types import Chunk, Message, ModelIdentity, Options, Reply, Usage, user

Outcomes = Generator[tuple[int, Reply | ModelError]]


def conversations(n: int) -> list[list[Message]]:
    return [[user(str(number))] for number in range(n)]


def outcomes(model: ChatModel, n: int) -> Outcomes:
    return cast("Outcomes", replies(model, conversations(n)))


def asking_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("whetstone-ask")]


def test_draining_a_stream_joins_its_pieces() -> None:
    chunks = [Chunk(text="4", usage=Usage(1, 1)), Chunk(reasoning="hm"), Chunk(text="2", finish_reason="stop"), Chunk()]
    answer = drain(iter(chunks))
    assert (answer.text, answer.reasoning, answer.finish_reason, answer.usage) == ("42", "hm", "stop", Usage(1, 1))


def test_every_conversation_gets_its_own_reply() -> None:
    model = ScriptedModel(lambda messages: f"re {messages[-1]['content']}", concurrency=3)
    found = {index: answer.text for index, answer in outcomes(model, 20) if isinstance(answer, Reply)}
    assert found == {index: f"re {index}" for index in range(20)}
    assert list(outcomes(model, 0)) == []


def test_no_more_streams_are_open_than_the_model_wants() -> None:
    model = ScriptedModel(lambda _: "a reply", concurrency=3, delay=0.001)
    assert len(list(outcomes(model, 20))) == 20
    assert 1 < model.most_open <= 3


def test_one_more_is_asked_only_when_a_reply_is_taken() -> None:
    model = ScriptedModel(lambda _: "a reply", concurrency=2)
    with closing(outcomes(model, 20)) as many:
        next(many)
        next(many)
        assert len(model.asked) <= 4


def test_an_error_that_concerns_one_item_takes_its_place() -> None:
    model = ScriptedModel(
        [Planned(match="^1$", fault="context_too_long"), Planned(match=".", reply="ok")], concurrency=2
    )
    found = dict(outcomes(model, 4))
    assert isinstance(found[1], ContextTooLongError)
    assert [index for index, answer in found.items() if isinstance(answer, Reply)] != []
    assert sorted(found) == [0, 1, 2, 3]


def test_a_fatal_error_comes_after_the_replies_that_were_under_way() -> None:
    gate = threading.Event()

    def say(messages: Sequence[Message]) -> str:
        if messages[-1]["content"] == "1":
            gate.set()
            raise LoginError("the key was refused")
        gate.wait(10)
        return "paid for"

    model = ScriptedModel(say, concurrency=2)
    many = outcomes(model, 10)
    index, answer = next(many)
    assert index == 0
    assert isinstance(answer, Reply)
    with pytest.raises(LoginError):
        list(many)
    assert len(model.asked) <= 3, "nothing more is asked once it is known to be in vain"


def test_an_error_that_is_no_model_error_is_raised_too() -> None:
    def say(messages: Sequence[Message]) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(outcomes(ScriptedModel(say, concurrency=2), 3))


def test_closing_stops_the_streams_and_ends_the_threads() -> None:
    slow = Planned(match="[1-9]", reply="x" * 1000, delay=3600)
    model = ScriptedModel([Planned(match="0", reply="quick"), slow], concurrency=3)
    many = outcomes(model, 9)
    assert next(many)[0] == 0
    assert len(asking_threads()) == 3
    many.close()
    assert asking_threads() == []


def test_an_interrupt_in_the_consumer_stops_the_streams() -> None:
    slow = Planned(match="[1-9]", reply="x", delay=3600)
    model = ScriptedModel([Planned(match="0", reply="quick"), slow], concurrency=2)

    def consume() -> None:
        with closing(outcomes(model, 9)) as many:
            for _ in many:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert asking_threads() == []


class PlainGenerator:
    """A model as simple as the protocol allows: its stream is a generator, which no other thread can close."""

    identity = ModelIdentity("plain:x", "scripted", "x")
    concurrency = 2

    def __init__(self) -> None:
        self.began = threading.Event()
        self.closed = threading.Event()

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> Iterator[Chunk]:  # noqa: B008
        if messages[-1]["content"] == "0":
            self.began.wait(10)
            return
        try:
            while True:
                self.began.set()
                time.sleep(0.001)
                yield Chunk(text="and so on ")
        finally:
            self.closed.set()

    def close(self) -> None: ...


def test_a_stream_that_is_a_plain_generator_is_closed_at_its_next_piece() -> None:
    model = PlainGenerator()
    assert isinstance(model, ChatModel)
    many = outcomes(model, 2)
    assert next(many)[0] == 0
    many.close()
    assert model.closed.is_set()
    assert asking_threads() == []


def test_a_silent_stream_that_cannot_be_stopped_does_not_keep_the_program_from_ending() -> None:
    program = """
import subprocess
import sys
import threading
import time
from whetstone.models import replies
from whetstone.types import Chunk, ModelIdentity, user

class Deaf:
    identity = ModelIdentity("deaf:x", "scripted", "x")
    concurrency = 2
    def stream(self, messages, options=None):
        if messages[-1]["content"] == "1":
            threading.Event().wait()
        yield Chunk(text="x")
    def close(self): ...

many = replies(Deaf(), [[user("0")], [user("1")]])
print(next(many)[0])
many.close()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")
