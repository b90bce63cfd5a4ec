"""`whet kb eval`: how well a knowledge base finds, measured without a judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.kb_options import Json, Kb
from whetstone.cli.kb_searching import Diversity, Mode, Neighbours, Passages, Rerank

if TYPE_CHECKING:
    from whetstone.cli.kb_searching import Setup
    from whetstone.retrieval.measure import Measures, Question
    from whetstone.workflows.measured_search import Comparison


def evaluate(
    questions: Annotated[
        Path,
        typer.Argument(
            metavar="QUESTIONS.jsonl",
            help='A question a line: {"question", "keywords", "category"}, or "spans" in place of keywords: '
            '[{"path", "start", "end"}].',
        ),
    ],
    kb: Kb = "default",
    k: Passages = 10,
    mode: Mode = "hybrid",
    rerank: Rerank = "",
    diversity: Diversity = 0.0,
    neighbours: Neighbours = 0,
    against: Annotated[
        str,
        typer.Option(
            metavar="SETTINGS",
            help="Compare with another knowledge base, or other settings, as mode=dense,k=5, question by question.",
        ),
    ] = "",
    judge: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Also answer every question that has a reference_answer, and let this model judge the answers: "
            "accuracy, completeness, relevance, from 1 to 5.",
        ),
    ] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="With --judge, the model that answers.")] = "smollm2",
    json: Json = False,
) -> None:
    """Measure a search: MRR, nDCG, keyword coverage, recall by span, with 95 % intervals, by category.

    A passage counts as it would be put into a prompt. The strict MRR asks for one passage that holds all keywords.
    """
    from whetstone.cli.kb_judged import judged, show
    from whetstone.cli.kb_searching import Setup
    from whetstone.cli.output import as_json, write_result
    from whetstone.errors import UsageError
    from whetstone.retrieval.measure import read_questions
    from whetstone.workflows.judged_answers import as_json as judged_as_json
    from whetstone.workflows.measured_search import as_json as as_values
    from whetstone.workflows.measured_search import compared

    if judge and against:
        raise UsageError("--judge looks at the answers of one configuration, and --against compares two searches")
    asked = read_questions(questions)
    setup = Setup(kb, mode, k, rerank, diversity, neighbours)
    other = setup.with_(against) if against else None
    first = _measured(setup, asked)
    if other is None:
        answers = judged(setup.kb, model, judge, asked) if judge else []
        if json:
            more = {"judged": judged_as_json(answers)} if judge else {}
            write_result("-", as_json({**as_values(first), **more}))
            return
        _show(first, f"{setup.kb}: ")
        if judge:
            show(answers, model, judge)
        return
    second = _measured(other, asked)
    names = (setup.named(other), other.named(setup))
    result = compared(first, second, names)
    if json:
        write_result("-", as_json(_comparison(first, second, names, result)))
        return
    _show(first, f"{names[0]}: ")
    _show(second, f"{names[1]}: ")
    _show_comparison(result)


def _measured(setup: Setup, questions: list[Question]) -> Measures:
    from rich.console import Console
    from rich.progress import Progress

    from whetstone.cli.kb_searching import opened
    from whetstone.retrieval.document import EVERYTHING
    from whetstone.retrieval.measure import evaluate as measured
    from whetstone.workflows.measured_search import check_places

    with opened(setup) as (knowledge, find), Progress(console=Console(stderr=True), transient=True) as bars:
        check_places(questions, knowledge.store)
        bar = bars.add_task("questions", total=len(questions))
        return measured(
            lambda text: find(text, EVERYTHING), questions, lambda done, _: bars.update(bar, completed=done)
        )


def _comparison(first: Measures, second: Measures, names: tuple[str, str], result: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    from whetstone.workflows.measured_search import as_json as as_values

    return {
        "first": {"name": names[0], **as_values(first)},
        "second": {"name": names[1], **as_values(second)},
        "differences": [asdict(difference) for difference in result.differences],
        "verdict": result.verdict,
    }


def _show(measures: Measures, heading: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from whetstone.cli.visible import one_line
    from whetstone.workflows.measured_search import BOUNDS, NAMES, interval

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "n", *(name for metric, name in NAMES.items() if measures.mean(metric) is not None)):
        table.add_column(column, justify="right" if column else "left")
    shown = [metric for metric in BOUNDS if measures.mean(metric) is not None]
    cells = []
    for metric in shown:
        found = interval(measures, metric)
        ends = (
            ""
            if found.low is None or found.high is None
            else f"\n{_value(metric, found.low)} to {_value(metric, found.high)}"
        )
        cells.append(f"{_value(metric, found.value)}{ends}")
    table.add_row("all", str(len(measures.questions)), *cells)
    for name, of in measures.by_category().items():
        table.add_row(one_line(name), str(len(of.questions)), *(_value(metric, of.mean(metric)) for metric in shown))
    seconds = sorted(score.seconds for score in measures.scores)
    console = Console()
    console.print(
        f"{heading}{len(seconds)} questions, {1000 * seconds[len(seconds) // 2]:.0f} ms each (median)", highlight=False
    )
    console.print(table)


def _show_comparison(result: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    from whetstone.workflows.measured_search import NAMES

    table = Table("first minus second", "difference", "95 % interval", box=None, header_style="bold", pad_edge=False)
    for one in result.differences:
        if one.difference is not None:
            ends = (
                ""
                if one.low is None or one.high is None
                else f"{_signed(one.metric, one.low)} to {_signed(one.metric, one.high)}"
            )
            table.add_row(NAMES[one.metric], _signed(one.metric, one.difference), ends)
    Console().print(table)
    typer.echo(result.verdict)


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return {"context_chars": f"{value:,.0f}", "coverage": f"{value:.1f} %", "recall": f"{value:.1f} %"}.get(
        metric, f"{value:.3f}"
    )


def _signed(metric: str, value: float) -> str:
    return ("+" if value >= 0 else "−") + _value(metric, abs(value))
