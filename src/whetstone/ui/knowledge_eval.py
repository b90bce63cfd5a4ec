"""How well a knowledge base finds, as HTML: metrics with intervals, by category, and the questions that fare worst."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

from whetstone.errors import DataError, UsageError
from whetstone.retrieval.measure import Measures, Question, read_questions
from whetstone.workflows.measured_search import BOUNDS, NAMES, interval

MOST_CHARACTERS = 8_000_000  # of a file of questions
_WORST = 10


def questions_of(name: str, text: str) -> list[Question]:
    """The questions of a file that a page sent.

    Raises:
        UsageError: there is no file, or it is too large.
        DataError: as `read_questions`; the file is named as the page calls it.
    """
    if not text.strip():
        raise UsageError("choose a file of questions first: JSONL, one question a line")
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{name} has over {MOST_CHARACTERS:,} characters: use `whet kb eval FILE`")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "questions.jsonl"
        file.write_text(text, "utf-8", "replace")
        try:
            return read_questions(file)
        except DataError as error:
            # The sentence names the file that we made, which means nothing to the person.
            raise DataError(str(error).replace(str(file), name or "the file")) from None


def progress_html(done: tuple[int, int] | None) -> str:
    """How many questions were asked."""
    if done is None:
        return '<p role="status">Loading the embedder …</p>'
    return (
        f'<p role="status">{done[0]:,} of {done[1]:,} questions</p>'
        f'<progress aria-label="Progress" value="{done[0]}" max="{done[1]}"></progress>'
    )


def measures_html(measures: Measures) -> str:
    """The figures."""
    shown = [metric for metric in BOUNDS if measures.mean(metric) is not None]
    seconds = sorted(score.seconds for score in measures.scores)
    rows = ""
    for metric in shown:
        found = interval(measures, metric)
        ends = (
            "–"
            if found.low is None or found.high is None
            else f"{_value(metric, found.low)} to {_value(metric, found.high)}"
        )
        rows += (
            f'<tr data-metric="{metric}"><th scope="row" data-name="Metric">{escape(NAMES[metric])}</th>'
            f'<td data-name="Mean">{_value(metric, found.value)}</td><td data-name="95 % interval">{ends}</td></tr>'
        )
    return (
        f'<p role="status"><b>{len(measures.questions):,} questions</b>, {1000 * seconds[len(seconds) // 2]:.0f} ms '
        "each (median)</p>"
        '<table class="wh-kb-table"><thead><tr><th scope="col">Metric</th><th scope="col">Mean</th><th scope="col">'
        f"95 % interval</th></tr></thead><tbody>{rows}</tbody></table>"
        f"{_by_category(measures, shown)}{_worst(measures)}"
    )


def _by_category(measures: Measures, shown: Sequence[str]) -> str:
    categories = measures.by_category()
    if not categories:
        return ""
    head = "".join(f'<th scope="col">{escape(NAMES[metric])}</th>' for metric in shown)
    rows = "".join(
        f'<tr><th scope="row" data-name="Category">{escape(name)}</th>'
        f'<td data-name="Questions">{len(of.questions):,}</td>'
        + "".join(f'<td data-name="{escape(NAMES[metric])}">{_value(metric, of.mean(metric))}</td>' for metric in shown)
        + "</tr>"
        for name, of in categories.items()
    )
    return (
        '<h3>By category</h3><table class="wh-kb-table"><thead><tr><th scope="col">Category</th><th scope="col">'
        f"Questions</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _worst(measures: Measures) -> str:
    """The questions with the lowest MRR, each a button that searches for it."""
    ranked = sorted(zip(measures.questions, measures.scores, strict=True), key=lambda pair: pair[1].mrr)
    items = "".join(
        f'<li><button type="button" class="wh-kb-open" data-search="{escape(question.text)}">{escape(question.text)}'
        f"</button> <span>MRR {score.mrr:.3f}</span></li>"
        for question, score in ranked[:_WORST]
        if score.mrr < 1
    )
    return f'<h3>Found worst</h3><ul class="wh-kb-worst">{items}</ul>' if items else ""


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    if metric == "context_chars":
        return f"{value:,.0f}"
    return f"{value:.1f} %" if BOUNDS[metric] == 100 else f"{value:.3f}"
