"""`whet prompts search`: a budgeted search over instructions and examples, proven on the test items."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from whetstone.cli import problem_options as data
from whetstone.cli.interrupts import interrupts

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.prompting.library import PromptFile
    from whetstone.types import Problem
    from whetstone.workflows.search_race import Trial
    from whetstone.workflows.search_result import SearchResult
    from whetstone.workflows.search_space import Choice, Instruction

_SPACE, _BUDGET = "What is tried", "Budget"
_SHOWN = 70  # characters of a choice in the table


def search(
    source: data.Source,
    model: Annotated[str, typer.Option("--model", "-m", help="The model that answers.")] = "smollm2",
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="Prompt of the library; repeat for several. The search starts from the first. Default: ours for the "
            "kind of problem.",
            rich_help_panel=_SPACE,
        ),
    ] = None,
    question: Annotated[
        str, typer.Option(help="The question to start from, instead of the default.", rich_help_panel=_SPACE)
    ] = "",
    questions: Annotated[
        str | None,
        typer.Option(help="File with a question per line; each is tried in the first prompt.", rich_help_panel=_SPACE),
    ] = None,
    propose: Annotated[
        int, typer.Option(min=0, help="Questions that a model proposes besides.", rich_help_panel=_SPACE)
    ] = 0,
    proposer: Annotated[
        str | None, typer.Option(help="The model that proposes. Default: the one that answers.", rich_help_panel=_SPACE)
    ] = None,
    shots: Annotated[
        str, typer.Option(help="Numbers of examples that are tried, such as 0,1,3.", rich_help_panel=_SPACE)
    ] = "0,3",
    shot_method: Annotated[
        list[str] | None,
        typer.Option(
            help="How examples are chosen: shared (one set for all items), fixed, random, balanced, nearest; repeat "
            "for several. Default: shared.",
            rich_help_panel=_SPACE,
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(min=1, help="Sets of examples that are tried of each size.", rich_help_panel=_SPACE)
    ] = 4,
    trials: Annotated[int, typer.Option(min=1, help="Choices that are tried.", rich_help_panel=_BUDGET)] = 20,
    calls: Annotated[
        int,
        typer.Option(
            min=1, help="Requests on validation items in all; the test items come on top.", rich_help_panel=_BUDGET
        ),
    ] = 1000,
    items: Annotated[int, typer.Option(min=1, help="Validation items at most.", rich_help_panel=_BUDGET)] = 100,
    text: data.Text = None,
    target: data.Target = None,
    id_column: data.IdColumn = None,
    group: data.Group = None,
    kind: data.Kind = None,
    metric: data.Metric = None,
    unit: data.Unit = None,
    test_size: data.TestSize = None,
    validation_size: data.ValidationSize = None,
    train_size: data.TrainSize = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and of the search.")] = 42,
    json: Annotated[
        str | None, typer.Option("--json", help="Write everything that was found as JSON to this file, or - .")
    ] = None,
    html: Annotated[str | None, typer.Option(help="Write the report on the test items as one HTML file.")] = None,
) -> None:
    """Search for the best way to ask, on the validation items; then hold it against the start on the test items.

    Choices that are worse than the best on the same items are given up early. The test items are looked at once, when
    the winner is chosen. Stopped at any moment, the same command goes on where it was.
    """
    from rich.console import Console

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.report_view import print_report
    from whetstone.cli.tester import TesterView
    from whetstone.workflows.prompt_search import SearchLimits, search_prompts
    from whetstone.workflows.search_space import SearchSpace
    from whetstone.workflows.shot_curve import read_shots

    console = Console(stderr=json == "-", highlight=False)
    numbers = tuple(read_shots(shots))
    problem = data.problem_of(
        source,
        console,
        text=text,
        target=target,
        id_column=id_column,
        group=group,
        kind=kind,
        metric=metric,
        unit=unit,
        test_size=test_size,
        validation_size=validation_size,
        train_size=train_size,
        seed=seed,
    )
    instructions = _instructions(problem, model, prompt or [problem.kind], question, questions)
    space = SearchSpace(tuple(instructions), numbers, tuple(shot_method or ("shared",)), draws)
    found: SearchResult
    try:
        with interrupts(), _Progress(problem, console) as watching:
            found = search_prompts(
                problem,
                space,
                model=model,
                limits=SearchLimits(trials, calls, items),
                propose=propose,
                proposer=proposer,
                seed=seed,
                watcher=watching,
                answering=TesterView(problem, console, verbose=False),
            )
    except KeyboardInterrupt:
        console.print("\nStopped. Every answer so far is kept: the same command goes on from here.")
        raise typer.Exit(1) from None
    print_report(found.report, console)
    _print_found(found, source, console)
    if json is not None:
        write_result(json, as_json(found.to_json()))
    if html is not None:
        from whetstone.evaluation.html import render_html

        write_result(html, render_html(found.report))


def _instructions(
    problem: Problem, model: str, names: list[str], question: str, questions: str | None
) -> list[Instruction]:
    from pathlib import Path

    from whetstone.errors import UsageError
    from whetstone.prompting.families import family_of
    from whetstone.prompting.library import PromptLibrary
    from whetstone.prompting.template import read_text_file
    from whetstone.workflows.search_space import instruction_of, with_questions

    family, library = family_of(model), PromptLibrary()
    prompts: list[PromptFile] = [library.find(name, family=family) for name in dict.fromkeys(names)]
    found = [instruction_of(prompts[0], question), *map(instruction_of, prompts[1:])]
    if questions is not None:
        lines = read_text_file(Path(questions).expanduser(), questions, "file of questions").splitlines()
        asked = [line.strip() for line in lines if line.strip()]
        if not asked:
            raise UsageError(f"{questions}: there is no question in it; write one on each line")
        found += with_questions(prompts[0], asked)
    return list(dict.fromkeys(found))


class _Progress:
    """A line for each choice that was tried, and a bar under them."""

    def __init__(self, problem: Problem, console: Console) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        from whetstone.evaluation.metrics import METRICS

        self._console, self._metric, self._unit = console, METRICS[problem.metric], problem.unit
        errors = Console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._bars = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
        self._task = self._bars.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def proposing(self, count: int) -> None:
        """A model is asked for so many questions."""
        self._bars.update(self._task, description=f"proposing {count} questions", visible=True)

    def trying(self, number: int, choice: Choice, done: int, total: int) -> None:
        """A choice has answered so many of the items."""
        from whetstone.cli.visible import one_line

        said = f"{number}: {one_line(str(choice), _SHOWN)}"
        self._bars.update(self._task, description=said, completed=done, total=total, visible=True)

    def tried(self, trial: Trial) -> None:
        """A choice is through, or was given up: a line."""
        from rich.text import Text

        from whetstone.cli.visible import one_line
        from whetstone.evaluation.wording import metric_value

        self._bars.update(self._task, visible=False)
        value = metric_value(self._metric, trial.value, self._unit)
        state = "" if trial.state == "complete" else f" ({trial.state})"
        line = f"{trial.number:>3}  {value:>12}  {trial.items:>4} items{state}  {one_line(str(trial.choice), _SHOWN)}"
        self._console.print(Text(line, style="" if trial.state == "complete" else "dim"), soft_wrap=True)

    def proving(self) -> None:
        """The test items come, which have a display of their own."""
        self._bars.stop()


def _print_found(found: SearchResult, source: str, console: Console) -> None:
    from rich.text import Text

    from whetstone.cli.visible import one_line

    console.print()
    console.print(Text.assemble(("Prompt search  ", "bold green"), (one_line(found.sentence), "bold")))
    for note in (found.stopped, *found.notes):
        console.print(Text(f"· {one_line(note)}", style="dim"))
    if found.winner is not found.start:
        console.print(Text(f"To ask like the winner: {one_line(found.command(source))}"), soft_wrap=True)
    console.print(Text(f"Kept in {found.folder}", style="dim"), soft_wrap=True)
