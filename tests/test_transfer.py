from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from whetstone.chat.json_stream import Broken, json_values
from whetstone.chat.store import ConversationStore
from whetstone.chat.transfer import (
    Imported,
    Rejected,
    import_conversations,
    read_conversations,
    to_jsonl,
    to_markdown,
)
from whetstone.errors import DataError
from whetstone.storage.database import open_database
from whetstone.types import Conversation, Message, ModelIdentity, Options, Origin, Turn, assistant, user

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ConversationStore]:
    database = open_database(f"sqlite:///{tmp_path}/chats.db")
    yield ConversationStore(database)
    database.close()


def conversation(system: str = "", title: str = "Ties", options: Options = Options()) -> Conversation:  # noqa: B008
    return Conversation("c", title, "smollm2", system, options, None, NOW, NOW)


def turn(message: Message, **more: Any) -> Turn:
    return Turn("t", "c", None, message, NOW, **more)


def written(folder: Path, content: Any, name: str = "file.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def good(path: Path) -> list[Imported]:
    found = list(read_conversations(path))
    assert all(isinstance(entry, Imported) for entry in found), found
    return [entry for entry in found if isinstance(entry, Imported)]


def messages(entry: Imported) -> list[Message]:
    return [turn.message for turn in entry.turns]


# Messages as JSON Lines

_text = st.text(st.characters(), max_size=30)


@given(
    system=_text,
    said=st.lists(st.tuples(_text, _text, st.sampled_from(["user", "assistant", "tool", "developer"])), min_size=1),
)
def test_what_is_exported_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, system: str, said: list[tuple[str, str, Any]]
) -> None:
    turns = [turn({"role": role, "content": text}, reasoning=reasoning) for text, reasoning, role in said]
    line = to_jsonl(conversation(system), turns)
    assert line.splitlines() == [line.removesuffix("\n")]
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    path.write_text(line, encoding="utf-8")
    (entry,) = good(path)
    assert entry.conversation.system == system
    assert [(one.message, one.reasoning) for one in entry.turns] == [(one.message, one.reasoning) for one in turns]
    assert to_jsonl(entry.conversation, entry.turns) == line


def test_an_export_tells_the_system_prompt_that_an_answer_was_asked_with() -> None:
    def answer(own: str | None) -> Turn:
        return turn(assistant("no"), origin=Origin(ModelIdentity("smollm2", "llama.cpp", "x"), system=own))

    ties = conversation("You sell ties.")
    for own, prompt in ((None, ["You sell ties."]), ("You sell ```belts.", ["You sell ```belts."]), ("", [])):
        path = [turn(user("a belt?")), answer("Earlier."), turn(user("a belt?")), answer(own)]
        sent = json.loads(to_jsonl(ties, path))["messages"]
        assert [message["content"] for message in sent if message["role"] == "system"] == prompt
    page = to_markdown(ties, [turn(user("a belt?")), answer("You sell ```belts."), answer("")])
    assert "*(asked with another system prompt)*\n\n````text\nYou sell ```belts.\n````" in page
    assert "*(asked without a system prompt)*" in page
    assert "asked with" not in to_markdown(ties, [answer(None)])


def test_tools_names_and_parts_come_back(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "buy", "parameters": {}}}
    call = {"id": "1", "type": "function", "function": {"name": "buy", "arguments": "{}"}}
    told: list[Message] = [
        {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "a tie"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "ok", "tool_call_id": "1"},
    ]
    exported = conversation("Sell.", options=Options(tools=(tool,)))
    (entry,) = good(written(tmp_path, to_jsonl(exported, [turn(one) for one in told]), "x.jsonl"))
    assert messages(entry) == told
    assert entry.conversation.options == exported.options


def test_an_answer_that_failed_at_once_is_no_message() -> None:
    turns = [turn(user("hi")), turn(assistant(""), state="failed", error="gone")]
    assert json.loads(to_jsonl(conversation(), turns)) == {"messages": [user("hi")]}


def test_a_branch_from_the_store_comes_back(store: ConversationStore, tmp_path: Path) -> None:
    made = store.create(model="m", system="Be brief.")
    first = store.add(made.id, None, user("넥타이"))
    store.add(made.id, first.id, assistant("blue?"))
    store.add(made.id, first.id, assistant("red?"), reasoning="not blue")
    path = written(tmp_path, to_jsonl(store.get(made.id), store.path(made.id)), "x.jsonl")
    report = import_conversations(store, path, "smollm2")
    assert str(report) == "1 conversation imported"
    again = store.get(report.added[0])
    assert (again.model, again.system, again.title) == ("smollm2", "Be brief.", "넥타이")
    assert [one.message for one in store.path(again.id)] == [user("넥타이"), assistant("red?")]
    assert store.path(again.id)[1].reasoning == "not blue"


