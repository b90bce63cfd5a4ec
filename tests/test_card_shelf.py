"""Cards of one's own beside ours: in the API and in the workbench."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from own_card import OWN, own_card
from running_server import app_of, running
from whetstone.cli.main import app
from whetstone.errors import DataError, UnknownNameError, UsageError
from whetstone.models.pool import ModelPool
from whetstone.models.scripted import ScriptedModel
from whetstone.tasks import CardShelf, cards
from whetstone.ui.prompts_tab import PromptsServer
from whetstone.ui.tasks_form import form_html
from whetstone.ui.tasks_tab import TasksServer


def haiku(place: Path, *cases: str) -> Path:
    folder = place / "haiku"
    own_card(folder, OWN.replace("Haiku", "Haiku <3"))
    if cases:
        (folder / "cases.jsonl").write_text("\n".join(cases))
    return folder


def case(**inputs: str) -> str:
    return json.dumps({"id": "rain", "split": "test", "inputs": inputs, "expected": "Drops."})


def test_a_card_of_one_s_own_stands_behind_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = haiku(tmp_path)
    shelf = CardShelf([str(folder)])
    assert [card.name for card in shelf] == [*(card.name for card in cards()), "haiku"]
    assert shelf.source(shelf.find("haiku")) == "./haiku"
    assert shelf.source(shelf.find("summarize")) == "summarize"
    with pytest.raises(UnknownNameError, match="Did you mean haiku"):
        shelf.find("haikus")
    with pytest.raises(UnknownNameError):
        shelf.find(str(folder))
    monkeypatch.chdir(folder)
    assert CardShelf(["."]).find("haiku").folder == folder


def test_what_is_wrong_with_a_card_is_told_at_once(tmp_path: Path) -> None:
    folder = haiku(tmp_path, case(subject="rain"))
    with pytest.raises(DataError, match=r"cases\.jsonl: the case rain: .*subject"):
        CardShelf([str(folder)])
    (folder / "cases.jsonl").write_text(case(topic="rain"))
    assert len(CardShelf([str(folder)]).find("haiku").cases("test")) == 1
    with pytest.raises(UsageError, match="a card haiku already"):
        CardShelf([str(folder), str(folder)])
    result = CliRunner().invoke(app, ["serve", "--port", "0", "--card", str(tmp_path / "nothing")])
    assert result.exit_code != 0
    assert isinstance(result.exception, DataError)


def test_the_api_does_it(tmp_path: Path) -> None:
    shelf = CardShelf([str(haiku(tmp_path))])
    model = ScriptedModel(lambda messages: f"On {messages[-1]['content']}")
    with running(app_of({"poet": model}, cards=shelf)) as served:
        listed = served.http.get("/v1/tasks").json()["data"]
        assert listed[-1]["name"] == "haiku"
        told = served.http.post("/v1/tasks/haiku", json={"inputs": {"topic": "rain"}}).json()
        assert told["output"] == "On A haiku on rain."
    with running(app_of({"poet": model})) as served:
        assert served.http.get("/v1/tasks/haiku").status_code == 404


def test_the_workbench_has_it(tmp_path: Path) -> None:
    shelf = CardShelf([str(haiku(tmp_path))])
    assert '<option value="haiku">Haiku &lt;3</option>' in form_html(["echo"], shelf)
    pool = ModelPool({"echo": "scripted:echo"})
    tasks = {one.__name__: one for one in TasksServer(pool, run_code=False, cards=shelf).functions()}
    assert "no cases yet" in tasks["tasks_card"]({"card": "haiku"})["about"]
    assert "no cases yet" in tasks["tasks_cases"]({"card": "haiku"})["html"]
    assert "topic" in tasks["tasks_card"]({"card": "haiku"})["html"]
    prompts = {one.__name__: one for one in PromptsServer(pool, own_user=True, cards=shelf).functions()}
    assert "haiku" in prompts["prompts_list"]({})["html"]
    assert "A haiku on {{ topic }}." in prompts["prompts_card"]({"card": "haiku"})["source"]
