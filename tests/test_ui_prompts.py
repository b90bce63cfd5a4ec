"""The Prompts tab: what it refuses, what it keeps, and how prompts are scored."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")

from polish_prompt import EVIL, FIRST, SECOND
from running_server import until
from whetstone import settings
from whetstone.evaluation.run import RunStore
from whetstone.models.pool import ModelPool
from whetstone.prompting.library import PromptLibrary
from whetstone.tasks import CardShelf, load_card
from whetstone.ui.prompts_tab import PromptsServer
from whetstone.workflows.prompt_draft import draft
from whetstone.workflows.prompt_scores import PromptArm, score_prompts

Ask = Callable[..., dict[str, Any]]


def asking(*, own_user: bool = True) -> Ask:
    pool = ModelPool({"echo": "scripted:echo", "slow": "scripted:echo?delay=0.02"})
    functions = {one.__name__: one for one in PromptsServer(pool, own_user=own_user, cards=CardShelf()).functions()}
    return lambda name, /, **asked: functions[f"prompts_{name}"](asked)


def done(ask: Ask, what: str, **asked: Any) -> dict[str, Any]:
    """A trial or scores at their end."""
    begun = ask(what, **asked)
    if "error" in begun:
        return begun
    until(lambda: bool(ask("watch", job=begun["job"])["done"]))
    return ask("watch", job=begun["job"])


def test_every_mistake_is_one_sentence() -> None:
    ask = asking()

    def state(source: str, name: str = "polish") -> str:
        return str(ask("check", name=name, source=source)["state"])

    assert "begins with a YAML head" in state("Hello")
    assert "used but not listed" in state(FIRST.replace("[text, style]", "[text]"))
    assert "listed under variables but not used" in state(FIRST.replace("style }}", "text }}"))
    assert "not valid Jinja" in state(FIRST.replace("{{ text }}", "{{ text"))
    assert "stands in one of the library" in state(FIRST, "../polish")
    assert "no name of a prompt" in state(FIRST, "my polish")
    assert "a version is never changed" in state(FIRST, "polish@1")
    assert "shorten it" in ask("check", name="x", source="x" * 100_001)["error"]
    good = {"name": "polish", "source": FIRST}
    assert "begins with a YAML head" in ask("save", name="polish", source="Hello")["error"]
    assert "a name first" in ask("save", name="", source=FIRST)["error"]
    assert "Did you mean" in ask("open", prompt="numbr")["error"]
    values = {"text": "[1", "style": "good"}
    assert "no JSON" in ask("run", **good, model="echo", values=values, json=["text"])["error"]
    assert "needs a value for 'style'" in ask("run", **good, model="echo", values={"text": "x"})["error"]
    assert "nobody" in ask("run", **good, model="nobody", values=values)["error"]
    assert "has no such input" in ask("score", **good, card="summarize", model="echo")["error"]
    assert (
        "does not use"
        in ask("score", name="x", source=FIRST.replace("text", "instruction"), card="rewrite", model="echo")["error"]
    )
    assert "no task card named '../x'" in ask("score", **good, card="../x", model="echo")["error"]
    assert "no longer" in ask("watch", job="gone")["error"]


def test_a_changed_text_is_kept_as_the_next_version_and_the_one_before_stays() -> None:
    ask = asking()
    assert ask("check", name="polish", source=FIRST)["new"]
    saved = ask("save", name="polish", source=FIRST)
    assert "polish@1" in saved["words"]
    assert "This is polish@1" in ask("check", name="polish", source=FIRST)["state"]
    checked = ask("check", name="polish", source=SECOND)
    assert "saved as version 2" in checked["state"]
    assert '<span class="added">+Please put this' in checked["diff"]
    assert EVIL not in checked["diff"]
    assert "polish@2" in ask("save", name="polish", source=SECOND)["words"]
    assert "saved already" in ask("save", name="polish", source=FIRST)["words"]
    assert ask("check", name="polish", source=SECOND)["versions"] == [2, 1]
    assert ask("open", prompt="polish@1") == {"name": "polish", "source": FIRST}
    listed = ask("list")["html"]
    assert 'data-open="polish@1"' in listed
    assert 'data-card="summarize" data-prompt="part"' in listed
    assert EVIL not in listed


def test_only_the_servers_own_user_saves() -> None:
    visitor = asking(own_user=False)
    assert "own user only" in visitor("save", name="polish", source=FIRST)["error"]
    assert not (settings.home() / "prompts").exists()
    assert visitor("check", name="polish", source=FIRST)["new"]


def test_a_prompt_that_cannot_be_used_is_listed_without_its_folder(tmp_path: Path) -> None:
    folder = settings.home() / "prompts"
    folder.mkdir(parents=True)
    (folder / "broken.md").write_text("no head")
    html = asking()("list")["html"]
    assert "broken.md: a template begins" in html
    assert str(folder) not in html


def test_values_are_texts_or_json_and_are_seen_as_the_model_is_asked() -> None:
    ask = asking()
    source = "---\nname: pick\nversion: 1\nvariables: [labels]\n---\nOne of {{ labels | join(', ') }}?\n"
    given = {"name": "pick", "source": source, "values": {"labels": '["가", "나"]'}, "json": ["labels"]}
    assert "One of 가, 나?" in ask("preview", **given)["html"]
    assert "One of 가, 나?" in done(ask, "run", **given, model="echo")["html"]


def test_a_draft_is_scored_beside_the_last_version_and_keeps_its_answers_when_it_is_saved() -> None:
    library, card = PromptLibrary(), load_card("rewrite")
    first = draft(library, "polish", FIRST)
    library.save("polish", first.source)
    ask = asking()
    found = done(ask, "score", name="polish", source=SECOND, card="rewrite", beside="polish@1", model="echo")
    assert re.search(r"polish@1</th>.*polish@2 \(draft\)</th>|polish@2 \(draft\)</th>.*polish@1</th>", found["html"])
    assert "95 %" in found["html"]
    assert "The answers to all" in found["html"]
    assert ask("save", name="polish", source=SECOND)["source"] == SECOND.replace("version: 1", "version: 2")

    # Answers are known by what was asked, so that a saved text finds those of its draft.
    saved = draft(library, "polish", SECOND)
    asked: list[str] = []

    class Watching:
        def preparing(self, what: str, count: int, total: int) -> None: ...
        def start(self, label: str, total: int, already: int) -> None:
            assert already == total

        def item(self, case: Any, prediction: Any) -> None:
            asked.append(case.id)

        def finish(self) -> None: ...

    arms = [PromptArm("polish@1", first.template), PromptArm(saved.label, saved.template)]
    report = score_prompts(card, arms, model="scripted:echo", watcher=Watching())
    assert asked == []
    assert [result.label for result in report.results] == ["polish@1", "polish@2"]
    assert report.pairs


def test_scores_that_were_stopped_go_on_where_they_were() -> None:
    ask = asking()
    asked = {"name": "polish", "source": FIRST, "card": "rewrite", "beside": "", "model": "slow"}
    job = ask("score", **asked)["job"]
    until(lambda: "Newest answers" in ask("watch", job=job)["html"])
    ask("stop", job=job)
    until(lambda: bool(ask("watch", job=job)["done"]))
    assert "What was answered is kept" in ask("watch", job=job)["html"]
    (run,) = RunStore().folder.glob("*/answers.jsonl")
    kept = len(run.read_text().splitlines())
    job = ask("score", **asked)["job"]
    until(lambda: re.search(r"(\d+) of them before", ask("watch", job=job)["html"]) is not None)
    already = re.search(r"(\d+) of them before", ask("watch", job=job)["html"])
    ask("stop", job=job)
    assert already is not None
    assert 0 < int(already[1]) <= kept


def test_a_card_is_asked_with_a_prompt_of_ones_own_in_place_of_its_own() -> None:
    from whetstone.workflows.prompt_scores import reworded

    card = load_card("translate")
    template = draft(PromptLibrary(), "mine", card.prompt().source).template
    assert template is not None
    mine = reworded(card, template)
    assert mine.prompt("prompt", "t5") is template  # also for families that have a prompt of their own
    assert mine.inputs == card.inputs
    assert mine.cases() == card.cases()
