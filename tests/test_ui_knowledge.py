"""The Knowledge tab: what it refuses, and how a person meets it, with a real server and a real browser."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import BrowserContext, Locator, expect

from browser import WHET, WorkbenchTab, browsing, chromium, serving
from kb_small import HANDBOOK, synced, write
from whetstone.models.pool import ModelPool
from whetstone.retrieval import library
from whetstone.retrieval.store import Header
from whetstone.types import Citation
from whetstone.ui.knowledge_cites import cited_html
from whetstone.ui.knowledge_tab import KnowledgeServer
from whetstone.ui.knowledge_work import Tasks

needs_browser = pytest.mark.skipif(chromium() is None, reason="needs chromium")

EVIL = "<img src=x onerror=window.hacked=1>"
HOSTILE = {"evil.md": f"# Evil {EVIL}\n\nThe password of the vault is <script>window.hacked=2</script> {EVIL} tulip.\n"}
TOKEN = "a token of the test"

Ask = Callable[..., dict[str, Any]]


def asking(pool: ModelPool | None = None, *, own_user: bool = True) -> Ask:
    """The server's functions, called as a page calls them."""
    server = KnowledgeServer(pool or ModelPool({"echo": "scripted:echo"}), own_user=own_user)
    functions = {each.__name__: each for each in server.functions()}
    return lambda function, **asked: functions[f"knowledge_{function}"](asked)


