"""A task's result as HTML: the output, what its reader must know, and every step that led to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from whetstone.evaluation.overlap import GRAM, copied_share
from whetstone.evaluation.tables import dollars
from whetstone.tasks import Card
from whetstone.tasks.asking import TaskStep
from whetstone.tasks.entities import Entity
from whetstone.tasks.result import TaskResult
from whetstone.tools.contained_sql import SqlRan
from whetstone.types import text_of

if TYPE_CHECKING:
    from whetstone.tools.contained import Ran

_SHOWN_TEXT = 60_000  # characters of a text in which entities are marked
_SHOWN_ENTITIES = 500
_SHOWN_ROWS = 50  # of a query
_SHOWN_PRINTED = 20_000  # characters
_COLOURS = 6


def result_html(card: Card, values: Mapping[str, Any], result: TaskResult, expected: str = "") -> str:
    """What came of a task.

    Args:
        values: of the card's inputs, checked.
        expected: of a case of the card, the answer that is expected; "" for a task of the user's own.
    """
    source = str(values[card.file.main])
    if not isinstance(result.output, str):
        output = entities_html(source, result.output, list(values["types"]))
    elif card.output == "code":
        output = f'<pre class="wh-prompt" tabindex="0" id="wh-ta-output">{escape(result.output)}</pre>'
    else:
        kind = " wh-ta-one" if card.output == "label" else ""
        output = f'<div class="wh-ta-text{kind}" dir="auto" id="wh-ta-output">{escape(result.output)}</div>'
    ran = ran_html(result.ran) if result.ran is not None else ""
    notes = "".join(f"<li>{escape(note[:1].upper() + note[1:])}.</li>" for note in result.notes)
    noted = f'<ul class="wh-lab-notes" id="wh-ta-notes">{notes}</ul>' if notes else ""
    wanted = (
        f'<h4>Expected</h4><div class="wh-ta-text wh-ta-expected" dir="auto">{escape(expected)}</div>'
        if expected
        else ""
    )
    return (
        f'<section aria-label="Result"><h3>{escape(card.title)}</h3>{output}'
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-strong" data-copy-output>Copy</button>'
        f"{_length_html(card, source, result)}</p>{ran}{noted}{wanted}{steps_html(result)}</section>"
    )


def _length_html(card: Card, source: str, result: TaskResult) -> str:
    """How long a text is beside the one it was made of, and how much of it is copied."""
    if card.output != "text" or not isinstance(result.output, str):
        return ""
    words = len(result.output.split())
    said = f"{words:,} {'word' if words == 1 else 'words'}"
    if card.file.main == "text":
        said += (
            f" from {len(source.split()):,}; {copied_share(source, result.output):.0%} of its runs of {GRAM} words "
            "stand in the text as they are"
        )
    return f'<span class="wh-note" id="wh-ta-copied">{said}</span>'


def entities_html(text: str, entities: Sequence[Entity], types: Sequence[str]) -> str:
    """The text with its entities marked, and a table of them."""
    if not entities:
        return '<p class="wh-note" id="wh-ta-output">No entity of these types was found in the text.</p>'
    colour = {kind: n % _COLOURS for n, kind in enumerate(types)}
    counts = {kind: sum(one.type == kind for one in entities) for kind in types}
    legend = "".join(
        f'<span class="wh-ta-entity c{colour[kind]}">{escape(kind)} {count:,}</span> '
        for kind, count in counts.items()
        if count
    )
    rows = "".join(
        f'<tr><td><span class="wh-ta-entity c{colour.get(one.type, 0)}">{escape(one.type)}</span></td>'
        f'<td class="wh-lab-words" dir="auto">{escape(one.text)}</td><td>{one.start:,} to {one.end:,}</td></tr>'
        for one in entities[:_SHOWN_ENTITIES]
    )
    rest = len(entities) - _SHOWN_ENTITIES
    more = f'<p class="wh-note">and {rest:,} more</p>' if rest > 0 else ""
    return (
        f'<p class="wh-ta-legend">{legend}</p>'
        f'<div class="wh-ta-text wh-ta-marked" dir="auto" tabindex="0" aria-label="The text with its entities marked">'
        f"{_marked(text, entities, colour)}</div>"
        f"<details><summary>{len(entities):,} mentions in a table</summary>"
        '<div class="wh-lab-scroll"><table class="wh-lab-table" id="wh-ta-output"><thead><tr><th scope="col">type</th>'
        f'<th scope="col">text</th><th scope="col">characters</th></tr></thead><tbody>{rows}</tbody></table></div>'
        f"{more}</details>"
    )


def _marked(text: str, entities: Sequence[Entity], colour: Mapping[str, int]) -> str:
    parts: list[str] = []
    at = 0
    for one in entities:
        if one.end > _SHOWN_TEXT:
            break
        parts.append(escape(text[at : one.start]))
        parts.append(
            f'<mark class="wh-ta-entity c{colour.get(one.type, 0)}" title="{escape(one.type)}">'
            f"{escape(text[one.start : one.end])}</mark>"
        )
        at = one.end
    parts.append(escape(text[at : max(at, _SHOWN_TEXT)]))
    if len(text) > _SHOWN_TEXT:
        parts.append(
            f'<p class="wh-note">The first {_SHOWN_TEXT:,} of {len(text):,} characters; all mentions are below.</p>'
        )
    return "".join(parts)


def ran_html(ran: Ran | SqlRan) -> str:
    """How code ran."""
    if ran.fine:
        head = f'<p class="wh-lab-good" id="wh-ta-ran"><b>It ran to its end</b> in {ran.seconds:.1f} s, contained.</p>'
    else:
        head = (
            f'<p class="wh-lab-far" id="wh-ta-ran"><b>It failed</b> after {ran.seconds:.1f} s, contained: '
            f"{escape(ran.problem)}</p>"
        )
    if isinstance(ran, SqlRan):
        return head + _rows_html(ran)
    printed = (("Printed", ran.stdout), ("Errors", ran.stderr))
    return head + "".join(
        f'<h4>{words}</h4><pre class="wh-prompt" tabindex="0">{escape(_cut(text))}</pre>'
        for words, text in printed
        if text.strip()
    )


def _cut(text: str) -> str:
    rest = len(text) - _SHOWN_PRINTED
    return text if rest <= 0 else f"{text[:_SHOWN_PRINTED]}\n… and {rest:,} more characters"


def _rows_html(ran: SqlRan) -> str:
    if not ran.columns:
        return ""
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in ran.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in ran.rows[:_SHOWN_ROWS])
    more = f'<p class="wh-note">The first {_SHOWN_ROWS} rows.</p>' if ran.more or len(ran.rows) > _SHOWN_ROWS else ""
    return (
        f'<div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>'
        f"</table></div>{more}"
    )


def _cell(value: str | int | float | None) -> str:
    return f"<td>{'<i>NULL</i>' if value is None else escape(str(value))}</td>"


def steps_html(result: TaskResult) -> str:
    """The steps of a result, folded; the page asks for what is in one when it is opened."""
    usage = result.usage
    cost = f" · {dollars(result.cost)}" if result.cost else ""
    count = len(result.steps)
    requests = f"{count:,} {'request' if count == 1 else 'requests'}"
    listed = "".join(
        f'<details class="wh-lab-group" data-step="{n}"><summary>{n + 1}. {escape(step.name)} · {_took(step)}'
        "</summary><div></div></details>"
        for n, step in enumerate(result.steps)
    )
    return (
        f'<p class="wh-note" id="wh-ta-took">{escape(result.model)} · {requests}'
        f" · {usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens · {result.seconds:.1f} s{cost}</p>"
        f'<details id="wh-ta-steps"><summary>Every step: prompt, reply, tokens, seconds{_parts_of(result.steps)}'
        f"</summary>{listed}</details>"
    )


def _parts_of(steps: Sequence[TaskStep]) -> str:
    parts = sum(step.name.startswith("part ") for step in steps)
    joins = sum(step.name.startswith("join") for step in steps)
    return f" ({parts} parts read, {joins} joined)" if joins else f" ({parts} parts read)" if parts else ""


def _took(step: TaskStep) -> str:
    figures = [f"{step.usage.prompt_tokens:,} + {step.usage.completion_tokens:,} tokens", f"{step.seconds:.1f} s"]
    if step.attempts > 1:
        figures.append(f"{step.attempts} attempts")
    if step.constrained is not None:
        figures.append("held to a schema" if step.constrained else "asked for JSON in words")
    if step.finish_reason == "length":
        figures.append("cut off")
    if step.kept:
        figures.append("kept from an earlier run")
    return " · ".join(figures)


def step_html(step: TaskStep) -> str:
    """What a model was asked in a step, and what it replied."""
    return messages_html((message["role"], text_of(message)) for message in step.messages) + messages_html(
        [("reply", step.reply)]
    )


def messages_html(messages: Iterable[tuple[str, str]]) -> str:
    """Messages as (role, text)."""
    return "".join(
        f'<h4>{escape(role)}</h4><pre class="wh-prompt wh-ta-said" dir="auto" tabindex="0">{escape(text)}</pre>'
        for role, text in messages
    )


def progress_html(what: str, done: int, asked: int, text: str) -> str:
    """Where a task is.

    Args:
        what: it does.
        done: replies that are there.
        asked: replies that are asked for so far.
        text: what the reply under way says so far.
    """
    bar = f'<progress max="{asked}" value="{done}" aria-label="Replies"></progress>' if asked > 1 else ""
    counted = f": {done:,} of {asked:,} replies are there" if asked > 1 else ""
    live = f'<div class="wh-ta-text wh-ta-live" dir="auto">{escape(text)}</div>' if text else ""
    return f'<p class="wh-lab-state" role="status">{escape(what)}{counted} …</p>{bar}{live}'
