"""`whet compare`: several techniques answer the same frozen items; a report says which is best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.cli import problem_options as data
from whetstone.cli.interrupts import interrupts

if TYPE_CHECKING:
    from whetstone.datasets.build import BuiltProblem

_DATA, _SPLIT, _OUTPUT = data.DATA, data.SPLIT, "Output"


def compare(
    source: Annotated[
        str,
        typer.Argument(
            help="CSV, TSV, JSON, JSONL or Parquet file, a Hugging Face dataset (folder or id), or a packaged "
            "catalogue: diamonds. Or a task card (see `whet task list`): summarize, translate, code."
        ),
    ] = "diamonds",
    technique: Annotated[
        list[str] | None,
        typer.Option(
            "--technique",
            "-t",
            help="A technique; repeat for several. constant[:mean|median|mode], linear, "
            "tfidf, knn[:K], lightgbm[:embeddings], ask, few-shot[:fixed|random|balanced|shared|nearest[:K]], "
            "vote[:N[:few-shot:...]] (N samples vote), "
            "retrieved:KB[:K] (passages of a knowledge base), guesses:FILE. Numbers, read off a local model's "
            "probabilities: price[:auto|generate|course|top_k|mode|median|mean|log_mean][:nearest:K][:chat], "
            "calibrated[:auto|mode|median|mean|log_mean][:nearest:K][:chat], hidden-ridge. "
            "tuned:RUN[@best|last|STEP|each][:median|mean|nearest:K|calibrated:median|...] asks a tuned model. "
            "ensemble:[balanced:]A+B+C puts others together. Default: all that suit the problem.",
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model for ask and few-shot; repeat for several. Default: smollm2."),
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="What the language model is asked about each item, instead of the default.")
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Prompt of the library (see `whet prompts`) that ask, few-shot and retrieved ask with; repeat to "
            "compare several: --prompt mine@1 --prompt mine@2."
        ),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(
            help="Numbers of examples, 0,1,3,5: draw the curve of the score against them. Runs ask and "
            "few-shot:METHOD:K, besides the techniques of -t."
        ),
    ] = None,
    shot_method: Annotated[
        str, typer.Option(help="How the examples of --shots are chosen: fixed, random, balanced, shared or nearest.")
    ] = "balanced",
    grid: Annotated[
        str | None,
        typer.Option(
            help="Candidate numbers of price and calibrated: 0..999, 0.00..9.99, 0..100:5, log:1..10000:200 or 1,2,5. "
            "Default: seen from the training items."
        ),
    ] = None,
    text: data.Text = None,
    target: data.Target = None,
    id_column: data.IdColumn = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that tabular techniques may use; repeat. Default: every other column.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    group: data.Group = None,
    kind: data.Kind = None,
    metric: data.Metric = None,
    unit: data.Unit = None,
    minimum: Annotated[
        float | None, typer.Option("--min", help="Rows with a smaller target are rejected.", rich_help_panel=_DATA)
    ] = None,
    maximum: Annotated[
        float | None, typer.Option("--max", help="Rows with a larger target are rejected.", rich_help_panel=_DATA)
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of a text file.", rich_help_panel=_DATA)] = "utf-8",
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at the first bad row instead of setting it aside.", rich_help_panel=_DATA),
    ] = False,
    rejects: Annotated[
        str | None,
        typer.Option(
            help="Where bad rows go, with the reason (JSONL). Default: SOURCE.rejects.jsonl in the current "
            "folder, only when there are any.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    test_size: data.TestSize = None,
    validation_size: data.ValidationSize = None,
    train_size: data.TrainSize = None,
    test_all: Annotated[
        bool,
        typer.Option(
            "--test-all",
            help="Every row is a test item. Techniques that train answer each fold after training on the others.",
            rich_help_panel=_SPLIT,
        ),
    ] = False,
    train: Annotated[
        str | None,
        typer.Option(help="Train on this file's rows; every row of SOURCE is a test item.", rich_help_panel=_SPLIT),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the split, of examples and of intervals.", rich_help_panel=_SPLIT)
    ] = 42,
    json: Annotated[
        str | None,
        typer.Option("--json", help="Write the report as JSON to this file, or - .", rich_help_panel=_OUTPUT),
    ] = None,
    html: Annotated[
        str | None, typer.Option(help="Write the report as one HTML file.", rich_help_panel=_OUTPUT)
    ] = None,
    csv: Annotated[
        str | None, typer.Option(help="Write every answer as CSV to this file, or - .", rich_help_panel=_OUTPUT)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line per item.", rich_help_panel=_OUTPUT)] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Ask again where an earlier answer was an error.")
    ] = False,
) -> None:
    """Let several techniques answer the same frozen items, and say which is best.

    Stopped at any moment, the same command goes on where it was: no item is asked twice.
    """
    from rich.console import Console

    from whetstone.cli.compare_card import card_source
    from whetstone.cli.report import write_reports
    from whetstone.cli.tester import TesterView, print_report
    from whetstone.datasets.build import build_problem
    from whetstone.evaluation.techniques import build_technique
    from whetstone.workflows.compare import compare as run_comparison
    from whetstone.workflows.shot_curve import read_shots, shot_arms

    # A report on standard output must be alone there.
    console = Console(stderr="-" in (json, csv))
    numbers = None if shots is None else read_shots(shots)
    about_data = {
        "--text": text,
        "--target": target,
        "--id": id_column,
        "--field": field,
        "--group": group,
        "--kind": kind,
        "--unit": unit,
        "--min": minimum,
        "--max": maximum,
        "--encoding": None if encoding == "utf-8" else encoding,
        "--strict": strict,
        "--rejects": rejects,
        "--test-size": test_size,
        "--validation-size": validation_size,
        "--train-size": train_size,
        "--test-all": test_all,
        "--train": train,
        "--question": question,
        "--prompt": prompt,
        "--grid": grid,
    }
    card = card_source(source, metric, about_data)
    built = (
        card.built
        if card
        else build_problem(
            source,
            text=text or None,
            target=target,
            id=id_column,
            fields=field or None,
            group=group,
            kind=kind,
            metric=metric,
            unit=unit,
            minimum=minimum,
            maximum=maximum,
            encoding=encoding,
            strict=strict,
            test_size=test_size,
            validation_size=validation_size,
            train_size=train_size,
            test_all=test_all or train is not None,
            train_source=train,
            seed=seed,
        )
    )
    for note in [*built.notes, *_keep_rejects(built, source, rejects)]:
        console.print(note, style="dim", markup=False, highlight=False)
    arms = technique or (["ask"] if card else None)
    if numbers is not None:
        arms = [*(technique or ()), *shot_arms(built.problem, numbers, shot_method)]
    try:
        with interrupts():
            report = run_comparison(
                built.problem,
                arms,
                models=model or ["smollm2"],
                question=question,
                prompts=prompt or (),
                grid=grid,
                seed=seed,
                watcher=TesterView(built.problem, console, verbose=not quiet),
                retry_errors=retry_errors,
                build=card.build if card else build_technique,
            )
    except KeyboardInterrupt:
        console.print("\nStopped. Every answer so far is kept: the same command goes on from here.", highlight=False)
        raise typer.Exit(1) from None
    print_report(report, console)
    write_reports(report, console, json=json, html=html, csv=csv)


def _keep_rejects(built: BuiltProblem, source: str, path: str | None) -> list[str]:
    """Write the rows that were set aside; a sentence on where."""
    from pathlib import Path

    if not built.rejects:
        return []
    target = Path(path) if path else Path(f"{Path(source).name}.rejects.jsonl")
    built.rejects.write(target)
    return [f"The rejected rows, each with its reason: {target}"]
