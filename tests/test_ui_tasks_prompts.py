"""The Tasks and Prompts tabs as a person meets them, with a real server and a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import BrowserContext, expect

from browser import WorkbenchTab, browsing, chromium, serving
from polish_prompt import EVIL, FIRST, SECOND
from whetstone.tools.contained import containment

pytestmark = pytest.mark.skipif(chromium() is None, reason="needs chromium")

MIXED = f"마리 퀴리 lived in Paris 😀. ولدت ماري كوري في وارسو. {EVIL}"
NAMED = (("Paris", "place"), ("وارسو", "place"), ("마리 퀴리", "person"), ("Nobody", "person"))
CODE = "```python\ndef twice(n):\n    return 2 * n\nprint(twice(21))\n```"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("workbench")
    named = {"entities": [{"text": text, "type": kind} for text, kind in NAMED]}
    replies = [{"match": "퀴리", "reply": json.dumps(named)}, {"match": "twice", "reply": CODE}]
    (home / "plan.yaml").write_text(json.dumps({"replies": replies}))
    models = {
        "plan": f"scripted:{home / 'plan.yaml'}",
        # Minutes for its answer: it is always stopped before its end.
        "slow": "scripted:reply?text=" + "%20".join(["rain"] * 900) + "&delay=0.2",
        "echo": "scripted:echo",
    }
    with serving(home, models) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as context:
        yield context


class TasksTab(WorkbenchTab):
    """The Tasks tab in one browser tab."""

    name, prefix = "Tasks", "wh-ta"

    def ready(self) -> None:
        super().ready()
        expect(self.one("in-text")).to_be_visible()


class PromptsTab(WorkbenchTab):
    """The Prompts tab in one browser tab."""

    name, prefix = "Prompts", "wh-pp"

    def ready(self) -> None:
        super().ready()
        expect(self.one("list").locator("table").first).to_be_visible()


def test_entities_of_a_text_in_three_scripts_are_marked_on_a_dark_phone(browser: BrowserContext, url: str) -> None:
    tab = TasksTab(browser, url, width=390, dark=True)
    tab.one("card").select_option("entities")
    expect(tab.one("in-types")).to_be_visible()
    tab.one("in-text").fill(MIXED)
    tab.one("in-text").press("Control+Enter")
    marks = tab.page.locator(".wh-ta-marked mark")
    expect(marks).to_have_text(["마리 퀴리", "Paris", "وارسو"])
    expect(tab.one("notes")).to_contain_text("not in the text")
    tab.one("steps").locator("summary").first.click()
    tab.page.locator("[data-step='0'] > summary").click()
    expect(tab.page.locator("[data-step='0']")).to_contain_text("😀")
    assert tab.overflow() <= 0
    assert tab.contrast(".wh-ta-entity, #wh-tasks .wh-note, #wh-tasks .wh-ta-hint, #wh-tasks .wh-lab-notes li") >= 4.5
    tab.close()


def test_a_task_is_stopped_found_again_after_a_reload_and_others_are_done(browser: BrowserContext, url: str) -> None:
    tab = TasksTab(browser, url)
    tab.one("card").select_option("essay")
    tab.one("in-topic").fill("Rain")
    tab.one("model").select_option("slow")
    tab.one("go").click()
    written = tab.page.locator("#wh-tasks .wh-ta-live")
    expect(written).to_contain_text("rain rain")
    tab.open(url)  # the task is the server's: the page finds it
    expect(written).to_contain_text("rain rain")
    tab.one("stop").click()
    expect(tab.one("out")).to_contain_text("Stopped")
    expect(tab.one("go")).to_be_enabled()
    tab.one("about").get_by_role("button", name="cases").click()
    tab.page.get_by_role("button", name="Use weir", exact=True).click()
    expect(tab.one("in-text")).to_have_value(re.compile("Hollin Mill"))
    expect(tab.one("in-words")).to_have_value("30")
    if containment().plan is not None:  # this machine can run code that a model wrote
        tab.one("card").select_option("code")
        tab.one("in-task").fill("a function twice that doubles a number")
        tab.one("model").select_option("plan")
        tab.one("run").check()
        tab.one("go").click()
        expect(tab.one("ran")).to_contain_text("It ran to its end")
        expect(tab.one("out")).to_contain_text("42")
        expect(tab.one("output")).to_contain_text("def twice(n)")
    tab.close()


def test_a_prompt_is_written_checked_tried_saved_changed_and_scored(browser: BrowserContext, url: str) -> None:
    tab = PromptsTab(browser, url)
    tab.one("new").click()
    tab.one("name").fill("polish")
    tab.one("source").fill(FIRST.replace("[text, style]", "[text]"))
    expect(tab.one("state")).to_contain_text("'style' is used but not listed")
    expect(tab.one("save")).to_be_disabled()
    tab.one("source").fill(FIRST)
    expect(tab.one("save")).to_have_text("Save as version 1")
    tab.one("value-text").fill(f"안녕하세요 😀 مرحبا {EVIL}")
    tab.one("value-style").fill("kind")
    tab.one("seen").locator("summary").click()
    expect(tab.one("messages")).to_contain_text("Put this into kind words: 안녕하세요 😀 مرحبا <img")
    tab.one("model").select_option("echo")
    tab.one("value-style").press("Control+Enter")
    expect(tab.one("reply")).to_contain_text("مرحبا")
    expect(tab.one("reply")).to_contain_text("tokens")
    tab.one("save").click()
    expect(tab.one("saved")).to_contain_text("Saved as polish@1")
    tab.one("source").fill(SECOND)
    expect(tab.one("diff").locator(".added").last).to_contain_text("Please put this")
    expect(tab.one("save")).to_have_text("Save as version 2")
    tab.view("Scores on cases")
    expect(tab.one("what")).to_have_text("polish@2 (draft)")
    expect(tab.one("card")).to_have_value("rewrite")
    expect(tab.one("beside")).to_have_value("polish@1")
    tab.one("judged").select_option("echo")
    tab.one("score").click()
    expect(tab.one("scores").locator("tbody th").filter(has_text="polish@2 (draft)").first).to_be_visible()
    expect(tab.one("scores").get_by_role("link", name="Open the report")).to_be_visible()
    tab.open(url)  # the scores are the server's: the page finds them again
    expect(tab.one("scores")).to_contain_text("The answers to all")
    expect(tab.one("what")).to_have_text("polish@2 (draft)")
    tab.page.emulate_media(color_scheme="dark")
    tab.page.set_viewport_size({"width": 390, "height": 800})
    for view in ("Scores on cases", "Edit and try", "Library"):
        tab.view(view)
        assert tab.overflow() <= 0, view
    tab.one("list").get_by_role("button", name="number", exact=True).click()
    expect(tab.one("state")).to_contain_text("This is number@1")
    assert tab.contrast("#wh-prompts .wh-note, #wh-prompts .wh-lab-label, #wh-prompts summary") >= 4.5
    tab.close()