# Other lists of messages


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lines.jsonl", '{"messages": %s}\n\n{"messages": %s}\n'),
        ("named_wrongly.json", '{"messages": %s}\n{"messages": %s}'),
        ("array.json", '[{"messages": %s}, {"messages": %s}]'),
        ("pretty.json", '[\n  {\n    "messages": %s\n  },\n  {"messages": %s}\n]\n'),
        ("bare.jsonl", "%s\n%s\n"),
        ("nested.json", "[%s, %s]"),
        ("mark.json", '\ufeff [{"messages": %s}, {"messages": %s}]'),
        ("shared.json", '[{"id": "1", "conversations": %s}, {"conversation": %s}]'),
    ],
)
def test_messages_are_read_in_every_arrangement(tmp_path: Path, name: str, content: str) -> None:
    one, two = [user("a [tie] }"), assistant("red?")], [user("안녕")]
    found = good(written(tmp_path, content % (json.dumps(one), json.dumps(two, ensure_ascii=False)), name))
    assert [messages(entry) for entry in found] == [one, two]
    assert [entry.number for entry in found] == [1, 2]
    assert [entry.conversation.title for entry in found] == ["a [tie] }", "안녕"]


@pytest.mark.parametrize("content", ['{\n "messages": %s\n}', "%s", "[\n%s", '{"messages":\n%s}\n'])
def test_a_file_may_be_one_conversation(tmp_path: Path, content: str) -> None:
    told = [user("hi"), assistant("hello")]
    text = content % json.dumps(told).removeprefix("[" if content.startswith("[\n") else "")
    (entry,) = good(written(tmp_path, text))
    assert messages(entry) == told


def test_share_gpt_is_read(tmp_path: Path) -> None:
    said = [
        {"from": "system", "value": "Sell ties."},
        {"from": "human", "value": "a tie"},
        {"from": "function_call", "value": '{"name": "stock", "arguments": {"colour": "red"}}'},
        {"from": "observation", "value": "3"},
        {"from": "gpt", "value": "three"},
    ]
    (entry,) = good(written(tmp_path, [{"conversations": said}]))
    call = {"id": "call_3", "type": "function", "function": {"name": "stock", "arguments": '{"colour": "red"}'}}
    assert entry.conversation.system == "Sell ties."
    assert messages(entry) == [
        user("a tie"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "call_3"},
        assistant("three"),
    ]
    assert [one.parent for one in entry.turns] == [None, *(one.id for one in entry.turns[:-1])]
    (beside,) = good(written(tmp_path, {"conversations": said[1:2], "system": "Sell hats."}))
    assert beside.conversation.system == "Sell hats."


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('{"messages": []}', "no messages"),
        ('{"messages": "hello"}', "no list of messages"),
        ('{"messages": [1]}', "message 1 is no object"),
        ('{"messages": [{"role": "king", "content": ""}]}', "role 'king'"),
        ('{"messages": [{"role": "user", "content": 5}]}', "neither a text nor a list"),
        ('{"messages": [{"role": "user", "content": ["x"]}]}', "a part of its content"),
        ('{"messages": [{"role": ["user"], "content": "x"}]}', "role"),
        ('{"messages": [{"role": "assistant", "content": "x", "tool_calls": "x"}]}', "tool_calls"),
        ('{"messages": [{"role": "user", "content": "x"}], "tools": 5}', "'tools'"),
        ('{"conversations": [{"from": "alien", "value": "x"}]}', "from 'alien'"),
        ('{"conversations": [{"from": "human"}]}', "no 'value'"),
        ('{"conversations": [{"value": "x"}]}', "neither 'role' nor 'from'"),
        ('{"conversations": [{"from": "function_call", "value": "x"}]}', "function_call"),
        ('{"mapping": []}', "no table of nodes"),
        ('{"mapping": {"a": {"message": {"content": {}}}}}', "the author None"),
        ('{"mapping": {"a": {"parent": "b"}, "b": {"parent": "a"}}}', "in a circle"),
        ('{"prompt": "x"}', "neither 'messages', 'conversations' nor 'mapping' but 'prompt'"),
        ('"hello"', "no object"),
        ('{"messages": [', "broken JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_entry_is_named_and_the_rest_is_imported(
    store: ConversationStore, tmp_path: Path, entry: str, reason: str
) -> None:
    fine = '{"messages": [{"role": "user", "content": "hi"}]}'
    for lines, number in (((fine, entry, fine), 2), ((entry, fine, fine), 1)):
        if entry.startswith(('"', "[")) and number == 1:
            continue  # the first line says what kind of file it is
        report = import_conversations(store, written(tmp_path, "\n".join(lines), "x.jsonl"), "m")
        assert len(report.added) == 2
        (rejected,) = report.rejected
        assert rejected.number == number
        assert reason in rejected.reason
        assert f"1 rejected (the first: entry {number}, " in str(report)


