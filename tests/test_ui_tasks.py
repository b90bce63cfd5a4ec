"""The Tasks tab: what it refuses, what it shows, and how a task is stopped."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")

from apart_model import EncoderDecoder
from running_server import pool_of, until
from whetstone.models.base import (
    BatchModel,
    ChatModel,
    ContextModel,
    RenderingModel,
    TokenizingModel,
    replies,
    reply,
)
from whetstone.models.pool import ModelPool
from whetstone.models.scripted import ScriptedModel
from whetstone.models.watched import ReplyWatch, Stopped, watched
from whetstone.tasks import CardShelf, cards
from whetstone.tasks.entities import Entity
from whetstone.types import Message, Reply, text_of, user
from whetstone.ui.tasks_tab import TasksServer
from whetstone.ui.tasks_view import entities_html

EVIL = "<img src=x onerror=window.hacked=1>"
MIXED = f"마리 퀴리 lived in Paris 😀. ولدت ماري كوري في وارسو. {EVIL}"

Ask = Callable[..., dict[str, Any]]


def asking(**models: ChatModel) -> Ask:
    server = TasksServer(pool_of(models), run_code=False, cards=CardShelf())
    functions = {one.__name__: one for one in server.functions()}
    return lambda name, /, **asked: functions[f"tasks_{name}"](asked)


def done(ask: Ask, **asked: Any) -> dict[str, Any]:
    """A task at its end."""
    begun = ask("start", **asked)
    if "error" in begun:
        return begun
    until(lambda: bool(ask("watch", job=begun["job"])["done"]))
    return {**begun, **ask("watch", job=begun["job"])}


def test_every_mistake_is_one_sentence() -> None:
    ask = asking(echo=ScriptedModel(["yes"]))

    def fails(card: str = "summarize", model: str = "echo", **more: Any) -> str:
        inputs = {"text": "A text.", **more.pop("inputs", {})}
        return str(done(ask, card=card, model=model, inputs=inputs, **more)["error"])

    assert "Did you mean summarize" in fails(card="sumarize")
    assert "no task card named '../../etc'" in fails(card="../../etc")
    assert "nobody" in fails(model="nobody")
    assert "needs text" in fails(inputs={"text": "  "})
    assert "whole number" in fails(inputs={"words": "many"})
    assert "at most 1,000" in fails(inputs={"words": "5000"})
    assert "Klingon" in fails(inputs={"language": "Klingon"})
    assert "at least 2 different entries" in fails(card="classify", inputs={"labels": "one, one"})
    assert "TERM=TRANSLATION" in fails(card="translate", inputs={"target": "German", "glossary": "weir"})
    assert "no number" in fails(temperature="hot")
    assert "not between 0 and 5" in fails(temperature="nan")
    assert "less than 1" in fails(max_tokens="0")
    assert "less than 0" in fails(part_tokens="-1")
    assert "no longer" in ask("watch", job="gone")["error"]
    assert "no longer" in ask("stop", job="gone")["error"]
    assert "no case" in ask("case", card="summarize", case="gone")["error"]
    assert "no file is chosen" in ask("file")["error"]


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.name)
def test_every_card_has_a_form_its_failures_and_cases_that_fill_it(card: Any) -> None:
    ask = asking(echo=ScriptedModel(["yes"]))
    form = ask("card", card=card.name)
    for one in card.inputs:
        assert f'data-input="{one.name}"' in form["html"]
    assert form["about"].count("<li>") == len(card.file.known_failures) > 0
    assert ask("cases", card=card.name)["html"].count("data-case=") == len(card.cases())
    for case in card.cases():
        filled = ask("case", card=card.name, case=case.id)["inputs"]
        read = {one.name: one.read(filled[one.name]) for one in card.inputs if filled[one.name]}
        assert card.check(read) == card.check(case.inputs)  # what a person sees is what the case says


def test_a_text_beyond_the_context_is_read_in_parts_whose_steps_can_be_opened() -> None:
    ask = asking(small=ScriptedModel(lambda _: "Short.", context_length=900))
    text = "\n\n".join(f"Paragraph {n} of a long report {EVIL}." for n in range(150))
    found = done(ask, card="summarize", model="small", inputs={"text": text, "words": "20"})
    assert "it was read in" in found["html"]
    assert "parts read, 1 joined)" in found["html"]
    assert EVIL not in found["html"]
    steps = found["html"].count("data-step=")
    assert steps > 2
    first = ask("step", job=found["job"], step=0)["html"]
    assert "Paragraph 0 of a long report &lt;img" in first
    assert "Short." in first
    assert "no step" in ask("step", job=found["job"], step=steps)["error"]


def test_copied_text_is_counted_and_the_expected_answer_of_a_case_stands_beside() -> None:
    ask = asking(echo=ScriptedModel(["The old weir at Hollin Mill will go."]))
    filled = ask("case", card="summarize", case="weir")["inputs"]
    found = done(ask, card="summarize", model="echo", inputs=filled, case="weir")
    assert "8 words from" in found["html"]
    assert "80% of its runs of 4 words" in found["html"]
    assert "Expected" in found["html"]


def test_mentions_are_marked_where_they_stand_and_nothing_of_the_text_runs() -> None:
    spans = [(MIXED.index(name), name, kind) for name, kind in (("마리 퀴리", "person"), ("Paris", "place"))]
    html = entities_html(MIXED, [Entity(t, k, s, s + len(t)) for s, t, k in spans], ["person", "place"])
    assert '<mark class="wh-ta-entity c0" title="person">마리 퀴리</mark> lived in <mark' in html
    assert EVIL not in html


def test_an_encoder_decoder_is_explained_and_refused_where_it_does_not_suit() -> None:
    ask = asking(t5=EncoderDecoder(["Wien ist schön."]))
    assert "Wien ist schön." in done(ask, card="rewrite", model="t5", inputs={"text": "Wien ist schon."})["html"]
    found = done(ask, card="code", model="t5", inputs={"task": "add two numbers"})
    assert "cannot do code" in found["error"]
    pool = ModelPool({"flan": "hf:google/flan-t5-base", "plain": "scripted:echo"})
    server = TasksServer(pool, run_code=True, cards=CardShelf())
    functions = {one.__name__: one for one in server.functions()}
    said = functions["tasks_model"]({"card": "essay", "model": "flan"})["html"]
    assert "no chat with it" in said
    assert "cannot do essay" in said
    assert "cannot do" not in functions["tasks_model"]({"card": "summarize", "model": "flan"})["html"]
    assert functions["tasks_model"]({"card": "essay", "model": "plain"}) == {"html": ""}


def test_running_code_is_offered_and_done_only_where_the_owner_allows_it() -> None:
    pool = pool_of({"coder": ScriptedModel(lambda messages: "```python\nprint(6 * 7)\n```")})
    asked = {"card": "code", "model": "coder", "inputs": {"task": "print 42"}}
    for allowed in (True, False):
        functions = {one.__name__: one for one in TasksServer(pool, run_code=allowed, cards=CardShelf()).functions()}
        assert ("wh-ta-run" in functions["tasks_card"](asked)["html"]) is allowed
        started = functions["tasks_start"]({**asked, "run": not allowed})
        assert ("runs no code" in started.get("error", "")) is not allowed


def test_a_task_is_stopped_in_the_middle_of_a_reply() -> None:
    model = ScriptedModel(["word " * 2000], delay=0.05)
    ask = asking(slow=model)
    job = ask("start", card="essay", model="slow", inputs={"topic": "Rain"})["job"]
    until(lambda: "word" in ask("watch", job=job).get("html", ""))
    ask("stop", job=job)
    until(lambda: bool(ask("watch", job=job)["done"]))  # the reply alone would take minutes
    found = ask("watch", job=job)
    assert "Stopped" in found["html"]
    assert found["error"] == ""


def test_a_watched_model_is_the_model_in_all_that_it_can() -> None:
    model = ScriptedModel(lambda messages: text_of(messages[-1]).upper(), concurrency=3)
    watch = ReplyWatch()
    same = watched(model, watch)
    for kind in (ContextModel, TokenizingModel, RenderingModel, BatchModel):
        assert isinstance(same, kind) == isinstance(model, kind)
    assert same.identity == model.identity
    assert same.concurrency == 3
    assert reply(same, [user("hi")]).text == "HI" == watch.text
    watch.stop()
    with pytest.raises(Stopped):
        reply(same, [user("hi")])


class Batching(ScriptedModel):
    """A model that answers in batches, and says how large they were."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.batches: list[int] = []

    def reply_many(
        self, conversations: Sequence[Sequence[Message]], options: Any = None
    ) -> Iterator[tuple[int, Reply]]:
        self.batches.append(len(conversations))
        for index, messages in enumerate(conversations):
            yield index, reply(self, messages)


