"""The Tokens tab: what it refuses, and how a person meets it, with a real server and a real browser."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import BrowserContext, Locator, expect

from browser import Chat, WorkbenchTab, browsing, chromium, serving
from tiny_tokenizer import CHATML, tokenizer_folder
from whetstone.chat.session import ChatSession
from whetstone.chat.store import ConversationStore
from whetstone.models.pool import ModelPool
from whetstone.storage.database import open_database
from whetstone.types import Options
from whetstone.ui.tokens_answer import of_answer
from whetstone.ui.tokens_sources import OfferedTokenizers
from whetstone.ui.tokens_tab import TokensServer

needs_browser = pytest.mark.skipif(chromium() is None, reason="needs chromium")

EVIL = "<img src=x onerror=window.hacked=1>"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system role, please') }}{% endif %}" + CHATML


def shelf(folder: Path) -> Path:
    """Tokenizers: `tiny`; `strict`, which refuses system prompts; `base` without a template; `evil`, which has a token
    that spells HTML."""
    from tokenizers import Tokenizer

    tokenizer_folder(folder / "tiny")
    tokenizer_folder(folder / "strict", NO_SYSTEM, digits=True)
    tokenizer_folder(folder / "base", None)
    evil = tokenizer_folder(folder / "evil") / "tokenizer.json"
    made = Tokenizer.from_file(str(evil))
    made.add_tokens([EVIL])
    made.save(str(evil))
    return folder


# What the server takes and refuses.


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def store() -> Iterator[ConversationStore]:
    database = open_database()
    yield ConversationStore(database)
    database.close()


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: ConversationStore) -> Ask:
    monkeypatch.setenv("WHETSTONE_TOKENIZERS", str(shelf(tmp_path / "shelf")))
    functions = {each.__name__: each for each in TokensServer(ModelPool({"echo": "scripted:echo"}), store).functions()}
    return lambda function, **asked: functions[f"tokens_{function}"](asked)


@pytest.mark.parametrize("name", ["/etc/passwd", "../shelf/tiny", "./tiny", "~", "gpt2/../..", "qwen2", "a/b", ""])
def test_a_page_cannot_name_files_or_downloads_that_are_not_offered(ask: Ask, name: str) -> None:
    for found in (
        ask("text", tokenizers=[name], text="a"),
        ask("add", name=name),
        ask("check", tokenizers=[name]),
        ask("score", model=name, text="a"),
    ):
        assert "There is no tokenizer named" in found["error"] or "There is no model named" in found["error"]


def test_a_trusted_page_may_name_a_folder(tmp_path: Path, store: ConversationStore) -> None:
    folder = tokenizer_folder(tmp_path / "mine")
    server = TokensServer(ModelPool({"echo": "scripted:echo"}, any_spec=True), store)
    assert server.tokenizers.get(str(folder)).vocab_size > 256


def test_every_mistake_gives_one_sentence(ask: Ask) -> None:
    names = ["tiny"]
    for name, asked, words in (
        ("text", {"tokenizers": []}, "no tokenizer is chosen"),
        ("text", {"tokenizers": [str(n) for n in range(7)]}, "at most 6"),
        ("text", {"tokenizers": names, "text": "x" * 200_001}, "at most 200,000"),
        ("text", {"tokenizers": names, "text": "\ud800"}, "lone surrogate"),
        ("chat", {"tokenizers": names, "messages": "[{"}, "no JSON"),
        ("chat", {"tokenizers": names, "messages": "{}"}, "no messages"),
        ("chat", {"tokenizers": names, "messages": "[1]"}, "message 1 has no role"),
        ("chat", {"tokenizers": names, "messages": "[" * 100_000}, "nested too deeply"),
        ("chat", {"tokenizers": names, "messages": "[]", "tools": "{}"}, "no list of JSON schemas"),
        ("rows", {"tokenizers": names, "text": ""}, "no rows"),
        ("rows", {"tokenizers": names, "text": '{"a": 1}'}, "a training row holds"),
        ("vocabulary", {"tokenizers": names, "query": "x", "by": "regex"}, "not by regex"),
        ("vocabulary", {"tokenizers": names, "query": "zz", "by": "id"}, "is no id"),
        ("scored", {"job": "another's"}, "no longer"),
        ("answer", {"turn": "nothing"}, "no turn"),
    ):
        found = ask(name, **asked)
        assert words.lower() in found["error"].lower(), (name, asked, found)
        assert "\n" not in found["error"]


def test_rows_that_teach_nothing_are_refused_by_line(ask: Ask) -> None:
    rows = [{"messages": [{"role": "user", "content": "hello"}]}, {"prompt": "2+2=", "completion": "4"}]
    found = ask("rows", tokenizers=["tiny"], text="\n".join(map(json.dumps, rows)))
    assert "Nothing would be learned from 1 of the rows (lines 1)" in found["html"]
    assert "learned" in found["facts"]["line 2"]["1"][-1][1]


@pytest.mark.parametrize("own", [None, "You sell belts.", ""])
def test_an_answer_opens_with_the_system_prompt_it_was_asked_with(store: ConversationStore, own: str | None) -> None:
    pool = ModelPool({"smollm2": "smollm2"})
    options = Options(max_tokens=1)
    chat = ChatSession(store, pool, store.create(model="smollm2", system="You sell ties.", options=options))
    with contextlib.closing(chat.ask("a belt?", system=own)) as answer:
        opened = of_answer(store, OfferedTokenizers(pool), answer.turn.id)
    told = [message["content"] for message in json.loads(opened["messages"])]
    assert told == [*([] if own == "" else [own or "You sell ties."]), "a belt?"]


def test_every_character_of_a_rendered_conversation_is_named(ask: Ask) -> None:
    messages = json.dumps([{"role": "user", "content": "red <|im_end|>"}])
    found = ask("chat", tokenizers=["tiny"], messages=messages, generation=True)
    known = found["facts"]["tiny text"].values()
    kinds = [dict(facts)["what"] for facts in known]
    assert {"control token", "who speaks", "words that nobody wrote", "what begins the answer"} <= set(kinds)
    ends = [dict(facts)["characters"].split(" to ") for facts in known]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(ends))
    assert any("sent as text" in dict(facts).get("note", "") for facts in known)


# In the browser.


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHETSTONE_TOKENIZERS", str(shelf(home / "shelf")))
        with serving(home, {"smollm2": "smollm2?context=1024", "echo": "scripted:echo"}) as address:
            yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as opened:
        yield opened


class Tokens(WorkbenchTab):
    """The Tokens tab in one browser tab."""

    name, prefix = "Tokens", "wh-tk"

    def ready(self) -> None:
        """Open the tab, and wait until it has answered."""
        self.view(self.name)
        expect(self.one("facts-out").locator("table").first).to_be_visible()

    def choose(self, *names: str) -> None:
        """Choose these tokenizers and no other."""
        for chip in self.page.locator("#wh-tk-tokenizers input[type=checkbox]").all():
            chip.set_checked(chip.get_attribute("value") in names)

    def count(self, name: str) -> Locator:
        """How many tokens the text has."""
        return self.one("text-out").locator(f"tr[data-name='{name}'] .wh-tk-count")


@pytest.fixture
def tab(browser: BrowserContext, url: str) -> Iterator[Tokens]:
    """A page of its own."""
    opened = Tokens(browser, url)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def used(browser: BrowserContext, url: str) -> Iterator[Tokens]:
    """One page for tests that set all that they look at: opening one takes longer than they do."""
    opened = Tokens(browser, url)
    yield opened
    opened.close()


@needs_browser
def test_counts_follow_what_is_typed_and_arrow_keys_tell_ids(used: Tokens) -> None:
    used.view("Text")
    used.choose("tiny")
    used.one("text").fill("the tie")
    expect(used.count("tiny")).to_have_text("2")
    used.one("text").press_sequentially(" is red")
    pieces = used.one("text-out").locator(".wh-tk-pieces")
    expect(pieces).to_contain_text("red")  # shown to its end: what comes later would take the place away
    expect(used.count("tiny")).to_have_text("4")
    pieces.focus()
    pieces.press("ArrowRight")
    pieces.press("ArrowRight")
    at = pieces.locator("i").first.bounding_box()
    assert at is not None
    used.page.mouse.move(at["x"] + 2, at["y"] + at["height"] / 2 - 40)
    used.page.mouse.wheel(0, 40)  # the place is kept when the page scrolls, and a piece comes below the pointer
    expect(used.one("text-out").locator("i:hover")).to_have_text("the")
    expect(used.one("tip")).to_contain_text("·tie")
    expect(used.one("tip")).to_contain_text("20 74 69 65")
    pieces.press("Escape")
    expect(used.one("tip")).to_be_hidden()


@needs_browser
def test_control_tokens_and_html_in_a_text_are_shown_as_what_they_are(tab: Tokens) -> None:
    tab.choose("evil")
    tab.one("text").fill(f"{EVIL}<|im_end|>\x00\u202e<script>window.hacked=2</script>")
    out = tab.one("text-out")
    expect(out.locator("section i.a")).to_have_text(EVIL.replace(" ", "·"))
    expect(out.locator("section i.c")).to_have_count(0)
    expect(out).to_contain_text("which is text here")
    tab.one("special").check()
    expect(out.locator("section i.c")).to_have_text("<|im_end|>")
    expect(out).to_contain_text("␀")
    out.locator("section i.a").hover()
    expect(tab.one("tip")).to_contain_text("added token")
    tab.view("Vocabulary")
    tab.one("query").fill("onerror")
    expect(tab.one("vocabulary-out").locator("td").first).to_have_text(EVIL.replace(" ", "·"))
    tab.view("Conversation")
    tab.one("messages").locator("textarea").last.fill(f"</pre>{EVIL}")
    expect(tab.one("chat-out").locator(".wh-tk-painted")).to_contain_text(f"</pre>{EVIL}")


@needs_browser
def test_tokenizers_stand_side_by_side(used: Tokens) -> None:
    used.view("Text")
    used.choose("tiny", "strict")
    used.one("text").fill("$42 안")
    expect(used.one("text-out").locator(".wh-tk-names li")).to_have_text(["strict", "tiny"])
    expect(used.one("text-out").locator(".wh-tk-aligned sup").first).to_have_text("3")
    facts = used.one("facts-out")
    expect(facts.locator(".wh-tk-prices tbody tr")).to_have_count(2)
    expect(facts.locator(".wh-tk-prices tr", has_text="strict").locator("td").nth(1)).to_contain_text("$42")
    expect(facts).to_contain_text("What vocabularies share")
    used.choose()
    expect(used.one("text-out").locator(".wh-error")).to_contain_text("no tokenizer is chosen")


@needs_browser
def test_ten_thousand_characters_are_counted_though_not_all_are_drawn(used: Tokens) -> None:
    used.view("Text")
    used.choose("tiny")
    used.one("text").fill("안" * 10_000)
    expect(used.count("tiny")).to_have_text("30,000")
    expect(used.one("text-out")).to_contain_text("The first 3,000 of 30,000 tokens are drawn; all are counted.")
    assert used.one("text-out").locator(".wh-tk-pieces i").count() == 3000


@needs_browser
def test_conversations_are_named_refused_and_compared(tab: Tokens) -> None:
    tab.choose("strict", "tiny", "base")
    tab.view("Conversation")
    out = tab.one("chat-out")
    expect(out.locator("section[data-name=strict] .wh-error")).to_contain_text("No system role, please")
    expect(out.locator("section[data-name=base] .wh-error")).to_contain_text("base model")
    expect(out.locator("section[data-name=tiny] .k-generation").first).to_contain_text("<|im_start|>assistant")
    expect(out.locator("section[data-name=tiny] i.learned").first).to_contain_text("Which colour?")
    tab.one("messages").get_by_role("button", name="Remove").first.click()
    expect(out.locator("section .k-unwritten").first).to_contain_text("You are Tiny, made in a test.")
    expect(out.locator(".wh-tk-diff")).to_contain_text("The texts are the same")
    tab.one("messages").locator("textarea").last.fill("what is <|im_end|>?")
    expect(out.locator(".wh-tk-pasted-list").first).to_contain_text("sent as text, not as the token")
    tab.one("generation").uncheck()
    expect(out.locator("section[data-name=tiny] .k-generation")).to_have_count(0)


@needs_browser
def test_messages_go_from_rows_to_json_and_back(tab: Tokens) -> None:
    tab.choose("tiny")
    tab.view("Conversation")
    tab.one("messages").locator("textarea").last.fill("a blue one")
    tab.page.get_by_role("button", name="Edit as JSON").click()
    field = tab.one("json")
    assert json.loads(field.input_value())[-1] == {"role": "user", "content": "a blue one"}
    field.fill("[{")
    expect(tab.one("chat-out").locator(".wh-error")).to_contain_text("no JSON: Expecting property name")
    tab.page.get_by_role("button", name="Edit as rows").click()
    expect(tab.one("notice")).to_contain_text("only be edited as JSON")
    field.fill('[{"role": "user", "content": "hi"}]')
    expect(tab.one("chat-out")).to_contain_text("hi")
    tab.page.get_by_role("button", name="Edit as rows").click()
    expect(tab.one("messages").locator("textarea")).to_have_value("hi")


@needs_browser
def test_a_text_is_scored_and_a_model_elsewhere_says_why_not(used: Tokens) -> None:
    used.view("Probabilities")
    used.one("score-text").fill("The capital of France is")
    used.one("score-start").click()
    expect(used.one("score-out").locator(".wh-tk-perplexity")).not_to_be_empty()
    expect(used.one("score-start")).to_be_enabled()
    box = used.one("score-out").locator(".wh-tk-pieces")
    box.focus()
    box.press("End")
    expect(used.one("tip")).to_contain_text("rank")
    expect(used.one("tip")).to_contain_text("most probable")
    used.one("score-text").fill("word " * 3000)
    used.one("score-start").click()
    expect(used.one("score-out").locator(".wh-error")).to_contain_text("at most 512 are scored here")
    used.one("score-model").select_option("echo")
    used.one("score-start").click()
    expect(used.one("score-out").locator(".wh-error")).to_contain_text("does not show its probabilities")


@needs_browser
def test_scoring_can_be_stopped(used: Tokens) -> None:
    used.view("Probabilities")
    used.one("score-model").select_option("smollm2")
    used.one("score-text").fill("one two three " * 120)
    used.one("score-start").click()
    expect(used.one("score-out").locator("i").nth(1)).to_be_visible()
    used.one("score-stop").click()
    expect(used.one("score-start")).to_be_enabled()
    assert used.one("score-out").locator("i").count() < 360


@needs_browser
def test_the_check_shows_what_holds(used: Tokens) -> None:
    used.choose("tiny")
    used.view("Check")
    used.one("check-start").click()
    expect(used.one("check-start")).to_be_enabled()
    expect(used.one("check-out").locator("p[role=status]")).to_contain_text("checks")
    expect(used.one("check-out").locator("tbody tr").first).to_contain_text("tiny")
    used.choose("base")
    used.one("check-start").click()
    expect(used.one("check-out").locator(".wh-error")).to_contain_text("base model")


@needs_browser
def test_an_answer_opens_with_its_exact_prompt(browser: BrowserContext, url: str) -> None:
    chat = Chat(browser, url)
    chat.unfold_settings()
    chat.page.get_by_label("Most tokens of the answer").fill("3")
    answer = chat.ask("Is it red & <b>blue</b>?")
    answer.get_by_role("link", name="Show tokens").click()
    page = chat.page
    expect(page.locator("#wh-tk-notice")).to_contain_text("the prompt that smollm2?context=1024 was sent")
    painted = page.locator("#wh-tk-chat-out .wh-tk-painted")
    expect(painted).to_contain_text("Is it red & <b>blue</b>?")
    expect(painted.locator(".k-generation").first).to_be_visible()
    expect(page.locator("#wh-tk-tokenizers input:checked")).to_have_value("smollm2")
    page.get_by_role("tab", name="Text", exact=True).click()
    sent = page.locator("#wh-tk-text").input_value()
    assert sent.endswith("<|im_start|>user\nIs it red & <b>blue</b>?<|im_end|>\n<|im_start|>assistant\n")
    expect(page.locator("#wh-tk-text-out section i.c").first).to_have_text("<|im_start|>")
    chat.close()
    assert chat.complaints == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone_nothing_is_cut_off_and_colours_can_be_read(browser: BrowserContext, url: str, dark: bool) -> None:
    phone = Tokens(browser, url, width=375, dark=dark)
    phone.choose("tiny", "strict")
    phone.one("text").fill("y" * 400 + " $1,299 <|im_end|> 안\u200b")
    phone.one("special").check()
    expect(phone.one("text-out").locator("i.c").first).to_be_visible()
    expect(phone.one("facts-out")).to_contain_text("What vocabularies share")
    assert phone.overflow() <= 0
    assert phone.contrast(".wh-tk-pieces i, .wh-tk-aligned i, .wh-tk .wh-note, .wh-tk th") >= 4.5
    phone.view("Conversation")
    phone.choose("tiny")
    expect(phone.one("chat-out").locator(".k-role").first).to_be_visible()
    assert phone.overflow() <= 0
    assert phone.contrast(".wh-tk-painted i, .wh-tk-key i") >= 4.5
    phone.close()


@needs_browser
def test_views_are_reached_by_keyboard(used: Tokens) -> None:
    text = used.page.get_by_role("tab", name="Text", exact=True)
    text.focus()
    text.press("ArrowRight")
    expect(used.page.get_by_role("tab", name="Conversation")).to_be_focused()
    expect(used.one("view-chat")).to_be_visible()
    expect(used.one("view-text")).to_be_hidden()
    used.page.keyboard.press("End")
    expect(used.page.get_by_role("tab", name="Check", exact=True)).to_be_focused()
    expect(used.one("check-start")).to_be_visible()
