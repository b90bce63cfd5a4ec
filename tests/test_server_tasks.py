"""/v1/tasks of a running server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest

from running_server import Running, app_of, running
from whetstone.models.scripted import ScriptedModel
from whetstone.server.limits import Limits
from whetstone.tasks.card import NAMES


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    entities = {"entities": [{"text": "Ada", "type": "person"}, {"text": "Bo", "type": "person"}]}
    models = {
        "kind": ScriptedModel(lambda messages: "A short summary."),
        "finder": ScriptedModel(lambda messages: json.dumps(entities)),
        "coder": ScriptedModel(lambda messages: "```python\nprint('hello')\n```"),
        "broken": ScriptedModel(lambda messages: ""),
    }
    with running(app_of(models, limits=Limits(run_code=True))) as served:
        yield served


def test_cards_are_listed_with_schemas_that_their_inputs_fit(server: Running) -> None:
    told = server.http.get("/v1/tasks").json()
    assert [card["name"] for card in told["data"]] == list(NAMES)
    translate = server.http.get("/v1/tasks/translate").json()
    assert translate in told["data"]
    jsonschema.validate({"text": "Hi", "target": "German", "glossary": {"a": "b"}}, translate["inputs"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"text": "Hi"}, translate["inputs"])


def test_a_task_is_done_and_counted(server: Running) -> None:
    told = server.http.post("/v1/tasks/summarize", json={"inputs": {"text": "Long.", "words": 20}}).json()
    assert (told["object"], told["card"], told["model"]) == ("task", "summarize", "kind")
    assert told["output"] == "A short summary."
    assert told["usage"]["completion_tokens"] == 3
    assert "steps" not in told
    body = {"model": "finder", "inputs": {"text": "Ada and Ada."}, "trace": True}
    told = server.http.post("/v1/tasks/entities", json=body).json()
    assert [(one["start"], one["end"]) for one in told["output"]] == [(0, 3), (8, 11)]
    assert "not in the text" in told["notes"][0]
    assert told["steps"][0]["messages"][-1]["role"] == "user"


def test_code_is_run_only_when_asked_to(server: Running) -> None:
    body = {"model": "coder", "inputs": {"task": "Say hello."}}
    assert "ran" not in server.http.post("/v1/tasks/code", json=body).json()
    told = server.http.post("/v1/tasks/code", json={**body, "run": True}).json()
    assert told["ran"]["stdout"] == "hello\n"


def test_code_is_not_run_where_the_owner_did_not_allow_it() -> None:
    model = ScriptedModel(lambda messages: "```python\nprint('hello')\n```")
    body = {"inputs": {"task": "Say hello."}}
    with running(app_of({"coder": model})) as served:
        assert "ran" not in served.http.post("/v1/tasks/code", json=body).json()
        refused = served.http.post("/v1/tasks/code", json={**body, "run": True})
    assert refused.status_code == 403
    assert "--run-code" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("haiku", {"inputs": {}}, 404, "no task card named 'haiku'"),
        ("..%2Fhaiku", {"inputs": {}}, 404, ""),
        ("%5Cetc", {"inputs": {}}, 404, "no task card"),
        ("summarize", {}, 400, "Missing required parameter: inputs"),
        ("summarize", {"inputs": []}, 400, "inputs"),
        ("summarize", {"inputs": {}}, 400, "needs text"),
        ("summarize", {"inputs": {"text": ""}}, 400, "text is empty"),
        ("summarize", {"inputs": {"text": "x", "tone": "y"}}, 400, "no input of the card summarize named 'tone'"),
        ("summarize", {"inputs": {"text": "\ud800"}}, 400, "half a character"),
        ("summarize", {"inputs": {"text": "x"}, "shots": 101}, 400, "less than or equal to 100"),
        ("summarize", {"inputs": {"text": "x"}, "run": True}, 400, "nothing to run"),
        ("summarize", {"inputs": {"text": "x"}, "model": "nobody"}, 404, "nobody"),
        ("summarize", {"inputs": {"text": "x"}, "model": "broken"}, 502, "empty answer"),
        ("translate", {"inputs": {"text": "x", "target": "Klingon"}}, 400, "no language named 'Klingon'"),
        ("essay", {"inputs": {"topic": "x " * 5000}}, 400, "shorten it"),
    ],
)
def test_what_cannot_be_done_is_refused_in_openais_form(
    server: Running, name: str, body: dict[str, object], status: int, said: str
) -> None:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer = server.http.post(f"/v1/tasks/{name}", content=content, headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
