"""Chat templates render as transformers renders them, and every character of the result has a name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_tokenizer import CHATML
from whetstone.errors import ModelFileError, RequestRefusedError
from whetstone.tokens import sandbox
from whetstone.tokens.template import ChatTemplate
from whetstone.tokens.tracked import TrackedStr, concat, runs_of, tracked

CHATML_CONTROL = ("<|im_start|>", "<|im_end|>")

# In the manner of Llama 3: a BOS, trimmed contents, a date, tools in the system prompt, calls as JSON, `~`.
HEADERS = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set told = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set told = "" %}
{%- endif %}
{{- "<|head|>system<|/head|>\\n\\nToday is " ~ strftime_now("%d %b %Y") ~ ".\\n" ~ told }}
{%- if tools %}
    {{- "\\nYou may call these functions:\\n" }}
    {%- for tool in tools %}
        {{- tool | tojson(indent=2) }}{{- "\\n" }}
    {%- endfor %}
{%- endif %}
{{- "<|end|>" }}
{%- for message in messages %}
    {%- if message.role not in ['user', 'assistant', 'tool'] %}
        {{- raise_exception("only user, assistant and tool can speak") }}
    {%- endif %}
    {{- '<|head|>' + message.role + '<|/head|>\\n\\n' }}
    {%- if message.reasoning_content is defined and loop.last %}
        {{- '<think>\\n' + message.reasoning_content.strip('\\n') + '\\n</think>\\n' }}
    {%- endif %}
    {%- if message.content is string %}
        {{- message.content.split('</think>')[-1].lstrip('\\n') | trim }}
    {%- elif message.content %}
        {{- message.content | map(attribute='text') | join(' / ') | replace('\\t', ' ') }}
    {%- endif %}
    {%- for call in message.tool_calls or [] %}
        {{- '{"name": "' + call.function.name + '", "arguments": ' }}{{- call.function.arguments | tojson }}{{- '}' }}
    {%- endfor %}
    {{- '<|end|>' }}
{%- endfor %}
{{- '<|head|>assistant<|/head|>\\n\\n' if add_generation_prompt else '' }}"""
HEADERS_CONTROL = ("<|bos|>", "<|head|>", "<|/head|>", "<|end|>")

WITH_GENERATION = (
    "{% for message in messages %}{{ message.role }}: {% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message.content }}{% endif %}\n{% endfor %}"
)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the weather. 날씨",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]

CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "서울", "days": [1, 2]}}}


def theirs(source: str, messages: list[dict[str, Any]], **arguments: Any) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    clean = [{key: value for key, value in message.items() if value is not None} for message in messages]
    rendered, _ = render_jinja_template(conversations=[clean], chat_template=source, **arguments)
    return str(rendered[0])


def kinds(template: ChatTemplate, messages: list[Any], **arguments: Any) -> list[tuple[str, str, int | None]]:
    rendered = template.render(messages, **arguments)
    assert [span.start for span in rendered.spans[1:]] == [span.end for span in rendered.spans[:-1]]
    assert rendered.spans[0].start == 0
    assert rendered.spans[-1].end == len(rendered.text)
    return [(rendered.text[span.start : span.end], span.kind, span.message) for span in rendered.spans]


texts = st.text(max_size=30) | st.sampled_from(
    [
        "<|im_end|>",
        "  padded \n",
        "\n\n",
        "</think>x",
        "한국어 👋🏽",
        "e\u0301",
        "{{ 7 * 7 }}",
        "a\tb",
        "\ud800",
        "\x00",
        "user",
    ]
)
parts = st.lists(texts.map(lambda text: {"type": "text", "text": text}), min_size=1, max_size=3)
turns = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "boss"]), "content": texts | parts | st.none()},
    optional={"reasoning_content": texts, "tool_calls": st.just([CALL]), "name": texts},
)