def test_an_array_that_breaks_off_keeps_what_came_before(tmp_path: Path) -> None:
    whole = json.dumps([{"messages": [user(f"question {number}")]} for number in range(3)])
    for text, reason in (
        (whole[:-10], "nothing after it could be read|ends before"),
        (whole[:-1], "ends before its array does"),
        (whole.replace("}, {", "} {", 1), "a comma is missing"),
        (f"{whole} more", "more after the end of the array"),
    ):
        *fine, last = read_conversations(written(tmp_path, text))
        assert all(isinstance(entry, Imported) for entry in fine)
        assert isinstance(last, Rejected)
        assert last.number == len(fine) + 1
        assert any(part in last.reason for part in reason.split("|"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"[]", "holds no conversations .*readable are ChatGPT's export"),
        (b"Dear diary", "holds no JSON: it begins with 'Dear diary'"),
        (b'{"rows": 3}', "no conversations of a known form .*'rows'.*readable are"),
        (b"[1, 2]", "no conversations of a known form"),
        (b'{"messages": "\xff"}', "not text in UTF-8"),
        (b"PK\x05\x06" + bytes(18), "no conversations.json"),
        (b"PK\x03\x04 torn", "holds no JSON"),
    ],
)
def test_a_file_of_no_known_form_is_one_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        list(read_conversations(path))
    for wrong in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            list(read_conversations(wrong))


def test_values_longer_than_what_is_read_at_once_arrive_whole(tmp_path: Path) -> None:
    values = [{"n": 1, "text": "가" * 700_000}, {"n": 2, "text": "\\" * 2_000_000}, {"n": 12345}]
    for text in (
        json.dumps(values, ensure_ascii=False),
        "\n".join(map(json.dumps, values)),
        json.dumps(values, indent=1),
    ):
        with open(written(tmp_path, text), encoding="utf-8", newline="\n") as file:
            assert list(json_values(file, "x")[1]) == values
    with open(written(tmp_path, '["ab" 5]'), encoding="utf-8", newline="\n") as file:
        assert list(json_values(file, "x")[1]) == ["ab", Broken("a comma is missing; nothing after it could be read")]


# ChatGPT


def node(
    id: str, parent: str | None, role: str = "", content: Any = None, *, at: float | None = None, **more: Any
) -> dict[str, Any]:
    if isinstance(content, str):
        content = {"content_type": "text", "parts": [content]}
    message = (
        {"id": id, "author": {"role": role}, "create_time": at, "content": content, "recipient": "all", **more}
        if role
        else None
    )
    return {"id": id, "parent": parent, "children": [], "message": message}


def chat(*nodes: dict[str, Any], current: str = "", **more: Any) -> dict[str, Any]:
    return {
        "title": "Ties",
        "create_time": 1_700_000_000.25,
        "update_time": 1_700_000_100.5,
        "mapping": {one["id"]: one for one in nodes},
        "current_node": current or nodes[-1]["id"],
        "conversation_id": "6f9c",
        **more,
    }


CHAT = chat(
    node("root", None),
    node("hidden", "root", "system", ""),
    node("ask", "hidden", "user", "a tie", at=1_700_000_001),
    node("red", "ask", "assistant", "red?", at=1_700_000_009, metadata={"model_slug": "gpt-4o"}),
    node("blue", "ask", "assistant", "blue?", at=1_700_000_003),
    node("edited", "hidden", "user", "a belt", at=1_700_000_005),
    current="blue",
)


