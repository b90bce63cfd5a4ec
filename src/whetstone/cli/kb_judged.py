"""`whet kb eval --judge`: the part that answers and judges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from whetstone.retrieval.measure import Question
    from whetstone.workflows.judged_answers import JudgedAnswer


def judged(kb: str, model: str, judge: str, questions: Sequence[Question]) -> list[JudgedAnswer]:
    """Every question with a reference answer, answered by `model` from the knowledge base and judged by `judge`."""
    from rich.console import Console
    from rich.progress import Progress

    from whetstone.models import load_model
    from whetstone.models.knowledge_spec import knowledge_spec
    from whetstone.retrieval.judge import Judge
    from whetstone.workflows.judged_answers import judged_answers

    answering = load_model(knowledge_spec(kb, model))
    try:
        judging = load_model(judge)
        try:
            with Progress(console=Console(stderr=True), transient=True) as bars:
                bar = bars.add_task("answering and judging", total=len(questions))
                return judged_answers(
                    answering, Judge(judging), questions, lambda done, of: bars.update(bar, completed=done, total=of)
                )
        finally:
            judging.close()
    finally:
        answering.close()


def show(found: Sequence[JudgedAnswer], model: str, judge: str) -> None:
    """The means of the grades, by category, and how many judgements failed."""
    from rich.console import Console
    from rich.table import Table

    from whetstone.cli.visible import one_line
    from whetstone.retrieval.judge import ASPECTS
    from whetstone.workflows.judged_answers import by_category, failed, mean_grade

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("", "judged", "failed", *ASPECTS):
        table.add_column(column, justify="right" if column else "left")
    for name, of in {"all": found, **by_category(found)}.items():
        cells = []
        for aspect in ASPECTS:
            mean = mean_grade(of, aspect)
            ends = (
                "" if name != "all" or mean.low is None or mean.high is None else f"\n{mean.low:.2f} to {mean.high:.2f}"
            )
            cells.append("–" if mean.value is None else f"{mean.value:.2f}{ends}")
        table.add_row(one_line(name), str(len(of) - failed(of)), str(failed(of)), *cells)
    console = Console()
    console.print(f"answers of {model}, judged by {judge}, from 1 to 5", markup=False, highlight=False)
    console.print(table)
    not_said = sum(not one.said for one in found)
    cited = sum(one.cited for one in found)
    typer.echo(f'{not_said} of {len(found)} answers are "the documents do not say"; {cited} cite a passage themselves')