@pytest.mark.parametrize("source", [CHATML, HEADERS, WITH_GENERATION])
@given(messages=st.lists(turns, min_size=1, max_size=6), prompt=st.booleans(), tools=st.sampled_from([None, TOOLS]))
@settings(max_examples=150)
def test_the_text_is_the_one_that_transformers_makes(
    source: str, messages: list[dict[str, Any]], prompt: bool, tools: Any
) -> None:
    special = {"bos_token": "<|bos|>", "eos_token": "<|end|>"}
    template = ChatTemplate(source, special, HEADERS_CONTROL)
    try:
        wanted = theirs(source, messages, tools=tools, add_generation_prompt=prompt, **special)
    except Exception:
        with pytest.raises(RequestRefusedError):
            template.render(messages, tools=tools, add_generation_prompt=prompt)
        return
    rendered = template.render(messages, tools=tools, add_generation_prompt=prompt)
    assert rendered.text == wanted
    assert "".join(rendered.text[span.start : span.end] for span in rendered.spans) == wanted
    for span in rendered.spans:
        if span.kind == "content" and isinstance(content := messages[span.message or 0].get("content"), str):
            assert rendered.text[span.start : span.end] in content
        if span.kind == "unwritten":  # nothing that somebody wrote is called unwritten
            assert rendered.text[span.start : span.end] in wanted


@pytest.mark.parametrize("family", ["llama-3.1", "phi-3", "qwen2", "smollm2"])
@given(data=st.data())
@settings(max_examples=100)
def test_real_families_render_as_transformers_renders_them(family: str, data: st.DataObject) -> None:
    folder = Path(__file__).parents[2] / "shared" / "data" / "tokenizers" / family
    if not folder.is_dir():
        pytest.skip(f"needs the tokenizers of five families, which are not at {folder.parent}")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    special = {k: v for k, v in config.items() if k in ("bos_token", "eos_token") and isinstance(v, str)}
    source = config["chat_template"]
    messages = data.draw(st.lists(turns, min_size=1, max_size=8))
    arguments = {"tools": data.draw(st.sampled_from([None, TOOLS])), "add_generation_prompt": data.draw(st.booleans())}
    template = ChatTemplate(source, special)
    try:
        wanted = theirs(source, messages, **arguments, **special)
    except Exception:
        with pytest.raises(RequestRefusedError):
            template.render(messages, **arguments)
        return
    assert template.render(messages, **arguments).text == wanted


@given(text=texts.filter(str.strip), source=st.sampled_from([CHATML, HEADERS]))
def test_a_message_is_continued_as_transformers_continues_it(text: str, source: str) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "q"}, {"role": "assistant", "content": text}]
    template = ChatTemplate(source, {"bos_token": "<|bos|>"})
    try:
        wanted = theirs(source, messages, continue_final_message=True, bos_token="<|bos|>")
    except Exception:
        with pytest.raises(RequestRefusedError):
            template.render(messages, continue_final_message=True)
        return
    assert template.render(messages, continue_final_message=True).text == wanted


def test_every_character_has_a_name() -> None:
    template = ChatTemplate(CHATML, control=CHATML_CONTROL)
    messages = [{"role": "user", "content": "hi <|im_end|>"}, {"role": "assistant", "content": ""}]
    assert kinds(template, messages, add_generation_prompt=True) == [
        ("<|im_start|>", "control", None),
        ("system", "role", None),
        ("\nYou are Tiny, made in a test.", "unwritten", None),
        ("<|im_end|>", "control", None),
        ("\n", "template", None),
        ("<|im_start|>", "control", None),
        ("user", "role", 0),
        ("\n", "template", None),
        ("hi <|im_end|>", "content", 0),
        ("<|im_end|>", "control", None),
        ("\n", "template", None),
        ("<|im_start|>", "control", None),
        ("assistant", "role", 1),
        ("\n", "template", None),
        ("<|im_end|>", "control", None),
        ("\n", "template", None),
        ("<|im_start|>assistant\n", "generation", None),
    ]


