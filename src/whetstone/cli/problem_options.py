"""Options that say what problem a command is about: the columns of its source, and the split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.types import Problem

DATA, SPLIT = "Data", "Split"

Source = Annotated[
    str,
    typer.Argument(
        help="CSV, TSV, JSON, JSONL or Parquet file, a Hugging Face dataset (folder or id), or a packaged catalogue: "
        "diamonds."
    ),
]
Text = Annotated[
    list[str] | None, typer.Option(help="Column to answer from; repeat to join several.", rich_help_panel=DATA)
]
Target = Annotated[str | None, typer.Option(help="Column with the true answer.", rich_help_panel=DATA)]
IdColumn = Annotated[str | None, typer.Option("--id", help="Column that identifies an item.", rich_help_panel=DATA)]
Group = Annotated[
    str | None, typer.Option(help="Column whose equal values must stay in one split.", rich_help_panel=DATA)
]
Kind = Annotated[
    Literal["number", "label", "text"] | None,
    typer.Option(help="number, label or text. Default: seen from the target.", rich_help_panel=DATA),
]
Metric = Annotated[
    str | None,
    typer.Option(help="The metric that decides. Default: mae, accuracy or rouge_l.", rich_help_panel=DATA),
]
Unit = Annotated[str | None, typer.Option(help="Unit of the numbers, such as $.", rich_help_panel=DATA)]
TestSize = Annotated[
    float | None, typer.Option(help="Test items: a count, or a fraction below 1.", rich_help_panel=SPLIT)
]
ValidationSize = Annotated[float | None, typer.Option(help="Validation items, likewise.", rich_help_panel=SPLIT)]
TrainSize = Annotated[float | None, typer.Option(help="Training items at most, likewise.", rich_help_panel=SPLIT)]


def problem_of(
    source: str,
    console: Console,
    *,
    text: list[str] | None,
    target: str | None,
    id_column: str | None = None,
    group: str | None = None,
    kind: Literal["number", "label", "text"] | None = None,
    metric: str | None = None,
    unit: str | None = None,
    test_size: float | None = None,
    validation_size: float | None = None,
    train_size: float | None = None,
    seed: int,
) -> Problem:
    """The problem, as `whet compare` would build it. Remarks go to the console, and say which rows cannot be used.

    Raises:
        DataError: the source cannot be used.
    """
    from whetstone.datasets.build import build_problem

    built = build_problem(
        source,
        text=text or None,
        target=target,
        id=id_column,
        group=group,
        kind=kind,
        metric=metric,
        unit=unit,
        test_size=test_size,
        validation_size=validation_size,
        train_size=train_size,
        seed=seed,
    )
    for note in built.notes:
        console.print(note, style="dim", markup=False, highlight=False)
    return built.problem
