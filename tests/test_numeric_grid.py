from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import UsageError
from whetstone.numeric.grid import parse_grid


def test_whole_prices_are_spelled_one_way() -> None:
    grid = parse_grid("0..999")
    assert (len(grid), grid.values[0], grid.values[-1]) == (1000, 0, 999)
    assert grid.spellings(129) == ("129",)


def test_decimals_may_be_left_out_where_they_are_zero() -> None:
    grid = parse_grid("0.00..9.99")
    assert len(grid) == 1000
    assert grid.spellings(350) == ("3.50", "3.5")
    assert grid.spellings(300) == ("3.00", "3.0", "3.", "3")
    assert grid.spellings(301) == ("3.01",)


def test_steps_logarithms_and_lists() -> None:
    assert parse_grid("0..100:25").values.tolist() == [0, 25, 50, 75, 100]
    assert parse_grid("10, 5,2.5").values.tolist() == [2.5, 5, 10]
    assert parse_grid("log:1..10000:5").values.tolist() == [1, 10, 100, 1000, 10000]
    assert parse_grid("-2..2").values.tolist() == [-2, -1, 0, 1, 2]


def test_a_comma_goes_on_with_a_number_and_a_point_only_with_decimals() -> None:
    whole, decimal = parse_grid("0..999"), parse_grid("0.0..9.9")
    assert "," in whole.goes_on("1")
    assert "." not in whole.goes_on("1")
    assert "." in decimal.goes_on("1")
    assert "," not in decimal.goes_on("1.5")


@pytest.mark.parametrize(
    "text", ["", "a", "5..1", "1..", "0..999:0", "1..nan", "log:0..10:5", "log:1..10:1", "1,,2", "0..99999999", "inf"]
)
def test_what_is_no_grid_is_told_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="grid"):
        parse_grid(text)


@given(st.integers(-500, 500), st.integers(0, 300), st.integers(0, 3))
def test_every_spelling_is_one_candidates_alone(low: int, more: int, places: int) -> None:
    unit = Decimal(1).scaleb(-places)
    grid = parse_grid(f"{low * unit:.{places}f}..{(low + more) * unit:.{places}f}")
    spelled = [(written, grid.numbers[index]) for index in range(len(grid)) for written in grid.spellings(index)]
    assert len(grid) == more + 1
    assert all(Decimal(written) == number for written, number in spelled)
    assert len({written for written, _ in spelled}) == len(spelled)