def test_a_conversation_of_chatgpt_is_read_with_its_branches(tmp_path: Path) -> None:
    (entry,) = good(written(tmp_path, [CHAT]))
    ask, blue, edited, red = entry.turns  # in order of creation
    assert messages(entry) == [user("a tie"), assistant("blue?"), user("a belt"), assistant("red?")]
    assert [ask.parent, blue.parent, edited.parent, red.parent] == [None, ask.id, None, ask.id]
    assert sorted(one.id for one in entry.turns) == [one.id for one in entry.turns]
    assert entry.conversation.head == blue.id
    assert entry.conversation.title == "Ties"
    assert entry.conversation.created.timestamp() == 1_700_000_000.25
    assert entry.conversation.updated.timestamp() == 1_700_000_100.5
    assert red.created.timestamp() == 1_700_000_009
    assert red.origin == Origin(ModelIdentity("openai:gpt-4o", "openai", "gpt-4o"))


def test_an_export_imported_again_adds_only_what_is_new(store: ConversationStore, tmp_path: Path) -> None:
    first = import_conversations(store, written(tmp_path, [CHAT]), "smollm2")
    assert len(first.added) == 1
    second = import_conversations(store, written(tmp_path, [CHAT, {**CHAT, "conversation_id": "new"}]), "smollm2")
    assert (len(second.added), second.known) == (1, 1)
    assert str(second) == "1 conversation imported; 1 already there"
    (kept,) = first.added
    assert [one.message["content"] for one in store.path(kept)] == ["a tie", "blue?"]
    assert len(store.turns(kept)) == 4


def test_what_chatgpt_thought_called_and_showed_is_kept(tmp_path: Path) -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    (entry,) = good(
        written(
            tmp_path,
            [
                chat(
                    node("about", None, "user", {"content_type": "user_editable_context", "user_profile": "A tailor."}),
                    node("ask", "about", "user", {"content_type": "multimodal_text", "parts": [picture, "this tie?"]}),
                    node("mind", "ask", "assistant", {"content_type": "thoughts", "thoughts": [{"content": "Silk."}]}),
                    node("recap", "mind", "assistant", {"content_type": "reasoning_recap", "content": "Thought 5 s"}),
                    node("run", "recap", "assistant", {"content_type": "code", "text": "2+2"}, recipient="python"),
                    node("out", "run", "tool", {"content_type": "execution_output", "text": "4"}),
                    node("say", "out", "assistant", {"content_type": "code", "language": "json", "text": "{}"}),
                    node("voice", "say", "user", {"parts": [{"content_type": "audio_transcription", "text": "ok"}]}),
                )
            ],
        )
    )
    arguments = '{"input": "2+2"}'
    call = {"id": "run", "type": "function", "function": {"name": "python", "arguments": arguments}}
    assert entry.conversation.system == "A tailor."
    assert messages(entry) == [
        user("[image]\nthis tie?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "run"},
        assistant("```json\n{}\n```"),
        user("ok"),
    ]
    assert [one.reasoning for one in entry.turns] == ["", "Silk.", "", "", ""]


def test_a_very_long_conversation_of_chatgpt_is_read(tmp_path: Path) -> None:
    nodes = [node(f"n{n}", f"n{n - 1}" if n else None, "user" if n % 2 else "assistant", str(n)) for n in range(3000)]
    (entry,) = good(written(tmp_path, [chat(*nodes)]))
    assert [one.message["content"] for one in entry.turns] == [str(n) for n in range(3000)]


_JUNK = [None, True, 5, 1e300, "x", "", [], [1], {}, {"x": 1}, [None], [[]], [{}]]
_SHARED = {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}], "tools": [{}]}
_PLAIN = {"messages": [user("x"), {**assistant("y"), "tool_calls": [{"id": "1"}], "reasoning_content": "z"}]}


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value with each of its keys."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@pytest.mark.parametrize("entry", [CHAT, _SHARED, _PLAIN], ids=["chatgpt", "sharegpt", "messages"])
def test_any_value_in_any_place_costs_one_entry_at_most(
    store: ConversationStore, tmp_path: Path, entry: dict[str, Any]
) -> None:
    spoilt = []
    for number in range(len(places(entry))):
        for junk in _JUNK:
            copy = json.loads(json.dumps(entry))
            container, key = places(copy)[number]
            container[key] = junk
            spoilt.append(copy)
    fine = {"messages": [user("fine")]}
    done: list[int] = []
    report = import_conversations(store, written(tmp_path, [fine, *spoilt, fine]), "m", done.append)
    assert done == list(range(1, len(spoilt) + 3))
    assert len(report.added) + report.known + len(report.rejected) == len(spoilt) + 2
    for one in store.list(limit=10_000):
        path = store.path(one.id)
        assert to_jsonl(one, path)
        assert to_markdown(one, path)