def test_a_watched_batch_stays_a_batch_and_one_reply_is_a_stream() -> None:
    model, watch = Batching(["a", "b", "c"]), ReplyWatch()
    same = watched(model, watch)
    assert [one.text for _, one in replies(same, [[user("1")], [user("2")]]) if isinstance(one, Reply)] == ["a", "b"]
    assert next(replies(same, [[user("3")]]))[0] == 0
    assert model.batches == [2]
    assert watch.text == "c"


def test_replies_that_wait_for_their_first_piece_are_stopped_from_another_thread() -> None:
    model, watch = ScriptedModel(["x" * 500], delay=60, concurrency=2), ReplyWatch()
    ended = threading.Event()

    def work() -> None:
        with pytest.raises(Stopped):
            list(replies(watched(model, watch), [[user("1")], [user("2")]]))
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    until(lambda: model.most_open == 2)
    watch.stop()
    assert ended.wait(30)


def test_a_file_becomes_the_text(tmp_path: Path) -> None:
    ask = asking(echo=ScriptedModel(["yes"]))

    def sent(name: str, content: bytes) -> dict[str, Any]:
        return ask("file", name=name, data=base64.b64encode(content).decode())

    assert sent("a.txt", "안녕 😀".encode())["text"] == "안녕 😀"
    wrong = sent("../a.txt", b"\xff\xfe\x00")["error"]
    assert "binary" in wrong
    assert "whetstone-" not in wrong  # the folder that it lay in
    assert "whet task" in sent("big.txt", b"x" * 10_000_001)["error"]
