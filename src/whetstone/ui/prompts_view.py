"""Prompts as HTML: the library, the state of a draft, what changed, a reply, and answers to cases side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from whetstone.evaluation.bands import describe
from whetstone.evaluation.excerpt import head
from whetstone.evaluation.judged import Judged, judge
from whetstone.evaluation.report import Report
from whetstone.evaluation.tables import dollars
from whetstone.prompting.prompt_file import PromptFile
from whetstone.tasks import Card
from whetstone.types import Message, Problem, text_of
from whetstone.ui.tasks_view import messages_html
from whetstone.workflows.prompt_draft import Draft
from whetstone.workflows.prompt_run import PromptAnswer

_EXCERPT = 140


def library_html(prompts: Sequence[PromptFile], versions: Mapping[str, Sequence[int]], cards: Iterable[Card]) -> str:
    """The prompts of the library with their versions, and those of the cards to begin with.

    Args:
        versions: of each prompt, by the name by which it is opened; the newest first.
        cards: that are offered.
    """
    rows = "".join(_row(prompt, versions.get(prompt.stem, ())) for prompt in prompts)
    packaged = "".join(
        f'<tr><th scope="row">{escape(card.name)}<small>{escape(card.title)}</small></th>'
        f'<td class="wh-lab-words">{_links(card)}</td></tr>'
        for card in cards
    )
    return (
        '<div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th scope="col">prompt</th>'
        '<th scope="col">versions</th><th scope="col">from</th><th scope="col">variables</th><th scope="col"></th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
        "<h3>Prompts of the task cards</h3>"
        '<p class="wh-note">To begin with: what you save goes into your library, and the card stays as it is.</p>'
        '<div class="wh-lab-scroll"><table class="wh-lab-table"><thead><tr><th scope="col">card</th>'
        f'<th scope="col">prompts</th></tr></thead><tbody>{packaged}</tbody></table></div>'
    )


def _links(card: Card) -> str:
    """A card's prompts, its main one first: that for all models, and those for families and for parts of texts."""
    names = sorted(card.prompts, key=lambda name: (name.partition(".")[0] != "prompt", name))
    return ", ".join(
        f'<button type="button" class="wh-lab-link" data-card="{escape(card.name)}" data-prompt="{escape(name)}" '
        f'aria-label="{escape(card.name)}: {escape(name)}">{escape(name)}</button>'
        for name in names
    )


def _row(prompt: PromptFile, versions: Sequence[int]) -> str:
    name = prompt.stem
    listed = ", ".join(
        f'<button type="button" class="wh-lab-link" data-open="{escape(name)}@{version}" '
        f'aria-label="{escape(name)}, version {version}">{version}</button>'
        for version in versions
    )
    what = prompt.description
    words = f'<span class="wh-lab-far">{escape(_bare(prompt))}</span>' if prompt.problem else escape(what)
    opened = (
        escape(name)
        if prompt.problem
        else f'<button type="button" class="wh-lab-link" data-open="{escape(name)}">{escape(name)}</button>'
    )
    return (
        f'<tr><th scope="row">{opened}</th><td>{listed}</td><td>{escape(prompt.source)}</td>'
        f'<td class="wh-lab-words">{escape(", ".join(prompt.variables))}</td><td class="wh-lab-words">{words}</td></tr>'
    )


def _bare(prompt: PromptFile) -> str:
    """What is wrong with a prompt, by its file's name alone: the folder is the server's business."""
    return prompt.problem.replace(str(prompt.path), prompt.path.name)


def state_html(draft: Draft) -> str:
    """Whether a draft can be used, and what it would be kept as."""
    if draft.problem:
        return f'<p class="wh-error">{escape(draft.problem)}</p>'
    assert draft.template is not None
    named = ", ".join(draft.template.variables) or "none"
    if draft.kept is not None:
        kept = f"This is {draft.kept.reference}."
    elif not draft.name:
        kept = "It has no name yet."
    else:
        kept = f"New: it is saved as version {draft.template.version}."
    return f'<p class="wh-note"><b class="wh-lab-good">✓</b> {escape(kept)} Variables: {escape(named)}.</p>'


def diff_html(draft: Draft) -> str:
    """What changed since the version before."""
    if not draft.diff or draft.before is None:
        return ""
    lines = "".join(
        f'<span class="{_KINDS.get(line[:1], "same")}">{escape(line) or " "}</span>'
        for line in draft.diff.splitlines()[2:]
    )
    return (
        f"<details open><summary>What changed since {escape(draft.before.reference)}</summary>"
        f'<pre class="wh-prompt wh-pp-diff" tabindex="0" aria-label="What changed">{lines}</pre></details>'
    )


_KINDS = {"+": "added", "-": "removed", "@": "place"}


def asked_html(messages: Sequence[Message]) -> str:
    """What a model is asked."""
    return messages_html((message["role"], text_of(message)) for message in messages)


def answer_html(answer: PromptAnswer, model: str) -> str:
    """What came back."""
    if answer.error:
        return f'<p class="wh-error">{escape(answer.error)}</p>'
    figures = [
        model,
        f"{answer.usage.prompt_tokens:,} + {answer.usage.completion_tokens:,} tokens",
        f"{answer.seconds:.1f} s",
    ]
    if answer.cost:
        figures.append(dollars(answer.cost))
    if answer.finish_reason == "length":
        figures.append("cut off at the limit of tokens")
    return (
        f'<div class="wh-ta-text" dir="auto">{escape(answer.text.strip() or "(nothing)")}</div>'
        f'<p class="wh-note">{escape(" · ".join(figures))}</p>'
    )


def cases_html(report: Report) -> str:
    """The answers to each case, by every prompt."""
    problem = report.problem
    judged = [{one.case.id: one for one in judge(problem, result.predictions)} for result in report.results]
    heads = "".join(f'<th scope="col">{escape(result.label)}</th>' for result in report.results)
    rows = "".join(
        f'<tr><th scope="row">{escape(case.id)}</th>'
        f'<td class="wh-lab-words" dir="auto">{_folded(case.text)}</td>'
        f'<td class="wh-lab-words" dir="auto">{_folded(str(case.expected))}</td>'
        f"{''.join(_answer(problem, found.get(case.id)) for found in judged)}</tr>"
        for case in problem.test
    )
    return (
        f"<details><summary>The answers to all {len(problem.test)} cases</summary>"
        '<div class="wh-lab-scroll"><table class="wh-lab-table wh-pp-cases"><thead><tr><th scope="col">case</th>'
        f'<th scope="col">given</th><th scope="col">expected</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></details>"
    )


def _answer(problem: Problem, judged: Judged | None) -> str:
    if judged is None:
        return "<td></td>"
    reading = judged.prediction.reading
    band = judged.band
    said = _folded(str(reading.value)) if reading.ok else escape(head(reading.note or reading.status, _EXCERPT))
    score = "" if judged.error is None else f"{1 - judged.error:.2f} "
    return (
        f'<td class="wh-lab-words" dir="auto"><b class="wh-lab-{band.key}" title="{escape(describe(band, problem))}">'
        f"{band.letter} {score}</b>{said}</td>"
    )


def _folded(text: str) -> str:
    short = head(text, _EXCERPT)
    if len(text) <= _EXCERPT and "\n" not in text:
        return escape(short)
    return f'<details><summary>{escape(short)}</summary><div class="wh-pp-whole">{escape(text)}</div></details>'