def test_the_zip_of_chatgpt_is_read(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("user.json", "{}")
        archive.writestr("export/conversations-001.json", json.dumps([{**CHAT, "title": "second"}]))
        archive.writestr("export/conversations-000.json", json.dumps([CHAT, {"mapping": 5}]))
    first, bad, second = read_conversations(path)
    assert isinstance(first, Imported)
    assert isinstance(second, Imported)
    assert (first.conversation.title, second.conversation.title, second.number) == ("Ties", "second", 3)
    assert bad == Rejected(2, "its 'mapping' is no table of nodes")


def test_a_zip_that_is_a_bomb_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("conversations.json", "w") as member:
        for _ in range(101):
            member.write(b" " * (1 << 20))
    with pytest.raises(DataError, match=r"would unpack to .* times its size"):
        list(read_conversations(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", json.dumps([CHAT]))
    path.write_bytes(path.read_bytes().replace(b"a belt", b"a BELT"))
    with pytest.raises(DataError, match="damaged zip file"):
        list(read_conversations(path))


# Markdown


def test_a_page_has_a_heading_for_each_turn_and_folds_reasoning() -> None:
    origin = Origin(ModelIdentity("smollm2", "llama.cpp", "x"))
    call = {"id": "1", "type": "function", "function": {"name": "buy", "arguments": '{"n": 1}'}}
    turns = [
        turn(user("a **tie**")),
        turn({**assistant("red?"), "tool_calls": [call]}, reasoning="silk </details> ```", origin=origin),
        turn({"role": "user", "content": [{"type": "text", "text": "this"}, {"type": "image_url"}]}),
        turn(assistant("half"), state="partial"),
        turn(assistant(""), state="failed", error="the endpoint <died>"),
    ]
    assert (
        to_markdown(conversation("Be brief."), turns)
        == """\
# Ties

2026-03-01 09:30 UTC · 5 messages

## System

Be brief.

## User

a **tie**

## Assistant (smollm2)

<details>
<summary>Reasoning</summary>

````text
silk </details> ```
````

</details>

red?

Calls `buy`:

```json
{"n": 1}
```

## User

this

[image_url]

## Assistant

half

*(stopped before its end)*

## Assistant

*(failed: the endpoint \\<died>)*
"""
    )


HOSTILE = [
    "```python\nprint(1)",
    "~~~~\n~~~\n```",
    "- ```py\n  x\n  ```\nafter",
    "1. a\n\n   ```\n   open in a list",
    "> ```\n> open in a quotation",
    "<!-- open",
    "<script>open",
    "text <details> <summary>x",
    "<div>\n```\n\n<pre>",
    "`a\n```\n`",
    "````\n```",
    "```",
    "    ```\n    indented",
    "\t<pre>",
    "<?php",
    "<![CDATA[",
    "x\r```\ry",
]


def headings(page: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(page)
    return [
        tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open" and not token.level
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_message_reaches_into_what_follows(text: str) -> None:
    page = to_markdown(conversation(text), [turn(user(text)), turn(assistant(text), reasoning=text), turn(user("end"))])
    assert headings(page)[1:] == ["System", "User", "Assistant", "User"]
    html = MarkdownIt("commonmark").render(page)
    assert html.count("<details>") == html.count("</details>") == 1
    assert "<script" not in html
    assert html.endswith("<p>end</p>\n")


@given(st.text(st.sampled_from("`~\n <-!a>*\t\r"), max_size=60))
def test_no_text_at_all_reaches_into_what_follows(text: str) -> None:
    page = to_markdown(conversation(title="T"), [turn(user(text), reasoning=text), turn(assistant("end"))])
    assert headings(page)[-1] == "Assistant"
    assert MarkdownIt("commonmark").render(page).endswith("<h2>Assistant</h2>\n<p>end</p>\n")


def test_code_and_links_are_left_as_they_are() -> None:
    text = "Use `<b>` and <https://example.org>:\n\n```html\n<b>bold</b>\n```\n\n    <i>indented</i>\n\n1 < 2 <b>x</b>"
    page = to_markdown(conversation(), [turn(assistant(text))])
    assert text.removesuffix("<b>x</b>") + "\\<b>x\\</b>\n" in page


def test_half_a_character_does_not_keep_a_page_from_being_written(tmp_path: Path) -> None:
    page = to_markdown(conversation("\ud83d"), [turn(user("\ude00"))])
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
