"""The turns of a conversation as HTML. Every text of a person or a model goes through `escape` or `to_html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import PurePath

from whetstone.chat.rows import title_from
from whetstone.types import Turn, system, text_of
from whetstone.ui.controls import button
from whetstone.ui.knowledge_cites import answer_html
from whetstone.ui.markdown import to_html
from whetstone.ui.tokens_tab import open_with

PROMPT_SHOWN = 60  # characters of a system prompt above an answer; all of it is among the answer's facts
WELCOME = (
    '<div class="wh-welcome"><h2>What shall we talk about?</h2>'
    "<p>Write below. Enter sends, Shift+Enter begins a new line, Escape stops an answer.</p></div>"
)


@dataclass(frozen=True, slots=True)
class Thread:
    """What is shown of a conversation.

    Attributes:
        conversation: its id; "" for one that has not begun.
        turns: the branch that is open, root to leaf.
        versions: turn id -> ids of its versions, itself included, in order of creation.
        panels: turn id -> HTML shown below that turn.
        pair: two answers to the last message to choose from, by two models or to two system prompts; they are shown
            beside each other.
        names: model spec -> the name under which it is offered.
        busy: an answer is under way, so nothing may begin another one.
        goes_on: something follows the last turn, from which another branch is about to begin.
    """

    conversation: str = ""
    turns: Sequence[Turn] = ()
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    panels: Mapping[str, str] = field(default_factory=dict)
    pair: tuple[Turn, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    busy: bool = False
    goes_on: bool = False


def thread_html(thread: Thread) -> str:
    """The whole thread."""
    shown = [turn for turn in thread.turns if turn not in thread.pair]
    turns = "".join(turn_html(turn, thread) for turn in shown)
    if thread.pair:
        turns += columns([turn_html(turn, thread, choose=True) for turn in thread.pair])
    if thread.goes_on:
        rest = button("Show the rest", "version", turn=thread.turns[-1].id)
        turns += f'<p class="wh-note">What you write now begins another branch from here. {rest}</p>'
    return (
        f'<div class="wh-thread" role="log" aria-live="off" aria-label="Conversation" '
        f'data-conversation="{escape(thread.conversation)}">{turns or WELCOME}</div>'
    )


def columns(articles: Sequence[str]) -> str:
    """Answers beside each other; below each other on a phone."""
    return f'<div class="wh-columns">{"".join(articles)}</div>'


def turn_html(turn: Turn, thread: Thread, *, choose: bool = False) -> str:
    """One turn that is not being written here.

    Args:
        choose: it is one of two answers to choose from.
    """
    is_user = turn.message["role"] == "user"
    actions = _of_user(turn, thread) if is_user else _of_answer(turn, thread, choose)
    footer = f'<footer class="wh-actions">{_versions(turn, thread)}{actions}</footer>'
    content = (
        f'{_header(turn, thread.names)}{_thoughts(turn)}<div class="wh-body">{_body(turn)}</div>{_calls(turn)}'
        f"{_trouble(turn, thread.busy)}{footer}"
    )
    panel = thread.panels.get(turn.id, "")
    return _article(turn, f"{content}{panel}")


def live_html(turn: Turn, text: str, reasoning: str, names: Mapping[str, str]) -> str:
    """An answer that is being written."""
    thoughts = _folded(turn.id, reasoning, "Thinking …" if not text else "Reasoning")
    waiting = "" if text else '<p class="wh-waiting"><span></span><span></span><span></span></p>'
    body = f'<div class="wh-body" aria-busy="true">{to_html(text)}{waiting}</div>'
    return _article(turn, f"{_header(turn, names)}{thoughts}{body}")


def waiting_html(text: str, words: str) -> str:
    """What was just sent, while the model is loaded and the context is counted."""
    said = f'<article class="wh-turn wh-user"><div class="wh-body">{_plain(text)}</div></article>' if text else ""
    return f'{said}<p class="wh-waiting" role="status">{escape(words)}<span></span><span></span><span></span></p>'


def _article(turn: Turn, content: str) -> str:
    role = turn.message["role"]
    name = {"user": "You", "assistant": "Answer", "system": "System", "tool": "Tool"}.get(role, role)
    return (
        f'<article class="wh-turn wh-{escape(role)} wh-is-{turn.state}" data-turn="{escape(turn.id)}" '
        f'aria-label="{escape(name)}">{content}</article>'
    )


def _header(turn: Turn, names: Mapping[str, str]) -> str:
    if turn.message["role"] == "user":
        return ""
    model = turn.origin.model if turn.origin else None
    who = (names.get(model.spec) or PurePath(model.name).name or model.spec) if model else turn.message["role"]
    mark = {"partial": "partial", "failed": "failed", "streaming": "writing"}.get(turn.state, "")
    badge = f' <span class="wh-badge">{mark}</span>' if mark else ""
    return f'<header><span class="wh-who">{escape(who)}</span>{badge}{_own_prompt(turn)}</header>'


def _own_prompt(turn: Turn) -> str:
    """That an answer was given another system prompt than the conversation's, with its first words."""
    prompt = turn.origin.system if turn.origin else None
    if prompt is None:
        return ""
    words = f"system prompt: {title_from(system(prompt), PROMPT_SHOWN)}" if prompt else "no system prompt"
    return f' <span class="wh-own">{escape(words)}</span>'