def ended(ask: Ask, base: str) -> dict[str, Any]:
    """What came of the work on a knowledge base."""
    deadline = time.monotonic() + 60
    while not (found := ask("work", base=base)).get("done", True):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def send(ask: Ask, base: str, name: str, text: str, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return ask("upload", base=base, name=name, data=data, **{"at": 0, "last": True, **more})


def answered(ask: Ask, **asked: Any) -> dict[str, Any]:
    job = ask("ask", **asked)["job"]
    deadline = time.monotonic() + 60
    while not (found := ask("asked", job=job))["done"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "docs", HANDBOOK)


# What the server takes and refuses.


def test_only_the_servers_own_user_names_folders_and_sees_what_is_not_offered(folder: Path) -> None:
    synced(folder)
    for pool in (ModelPool({"echo": "scripted:echo"}), ModelPool({"kb:other": "kb:other@scripted:echo"})):
        ask = asking(pool, own_user=False)
        assert ask("bases")["base"] == ""
        for name in ("facts", "documents", "document", "search", "ask", "check", "remove", "stop"):
            found = ask(name, base="handbook", question="leave", path="leave.md")
            assert "no knowledge base named" in found["error"] or "no longer" in found["error"], (name, found)
        named = {"base": "mine", "folder": str(folder)}
        assert "own user only" in ask("plan", **named, new=True)["error"]
        assert "own user only" in ask("sync", **named)["error"]
        assert "taken" in send(ask, "handbook", "more.md", "more")["error"]
        assert "taken" in ask("sync", base="handbook")["error"]
    assert asking(own_user=True)("bases")["base"] == "handbook"
    trusting = ModelPool({"echo": "scripted:echo"}, any_spec=True)
    assert asking(trusting, own_user=False)("bases")["base"] == "handbook"


def test_others_use_what_is_offered_and_what_they_upload_and_learn_no_path(folder: Path) -> None:
    synced(folder)
    ask = asking(ModelPool({"echo": "scripted:echo", "kb:handbook": "kb:handbook@scripted:echo"}), own_user=False)
    assert ask("bases")["base"] == "handbook"
    assert str(folder) not in ask("facts", base="handbook")["html"]
    assert "27 days" in ask("search", base="handbook", question="annual leave")["html"]
    assert "follows a folder of the server" in send(ask, "handbook", "more.md", "more")["error"]
    assert send(ask, "shared", "more.md", "# More\n\nMondays are free.") == {"base": "shared"}
    assert "own user only" in ask("plan", base="shared", folder="/etc")["error"]
    assert "own user only" in ask("sync", base="shared", folder="/etc")["error"]
    assert "+1 ~0 -0" in ask("plan", base="shared")["html"]
    ask("sync", base="shared")
    assert ended(ask, "shared")["error"] == ""
    assert "Mondays" in ask("search", base="shared", question="Mondays")["html"]


@pytest.mark.parametrize(
    "name", ["../up.md", "a/b.md", "a\\b.md", "/etc/passwd", ".hidden.md", "C:x.md", "", "x" * 210 + ".md", "run.exe",
             "right\u202etfel.md"],
)  # fmt: skip
def test_an_upload_is_one_readable_file_in_its_folder(name: str) -> None:
    found = send(asking(), "mine", name, "text")
    assert found["error"].count("\n") == 0
    assert not [file for file in library.folder().rglob("*") if file.is_file()]


def test_files_come_in_pieces_and_half_of_one_is_never_seen() -> None:
    ask = asking()
    assert send(ask, "mine", "a.md", "one ", last=False) == {"base": "mine"}
    assert "a piece of the file is missing" in send(ask, "mine", "a.md", "three", at=9)["error"]
    assert "+0 ~0 -0" in ask("plan", base="mine")["html"]
    send(ask, "mine", "a.md", "two", at=4)
    (file,) = library.folder().glob("mine-files/*")
    assert file.read_text() == "one two"
    assert "no base64" in ask("upload", base="mine", name="b.md", data="%%", at=0, last=True)["error"]
    assert "gone already" in ask("remove", base="mine", path="b.md")["error"]
    assert ask("remove", base="mine", path="a.md") == {}
    assert not file.exists()


def test_every_mistake_gives_one_sentence(folder: Path) -> None:
    synced(folder)
    ask = asking()
    base = {"base": "handbook"}
    line = json.dumps({"question": "leave?", "spans": [{"path": "no.md", "start": 0, "end": 4}]})
    for name, asked, words in (
        ("plan", {"base": "a b", "new": True, "folder": str(folder)}, "cannot name a knowledge base"),
        ("plan", {"base": "handbook", "new": True, "folder": str(folder)}, "taken"),
        ("plan", {"base": "new", "new": True, "folder": ""}, "name a folder"),
        ("plan", {"base": "new", "new": True, "folder": "docs"}, "write the whole path"),
        ("plan", {"base": "new", "new": True, "folder": str(folder / "none")}, "no such folder"),
        ("search", {**base, "question": " "}, "write a question"),
        ("search", {**base, "question": "x", "k": "many"}, "from 1 to 50"),
        ("search", {**base, "question": "x", "mode": "magic"}, "no search mode"),
        ("search", {**base, "question": "x", "where": "author"}, "NAME=VALUE"),
        ("search", {**base, "question": "x", "type": "md", "where": "type=pdf"}, "at once"),
        ("document", {**base, "path": "none.md"}, "no document named"),
        ("document", {**base, "source": "none.md, line 1"}, "no document named"),
        ("evaluate", {**base, "text": ""}, "choose a file"),
        ("evaluate", {**base, "text": "[1]", "name": "q.jsonl"}, "q.jsonl, row 1"),
        ("evaluate", {**base, "text": line, "name": "q.jsonl"}, "no.md is no document"),
        ("ask", {**base, "question": ""}, "write a question"),
        ("ask", {**base, "question": "x", "model": "gpt-9"}, "no model named"),
        ("asked", {"job": "another's"}, "no longer"),
        ("facts", {}, "no knowledge base named"),
    ):
        found = ask(name, **asked)
        assert words in found.get("error", ""), (name, asked, found)
        assert "\n" not in found["error"]
        assert "/tmp/" not in found["error"].replace(str(folder), "")


def test_a_sync_that_is_stopped_leaves_the_state_before(tmp_path: Path, folder: Path) -> None:
    synced(folder)
    write(folder, {f"{n}.md": f"# Page {n}\n\n{f'Something about the number {n}. ' * 40}" for n in range(150)})
    ask = asking()
    assert ask("sync", base="handbook") == {"base": "handbook"}
    assert "busy (sync)" in ask("check", base="handbook")["error"]
    ask("stop", base="handbook")
    found = ended(ask, "handbook")
    assert "Stopped" in found["html"]
    assert "<b>3</b> documents" in ask("facts", base="handbook")["html"]
    assert "27 days" in ask("search", base="handbook", question="annual leave")["html"]


def test_what_is_synced_is_offered_to_chats_by_every_model(folder: Path) -> None:
    pool = ModelPool({"echo": "scripted:echo", "number": "scripted:number"})
    ask = asking(pool)
    ask("sync", base="handbook", folder=str(folder))
    assert "3 added" in ended(ask, "handbook")["html"]
    assert list(pool.offered) == ["echo", "number", "kb:handbook", "kb:handbook@number"]
    assert pool.offered["kb:handbook@number"] == "kb:handbook@scripted:number"


def test_a_check_lists_what_the_disk_says_otherwise(folder: Path) -> None:
    synced(folder)
    ask = asking()
    ask("check", base="handbook")
    assert "No faults" in ended(ask, "handbook")["html"]
    (folder / "travel.md").unlink()
    write(folder, {"people.md": HANDBOOK["people.md"].replace("Ingrid Solberg", "Nils Aalto")})
    ask("check", base="handbook")
    html = ended(ask, "handbook")["html"]
    assert "2 faults" in html
    assert "missing file" in html
    assert "changed file" in html
    assert 'data-sync="handbook"' in html
    ask("sync", base="handbook")
    ended(ask, "handbook")
    assert "Nils Aalto" in ask("search", base="handbook", question="founder")["html"]


def test_a_damaged_one_says_so_and_can_be_rebuilt(folder: Path) -> None:
    synced(folder)
    file = library.folder() / "handbook.db"
    for other in file.parent.glob("handbook.db-*"):
        other.unlink()
    file.write_bytes(b"no database " * 4000)
    ask = asking()
    found = ask("facts", base="handbook")
    assert 'role="alert"' in found["html"]
    assert 'data-rebuild="handbook"' in found["html"]
    ask("check", base="handbook")
    assert "unreadable" in ended(ask, "handbook")["html"]
    ask("sync", base="handbook", rebuild=True, folder=str(folder))
    assert ended(ask, "handbook")["error"] == ""
    assert "<b>3</b> documents" in ask("facts", base="handbook")["html"]


def test_an_answer_goes_on_from_what_was_said(folder: Path) -> None:
    synced(folder)
    ask = asking(ModelPool({"plan": "scripted:echo"}))
    said = [{"question": "Who is Ingrid Solberg?", "answer": "She founded Hazelworks [1]."}, "no pair"]
    found = answered(ask, base="handbook", question="What does she manage?", history=said)
    assert "Searched for: <b>What does she manage? (Hazelworks, Ingrid Solberg)" in found["html"]
    found = answered(ask, base="handbook", question="What is the boiling point of tungsten?")
    assert found["answer"] == "The documents do not say."
    assert "plan was not asked" in found["html"]


def test_markers_become_links_outside_of_code_and_nothing_else_does() -> None:
    citation = Citation(1, "b&b", 'a"<b>.md', "A", "A", "line 1", 3, 9, "text")
    html = cited_html(f"Yes [1]. No [2]. `row[1]`\n\n    code [1]\n\n{EVIL}\n\nSources:\n- [1] x", "b&b", [citation])
    assert html.count("data-open-passage") == 2  # the marker, and the list of sources
    assert 'data-start="3" data-end="9"' in html
    assert "[2]" in html
    assert "<code>row[1]</code>" in html
    assert "<img" not in html
    assert "<b>" not in html


def test_a_line_of_sources_finds_its_passage(folder: Path) -> None:
    synced(folder)
    write(folder, {"a,b.md": "# Title\n\n## One\n\nThe first.\n\n" + "Words. " * 90 + "\n\n## Two\n\nThe second.\n"})
    synced(folder)
    ask = asking()
    for source in ("a,b.md, line 9", "a,b.md, line 1"):
        html = ask("document", base="handbook", source=source)["html"]
        marked = "".join(part.partition("</mark>")[0] for part in html.split("<mark>")[1:])
        assert ("The second." in marked) == ("9" in source), (source, html)
        assert "The first." in html


def test_work_is_done_one_at_a_time_and_failures_are_sentences() -> None:
    tasks = Tasks()

    def broken(tell: Callable[[Any], None]) -> None:
        raise RuntimeError("a mistake of ours")

    name = tasks.start("check", broken, "handbook")
    deadline = time.monotonic() + 30
    while not tasks.get(name).done:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "Whetstone made a mistake (RuntimeError: a mistake of ours)" in tasks.get(name).error


# In the browser.


PLAN = {
    "chunk": 4,
    "replies": [
        {"match": "poem", "reply": "The documents do not say."},
        {"match": "endless", "reply": "word " * 4000, "delay": 0.02},
        {"match": "vault", "reply": f"It is tulip [1]. {EVIL} [x](javascript:window.hacked=3) `a[1]` [99]"},
        {"match": ".", "reply": "Ingrid Solberg founded it [1]."},
    ],
}
QUESTIONS = [
    {"question": "Who founded Hazelworks?", "keywords": ["Ingrid"], "category": "people"},
    {"question": "How many days of annual leave?", "keywords": ["27", "zebra"], "category": "leave"},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("knowledge")
    (home / "plan.yaml").write_text(json.dumps(PLAN))  # JSON is YAML
    (home / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    pages = {f"pages/{n:02}.md": f"# Page {n}\n\nNumber {n} is a number.\n" for n in range(12)}
    write(home / "docs", {**HANDBOOK, **HOSTILE, **pages, "broken.pdf": "no pdf"})
    environment = {**os.environ, "WHETSTONE_HOME": str(home)}
    command = [*WHET, "kb", "sync", str(home / "docs"), "--kb", "handbook"]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return home


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    with serving(home, {"plan": f"scripted:{home / 'plan.yaml'}", "smollm2": "smollm2?context=4096"}) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as opened:
        yield opened


class Knowledge(WorkbenchTab):
    """The Knowledge tab in one browser tab, opened with a query in its address."""

    name, prefix = "Knowledge", "wh-kb"

    def __init__(self, browser: BrowserContext, url: str, query: str = "", **more: Any) -> None:
        self.query = query
        super().__init__(browser, url, **more)

    def open(self, url: str) -> None:
        super().open(f"{url}{self.query}")

    def choose_base(self, name: str) -> None:
        self.one("base").select_option(name)
        expect(self.one("facts")).to_contain_text("documents")
        expect(self.one("documents").locator("tbody tr").first).to_be_visible()

    def ready(self) -> None:
        """Open the tab, and wait until it has answered."""
        self.view(self.name)
        expect(self.one("facts").locator("p").first).to_be_visible()

    def question(self, text: str) -> Locator:
        """Ask with the keyboard, and wait for the end of the answer."""
        before = self.one("exchanges").locator("article").count()
        self.one("ask").fill(text)
        self.one("ask").press("Enter")
        expect(self.one("exchanges").locator("article")).to_have_count(before + 1)
        expect(self.one("ask-stop")).to_be_hidden()
        return self.one("exchanges").locator("article").last


@pytest.fixture
def tab(browser: BrowserContext, url: str) -> Iterator[Knowledge]:
    opened = Knowledge(browser, url)
    opened.choose_base("handbook")
    yield opened
    opened.close()


@needs_browser
def test_a_folder_becomes_a_knowledge_base_and_a_chat_by_keyboard_alone(
    browser: BrowserContext, url: str, home: Path, tmp_path: Path
) -> None:
    folder = write(tmp_path / "docs", HANDBOOK)
    tab = Knowledge(browser, url)
    keys = tab.page.keyboard
    tab.one("new").focus()
    keys.press("Enter")
    expect(tab.one("name")).to_be_focused()
    keys.type("by_keys")
    keys.press("Tab")
    keys.type(str(folder))
    keys.press("Enter")
    expect(tab.one("work").locator(".wh-kb-plan")).to_contain_text("+3 ~0 -0")
    expect(tab.one("work").get_by_role("button", name="Sync now")).to_be_focused()
    keys.press("Enter")
    expect(tab.one("facts")).to_contain_text("3 documents")
    expect(tab.one("work")).to_contain_text("3 added")
    expect(tab.one("base")).to_have_value("by_keys")
    (folder / "travel.md").unlink()
    write(folder, {"people.md": HANDBOOK["people.md"].replace("Ingrid Solberg", "Nils Aalto"), "new.md": "# New\n\nx"})
    tab.one("plan").focus()
    keys.press("Enter")
    expect(tab.one("work").locator(".wh-kb-plan")).to_contain_text("+1 ~1 -1")
    expect(tab.one("work").get_by_role("button", name="Sync now")).to_be_focused()
    keys.press("Enter")
    expect(tab.one("work")).to_contain_text("1 added, 1 changed, 1 removed")
    tab.page.get_by_role("tab", name="Chat", exact=True).click()
    tab.choose("model", "kb:by_keys")
    tab.say("Who founded Hazelworks?")
    answer = tab.end()
    source = answer.locator(".wh-sources a")
    source.focus()
    keys.press("Enter")
    expect(tab.one("document").locator("mark").first).to_contain_text("Nils Aalto")
    tab.one("back").focus()
    keys.press("Enter")
    expect(source).to_be_focused()
    tab.close()


@needs_browser
def test_uploaded_files_are_planned_synced_and_removed(browser: BrowserContext, url: str, tmp_path: Path) -> None:
    files = write(tmp_path, {"leave.md": HANDBOOK["leave.md"], "run.exe": "no"})
    tab = Knowledge(browser, url)
    tab.one("new").click()
    tab.one("name").fill("업로드")
    tab.one("first-files").set_input_files([files / "leave.md", files / "run.exe"])
    expect(tab.one("work").locator(".wh-error")).to_contain_text("run.exe: files of this kind cannot be read")
    expect(tab.one("work").locator(".wh-kb-plan")).to_contain_text("+1 ~0 -0")
    tab.one("work").get_by_role("button", name="Sync now").click()
    expect(tab.one("facts")).to_contain_text("1 documents")
    tab.one("files").set_input_files(write(tmp_path, {"people.md": HANDBOOK["people.md"]}) / "people.md")
    expect(tab.one("work").locator(".wh-kb-plan")).to_contain_text("+1 ~0 -0")
    tab.one("sync").click()
    expect(tab.one("facts")).to_contain_text("2 documents")
    tab.page.get_by_role("button", name="Remove leave.md").click()
    expect(tab.one("work").locator(".wh-kb-plan")).to_contain_text("+0 ~0 -1")
    tab.page.reload()
    tab.ready()
    expect(tab.one("base")).to_have_value("업로드")
    tab.one("sync").click()
    expect(tab.one("facts")).to_contain_text("1 documents")
    tab.close()


@needs_browser
def test_a_running_sync_is_found_again_and_stopped(browser: BrowserContext, url: str, tmp_path: Path) -> None:
    pages = {f"{n}.md": f"# Page {n}\n\n" + f"Something about the number {n}. " * 60 for n in range(300)}
    folder = write(tmp_path / "many", pages)
    tab = Knowledge(browser, url)
    tab.one("new").click()
    tab.one("name").fill("many")
    tab.one("folder").fill(str(folder))
    tab.one("make").click()
    tab.one("work").get_by_role("button", name="Sync now").click()
    expect(tab.one("work").locator("progress[value]")).to_be_visible()
    tab.page.evaluate("sessionStorage.setItem('whetstone-knowledge', 'many')")
    tab.page.reload()
    tab.ready()
    expect(tab.one("work").locator("progress")).to_be_visible()
    tab.one("stop").click()
    expect(tab.one("work")).to_contain_text("Stopped")
    expect(tab.one("sync")).to_be_enabled()
    tab.close()


@needs_browser
def test_documents_open_with_their_chunks_and_problems_are_told(tab: Knowledge) -> None:
    broken = tab.one("documents").locator("tr", has_text="broken.pdf")
    expect(broken).to_contain_text("damaged")
    expect(tab.one("facts")).to_contain_text("1 with a problem")
    tab.one("query").fill("evil")
    expect(tab.one("documents").locator("tbody tr")).to_have_count(1)
    expect(tab.one("documents").locator("time")).not_to_have_text("–")
    tab.one("documents").get_by_role("button", name=f"Evil {EVIL}").click()
    expect(tab.one("document").locator("h3")).to_have_text(f"Evil {EVIL}")
    expect(tab.one("document").locator("li").first).to_contain_text("<script>window.hacked=2</script>")
    expect(tab.one("document").locator("h3")).to_be_focused()
    tab.page.keyboard.press("Shift+Tab")
    tab.page.keyboard.press("Enter")
    expect(tab.one("documents").locator(".wh-kb-open")).to_be_focused()


@needs_browser
def test_scores_are_explained_and_filters_narrow_the_search(tab: Knowledge) -> None:
    tab.view("Search")
    tab.one("question").fill("How many days of annual leave?")
    tab.one("question").press("Enter")
    first = tab.one("hits").locator("li").first
    expect(first).to_contain_text("27 days of annual leave")
    for part in ("score", "dense", "BM25", "coverage"):
        expect(first.locator(f"[data-part={part}] dd")).to_contain_text("." if part != "coverage" else "%")
    assert first.locator("[data-part=score] i").evaluate("bar => bar.getBoundingClientRect().width") > 20
    tab.one("in").select_option("pages")
    tab.one("question").press("Enter")
    expect(first).to_contain_text("pages/")
    tab.one("pattern").fill("people.md")
    tab.one("question").press("Enter")
    expect(tab.one("hits")).to_contain_text("Nothing was found among the documents")
    tab.one("in").select_option("")
    tab.one("question").press("Enter")
    expect(first).to_contain_text("Hazelworks")
    link = first.get_by_role("link")
    link.click()
    expect(tab.one("document").locator(".wh-kb-cited")).to_be_focused()
    expect(tab.one("document").locator("mark").first).to_be_in_viewport()
    tab.one("back").click()
    expect(link).to_be_focused()


@needs_browser
def test_an_answer_streams_and_its_citations_open_the_passage(tab: Knowledge) -> None:
    tab.view("Ask")
    answer = tab.question("What is the password of the vault?")
    expect(answer.locator(".wh-body")).to_contain_text(EVIL)
    expect(answer.locator(".wh-body a")).to_have_count(2)  # the marker and its source, and not the model's own link
    expect(answer).to_contain_text("certainty")
    answer.locator(".wh-body a").first.click()
    expect(tab.one("document").locator("mark").first).to_contain_text("The password of the vault")
    tab.one("back").click()
    expect(answer.locator(".wh-body a").first).to_be_focused()
    expect(tab.question("Who is Ingrid Solberg?")).not_to_contain_text("Searched for")
    expect(tab.question("And when did she found it?")).to_contain_text("Searched for: And when did she found it? (")
    expect(tab.question("Ingrid Solberg: a poem")).to_contain_text("The documents do not say.")
    tab.one("ask-new").click()
    unknown = tab.question("Which volcano erupted in Iceland?")
    expect(unknown).to_contain_text("plan was not asked")


@needs_browser
def test_a_long_answer_is_stopped(tab: Knowledge) -> None:
    tab.view("Ask")
    tab.one("ask").fill("an endless question about Ingrid Solberg of Hazelworks")
    tab.one("ask-start").click()
    expect(tab.one("exchanges").locator(".wh-body")).to_contain_text("word word")
    tab.one("ask-stop").click()
    expect(tab.one("exchanges")).to_contain_text("Stopped.")
    expect(tab.one("ask")).to_be_focused()
    assert tab.one("exchanges").locator(".wh-body").inner_text().count("word") < 4000


@needs_browser
def test_the_embedded_model_answers_and_what_it_was_given_can_be_opened(tab: Knowledge) -> None:
    tab.view("Ask")
    tab.one("model").select_option("smollm2")
    answer = tab.question("How many days of annual leave does everyone at Hazelworks have?")
    expect(answer.locator(".wh-body")).not_to_be_empty()
    expect(answer).to_contain_text("smollm2 ·")
    answer.locator("summary").click()
    answer.locator("details").get_by_role("link", name="leave.md").first.click()
    expect(tab.one("document").locator("mark").first).to_contain_text("27 days")


@needs_browser
def test_questions_are_measured_by_category_and_a_bad_file_is_told(tab: Knowledge, home: Path, tmp_path: Path) -> None:
    tab.view("Evaluate")
    tab.one("evaluate").click()
    expect(tab.one("measures")).to_contain_text("choose a file of questions first")
    tab.one("questions").set_input_files(home / "questions.jsonl")
    tab.one("evaluate").click()
    mrr = tab.one("measures").locator("tr[data-metric=mrr]")
    expect(mrr).to_contain_text("0.750")
    expect(mrr).to_contain_text(" to ")
    expect(tab.one("measures").locator("tr", has_text="leave")).to_contain_text("50.0 %")
    tab.one("measures").get_by_role("button", name=QUESTIONS[1]["question"]).click()
    expect(tab.one("hits").locator("li").first).to_contain_text("27 days")
    tab.view("Evaluate")
    (tmp_path / "bad.jsonl").write_text("{}")
    tab.one("questions").set_input_files(tmp_path / "bad.jsonl")
    tab.one("evaluate").click()
    expect(tab.one("measures")).to_contain_text("bad.jsonl, row 1, field question")


@needs_browser
def test_an_address_opens_a_passage(browser: BrowserContext, url: str) -> None:
    tab = Knowledge(browser, url, "?kb=handbook&path=leave.md&start=40&end=60")
    expect(tab.one("document").locator("mark").first).to_be_visible()
    tab.close()


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_cut_off_and_colours_can_be_read(
    browser: BrowserContext, url: str, home: Path, dark: bool
) -> None:
    phone = Knowledge(browser, url, width=375, dark=dark)
    phone.choose_base("handbook")
    phone.one("new").click()
    assert phone.overflow() <= 0
    assert phone.contrast(".wh-kb button:enabled:not([hidden]), .wh-kb td, .wh-kb .wh-note, .wh-kb-bad") >= 4.5
    phone.view("Search")
    phone.one("question").fill("password of the vault")
    phone.one("question").press("Enter")
    expect(phone.one("hits").locator("li").first).to_be_visible()
    assert phone.overflow() <= 0
    assert phone.contrast("#wh-kb-hits :is(a, dt, dd, p, pre)") >= 4.5
    phone.one("hits").get_by_role("link").first.click()
    expect(phone.one("document").locator("mark").first).to_be_visible()
    assert phone.overflow() <= 0
    assert phone.contrast(".wh-kb mark, .wh-kb-trail, .wh-kb-trail b") >= 4.5
    phone.view("Ask")
    phone.question("What is the password of the vault?")
    assert phone.overflow() <= 0
    phone.view("Evaluate")
    phone.one("questions").set_input_files(home / "questions.jsonl")
    phone.one("evaluate").click()
    expect(phone.one("measures").locator("table").first).to_be_visible()
    assert phone.overflow() <= 0
    phone.close()


@needs_browser
def test_views_are_reached_by_arrow_keys(tab: Knowledge) -> None:
    documents = tab.page.get_by_role("tab", name="Documents", exact=True)
    documents.focus()
    documents.press("ArrowLeft")
    expect(tab.page.get_by_role("tab", name="Evaluate", exact=True)).to_be_focused()
    expect(tab.one("view-evaluate")).to_be_visible()
    tab.page.keyboard.press("Home")
    expect(tab.one("view-documents")).to_be_visible()


@needs_browser
def test_whoever_has_the_token_uploads_files_and_names_no_folder(
    browser: BrowserContext, home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home / "knowledge", tmp_path / "home" / "knowledge")
    with serving(tmp_path / "home", {"echo": "scripted:echo"}, token=TOKEN) as url:
        tab = Knowledge(browser, url, f"?token={TOKEN}")
        expect(tab.one("facts")).to_contain_text("There is no knowledge base yet")
        expect(tab.one("folder")).to_have_count(0)
        tab.one("name").fill("ours")
        tab.one("first-files").set_input_files(write(tmp_path, {"leave.md": HANDBOOK["leave.md"]}) / "leave.md")
        tab.one("work").get_by_role("button", name="Sync now").click()
        expect(tab.one("facts")).to_contain_text("uploaded files")
        tab.close()


def test_a_header_that_names_a_folder_elsewhere_is_no_upload(folder: Path) -> None:
    synced(folder)
    (library.folder() / "handbook-files").mkdir()
    header = library.open_store("handbook").header()
    assert isinstance(header, Header)
    assert "follows a folder of the server" in send(asking(), "handbook", "more.md", "more")["error"]
