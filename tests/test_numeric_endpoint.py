"""Bounds from endpoints that show only their likeliest tokens: a real server, probabilities that the test knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from misbehaving_server import MisbehavingServer, Step, says, stepping
from running_server import app_of, running
from whetstone.errors import BadReplyError, ModelError, RequestRefusedError
from whetstone.models import load_model
from whetstone.models.scripted import ScriptedModel
from whetstone.numeric.endpoint import NumberBounds, read_bounds
from whetstone.numeric.grid import parse_grid
from whetstone.types import user
from whetstone.workflows.price import PricedItem, Pricer, Unpriced


def bounds(*steps: Step, grid: str = "0..999", **how: Any) -> NumberBounds | ModelError:
    with MisbehavingServer(stepping(*steps, **how)) as server:
        model = load_model(f"openai:m?base_url={server.url}")
        ((_, found),) = read_bounds(model, [[user("a lamp")]], parse_grid(grid))
        model.close()
        (asked,) = server.asked
    assert (asked.body["temperature"], asked.body["logprobs"], asked.body["top_logprobs"]) == (0, True, 20)
    return found


def test_numbers_of_one_token_are_known_up_to_what_was_not_shown() -> None:
    found = bounds({"129": 0.5, "249": 0.2, "99": 0.1, "cheap": 0.05})
    assert isinstance(found, NumberBounds)
    assert (found.lower[129], found.lower[249]) == pytest.approx((0.5, 0.2))
    # "99" may stop there, or go on to 990 to 999; what was not shown may be anything.
    assert found.lower[99] == 0
    assert (found.upper[99], found.upper[995], found.upper[7]) == pytest.approx((0.25, 0.25, 0.15))
    assert (found.missing, found.open) == pytest.approx((0.15, 0.25))
    # Three digits in one token: this tokenizer does not cut digit by digit, so that "99" is most likely 99.
    shown = found.distribution
    assert (shown.masses[99], shown.masses[995]) == pytest.approx((0.1, 0.0))
    assert (shown.inside, shown.bound) == pytest.approx((0.8, 0.25))


def test_digit_by_digit_only_the_greedy_path_is_settled() -> None:
    found = bounds({"1": 0.6, "2": 0.4}, {"2": 0.5, "3": 0.5}, {"9": 0.5, ".": 0.5})
    assert isinstance(found, NumberBounds)
    assert (found.lower[129], found.lower[12]) == pytest.approx((0.15, 0.15))
    assert found.lower.sum() == pytest.approx(0.3)
    assert (found.upper[137], found.upper[13], found.upper[200], found.upper[3]) == pytest.approx((0.3, 0.3, 0.4, 0.0))
    assert found.open == pytest.approx(0.7)
    shown = found.distribution
    assert shown.masses[137] == pytest.approx(0.3 / 11)
    assert (shown.inside, shown.bound) == pytest.approx((1.0, 0.7))


@pytest.mark.parametrize(
    ("steps", "grid", "expected"),
    [
        ([{"Price": 0.9, "I": 0.1}, {" is": 1.0}, {" $": 1.0}, {"42": 1.0}, {".": 1.0}, {"00": 1.0}], "0..999", 42.0),
        ([{"**": 1.0}, {"$": 1.0}, {"1": 1.0}, {",": 1.0}, {"299": 1.0}], "0..2000", 1299.0),
        ([{"12": 1.0}, {".": 1.0}, {"5": 1.0}], "0.00..99.99", 12.5),
        ([{"4": 1.0}, {" stars": 1.0}], "1..5", 4.0),
        ([{"7": 1.0}, {"5": 1.0}], "0..100:5", 75.0),
    ],
)
def test_a_number_is_found_behind_what_models_say_before_it(steps: list[Step], grid: str, expected: float) -> None:
    found = bounds(*steps, grid=grid)
    assert isinstance(found, NumberBounds)
    assert found.values[found.lower.argmax()] == expected
    assert found.lower.max() == pytest.approx(steps[0][next(iter(steps[0]))])


def test_what_is_no_number_or_beyond_the_grid_is_outside() -> None:
    for steps in ([{"I": 1.0}, {" cannot": 1.0}], [{"1": 1.0}, {"500": 1.0}], [{"12": 1.0}, {",": 1.0}, {"500": 1.0}]):
        found = bounds(*steps)
        assert isinstance(found, NumberBounds)
        assert found.distribution.inside == 0
        assert found.upper.max() == 0


def test_a_reply_that_was_cut_off_may_go_on() -> None:
    ended, cut = bounds({"12": 1.0}), bounds({"12": 1.0}, finish="length")
    assert isinstance(ended, NumberBounds)
    assert isinstance(cut, NumberBounds)
    assert (ended.lower[12], ended.open) == (1, 0)
    assert (cut.lower[12], cut.upper[12], cut.upper[125], cut.open) == (0, 1, 1, 1)


def test_bounds_hold_whatever_the_model_really_does() -> None:
    """Random trees of digits, of which the server shows the two likeliest at each step."""
    random = np.random.default_rng(7)
    for _ in range(20):
        stops = random.uniform(0, 0.5, size=3)
        digits = [random.dirichlet(np.full(10, 0.3), size=10**place) for place in range(3)]
        truth = np.zeros(1000)
        for number in range(1000):
            written = str(number)
            mass = 1.0
            for place, digit in enumerate(written):
                before = int(written[:place] or 0)
                mass *= digits[place][before][int(digit)] * (1 - stops[place - 1] if place else 1)
            truth[number] = mass * (stops[len(written) - 1] if len(written) < 3 else 1)
        truth[0] = digits[0][0][0]  # no other number begins with it, so that it carries what goes on
        path, steps = "", []
        for place in range(3):
            shares = digits[place][int(path or 0)] * (1 - stops[place - 1] if place else 1)
            everything = {str(digit): float(share) for digit, share in enumerate(shares) if share > 0}
            if place:
                everything["\n"] = float(stops[place - 1])
            likeliest = sorted(everything, key=lambda text: -everything[text])[:2]
            steps.append({text: everything[text] for text in likeliest})
            path += likeliest[0]
            if likeliest[0] == "\n":
                break
        found = bounds(*steps)
        assert isinstance(found, NumberBounds)
        assert (found.lower <= truth + 1e-9).all()
        assert (truth <= found.upper + 1e-9).all()
        assert np.abs(found.distribution.masses - truth).max() <= found.open + 1e-9


def test_a_reply_without_probabilities_or_after_thinking_is_an_error_of_its_item() -> None:
    with MisbehavingServer(says("129")) as server:
        model = load_model(f"openai:m?base_url={server.url}")
        ((_, found),) = read_bounds(model, [[user("a lamp")]], parse_grid("0..999"))
        model.close()
    assert isinstance(found, RequestRefusedError)
    assert "no log-probabilities" in str(found)
    assert isinstance(bounds({"129": 1.0}, thinks="Let me see."), BadReplyError)


def test_a_pricer_asks_a_served_model_and_says_that_it_has_bounds_only() -> None:
    with running(app_of({"pricey": ScriptedModel(lambda messages: "129.00")})) as server:
        model = load_model(f"openai:pricey?base_url={server.url}/v1")
        pricer = Pricer(model)
        found = list(pricer.price(["a lamp", " ", "a table"]))
        model.close()
    assert [type(one) for one in found] == [PricedItem, Unpriced, PricedItem]
    priced = found[0]
    assert isinstance(priced, PricedItem)
    assert priced.estimate == 129
    assert priced.bound > 0
    assert "bounds" in priced.note
    assert "exact" not in priced.note
    assert priced.usage.prompt_tokens > 0
