"""Grades as distributions: what a judge's reply says, and the grades that it nearly gave."""

from __future__ import annotations

import math

import pytest

from whetstone.numeric.grades import graded
from whetstone.numeric.grid import parse_grid
from whetstone.types import Reply, TokenLogprob

STARS = parse_grid("1..5")


def token(text: str, probability: float, **others: float) -> TokenLogprob:
    top = {text: probability, **{name.replace("_", " "): value for name, value in others.items()}}
    return TokenLogprob(text, math.log(probability), None, tuple((t, math.log(p)) for t, p in top.items()))


def test_the_expected_grade_counts_those_that_were_nearly_given() -> None:
    spoken = Reply('{"grade": 4}', logprobs=(token('{"grade":', 0.1), token(" 4", 0.6, _5=0.2, _3=0.1, x=0.1)))
    found = graded(spoken, STARS)
    assert found is not None
    # What stands before the grade was forced, and costs nothing.
    assert found.masses == pytest.approx([0, 0, 0.1, 0.6, 0.2])
    assert found.mean == pytest.approx((4 * 0.6 + 5 * 0.2 + 3 * 0.1) / 0.9)
    assert found.mode == 4


def test_what_was_not_shown_is_the_bound() -> None:
    found = graded(Reply("4", logprobs=(token("4", 0.6, _5=0.1),)), STARS)
    assert found is not None
    assert found.bound == pytest.approx(0.3)
    assert found.mean == pytest.approx((4 * 0.6 + 5 * 0.1) / 0.7)


def test_a_grade_may_share_its_token_with_what_stands_before_it() -> None:
    one = TokenLogprob(':"2', math.log(0.7), None, ((':"2', math.log(0.7)), (':"3', math.log(0.3))))
    found = graded(Reply('{"grade":"2"}', logprobs=(token('{"grade"', 1.0), one)), STARS)
    assert found is not None
    assert found.mean == pytest.approx(2.3)


def test_a_grade_of_several_tokens_is_told_from_the_one_that_it_begins_with() -> None:
    spoken = Reply("10", logprobs=(token("1", 0.5, _9=0.5), token("0", 0.8, **{"}": 0.2})), finish_reason="stop")
    found = graded(spoken, parse_grid("1..10"))
    assert found is not None
    assert (found.masses[9], found.masses[8], found.masses[0]) == pytest.approx((0.4, 0.5, 0.1))


@pytest.mark.parametrize(("said", "grade"), [('{"grade": 4}', 4.0), ("5", 5.0), ("The answer earns 2.", 2.0)])
def test_without_probabilities_the_grade_that_was_given_is_all(said: str, grade: float) -> None:
    found = graded(Reply(said), STARS)
    assert found is not None
    assert (found.mean, found.inside, found.deviation) == (grade, 1.0, 0.0)


@pytest.mark.parametrize("said", ["", "seven", "9", "4 or 5", "0", "3.5", "-4"])
def test_what_gives_no_grade_or_several_gives_none(said: str) -> None:
    assert graded(Reply(said), STARS) is None


def test_another_number_is_no_grade_even_if_a_grade_was_nearly_given() -> None:
    assert graded(Reply("7", logprobs=(token("7", 0.6, _5=0.4),)), STARS) is None


def test_digits_in_a_models_thoughts_are_no_grades() -> None:
    thought = Reply("2", reasoning="5 points?", logprobs=(token("5", 1.0), token(" points", 1.0), token("2", 1.0)))
    found = graded(thought, STARS)
    assert found is not None
    assert found.mean == 2
