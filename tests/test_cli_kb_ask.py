"""`whet kb ask`, and chats with a knowledge base, as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kb_small import HANDBOOK, synced, write
from running_server import running
from terminal import terminal
from whetstone.cli.serve import with_knowledge
from whetstone.models.pool import ModelPool
from whetstone.server.app import create_app

LEAVE = "How many days of annual leave does everyone at Hazelworks have?"


@pytest.fixture
def plan(tmp_path: Path) -> str:
    """A knowledge base named handbook, and a model that cites passage 1 and one that was not given."""
    synced(write(tmp_path / "docs", HANDBOOK))
    file = tmp_path / "plan.yaml"
    file.write_text("replies: [{match: annual leave, reply: 'It is 27 days [1][42].'}, {reply: 'Hello.'}]")
    return f"scripted:{file}"


def whet(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "whetstone", *arguments],
        capture_output=True, text=True, env=dict(os.environ), stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def test_the_answer_goes_to_standard_output_and_the_figures_beside_it(plan: str) -> None:
    done = whet("kb", "ask", LEAVE, "--kb", "handbook", "-m", plan)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("It is 27 days [1].\n\nSources:\n- [1] leave.md")
    assert "certainty" in done.stderr
    assert "tokens" in done.stderr


def test_json_holds_answer_citations_and_passages(plan: str) -> None:
    done = whet("kb", "ask", LEAVE, "--kb", "handbook", "-m", plan, "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["answer"], told["answered"], told["kb"]) == ("It is 27 days [1].", True, "handbook")
    (citation,) = told["citations"]
    assert (citation["number"], citation["path"], citation["attributed"]) == (1, "leave.md", False)
    assert told["passages"][0]["text"] == citation["text"]
    assert told["usage"]["prompt_tokens"] > 50
    assert told["model"].startswith("kb:handbook@scripted:")


def test_what_the_documents_do_not_say_is_an_answer(plan: str) -> None:
    done = whet("kb", "ask", "Who discovered penicillin?", "--kb", "handbook", "-m", plan)
    assert (done.returncode, done.stdout) == (0, "The documents do not say.\n")
    assert "was not asked" in done.stderr
    told = json.loads(whet("kb", "ask", "Who discovered penicillin?", "--kb", "handbook", "-m", plan, "--json").stdout)
    assert (told["answered"], told["citations"], told["passages"]) == (False, [], [])


def test_mistakes_are_one_sentence(plan: str) -> None:
    for arguments, part in (
        (("kb", "ask", " ", "--kb", "handbook"), "the question is empty"),
        (("kb", "ask", "x", "--kb", "handbok"), "handbook"),
        (("kb", "ask", "x", "--kb", "handbook", "-m", "nothing:x"), "no model provider"),
        (("chat", "hello", "--kb", "handbok"), "handbook"),
    ):
        done = whet(*arguments)
        assert done.returncode == 2
        assert part in done.stderr
        assert "Traceback" not in done.stderr


def test_a_chat_is_answered_from_a_knowledge_base(plan: str) -> None:
    for arguments in (("--kb", "handbook", "-m", plan), ("-m", f"kb:handbook@{plan}")):
        done = whet("chat", LEAVE, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["model"] == f"kb:handbook@{plan}"
        assert told["reply"].startswith("It is 27 days [1].\n\nSources:\n- [1] leave.md")


def test_the_terminal_chat_changes_its_knowledge_base(plan: str) -> None:
    with terminal("chat", "-m", plan) as t:
        t.line("/kb")
        t.until("handbook")
        t.line("/kb handbook")
        t.until("answers from now on")
        t.line(LEAVE)
        t.until("leave.md")
        t.line("/kb -")
        t.until(f"{plan} answers")
        t.line("/kb handbok")
        t.until("no knowledge base named")
        t.leave()


def test_a_server_offers_each_knowledge_base_and_sends_its_passages_as_annotations(plan: str) -> None:
    models = with_knowledge({"planned": plan}, ["handbook"])
    assert models == {"planned": plan, "kb:handbook": f"kb:handbook@{plan}"}
    pool = ModelPool(models)
    messages: Any = [{"role": "user", "content": LEAVE}]
    with running(create_app(pool)) as server:
        assert [model.id for model in server.openai.models.list()] == ["planned", "kb:handbook"]
        whole = server.openai.chat.completions.create(model="kb:handbook", messages=messages).choices[0].message
        events = server.openai.chat.completions.create(model="kb:handbook", messages=messages, stream=True)
        deltas = [event.choices[0].delta for event in events if event.choices]
        plain = server.openai.chat.completions.create(model="planned", messages=messages).choices[0].message
    pool.close()
    assert plain.annotations is None
    assert whole.content is not None
    (annotation,) = whole.annotations or []
    cited = annotation.url_citation
    assert whole.content[cited.start_index : cited.end_index] == "[1]"
    assert cited.url.startswith("kb:handbook/leave.md#char=")
    passage: Any = annotation.model_extra["passage"] if annotation.model_extra else None
    assert passage["path"] == "leave.md"
    assert "27 days" in passage["text"]
    assert "".join(delta.content or "" for delta in deltas) == whole.content
    streamed = [found for delta in deltas for found in (delta.model_extra or {}).get("annotations", [])]
    assert streamed == [annotation.model_dump()]
