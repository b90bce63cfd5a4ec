"""The Chat tab as a person meets it: a real server, a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")
pytest.importorskip("playwright", reason="needs playwright")

from playwright.sync_api import BrowserContext, expect

from browser import Chat, browsing, chromium, serving
from whetstone.chat.store import ConversationStore
from whetstone.storage.database import open_database
from whetstone.types import ModelIdentity, Options, user

pytestmark = pytest.mark.skipif(chromium() is None, reason="needs chromium")

EVIL = (
    "Look: <script>window.hacked=1</script> <img src=x onerror='window.hacked=2'> [click](javascript:window.hacked=3) "
    "![picture](http://elsewhere.example/p.png) <svg onload='window.hacked=4'></svg> ${window.hacked=5} "
    "{{constructor}} [data](data:text/html,hacked) $$\\\\href{javascript:window.hacked=6}{x}$$ end"
)
SLOW = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
PLAN = {
    "chunk": 4,
    "replies": [
        {"match": "evil", "reply": EVIL},
        {"match": "slow", "reply": SLOW, "delay": 0.1},
        {"match": "endless", "reply": "word " * 5000, "delay": 0.02},
        {"match": "broken", "reply": "half of this arrives here", "fault": "half_stream", "times": 1},
        {"match": "think", "reply": "I thought about it.", "reasoning": "They want me to **think**."},
        {
            "match": "wide",
            "reply": "```\n"
            + "long line of code " * 30
            + "\n```\n\n|a|b|\n|-|-|\n|"
            + "x" * 300
            + "|2|\n\n"
            + "y" * 400,
        },
        {"match": ".", "reply": "A plain answer."},
    ],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workbench")


@pytest.fixture(scope="module")
def url(home: Path) -> Iterator[str]:
    plan = home / "plan.yaml"
    plan.write_text(json.dumps(PLAN))  # JSON is YAML
    models = {
        "plan": f"scripted:{plan}",
        "echo": "scripted:echo?delay=0.02",
        "tiny": "scripted:echo?context_length=130",
        "smollm2": "smollm2?context=1024",
    }
    with serving(home, models) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as opened:
        yield opened


@pytest.fixture
def chat(browser: BrowserContext, url: str) -> Iterator[Chat]:
    opened = Chat(browser, url)
    yield opened
    quiet(opened)


def quiet(chat: Chat) -> None:
    """Close a page, which must not have asked for anything elsewhere, nor failed."""
    chat.close()
    assert chat.elsewhere == []
    assert chat.complaints == []


def test_history_reaches_the_embedded_model_and_the_exact_prompt_proves_it(chat: Chat) -> None:
    chat.choose("model", "smollm2")
    chat.unfold_settings()
    chat.page.get_by_label("Most tokens of the answer").fill("12")
    first = chat.ask("I want to buy a tie")
    expect(first.locator(".wh-body")).not_to_be_empty()
    chat.ask("a red one")
    chat.press("The exact prompt sent")
    prompt = chat.page.locator(".wh-prompt")
    expect(prompt).to_contain_text("I want to buy a tie")
    expect(prompt).to_contain_text("a red one<|im_end|>")
    facts = chat.page.locator(".wh-facts")
    for name in ("revision", "prompt hash", "speed", "tokens/s", "max_tokens 12"):
        expect(facts).to_contain_text(name)


def test_an_empty_message_does_nothing_and_says_so(chat: Chat) -> None:
    chat.say("  ")
    expect(chat.notice).to_contain_text("Nothing was sent")
    expect(chat.users).to_have_count(0)
    assert "chat=" not in chat.page.url


def test_escape_stops_the_answer_and_keeps_what_arrived(chat: Chat) -> None:
    chat.say("endless")
    expect(chat.answers.last).to_contain_text("word word")
    chat.page.keyboard.press("Escape")
    answer = chat.end()
    expect(answer).to_contain_text("partial")
    expect(answer).to_contain_text("cut off")
    assert answer.locator(".wh-body").inner_text().count("word") < 5000


def test_retry_gives_another_version_and_the_arrows_lead_back(chat: Chat) -> None:
    first = chat.ask("hello")
    identity = first.get_attribute("data-turn")
    chat.press("Answer once more")
    expect(chat.page.get_by_label("version 2 of 2")).to_be_visible()
    assert chat.end().get_attribute("data-turn") != identity
    chat.press("Earlier version")
    expect(chat.page.get_by_label("version 1 of 2")).to_be_visible()
    assert chat.answers.last.get_attribute("data-turn") == identity


def test_a_failed_answer_keeps_its_text_and_offers_a_retry(chat: Chat) -> None:
    answer = chat.ask("broken please")
    expect(answer).to_contain_text("half of this")
    expect(answer.get_by_role("alert")).to_contain_text("planned fault")
    chat.press("Try again")
    expect(chat.page.get_by_label("version 2 of 2")).to_be_visible()
    expect(chat.end().locator(".wh-body")).to_have_text("half of this arrives here")


def test_an_earlier_message_is_edited_on_a_branch_of_its_own(chat: Chat) -> None:
    chat.choose("model", "echo")
    chat.ask("first words")
    chat.ask("second words")
    chat.press("Edit", chat.users.first)
    field = chat.page.get_by_label("Another version of this message")
    expect(field).to_be_focused()
    field.fill("other words")
    field.press("Enter")
    expect(chat.page.get_by_label("version 2 of 2")).to_be_visible()
    chat.end()
    expect(chat.users).to_have_count(1)
    expect(chat.answers.last.locator(".wh-body")).to_have_text("other words")
    chat.press("Earlier version")
    expect(chat.users).to_have_count(2)
    expect(chat.users.last).to_contain_text("second words")


def test_a_conversation_branches_from_an_earlier_answer(chat: Chat) -> None:
    chat.ask("first")
    chat.ask("second")
    chat.answers.first.get_by_role("button", name="Go on from here, on a branch of its own").click()
    expect(chat.thread).to_contain_text("begins another branch")
    chat.ask("instead")
    expect(chat.users).to_have_count(2)
    expect(chat.users.last).to_contain_text("instead")
    expect(chat.users.last.get_by_label("version 2 of 2")).to_be_visible()


def test_a_reload_in_mid_answer_goes_on_following_it(chat: Chat) -> None:
    chat.say("endless please")
    expect(chat.answers.last).to_contain_text("word word word")
    chat.page.reload()
    chat.ready()
    expect(chat.answers.last).to_contain_text("writing")
    seen = chat.answers.last.inner_text()
    chat.page.wait_for_function(
        "length => document.querySelector('#wh-live article').innerText.length > length", arg=len(seen) + 50
    )
    chat.press("Stop")
    assert len(chat.end().inner_text()) > len(seen)


def test_an_answer_that_another_program_writes_is_followed_from_the_store(chat: Chat, home: Path, url: str) -> None:
    database = open_database(f"sqlite:///{home / 'whetstone.db'}")
    store = ConversationStore(database)
    conversation = store.create(model="plan")
    said = store.add(conversation.id, None, user("from the terminal"))
    identity = ModelIdentity("scripted:echo", "scripted", "echo")
    writer = store.begin_answer(conversation.id, said.id, model=identity, options=Options(), prompt="p")
    writer.append(text="the beginning")
    chat.open(f"{url}?chat={conversation.id}")
    expect(chat.answers.last).to_contain_text("the beginning")
    expect(chat.answers.last).to_contain_text("another program")
    writer.append(text=" and the end")
    writer.finish(seconds=1.0, first_token_seconds=None, cost=None, finish_reason="stop")
    expect(chat.answers.last).to_contain_text("and the end")
    expect(chat.answers.last).not_to_contain_text("another program")
    database.close()


def test_the_model_is_switched_between_two_messages(chat: Chat) -> None:
    expect(chat.ask("hello").locator(".wh-who")).to_have_text("plan")
    chat.choose("model", "echo")
    answer = chat.ask("hello again")
    expect(answer.locator(".wh-who")).to_have_text("echo")
    expect(answer.locator(".wh-body")).to_have_text("hello again")
    chat.page.reload()
    chat.ready()
    expect(chat.page.locator("#wh-model input")).to_have_value("echo")


def test_two_models_answer_beside_each_other_and_one_is_picked(chat: Chat) -> None:
    chat.choose("second", "echo")
    chat.say("slow, both of you")
    expect(chat.page.locator("#wh-live article")).to_have_count(2)
    chat.end()
    columns = chat.page.locator(".wh-columns article")
    expect(columns).to_have_count(2)
    boxes = [columns.nth(number).bounding_box() for number in range(2)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    columns.filter(has_text="slow, both").get_by_role("button", name="Go on with this one").click()
    expect(chat.page.locator(".wh-columns")).to_have_count(0)
    expect(chat.answers.last.locator(".wh-who")).to_have_text("echo")
    chat.choose("second", "None")
    chat.ask("go on")
    chat.press("The exact prompt sent")
    expect(chat.page.locator(".wh-prompt")).not_to_contain_text("fourteen")


def test_two_system_prompts_answer_beside_each_other_and_one_is_picked(chat: Chat) -> None:
    chat.unfold_settings()
    chat.page.get_by_label("System prompt", exact=True).fill("You sell ties.")
    second = chat.page.get_by_label("Second system prompt")
    expect(second).to_have_count(0)
    chat.page.get_by_label("Have a second answer written with another system prompt").check()
    second.fill("You sell belts. <b>Only</b> belts.")
    chat.say("slow, both of you")
    expect(chat.page.locator("#wh-live article")).to_have_count(2)
    expect(chat.page.locator("#wh-live .wh-own")).to_have_text("system prompt: You sell belts. <b>Only</b> belts.")
    chat.end()
    columns = chat.page.locator(".wh-columns article")
    expect(columns).to_have_count(2)
    for number, words in enumerate(("You sell ties.", "You sell belts.")):
        chat.press("The exact prompt sent", columns.nth(number))
        expect(columns.nth(number).locator(".wh-prompt")).to_contain_text(words)
    expect(columns.nth(1).locator(".wh-facts")).to_contain_text("its own: You sell belts. <b>Only</b> belts.")
    chat.press("Go on with this one", columns.nth(1))
    expect(chat.page.locator(".wh-columns")).to_have_count(0)
    chat.page.reload()
    chat.ready()
    expect(chat.answers.last.locator(".wh-own")).to_contain_text("You sell belts.")
    chat.press("Answer once more")
    expect(chat.page.get_by_label("version 3 of 3")).to_be_visible()
    chat.end()
    chat.press("The exact prompt sent")
    expect(chat.page.locator(".wh-prompt")).to_contain_text("You sell belts.")
    chat.ask("go on")
    expect(chat.page.locator(".wh-columns")).to_have_count(0)
    expect(chat.answers.last.locator(".wh-own")).to_have_count(0)
    chat.press("The exact prompt sent")
    expect(chat.page.locator(".wh-prompt")).to_contain_text("You sell ties.")


def test_pages_that_talk_at_once_do_not_mix(chat: Chat, browser: BrowserContext, url: str) -> None:
    other = Chat(browser, url)
    for page, model, text in ((chat, "plan", "slow"), (other, "echo", "quite another conversation")):
        page.choose("model", model)
        page.say(text)
    expect(other.end().locator(".wh-body")).to_have_text("quite another conversation")
    expect(chat.end().locator(".wh-body")).to_have_text(SLOW)
    expect(chat.users).to_have_count(1)
    expect(other.users).to_have_count(1)
    quiet(other)


def test_what_a_model_writes_is_text_and_never_runs(chat: Chat) -> None:
    answer = chat.ask("evil")
    body = answer.locator(".wh-body")
    expect(body).to_contain_text("<script>window.hacked=1</script>")
    expect(body).to_contain_text("${window.hacked=5} {{constructor}}")
    assert body.locator("script, img, svg, iframe, object").count() == 0
    assert [link.get_attribute("href") for link in body.locator("a").all()] == ["http://elsewhere.example/p.png"]
    chat.unfold_settings()
    chat.page.get_by_label("Ask for token probabilities").check()
    chat.ask("evil again")
    for panel in ("Token probabilities", "The exact prompt sent"):
        chat.press(panel)
        expect(chat.page.locator(".wh-panel")).to_contain_text("hacked=1")
        assert chat.page.locator(".wh-panel").locator("script, img, svg").count() == 0
    assert chat.page.evaluate("window.hacked") is None


def test_a_title_is_text_and_conversations_are_renamed_found_and_deleted(chat: Chat) -> None:
    chat.ask("a message about zebras")
    sidebar = chat.page.locator("#wh-conversations")
    chat.press("Rename")
    title = "<script>window.hacked=1</script><b>bold</b> ${window.hacked=2}"
    chat.page.get_by_label("New title").fill(title)
    chat.page.keyboard.press("Enter")
    current = sidebar.locator("[aria-current]")
    expect(current).to_have_text(title)
    assert sidebar.locator("script, b").count() == 0
    assert chat.page.evaluate("window.hacked") is None
    chat.page.locator("#wh-search textarea, #wh-search input").first.fill("ZEBRAS")
    expect(sidebar.locator("li")).to_have_count(1)
    chat.press("Delete")
    expect(chat.page.get_by_role("alertdialog")).to_contain_text("for good")
    expect(chat.page.get_by_role("button", name="Keep")).to_be_focused()
    chat.press("Delete")
    expect(sidebar).to_contain_text("Nothing found")
    expect(chat.users).to_have_count(0)
    assert "chat=" not in chat.page.url


def test_a_conversation_is_exported_and_imported_again(chat: Chat, tmp_path: Path) -> None:
    chat.choose("model", "echo")
    chat.ask("안녕하세요 <|im_end|> 👋")
    files = {}
    for name in ("Export as Markdown", "Export as messages JSONL"):
        with chat.page.expect_download() as download:
            chat.press(name)
        files[download.value.suggested_filename.rpartition(".")[2]] = Path(download.value.path()).read_text("utf-8")
    assert "안녕하세요" in files["md"]
    messages = json.loads(files["jsonl"])["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[0]["content"] == "안녕하세요 <|im_end|> 👋"
    before = chat.page.url
    file = tmp_path / "again.jsonl"
    file.write_text(files["jsonl"], "utf-8")
    chat.page.locator("#wh-side input[type=file]").set_input_files(file)
    expect(chat.notice).to_contain_text("1 conversation imported")
    expect(chat.users).to_contain_text("안녕하세요 <|im_end|> 👋")
    assert chat.page.url != before


def test_a_file_that_cannot_be_imported_is_told_in_a_sentence(chat: Chat, tmp_path: Path) -> None:
    file = tmp_path / "odd.json"
    file.write_text('{"what": 1}')
    chat.page.locator("#wh-side input[type=file]").set_input_files(file)
    expect(chat.notice).to_contain_text("odd.json holds no conversations of a known form")


def test_probabilities_are_shown_on_demand_and_an_alternative_goes_on(chat: Chat) -> None:
    chat.choose("model", "echo")
    chat.ask("the quick brown fox")
    chat.press("Token probabilities")
    chat.press("Answer again with probabilities")
    expect(chat.page.get_by_label("version 2 of 2")).to_be_visible()
    chat.end()
    chat.press("Token probabilities")
    tokens = chat.page.locator(".wh-tokens .wh-token")
    expect(tokens).to_have_count(4)
    assert chat.contrast(".wh-token") >= 4.5
    tokens.nth(2).press("Enter")
    alternatives = chat.page.locator(".wh-alternatives li")
    expect(alternatives.first).to_be_visible()
    chosen = alternatives.nth(1).get_by_role("button")
    word = chosen.inner_text().strip()
    chosen.click()
    expect(chat.page.get_by_label("version 3 of 3")).to_be_visible()
    expect(chat.end().locator(".wh-body")).to_contain_text(f"the quick {word}")


def test_what_does_not_fit_is_told_and_the_person_chooses(chat: Chat) -> None:
    chat.choose("model", "tiny")
    chat.unfold_settings()
    chat.page.get_by_label("Most tokens of the answer").fill("75")
    for text in ("the first message of these", "the second message of these, a longer one"):
        chat.ask(text)
    chat.say("the third message does not fit any more")
    choice = chat.page.get_by_role("alertdialog", name="The conversation does not fit")
    expect(choice).to_contain_text("the first message of these")
    expect(chat.box).to_have_value("the third message does not fit any more")
    expect(chat.users).to_have_count(2)
    expect(chat.page.locator(".wh-meter")).to_contain_text("too many")
    chat.press("Cancel")
    expect(choice).to_have_count(0)
    chat.box.press("Enter")
    chat.press("Leave them out")
    expect(chat.users).to_have_count(3)
    expect(chat.end().locator(".wh-body")).to_have_text("the third message does not fit any more")
    expect(chat.notice).to_contain_text("were left out of this request")
    chat.press("The exact prompt sent")
    expect(chat.page.locator(".wh-prompt")).not_to_contain_text("the first message")


def test_a_wrong_setting_is_told_and_the_message_is_kept(chat: Chat) -> None:
    chat.unfold_settings()
    chat.page.get_by_label("Top p").fill("7")
    chat.say("hello")
    expect(chat.notice.get_by_role("alert")).to_contain_text("Top p: 7")
    expect(chat.box).to_have_value("hello")
    chat.page.get_by_label("Top p").fill("0.9")
    chat.box.press("Enter")
    expect(chat.answers).to_have_count(1)


def test_reasoning_is_folded_and_kept_out_of_what_is_sent_back(chat: Chat) -> None:
    answer = chat.ask("think")
    thoughts = answer.locator("details.wh-thoughts")
    expect(thoughts.locator("strong")).to_be_hidden()
    thoughts.locator("summary").click()
    expect(thoughts.locator("strong")).to_have_text("think")
    chat.ask("and now")
    chat.press("The exact prompt sent")
    expect(chat.page.locator(".wh-prompt")).to_contain_text("I thought about it.")
    expect(chat.page.locator(".wh-prompt")).not_to_contain_text("They want me")


def test_the_meter_counts_while_somebody_types(chat: Chat) -> None:
    chat.page.locator(".wh-meter summary").click()
    new = chat.page.locator(".wh-meter li", has_text="new message")
    expect(new).to_contain_text("0")
    chat.box.press_sequentially("one two three")
    expect(new).to_contain_text("3")
    expect(chat.page.locator(".wh-meter")).to_contain_text("of 4,096 tokens")


def test_a_phone_shows_everything_without_scrolling_sideways(browser: BrowserContext, url: str) -> None:
    chat = Chat(browser, url, width=375)
    assert not chat.page.locator("#wh-side").is_visible()
    chat.ask("wide")
    chat.press("The exact prompt sent")
    expect(chat.page.locator(".wh-prompt")).to_be_visible()
    assert chat.page.evaluate("document.documentElement.scrollWidth") == 375
    chat.press("Chats")
    expect(chat.page.locator("#wh-side")).to_be_visible()
    chat.page.keyboard.press("Escape")
    expect(chat.page.locator("#wh-side")).to_be_hidden()
    chat.press("Chats")
    chat.press("New conversation")
    expect(chat.page.locator("#wh-side")).to_be_hidden()
    expect(chat.page.locator(".wh-welcome")).to_be_visible()
    quiet(chat)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: BrowserContext, url: str, dark: bool) -> None:
    chat = Chat(browser, url, dark=dark)
    chat.unfold_settings()
    chat.page.get_by_label("Ask for token probabilities").check()
    chat.ask("broken `code` in " + ("dark" if dark else "light"))
    chat.press("Token probabilities")
    expect(chat.page.locator(".wh-tokens")).to_be_visible()
    texts = ".wh-body, .wh-who, .wh-badge, .wh-token, .wh-button:enabled, .wh-meter summary, .wh-open, .wh-error"
    assert chat.contrast(texts) >= 4.5
    is_dark = chat.page.evaluate("document.body.classList.contains('dark')")
    assert is_dark == dark
    quiet(chat)


def test_everything_is_reached_and_done_by_keyboard(chat: Chat) -> None:
    expect(chat.box).to_be_focused()
    chat.page.keyboard.type("first line")
    chat.page.keyboard.press("Shift+Enter")
    chat.page.keyboard.type("second line")
    chat.page.keyboard.press("Enter")
    expect(chat.answers).to_have_count(1)
    chat.end()
    assert "first line\nsecond line" in chat.users.first.inner_text()
    reached = []
    for _ in range(16):  # backwards from the message field, through the turns' buttons
        chat.page.keyboard.press("Shift+Tab")
        reached.append(
            chat.page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.innerText")
        )
        if reached[-1] == "The exact prompt sent":
            break
    assert reached[-1] == "The exact prompt sent", reached
    assert chat.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    chat.page.keyboard.press("Enter")
    expect(chat.page.locator(".wh-panel")).to_be_focused()
    unnamed = chat.page.evaluate(
        "[...document.querySelectorAll('button, input, textarea, select')].filter((e) => e.offsetParent && "
        "!(e.innerText || e.getAttribute('aria-label') || e.labels?.length)).map((e) => e.outerHTML)"
    )
    assert unnamed == []


def test_an_address_of_a_deleted_conversation_opens_an_empty_page(chat: Chat, url: str) -> None:
    chat.open(f"{url}?chat=0000000000")
    expect(chat.notice).to_contain_text("does not exist any more")
    chat.ask("hello")
    expect(chat.users).to_have_count(1)


def test_with_a_token_a_person_logs_in_once_and_then_chats(browser: BrowserContext, tmp_path: Path) -> None:
    with serving(tmp_path, {"echo": "scripted:echo"}, token="a long secret token") as url:
        page = browser.new_page()
        page.goto(url)
        page.locator("input[type=password]").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("input[type=password]")).to_be_visible()
        page.locator("input[type=password]").fill("a long secret token")
        page.keyboard.press("Enter")
        page.wait_for_url(lambda address: "login" not in address)
        assert "secret" not in page.url
        page.close()
        chat = Chat(browser, url)
        expect(chat.ask("hello there")).to_contain_text("hello there")
        chat.close()
        # Others are let in, so code that a model wrote is not run unless the owner says so.
        refused = browser.request.post(f"{url}v1/tasks/code", data={"inputs": {"task": "x"}, "run": True})
        assert (refused.status, "--run-code" in refused.text()) == (403, True)
