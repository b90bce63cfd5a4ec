"""One task from the command line: its inputs read, the model asked, the result shown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from whetstone.cli.task_command import COMMON_NAMES
from whetstone.cli.task_input import main_text, option_text
from whetstone.cli.visible import one_line, visible

if TYPE_CHECKING:
    from whetstone.models import ChatModel
    from whetstone.tasks import Card, TaskCase
    from whetstone.tasks.driver import Progress
    from whetstone.tasks.result import TaskResult


def run(card: Card, given: Mapping[str, Any]) -> None:
    """Do the task that a command line asks for.

    Raises:
        WhetstoneError: it cannot be done; the sentence says why.
        typer.Exit: the code was run, and still fails.
    """
    from whetstone.models import load_model
    from whetstone.tasks.run import run_card
    from whetstone.types import Options

    inputs = _inputs(card, given)
    if given["prompt"] is not None:
        card = _reworded(card, given["prompt"], given["model"])
    card.check(inputs)  # before a model is loaded
    shots = _shots(card, given["shots"])
    names = ("temperature", "max_tokens", "seed")
    options = Options(**{name: given[name] for name in names if given[name] is not None})
    how: dict[str, Any] = {
        "shots": shots,
        "options": options,
        "part_tokens": given["part_tokens"],
        "run": given.get("run", False),
        "repairs": given.get("repairs", 0),
    }
    model = load_model(given["model"])
    try:
        with _shown() as progress:
            if given["lines"]:
                _each_line(card, model, inputs, {**how, "progress": progress}, trace=given["trace"])
                return
            result = run_card(card, model, inputs, **how, progress=progress)
    finally:
        model.close()
    if given["json"]:
        from whetstone.cli.output import as_json, write_result

        write_result("-", as_json(result.to_json(trace=given["trace"])))
    else:
        _show(result, given["model"], given["trace"])
    if result.ran is not None and not result.ran.fine:
        raise typer.Exit(1)


def _each_line(card: Card, model: ChatModel, inputs: Mapping[str, Any], how: Mapping[str, Any], *, trace: bool) -> None:
    """Do a task for every line of the main input, in one batch, and print the results in the order of the lines.

    Raises:
        typer.Exit: a line could not be done; its error stands in its place.
    """
    from whetstone.errors import WhetstoneError
    from whetstone.tasks.run import run_card_many

    main = card.file.main
    texts = [line for line in inputs[main].splitlines() if line.strip()]
    waiting: dict[int, str] = {}
    written = failed = 0
    for index, outcome in run_card_many(card, model, [{**inputs, main: text} for text in texts], **how):
        failed += isinstance(outcome, WhetstoneError)
        told = {"error": str(outcome)} if isinstance(outcome, WhetstoneError) else outcome.to_json(trace=trace)
        waiting[index] = json.dumps({"text": texts[index], **told}, ensure_ascii=False)
        while written in waiting:
            sys.stdout.write(f"{waiting.pop(written)}\n")
            written += 1
        sys.stdout.flush()
    if failed:
        raise typer.Exit(1)


def _inputs(card: Card, given: Mapping[str, Any]) -> dict[str, Any]:
    main = card.file.main
    inputs: dict[str, Any] = {main: main_text(given[main], main)}
    for one in card.inputs:
        said = given[one.name]
        if one.name == main or said is None or one.name in COMMON_NAMES:
            continue
        inputs[one.name] = one.read(option_text(said) if one.type in ("text", "list", "glossary") else said)
    return inputs


def _reworded(card: Card, prompt: str, model: str) -> Card:
    from whetstone.prompting.families import family_of
    from whetstone.prompting.library import PromptLibrary
    from whetstone.workflows.prompt_scores import reworded

    return reworded(card, PromptLibrary().find(prompt, family=family_of(model)).template)


def _shots(card: Card, count: int) -> tuple[TaskCase, ...]:
    from whetstone.errors import UsageError

    cases = card.cases("train")
    if count > len(cases):
        raise UsageError(f"{card.name} has {len(cases)} solved cases to show, not {count}")
    return cases[:count]


@contextmanager
def _shown() -> Iterator[Progress]:
    """Something to tell the progress to; drawn on standard error, and wiped away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("asking the model", total=None)

        def told(what: str, done: int, asked: int) -> None:
            bars.update(bar, description=what, completed=done, total=asked)

        yield told


def _show(result: TaskResult, model: str, trace: bool) -> None:
    from whetstone.cli.chat_once import notice
    from whetstone.cli.task_trace import ran_text, trace_text

    if trace:
        sys.stderr.write(trace_text(result))
        sys.stderr.flush()
    if not sys.stdout.isatty():
        sys.stdout.write(f"{result.text}\n" if result.text else "")
    elif isinstance(result.output, str):
        sys.stdout.write(f"{visible(result.text)}\n")
    else:
        _show_entities(result)
    sys.stdout.flush()
    for note in result.notes:
        notice(note)
    if result.ran is not None:
        sys.stderr.write(ran_text(result.ran))
    usage = result.usage
    requests = f"{len(result.steps):,} request{'' if len(result.steps) == 1 else 's'}"
    price = f" · ${result.cost:.4f}" if result.cost else ""
    notice(
        f"{model} · {requests} · {usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens · "
        f"{result.seconds:.1f} s{price}"
    )


def _show_entities(result: TaskResult) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    assert not isinstance(result.output, str)
    table = Table("TYPE", "TEXT", "FROM", "TO", box=None, pad_edge=False)
    for one in result.output:
        table.add_row(Text(one.type), Text(one_line(one.text)), str(one.start), str(one.end))
    Console().print(table)