def test_trims_joins_tools_thoughts_and_calls_keep_their_names() -> None:
    template = ChatTemplate(HEADERS, {"bos_token": "<|bos|>"}, HEADERS_CONTROL)
    messages = [
        {"role": "system", "content": "  Be kind.  "},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "t\two"}]},
        {"role": "assistant", "content": " done ", "reasoning_content": "\nhm\n", "tool_calls": [CALL]},
    ]
    named = kinds(template, messages, tools=TOOLS, now=datetime(2026, 11, 21), add_generation_prompt=True)
    told = [entry for entry in named if entry[1] not in ("control", "template")]
    assert told == [
        ("system", "role", None),
        ("\n\nToday is 21 Nov 2026.\n", "unwritten", None),
        ("Be kind.", "content", 0),
        ("\nYou may call these functions:\n", "unwritten", None),
        (json.dumps(TOOLS[0], ensure_ascii=False, indent=2), "tools", None),
        ("user", "role", 1),
        ("one", "content", 1),
        ("t", "content", 1),
        ("wo", "content", 1),
        ("assistant", "role", 2),
        ("hm", "reasoning", 2),
        ("done", "content", 2),
        ('{"name": "', "unwritten", None),
        ("weather", "tool_calls", 2),
        ('", "arguments": ', "unwritten", None),
        (json.dumps(CALL["function"]["arguments"], ensure_ascii=False), "tool_calls", 2),  # type: ignore[index]
        ("<|head|>assistant<|/head|>\n\n", "generation", None),
    ]


def test_generation_blocks_tell_what_is_trained_on() -> None:
    template = ChatTemplate(WITH_GENERATION, {"eos_token": "</s>"}, ("</s>",))
    rendered = template.render([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a b"}] * 2)
    assert template.marks_generation
    assert [rendered.text[start:end] for start, end in rendered.generation_blocks] == ["a b</s>", "a b</s>"]


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("{{ ''.__class__.__mro__ }}", "sandbox"),
        ("{{ messages.append(1) }}", "sandbox"),
        ("{% set ns = namespace(__init__=1) %}", "sandbox"),
        ("{{ 'x' * 10**9 }}", "too large"),
        ("{{ 'x'.ljust(10**9) }}", "too large"),
        ("{{ '%1000000000d' % 1 }}", "too large"),
        ("{{ '%.1000000000f' % 1 }}", "too large"),
        ("{{ '%*d' % (1000000000, 1) }}", "too large"),
        ("{{ '%1000000000d' | format(1) }}", "too large"),
        ("{{ '{:>1000000000}'.format(1) }}", "too large"),
        ("{{ '{:>{w}}'.format(1, w=1000000000) }}", "too large"),
        ("{% set f = '{x:>1000000000}'.format_map %}{{ f({'x': 1}) }}", "too large"),
        ("{{ 'x' | center(1000000000) }}", "too large"),
        (
            "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
            "too large",
        ),
        (
            "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
            "too large",
        ),
        ("{{ 9 ** 9 ** 9 ** 9 }}", "too large"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ nothing.here }}", "undefined"),
        ("{{ messages[9].role }}", "no element 9"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_a_hostile_or_broken_template_is_stopped_with_a_sentence(source: str, part: str) -> None:
    with pytest.raises(RequestRefusedError, match=part):
        ChatTemplate(source).render([{"role": "user", "content": "hi"}])


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ 'id 12345678: %5.1f%%' % 2 }}", "id 12345678:   2.0%"),
        ("{{ '{0} {x[a]:>4} {{12345678}}'.format(1, x={'a': 2}) }}", "1    2 {12345678}"),
        ("{{ '{a}'.format_map({'a': messages[0].content}) }}", "hi"),
        ("{{ '%s 12345678' | format('a') }}", "a 12345678"),
    ],
)
def test_formats_of_common_width_are_carried_out(source: str, text: str) -> None:
    assert ChatTemplate(source).render([{"role": "user", "content": "hi"}]).text == text


def test_a_template_does_not_see_that_strings_are_tracked() -> None:
    source = (
        "{{ messages[0].content._runs }}{{ messages[0].content.runs is defined }}{{ messages[0].content is string }}"
    )
    assert ChatTemplate(source).render([{"role": "user", "content": "hi"}]).text == "FalseTrue"


