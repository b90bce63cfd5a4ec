"""Numbers read from an endpoint's likeliest tokens, as techniques that compete: a real server, known probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from misbehaving_server import Exchange, MisbehavingServer, Step, says, stepping
from whetstone.errors import RequestRefusedError, UsageError
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.technique import TechniqueContext
from whetstone.evaluation.techniques import build_technique
from whetstone.models import load_model
from whetstone.types import Case, Problem
from whetstone.workflows.compare import compare

LAMP: Step = {"100": 0.5, "200": 0.3, "cheap": 0.1}
SOFA: Step = {"800": 0.6, "900": 0.3}


def by_item(exchange: Exchange) -> None:
    """What is asked about the sofa is dearer than the rest."""
    asked = exchange.asked.body["messages"][-1]["content"]
    stepping(SOFA if "sofa" in asked else LAMP)(exchange)


def problem(count: int = 2) -> Problem:
    items = [("A lamp", 120.0), ("A sofa", 850.0)] * ((count + 1) // 2)
    test = [Case(str(n), text, price) for n, (text, price) in enumerate(items[:count])]
    train = [Case(f"t{n}", f"A drill {n}", 90.0 + n) for n in range(3)]
    validation = [Case(f"v{n}", f"A rope {n}", 10.0 + n) for n in range(25)]
    return Problem("toy", "number", "price", "mae", train, validation, test, "f", unit="$", valid_range=(0, 1e6))


def test_estimates_are_read_from_the_bounds_which_every_answer_states() -> None:
    with MisbehavingServer(by_item) as server:
        model = load_model(f"openai:m?base_url={server.url}")
        technique = build_technique("price:mean", TechniqueContext(42, lambda _: model, "openai:m"))
        technique.fit(problem())
        keys = technique.keys(problem().test)
        lamp, sofa = sorted(technique.predict(problem().test), key=lambda one: one.case_id)
        model.close()
    assert [lamp.key, sofa.key] == keys
    assert lamp.reading.value == pytest.approx((100 * 0.5 + 200 * 0.3) / 0.8)
    assert sofa.reading.value == pytest.approx((800 * 0.6 + 900 * 0.3) / 0.9)
    assert "may be off by up to 10.0%, and tokens with 10.0% were not shown" in lamp.reading.note
    assert lamp.distribution is not None
    assert (lamp.distribution.inside, lamp.distribution.bound) == pytest.approx((0.8, 0.1))
    assert (lamp.raw, lamp.usage.prompt_tokens) == ("100", 21)
    assert "Answer with the number only." in lamp.prompt
    assert any("likeliest tokens" in said for said in technique.remarks)  # type: ignore[attr-defined]


def test_examples_are_shown_as_earlier_turns() -> None:
    with MisbehavingServer(by_item) as server:
        model = load_model(f"openai:m?base_url={server.url}")
        technique = build_technique("price:median:fixed:2", TechniqueContext(42, lambda _: model, "openai:m"))
        technique.fit(problem(1))
        assert len(list(technique.predict(problem(1).test))) == 1
        model.close()
        (asked,) = server.asked
    told = [message["role"] for message in asked.body["messages"]]
    assert told == ["user", "assistant", "user", "assistant", "user"]
    assert asked.body["messages"][1]["content"] in {"90.00", "91.00", "92.00"}


def test_they_compete_and_a_second_run_asks_nothing_again(tmp_path: Path) -> None:
    with MisbehavingServer(by_item) as server:
        for _ in range(2):
            report = compare(
                problem(4),
                ["price:median", "price:mean"],
                models=[f"openai:m?base_url={server.url}"],
                store=RunStore(tmp_path),
            )
        assert len(server.asked) == 8
    errors = {run.technique: run.scores.metrics["mae"].value for run in report.results}
    assert errors["price:median"] == pytest.approx(np.mean([20, 50]))
    assert len(set(errors.values())) == 2


def test_bounds_cannot_be_corrected_and_replies_alone_are_no_distribution() -> None:
    with MisbehavingServer(says("129")) as server:
        model = load_model(f"openai:m?base_url={server.url}")
        context = TechniqueContext(42, lambda _: model, "openai:m")
        with pytest.raises(UsageError, match="bounds cannot be corrected: take price:mean"):
            build_technique("calibrated:mean", context).fit(problem())
        technique = build_technique("price:mean", context)
        technique.fit(problem(40))
        with pytest.raises(RequestRefusedError, match="no log-probabilities"):
            list(technique.predict(problem(40).test))
        model.close()
        # Not all forty were paid for.
        assert len(server.asked) < 20