def _body(turn: Turn) -> str:
    return answer_html(turn) if turn.message["role"] == "assistant" else _plain(text_of(turn.message))


def _plain(text: str) -> str:
    return f'<p class="wh-plain">{escape(text)}</p>'


def _thoughts(turn: Turn) -> str:
    return _folded(turn.id, turn.reasoning, "Reasoning")


def _folded(turn: str, reasoning: str, words: str) -> str:
    if not reasoning:
        return ""
    return (
        f'<details class="wh-thoughts" data-keep="{escape(turn)}"><summary>{words}</summary>'
        f"<div>{to_html(reasoning)}</div></details>"
    )


def _calls(turn: Turn) -> str:
    calls = turn.message.get("tool_calls") or []
    lines = "\n".join(f"{call['function']['name']}({call['function']['arguments']})" for call in calls)
    return f'<pre class="wh-calls" aria-label="Tool calls">{escape(lines)}</pre>' if lines else ""


def _trouble(turn: Turn, busy: bool) -> str:
    if turn.state == "failed":
        again = button("Try again", "retry", turn=turn.id, kind="wh-strong", disabled=busy)
        return f'<p class="wh-error" role="alert">{escape(turn.error or "The model failed.")} {again}</p>'
    if turn.state == "partial":
        more = button("Go on", "resume", title="Go on from where it stopped", turn=turn.id, disabled=busy)
        return f'<p class="wh-note">This answer was cut off. {more}</p>'
    if turn.state == "streaming":
        return '<p class="wh-note">This answer is being written by another program.</p>'
    return ""


def _versions(turn: Turn, thread: Thread) -> str:
    versions = thread.versions.get(turn.id, ())
    if len(versions) < 2:
        return ""
    place = list(versions).index(turn.id)
    earlier = versions[place - 1] if place else turn.id
    later = versions[place + 1] if place + 1 < len(versions) else turn.id
    return (
        '<span class="wh-versions">'
        + button("‹", "version", title="Earlier version", turn=earlier, disabled=thread.busy or earlier == turn.id)
        + f'<span aria-label="version {place + 1} of {len(versions)}">{place + 1} / {len(versions)}</span>'
        + button("›", "version", title="Later version", turn=later, disabled=thread.busy or later == turn.id)
        + "</span>"
    )


def _of_user(turn: Turn, thread: Thread) -> str:
    if turn.message["role"] != "user":
        return ""
    return button("Edit", "panel", panel="edit", turn=turn.id, disabled=thread.busy)


def _of_answer(turn: Turn, thread: Thread, choose: bool) -> str:
    if turn.message["role"] != "assistant":
        return ""
    parts = []
    if choose:
        parts.append(button("Go on with this one", "pick", turn=turn.id, kind="wh-strong", disabled=thread.busy))
    parts.append(button("Copy", "copy", turn=turn.id))
    if turn.parent is not None:
        parts.append(button("Retry", "retry", title="Answer once more", turn=turn.id, disabled=thread.busy))
    if not choose and thread.turns and turn.id != thread.turns[-1].id:
        words = "Go on from here, on a branch of its own"
        parts.append(button("Branch", "branch", title=words, turn=turn.id, disabled=thread.busy))
    if turn.origin is not None:
        parts.append(button("Prompt", "panel", title="The exact prompt sent", panel="prompt", turn=turn.id))
        parts.append(button("Tokens", "panel", title="Token probabilities", panel="tokens", turn=turn.id))
        parts.append(open_with(turn.id))
    return "".join(parts)