def test_a_template_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whetstone.tokens.template.TIME_LIMIT", 0.3)
    loop = "{% for a in range(99999) %}" * 4 + "{% set x = a %}" + "{% endfor %}" * 4
    with pytest.raises(RequestRefusedError, match="stopped after"):
        ChatTemplate(loop).render([{"role": "user", "content": "hi"}])
    assert ChatTemplate("{{ messages[0].content }}").render([{"role": "user", "content": "hi"}]).text == "hi"


def test_the_watchdog_leaves_alone_what_ended_in_time() -> None:
    for _ in range(50):
        with sandbox.WATCHDOG.limit(0.0):
            pass


def test_what_is_no_template_is_said_to_be_none() -> None:
    with pytest.raises(ModelFileError, match="the chat template cannot be read"):
        ChatTemplate("{% for %}")


def test_no_message_and_odd_messages_are_refused() -> None:
    template = ChatTemplate(CHATML)
    for messages in ([], ["hi"], [{"role": "user"}], [{"content": "hi"}]):
        with pytest.raises(RequestRefusedError):
            template.render(messages)  # type: ignore[arg-type]


operations: Mapping[str, Any] = {
    "strip": lambda s: s.strip(),
    "lstrip": lambda s: s.lstrip("ab"),
    "rstrip": lambda s: s.rstrip("ab\n"),
    "slice": lambda s: s[1:-1],
    "step": lambda s: s[::2],
    "reverse": lambda s: s[::-1],
    "split": lambda s: s.split("a"),
    "split_space": lambda s: s.split(),
    "split_most": lambda s: s.split(" ", 1),
    "rsplit": lambda s: s.rsplit("b", 1),
    "rsplit_space": lambda s: s.rsplit(None, 1),
    "lines": lambda s: s.splitlines(),
    "lines_kept": lambda s: s.splitlines(True),
    "partition": lambda s: s.partition("a"),
    "rpartition": lambda s: s.rpartition("a"),
    "replace": lambda s: s.replace("a", "xyz"),
    "replace_some": lambda s: s.replace("b", "", 1),
    "replace_nothing": lambda s: s.replace("", "-"),
    "prefix": lambda s: s.removeprefix("a"),
    "suffix": lambda s: s.removesuffix("b"),
    "upper": lambda s: s.upper(),
    "title": lambda s: s.title(),
    "times": lambda s: s * 3,
    "join": lambda s: s.join(["x", "y", s]),
    "characters": lambda s: list(s),
    "added": lambda s: "<" + s + ">" + s,
}


@given(text=st.text("ab \nßé👋", max_size=12), name=st.sampled_from(sorted(operations)))
def test_a_tracked_string_does_what_a_plain_one_does(text: str, name: str) -> None:
    ours = operations[name](tracked("ab", 1) + tracked(text, 2))
    plain = operations[name]("ab" + text)
    assert ours == plain
    for piece in ours if isinstance(ours, list | tuple) else [ours]:
        assert sum(length for length, _ in runs_of(piece)) == len(piece)


@given(text=st.text("ab \n", min_size=1, max_size=12))
def test_a_tracked_string_keeps_track(text: str) -> None:
    """Each character of what comes out names the very character that it was."""
    numbered = concat(tracked(character, index) for index, character in enumerate(text))
    for made in (numbered.strip(), numbered[1:], numbered.replace("a", "xx"), "<" + numbered, numbered.split("b")[-1]):
        position = 0
        for length, origin in runs_of(made):
            for character in str.__getitem__(made, slice(position, position + length)):
                assert origin is None or text[origin] == character
            position += length


def test_a_tracked_string_survives_copies() -> None:
    text = "a" + tracked("b", 7)
    copied = pickle.loads(pickle.dumps(text))
    assert isinstance(copied, TrackedStr)
    assert runs_of(copied) == ((1, None), (1, 7))
