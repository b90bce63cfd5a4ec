"""The Compare and Tune tabs as a person meets them, with a real server and a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright")
pytest.importorskip("trl", reason="needs the extra `tune`")

from playwright.sync_api import BrowserContext, expect

import tiny_hf
from browser import WorkbenchTab, browsing, chromium, serving

pytestmark = pytest.mark.skipif(chromium() is None, reason="needs chromium")

LONG = 120_000  # ms: the libraries of training are loaded in another process first
EVIL = "<img src=x onerror=window.hacked=1>"
ROWS = "title,price\n" + "".join(
    f'"{kind} number {n}, {EVIL}",{price + n % 7}\n'
    for n in range(30)
    for kind, price in (("brass lamp", 40), ("oak table", 400), ("wool rug", 150))
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    tiny = tiny_hf.llama(tmp_path_factory.mktemp("tiny"))
    # A comparison by the slow model takes minutes: it is always stopped before its end.
    models = {"number": "scripted:number", "slow": "scripted:number?delay=1.5", "tiny": f"hf:{tiny}"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # a tiny model gains nothing by more, and others need the cores
        with serving(tmp_path_factory.mktemp("workbench"), models) as address:
            yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as context:
        yield context


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.csv").write_text(ROWS)
    return tmp_path / "shop.csv"


class Tab(WorkbenchTab):
    """One of the two tabs in one browser tab."""

    def ready(self) -> None:
        super().ready()
        expect(self.one("live").locator("*").first).to_be_attached()  # the last thing that the tab asks for at first

    def upload(self, file: Path) -> None:
        """Choose a file, and wait for its columns."""
        self.one("file").set_input_files(file)
        expect(self.one("columns").get_by_role("radio", name="price is the answer")).to_be_checked()


class Compare(Tab):
    """The Compare tab."""

    name, prefix = "Compare", "wh-cm"

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


class Tune(Tab):
    """The Tune tab."""

    name, prefix = "Tune", "wh-tu"


def test_a_file_is_compared_stopped_reloaded_gone_on_with_and_reported_on(
    browser: BrowserContext, url: str, shop: Path
) -> None:
    tab = Compare(browser, url)
    tab.upload(shop)
    tab.one("test").fill("40")
    tab.one("look").click()
    expect(tab.one("seen")).to_contain_text("40 test items")
    tab.arms("constant:median", "ask")
    tab.one("models").get_by_role("checkbox", name="number").uncheck()
    tab.one("models").get_by_role("checkbox", name="slow").check()
    tab.one("start").click()
    expect(tab.one("live").locator("svg").first).to_have_attribute("aria-label", re.compile("Running mean of constant"))
    tab.open(url)  # the comparison is the server's: a new page finds it
    expect(tab.one("live")).to_contain_text("Newest answers")
    tab.one("stop").click()
    tab.one("resume").click()
    expect(tab.one("stop")).to_be_visible()
    tab.one("stop").click()
    expect(tab.one("resume")).to_be_visible()
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


def test_a_run_is_planned_started_stopped_and_chatted_with(browser: BrowserContext, url: str, shop: Path) -> None:
    tab = Tune(browser, url)
    tab.upload(shop)
    tab.one("base").select_option(index=1)
    tab.one("run").fill("shop")
    tab.one("max_steps").fill("20000")
    tab.one("more").locator("summary").click()
    tab.one("yaml").fill("probe: false\neval_steps: 5\nvalidation_metric: loss\ndevice: cpu\n")
    tab.one("plan").click()
    expect(tab.one("planned").locator(".wh-tk-painted").nth(4)).to_be_visible(timeout=LONG)
    expect(tab.one("planned").locator("i.learned").first).to_be_visible()
    expect(tab.one("planned")).to_contain_text("20,000 (")
    tab.one("start").click()
    expect(tab.one("revisions").locator("tbody tr").first).to_be_visible(timeout=LONG)
    tab.open(url)  # the run is the server's: a new page finds it
    expect(tab.one("stop")).to_be_visible()
    tab.one("tab-new").click()
    tab.one("start").click()
    expect(tab.one("start-out")).to_contain_text("the run shop is at work")
    tab.one("tab-run").click()
    tab.one("stop").click()
    expect(tab.one("resume")).to_be_visible()
    expect(tab.one("live").locator("svg").first).to_have_attribute("aria-label", re.compile("Loss over"))
    tab.one("revisions").get_by_role("button", name="Chat, base beside it").first.click()
    expect(tab.page.locator("#wh-second input")).to_have_value(re.compile(r"shop@\d+"))
    expect(tab.page.locator("#wh-model input")).to_have_value(re.compile("hf:"))
    tab.close()


def test_runs_are_compared_and_reported_on_from_a_dark_phone(browser: BrowserContext, url: str, shop: Path) -> None:
    tune = Tune(browser, url, width=390, dark=True)
    tune.one("tab-runs").click()
    tune.one("list").get_by_role("button", name="shop").click()
    expect(tune.one("revisions").locator("tbody tr").first).to_be_visible()
    assert tune.overflow() <= 0
    assert tune.contrast(".wh-lab-table td, .wh-lab-table th, .wh-lab .wh-note, .wh-lab h4") >= 4.5
    tune.close()
    tab = Compare(browser, url, width=390, dark=True)
    tab.upload(shop)
    tab.one("test").fill("20")
    tab.arms("constant:median", "tfidf")
    tab.one("start").click()
    expect(tab.one("live").locator(".wh-lab-verdict")).to_be_visible()
    expect(tab.one("live").locator("tbody tr")).to_have_count(2)
    assert tab.overflow() <= 0
    assert tab.contrast(".wh-lab-table td, .wh-lab-table th, .wh-lab .wh-note, .wh-lab-notes li") >= 4.5
    tab.one("tab-earlier").click()
    group = tab.one("earlier").locator("details", has_text="20 items")
    group.locator("summary").click()
    group.get_by_role("button", name="Report on the chosen runs").click()
    expect(group).to_contain_text("choose at least one run")
    group.get_by_label("tfidf").check()
    group.get_by_role("button", name="Report on the chosen runs").click()
    expect(group.get_by_role("link", name="Open the report")).to_be_visible()
    assert tab.overflow() <= 0
    tab.one("earlier").locator("[data-open]").first.click()
    expect(tab.one("live").locator(".wh-lab-verdict")).to_be_visible()
    tab.close()
