"""The Compare tab: what it refuses, what it keeps, and how a person meets it in a real browser."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import BrowserContext, Locator, expect

from browser import PATIENCE, Chat, browsing, chromium, serving
from whetstone.models.pool import ModelPool
from whetstone.ui.compare_tab import CompareServer

needs_browser = pytest.mark.skipif(chromium() is None, reason="needs chromium")

EVIL = "<img src=x onerror=window.hacked=1>"
ROWS = "title,price\n" + "".join(
    f'"{kind} number {n}, {EVIL}",{price + n % 7}\n'
    for n in range(30)
    for kind, price in (("brass lamp", 40), ("oak table", 400), ("wool rug", 150))
)

Ask = Callable[..., dict[str, Any]]


def asking(server: CompareServer) -> Ask:
    functions = {one.__name__: one for one in server.functions()}
    return lambda name, /, **asked: functions[f"compare_{name}"](asked)


def server_of(*, own_user: bool = True) -> CompareServer:
    return CompareServer(
        ModelPool({"slow": "scripted:number?delay=0.02", "number": "scripted:number"}), own_user=own_user
    )


@pytest.fixture
def ask() -> Ask:
    return asking(server_of())


def sent(ask: Ask, text: str = ROWS, name: str = "shop.csv") -> str:
    found = ask("upload", name=name, data=base64.b64encode(text.encode()).decode(), at=0, last=True)
    return str(found["source"])


FIELDS: dict[str, Any] = {"text": ["title"], "target": "price", "test": "20", "validation": "", "train": ""}


def watched(ask: Ask, name: str) -> dict[str, Any]:
    """The comparison once it has ended."""
    ends = time.monotonic() + PATIENCE
    while not (found := ask("watch", id=name))["done"]:
        assert time.monotonic() < ends, "the comparison does not end"
        time.sleep(0.05)
    return found


def test_every_mistake_is_one_sentence(ask: Ask) -> None:
    source = sent(ask)

    def begin(**more: Any) -> str:
        asked = {"source": source, "problem": FIELDS, "techniques": ["constant"], "models": ["number"], **more}
        found = ask("start", **asked)
        return str(found["error"] if "error" in found else watched(ask, found["id"])["error"])

    assert "no data is chosen" in begin(source="")
    assert "at least one technique" in begin(techniques=[])
    assert "Did you mean tfidf" in begin(techniques=["tfdif"])
    assert "tfidf is there twice" in begin(techniques=["tfidf", "tfidf"])
    assert "choose a model" in begin(models=[])
    assert "nobody" in begin(models=["nobody"])
    assert "test items: 'many' is no number" in begin(problem={**FIELDS, "test": "many"})
    assert "neither a count nor a share" in begin(problem={**FIELDS, "test": "1.5"})
    assert "'cost'" in begin(problem={**FIELDS, "target": "cost"})
    assert "constant takes" in begin(techniques=["constant:best"])
    assert "upload it again" in ask("columns", source="upload:0000000000000000/gone.csv")["error"]
    assert "upload it again" in ask("columns", source="upload:../../etc/passwd")["error"]
    assert "hold no rows that can be read" in ask("upload", name="x.exe", data="", at=0, last=True)["error"]
    assert "a piece of the file is missing" in ask("upload", name="x.csv", data="", at=5, part="0" * 16)["error"]
    assert "not at work" in ask("stop", id="gone")["error"]
    assert (
        "no comparison named 'gone'" in ask("open", id="gone")["error"]
        or "no comparisons" in ask("open", id="gone")["error"]
    )
    assert "choose at least one run" in ask("report", runs=[])["error"]


def test_what_is_wrong_with_an_uploaded_file_is_said_by_its_name_alone(ask: Ask) -> None:
    source = sent(ask, "PAR1 what is this", "shop.csv")
    error = ask("columns", source=source)["error"]
    assert error.startswith("shop.csv")
    assert "uploads" not in error


def test_a_file_arrives_in_pieces_and_its_columns_are_told_apart(ask: Ask) -> None:
    first, second = ROWS[:100], ROWS[100:]
    begun = ask("upload", name="shop.csv", data=base64.b64encode(first.encode()).decode(), at=0, last=False)
    data = base64.b64encode(second.encode()).decode()
    found = ask("upload", name="shop.csv", data=data, at=100, last=True, part=begun["part"])
    assert found["source"] == sent(ask)
    html = ask("columns", source=found["source"])["html"]
    assert re.search(r'wh-cm-text" value="title"[^>]*checked', html)
    assert re.search(r'wh-cm-target" value="price"[^>]*checked', html)
    assert "<img" not in html


def test_visitors_name_no_file_and_see_no_run_that_is_not_the_pages() -> None:
    own, visitor = asking(server_of()), asking(server_of(own_user=False))
    source = sent(own)
    assert "own user only" in visitor("columns", source="/etc/passwd")["error"]
    asked = {"source": source, "problem": FIELDS, "models": ["number"]}
    assert "only its own user" in visitor("start", **asked, techniques=["guesses:/etc/passwd"])["error"]
    assert "only its own user" in visitor("start", **asked, techniques=["ensemble:tfidf+guesses:/etc/passwd"])["error"]
    assert "knowledge base" in visitor("start", **asked, techniques=["retrieved:secrets:3"])["error"]


def test_a_stopped_comparison_goes_on_where_it_was_also_after_the_server_has_gone(ask: Ask) -> None:
    asked = {"source": sent(ask), "problem": FIELDS, "techniques": ["constant", "ask"], "models": ["slow"]}
    name = ask("start", **asked)["id"]
    assert "at work" in ask("start", **{**asked, "techniques": ["tfidf"]})["error"]
    ends = time.monotonic() + PATIENCE
    while "Newest answers" not in ask("watch", id=name)["html"] or "ask" not in ask("watch", id=name)["html"]:
        assert time.monotonic() < ends
    ask("stop", id=name)
    stopped = watched(ask, name)
    assert stopped["complete"] is False
    assert stopped["error"] == ""
    again = asking(server_of())  # another server, which finds what was kept
    assert "stopped" in again("earlier")["html"]
    before = again("open", id=name)
    assert "of 20 items answered so far" in before["html"]
    assert again("resume", id=name)["id"] == name
    done = watched(again, name)
    assert done["complete"] is True
    assert "<b>100.0 %</b>" in done["html"]
    assert "<img" not in done["html"]
    assert "compare/report?runs=" in done["links"]
    assert again("start", **asked)["id"] == name  # the same question is the same comparison
    assert watched(again, name)["complete"] is True
    runs = re.findall(r'value="(shop-[^"]+)"', again("earlier")["html"])
    assert len(runs) == 2
    assert again("report", runs=runs)["link"].startswith("compare/report?runs=shop-")


def test_techniques_are_told_by_what_their_classes_say(ask: Ask) -> None:
    found = ask("techniques")["techniques"]
    assert found["knn"]["takes"] == "[:K]"
    assert found["few-shot"]["takes"] == "[:METHOD[:K]]"
    assert all(one["says"] for one in found.values())
    assert not any("`" in one["says"] for one in found.values())


# A browser.


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = {"number": "scripted:number", "slow": "scripted:number?delay=0.05"}
    with serving(tmp_path_factory.mktemp("workbench"), models) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as context:
        yield context


class Compare(Chat):
    """The Compare tab in one browser tab."""

    def ready(self) -> None:
        super().ready()
        self.page.get_by_role("tab", name="Compare", exact=True).click()
        expect(self.one("tab-new")).to_be_visible()
        expect(self.one("live").locator("*").first).to_be_attached()  # the last thing that the tab asks for at first

    def one(self, name: str) -> Locator:
        return self.page.locator(f"#wh-cm-{name}")

    def arms(self, *specs: str) -> None:
        """Choose these techniques."""
        while self.one("rows").locator("> div").count():
            self.one("rows").get_by_role("button", name="Remove this arm").first.click()
        for spec in specs:
            self.one("add").click()
            row = self.one("rows").locator("> div").last
            name, _, given = spec.partition(":")
            row.get_by_label("Technique").select_option(name)
            row.get_by_label("Arguments").fill(given)

    def overflow(self) -> int:
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider

    def close(self) -> None:
        assert self.page.evaluate("window.hacked") is None
        assert self.complaints == []
        assert self.elsewhere == []
        super().close()


@needs_browser
def test_an_uploaded_file_is_compared_stopped_reloaded_and_its_report_opened(
    browser: BrowserContext, url: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.csv").write_text(ROWS)
    tab = Compare(browser, url)
    tab.one("file").set_input_files(tmp_path / "shop.csv")
    expect(tab.one("columns").get_by_role("radio", name="price is the answer")).to_be_checked()
    tab.one("test").fill("40")
    tab.one("look").click()
    expect(tab.one("seen")).to_contain_text("40 test items")
    tab.arms("constant:median", "ask")
    tab.one("models").get_by_role("checkbox", name="number").uncheck()
    tab.one("models").get_by_role("checkbox", name="slow").check()
    tab.one("start").click()
    expect(tab.one("live")).to_contain_text("Newest answers")
    expect(tab.one("live").locator("svg").first).to_have_attribute("aria-label", re.compile("Running mean of constant"))
    tab.open(url)  # the comparison is the server's: a new page finds it
    expect(tab.one("stop")).to_be_visible()
    tab.one("stop").click()
    expect(tab.one("resume")).to_be_visible()
    tab.one("resume").click()
    expect(tab.one("live").locator(".wh-lab-verdict")).to_be_visible()
    expect(tab.one("live").locator("tbody tr")).to_have_count(2)
    with tab.page.expect_popup() as opened:
        tab.one("links").get_by_role("link", name="Open the report").click()
    report = opened.value
    expect(report.locator("h1")).to_contain_text("shop")
    expect(report.locator(".plotly").first).to_be_visible()
    assert report.evaluate("window.hacked") is None
    report.close()
    with tab.page.expect_download() as saved:
        tab.one("links").get_by_role("link", name="JSON").click()
    assert saved.value.suggested_filename == "shop-report.json"
    assert len(json.loads(Path(saved.value.path()).read_text())["runs"]) == 2
    tab.close()


@needs_browser
def test_earlier_runs_are_reported_on_from_a_dark_phone(browser: BrowserContext, url: str, tmp_path: Path) -> None:
    (tmp_path / "small.csv").write_text(ROWS)
    tab = Compare(browser, url, width=390, dark=True)
    tab.one("file").set_input_files(tmp_path / "small.csv")
    expect(tab.one("columns").get_by_role("radio", name="price is the answer")).to_be_checked()
    tab.one("test").fill("20")
    tab.arms("constant:median", "tfidf")
    tab.one("start").click()
    expect(tab.one("live").locator(".wh-lab-verdict")).to_be_visible()
    assert tab.overflow() <= 0
    assert tab.contrast(".wh-lab-table td, .wh-lab-table th, .wh-lab .wh-note, .wh-lab-notes li") >= 4.5
    tab.one("tab-earlier").click()
    group = tab.one("earlier").locator("details", has_text="small")
    group.locator("summary").click()
    group.get_by_role("button", name="Report on the chosen runs").click()
    expect(group).to_contain_text("choose at least one run")
    group.get_by_label("tfidf").check()
    group.get_by_role("button", name="Report on the chosen runs").click()
    expect(group.get_by_role("link", name="Open the report")).to_be_visible()
    assert tab.overflow() <= 0
    tab.one("earlier").get_by_role("button", name="small").click()
    expect(tab.one("live").locator(".wh-lab-verdict")).to_be_visible()
    tab.close()
