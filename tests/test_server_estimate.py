"""/v1/estimate of a running server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tiny_hf
from running_server import Running, app_of, running
from whetstone.models import load_model
from whetstone.models.scripted import ScriptedModel
from whetstone.workflows.price import PricedItem, Pricer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    models = {
        "tiny": load_model(f"hf:{tiny_hf.llama(tmp_path_factory.mktemp('tiny'))}"),
        "wordy": ScriptedModel(lambda messages: "I cannot say."),
    }
    with running(app_of(models)) as served:
        yield served


def test_estimates_are_those_of_the_workflow(server: Running) -> None:
    texts = ["A brass lamp", "A table"]
    told = server.http.post("/v1/estimate", json={"input": texts, "level": 0.5, "estimate": "mean"}).json()
    assert (told["object"], told["model"]) == ("list", "tiny")
    model = server.app.state.engine.pool.get("tiny")
    for index, one in enumerate(Pricer(model).price(texts, level=0.5, estimate="mean")):
        assert isinstance(one, PricedItem)
        given = told["data"][index]
        assert (given["index"], given["kind"], given["level"]) == (index, "mean", 0.5)
        assert given["estimate"] == pytest.approx(one.estimate, rel=1e-4)
        assert given["interval"] == list(one.interval)
        assert len(given["candidates"]) == 10
    assert told["usage"]["prompt_tokens"] > 20
    assert "whetstone_prompt_tokens_total" in server.http.get("/metrics").text


def test_a_single_text_and_a_grid_of_grades(server: Running) -> None:
    told = server.http.post("/v1/estimate", json={"model": "tiny", "input": "A lamp", "grid": "1..5"}).json()
    (one,) = told["data"]
    assert sum(candidate["probability"] for candidate in one["candidates"]) == pytest.approx(1)
    assert 1 <= one["interval"][0] <= one["estimate"] <= one["interval"][1] <= 5


@pytest.mark.parametrize(
    ("body", "status", "param", "said"),
    [
        ({"input": ""}, 400, "input", "empty"),
        ({"input": []}, 400, "input", "empty"),
        ({"input": ["x"] * 257}, 400, "input", "at most 256"),
        ({"input": "x", "grid": "9..1"}, 400, None, "holds no number"),
        ({"input": "x", "grid": "1e9,2"}, 400, "grid", "pattern"),
        ({"input": "x", "grid": "0..99999"}, 400, None, "at most 10,000"),
        ({"input": "x", "grid": "0..9999999999"}, 400, None, "more than 200,000"),
        ({"input": "x", "level": 1}, 400, "level", "less than 1"),
        ({"input": "x", "estimate": "best"}, 400, "estimate", "auto"),
        ({"input": "x", "model": "nobody"}, 404, "model", "nobody"),
        ({"input": ["x", "y"], "model": "wordy"}, 400, "input", "input[0]"),
        ({"input": "x", "estimates": 1}, 400, "estimates", "Unrecognized"),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_openais_form(
    server: Running, body: dict[str, object], status: int, param: str | None, said: str
) -> None:
    answer = server.http.post("/v1/estimate", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert said in error["message"]
