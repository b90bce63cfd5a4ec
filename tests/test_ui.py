"""What the Chat tab's HTML is made of, without a browser."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

pytest.importorskip("gradio", reason="needs the extra `serve`")

from apart_model import EncoderDecoder
from whetstone.chat.answer import Answer
from whetstone.chat.context import ContextUse, DoesNotFitError
from whetstone.chat.session import ChatSession
from whetstone.chat.store import ConversationStore
from whetstone.errors import UsageError
from whetstone.models.pool import ModelPool
from whetstone.models.scripted import ScriptedModel
from whetstone.storage.database import open_database
from whetstone.types import (
    Conversation,
    Message,
    ModelIdentity,
    Options,
    Origin,
    TokenLogprob,
    Turn,
    Usage,
    assistant,
    user,
)
from whetstone.ui import chat_begin
from whetstone.ui.chat_actions import ChatActions
from whetstone.ui.chat_view import ChatView, Widgets
from whetstone.ui.export import exporter, file_name
from whetstone.ui.markdown import to_html
from whetstone.ui.meter import meter_html, summary
from whetstone.ui.notices import does_not_fit, failed
from whetstone.ui.page import NUMBERS, Page, Settings
from whetstone.ui.panels import edit_panel, facts, probability_step, prompt_panel, text_before, tokens_panel
from whetstone.ui.running import Running, RunningAnswers
from whetstone.ui.sidebar import sidebar_html
from whetstone.ui.tabs import TABS, build_tab
from whetstone.ui.thread import Thread, live_html, thread_html

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' onmouseover='alert(3)'"
ORIGIN = Origin(
    ModelIdentity("scripted:echo", "scripted", EVIL), prompt_hash="ab", system=EVIL, usage=Usage(10, 20), seconds=3.0
)


class Parsed(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def harmless(html: str) -> bool:
    """Whether nothing in it runs, loads or leads to a script."""
    parsed = Parsed(html)
    runs = {"script", "img", "svg", "iframe", "object", "embed", "style", "link", "meta", "base", "form", "math"}
    return not runs & set(parsed.tags) and not [
        (name, value)
        for name, value in parsed.attributes
        if name.startswith("on")
        or (name in ("href", "src") and not re.match(r"https?:|mailto:|\?tokens=", value or ""))
    ]


def turn(text: str, role: str = "assistant", id: str = "t2", **more: object) -> Turn:
    message: Message = assistant(text) if role == "assistant" else user(text)
    return Turn(id, "c1", "t1" if role == "assistant" else None, message, NOW, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        EVIL,
        "[click](javascript:alert(1))",
        "[click](JaVaScRiPt&#58;alert(1))",
        "[click](&#x6a;avascript:alert(1))",
        "<javascript:alert(1)>",
        "[click]: data:text/html,x\n\n[click]",
        "![x](javascript:alert(1))",
        "![x](http://elsewhere.example/x.png)",
        '![" onerror="alert(1)](http://a/"onerror="alert(1))',
        "<svg><script>alert(1)</script></svg>",
        "```<script>\n</code></pre><script>alert(1)</script>\n```",
        "| <script>alert(1)</script> |\n|-|\n| <img src=x onerror=alert(1)> |",
        "<!--><script>alert(1)</script>-->",
        "[x](//elsewhere.example) [y](/logout) [z](vbscript:x)",
        "[x](https://[broken)",
    ],
)
def test_markdown_never_becomes_something_that_runs(text: str) -> None:
    assert harmless(to_html(text))


def test_markdown_is_drawn() -> None:
    html = to_html("# A\n\n**b** `c`\nd\n\n|x|\n|-|\n|1|\n\n[e](https://example.org)")
    for part in ("<h1>A</h1>", "<strong>b</strong>", "<code>c</code>", "<br", "<table>", 'rel="noopener'):
        assert part in html


def test_an_image_is_a_link_that_says_what_it_shows() -> None:
    assert to_html("![a cat](https://example.org/c.png)").count("[a cat]</a>") == 1


def test_every_part_of_a_thread_escapes_what_people_and_models_wrote() -> None:
    said = turn(EVIL, "user", "t1")
    answer = turn(EVIL, reasoning=EVIL, state="failed", error=EVIL, origin=ORIGIN)
    call = {"id": "1", "type": "function", "function": {"name": EVIL, "arguments": EVIL}}
    called = Turn("t3", "c1", "t2", {"role": "assistant", "content": EVIL, "tool_calls": [call]}, NOW)  # type: ignore[list-item]
    tokens = [TokenLogprob(EVIL, -0.1, top=((EVIL, -0.1), ("b", -2.0)))]
    conversation = Conversation("c1", EVIL, "m", "", Options(), "t2", NOW, NOW)
    use = ContextUse(1, 2, 3, 4, 5, 6, True)
    for html in (
        thread_html(Thread("c1", [said, answer, called], pair=())),
        thread_html(Thread("c1", [said, answer], pair=(answer, called))),
        live_html(answer, EVIL, EVIL, {}),
        edit_panel(said),
        prompt_panel(answer, EVIL),
        tokens_panel(answer, tokens, EVIL, 0, busy=False),
        *(sidebar_html([conversation], "c1", doing, EVIL, True) for doing in ("", "rename", "delete")),
        failed(EVIL, again=True),
        does_not_fit(DoesNotFitError(EVIL, use, (0,)), [said.message]),
    ):
        assert harmless(html)
        assert "&lt;script&gt;" in html


def test_a_special_token_stays_text() -> None:
    assert "&lt;|im_end|&gt;" in thread_html(Thread("c1", [turn("<|im_end|>", "user", "t1")]))


def test_versions_are_counted_and_the_ends_lead_nowhere() -> None:
    said = turn("hello", "user", "t1")
    html = thread_html(Thread("c1", [said, turn("b")], versions={"t2": ["t0", "t2"]}))
    assert "2 / 2" in html
    assert re.search(r'data-turn="t0"[^>]*aria-label="Earlier version">', html)
    assert re.search(r'aria-label="Later version" disabled>', html)
    assert "/ 1" not in thread_html(Thread("c1", [said], versions={"t1": ["t1"]}))


def test_nothing_that_begins_an_answer_can_be_pressed_while_one_is_written() -> None:
    html = thread_html(Thread("c1", [turn("a", "user", "t1"), turn("b", origin=ORIGIN, state="partial")], busy=True))
    for action in ("retry", "resume"):
        assert re.search(rf'data-do="{action}"[^>]* disabled>', html)
    assert not re.search(r'data-panel="prompt"[^>]* disabled>', html)


def test_the_meter_draws_shares_of_the_context_and_writes_every_number() -> None:
    html = meter_html(ContextUse(system=100, history=200, message=50, template=50, reply=100, limit=1000, exact=True))
    widths = [float(width) for width in re.findall(r"width:([\d.]+)%", html)]
    assert widths == [10, 20, 5, 5, 10]
    for number in ("100", "200", "50", "500"):
        assert f"<b>{number}</b>" in html


@pytest.mark.parametrize(
    ("limit", "exact", "words"),
    [
        (1000, True, "Context: 600 of 1,000 tokens, 400 free"),
        (1000, False, "Context: about 600 of 1,000 tokens, 400 free"),
        (500, True, "Context: 600 of 500 tokens: 100 too many"),
        (None, False, "Context: about 600 tokens; the model does not say how many it can hold"),
    ],
)
def test_the_meter_says_in_words_how_full_it_is(limit: int | None, exact: bool, words: str) -> None:
    use = ContextUse(system=0, history=0, message=0, template=0, reply=600, limit=limit, exact=exact)
    assert summary(use) == words
    assert max(float(width) for width in re.findall(r"width:([\d.]+)%", meter_html(use))) <= 100


@pytest.mark.parametrize(("probability", "step"), [(0.0001, 0), (0.1, 1), (0.3, 2), (0.65, 3), (0.95, 4), (1.0, 4)])
def test_a_probability_has_one_of_five_colours(probability: float, step: int) -> None:
    assert probability_step(math.log(probability) + 1e-12) == step


def test_a_choice_goes_on_from_the_text_before_the_token() -> None:
    tokens = [TokenLogprob("The", -1.0), TokenLogprob(" cat", -1.0), TokenLogprob(" sat", -1.0)]
    assert text_before(turn("The cat sat"), tokens, "", 2) == "The cat"
    assert text_before(turn("So The cat sat"), tokens, "So ", 1) == "So The"
    broken = [TokenLogprob("\ufffd", -1.0), TokenLogprob("\ufffd", -1.0)]
    assert text_before(turn("한"), broken, "", 1) is None
    assert "part of a character" in tokens_panel(turn("한"), broken, "", 1, busy=False)


def test_facts_say_what_is_known_and_leave_out_what_is_not() -> None:
    known = dict(facts(turn("b", origin=ORIGIN)))
    assert known["prompt"] == "10 tokens"
    assert known["speed"] == "6.7 tokens/s"
    assert known["ended by"] == "being cut off"
    assert "cost" not in known
    assert "revision" not in known


def test_an_answer_with_its_own_system_prompt_tells_it_above_and_among_its_facts() -> None:
    for own, above, fact in (
        ("Be brief.\nBe kind.", "system prompt: Be brief.", "its own: Be brief.\nBe kind."),
        ("", "no system prompt", "its own: none"),
    ):
        answer = turn("b", origin=replace(ORIGIN, system=own))
        for html in (thread_html(Thread("c1", [answer])), live_html(answer, "b", "", {})):
            assert f'<span class="wh-own">{above}</span>' in html
        assert dict(facts(answer))["system prompt"] == fact
    plain = turn("b", origin=replace(ORIGIN, system=None))
    assert "wh-own" not in thread_html(Thread("c1", [plain]))
    assert "system prompt" not in dict(facts(plain))


def settings(
    second: str = "", compares: bool = False, second_system: str = "", model: str = "m", **given: str
) -> Settings:
    return Settings(model, second, "", compares, second_system, *(given.get(name, "") for name in NUMBERS), False)


def test_settings_become_options() -> None:
    options = settings(temperature="0,5", max_tokens=" 10 ").options()
    assert options == Options(temperature=0.5, max_tokens=10)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"temperature": "hot"}, "Temperature: hot is wrong"),
        ({"top_p": "2"}, "Top p: 2"),
        ({"seed": "1.5"}, "Seed: 1.5"),
        ({"max_tokens": "0"}, "Most tokens of the answer: 0"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        settings(**given).options()


@pytest.fixture
def store() -> ConversationStore:
    return ConversationStore(open_database())


def asked(store: ConversationStore, model: ScriptedModel, text: str, **options: int) -> tuple[Conversation, Answer]:
    pool = ModelPool({"m": "scripted:echo"}, load=lambda _: model)
    conversation = store.create(model="m", options=Options(**options))  # type: ignore[arg-type]
    return conversation, ChatSession(store, pool, conversation).ask(text)


def test_an_answer_runs_without_a_page_and_its_probabilities_are_kept(store: ConversationStore) -> None:
    conversation, answer = asked(store, ScriptedModel(["a b c"]), "go", top_logprobs=2)
    answers = RunningAnswers()
    running = Running(answer)
    answers.start(conversation.id, (running,))
    assert running.done.wait(30)
    assert answers.of(conversation.id) == ()
    assert store.turn(running.turn_id).message["content"] == "a b c"
    tokens, prefix = answers.tokens(running.turn_id)
    assert prefix == ""
    assert "".join(token.text for token in tokens) == "a b c"


@pytest.mark.parametrize(
    ("chosen", "asked_with"),
    [
        ({}, [("m", None)]),
        ({"second_system": "You sell belts."}, [("m", None)]),
        ({"compares": True, "second_system": "You sell belts."}, [("m", None), ("m", "You sell belts.")]),
        ({"compares": True, "second_system": " \n"}, [("m", None), ("m", "")]),
        ({"second": "other"}, [("m", None), ("other", None)]),
        ({"second": "other", "compares": True, "second_system": "No."}, [("m", None), ("other", "No.")]),
    ],
)
def test_a_second_answer_differs_by_model_or_system_prompt_or_both(
    store: ConversationStore, chosen: dict[str, Any], asked_with: list[tuple[str, str | None]]
) -> None:
    pool = ModelPool(
        {"m": "scripted:m", "other": "scripted:other"}, load=lambda spec: ScriptedModel(["x"] * 2, spec=spec)
    )
    chat = ChatSession(store, pool, store.create(model="m", system="You sell ties."))
    begun = chat_begin.ask("hello")(chat, settings(**chosen), "refuse")
    for answer in begun.answers:
        list(answer)
    origins = [answer.turn.origin for answer in begun.answers]
    assert [(origin and origin.model.name, origin and origin.system) for origin in origins] == asked_with
    assert begun.remarks() == ""
    assert chat.path()[-1] == begun.answers[0].turn


def test_what_a_longer_second_prompt_leaves_out_is_told_of_its_request(store: ConversationStore) -> None:
    model = ScriptedModel(lambda messages: "word " * 10, context_length=120)
    pool = ModelPool({"m": "scripted:m"}, load=lambda _: model)
    chat = ChatSession(store, pool, store.create(model="m", options=Options(max_tokens=10)))
    for text in ("first", "second"):
        list(chat.ask(text))
    long = settings(compares=True, second_system="word " * 60)
    begun = chat_begin.ask("third")(chat, long, "drop_oldest")
    assert [answer.fitting.dropped for answer in begun.answers] == [(), (1, 2)]
    assert begun.remarks() == "The 2 oldest messages were left out of the second request."
    begun = chat_begin.ask("fourth")(chat, long, "refuse")
    assert len(begun.answers) == 1
    assert begun.remarks().startswith("There is no second answer: ")


@pytest.mark.parametrize("chosen", [{"model": "t5"}, {"model": "plain", "second": "t5"}])
def test_with_an_encoder_decoder_there_is_no_chat_and_the_page_says_why(
    store: ConversationStore, chosen: dict[str, str]
) -> None:
    model = {"plain": ScriptedModel(["x"]), "t5": EncoderDecoder(["x"])}
    pool = ModelPool({name: f"scripted:{name}" for name in model}, load=lambda spec: model[spec.split(":")[1]])
    widgets: Any = Widgets(*(name for name in Widgets.__slots__ if name != "settings"), settings=())
    actions = ChatActions(pool, store, RunningAnswers(), ChatView(pool, store, RunningAnswers(), widgets))
    *_, shown = actions.send(Page(), "Hello", *settings(**chosen))
    assert "t5 is an encoder-decoder" in shown["notice"]
    assert "The Tasks tab asks it" in shown["notice"]
    assert shown["box"] == "Hello"
    assert store.list() == []
    assert ("no chat with it" in actions.meter(Page(), "Hello", *settings(**chosen))) is (chosen["model"] == "t5")


def test_stopping_ends_the_answers_of_one_conversation_only(store: ConversationStore) -> None:
    answers = RunningAnswers()
    started = []
    for _ in range(2):
        conversation, answer = asked(store, ScriptedModel(["word " * 10_000], delay=0.01), "go")
        running = Running(answer)
        answers.start(conversation.id, (running,))
        started.append((conversation.id, running))
    (first, stopped), (second, going) = started
    answers.stop(first)
    assert stopped.done.wait(30)
    assert store.turn(stopped.turn_id).state == "partial"
    assert answers.of(second) == (going,)
    answers.stop(second)
    assert going.done.wait(30)


def test_a_pair_is_kept_until_somebody_chooses(store: ConversationStore) -> None:
    answers = RunningAnswers()
    conversation, first = asked(store, ScriptedModel(["a"]), "go")
    _, second = asked(store, ScriptedModel(["b"]), "go")
    pair = (Running(first), Running(second))
    answers.start(conversation.id, pair)
    assert all(running.done.wait(30) for running in pair)
    assert answers.pair(conversation.id) == (first.turn.id, second.turn.id)
    answers.choose(conversation.id)
    assert answers.pair(conversation.id) == ()


def test_an_export_names_its_file_by_the_title(store: ConversationStore) -> None:
    conversation = store.create(model="m", title="Über ../ „Katzen“ 고양이")
    store.add(conversation.id, None, user("hello"))
    export = exporter(store)
    assert export({"conversation": conversation.id, "format": "markdown"})["name"] == "Über-Katzen-고양이.md"
    assert "error" in export({"conversation": "none"})
    assert "error" in export(None)
    assert file_name("///") == "conversation"


def test_every_tab_of_the_table_can_be_built() -> None:
    for _, where in TABS:
        assert callable(build_tab(where))
