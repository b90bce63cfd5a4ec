"""`whet prompts shots`: the examples that an item would be shown, and what each takes of the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.cli import problem_options as data

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.workflows.shown_shots import ShownPrompt

_SHOWN = 60  # characters of a text in the table


def shots(
    source: data.Source,
    examples: Annotated[
        str,
        typer.Option(
            "--examples",
            "-e",
            help="How they are chosen, and how many: fixed:3, random:3, balanced:3, shared:3, nearest:3; shared:3:7 "
            "names a draw.",
        ),
    ] = "balanced:3",
    prompt: Annotated[
        str | None, typer.Option(help="Prompt of the library. Default: ours for the kind of problem.")
    ] = None,
    question: Annotated[str, typer.Option(help="What is asked about the item, instead of the default.")] = "",
    model: Annotated[str, typer.Option("--model", "-m", help="The model whose tokens are counted.")] = "smollm2",
    item: Annotated[
        str | None, typer.Option(help="The item that is asked about, by its id. Default: the first validation item.")
    ] = None,
    whole: Annotated[bool, typer.Option("--messages", help="Show the whole conversation too.")] = False,
    text: data.Text = None,
    target: data.Target = None,
    id_column: data.IdColumn = None,
    group: data.Group = None,
    kind: data.Kind = None,
    unit: data.Unit = None,
    test_size: data.TestSize = None,
    validation_size: data.ValidationSize = None,
    train_size: data.TrainSize = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and of the examples.")] = 42,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which examples an item would be asked with, in their order, and the tokens that each takes of the prompt."""
    from contextlib import closing

    from rich.console import Console

    from whetstone.cli.output import as_json, write_result
    from whetstone.models import load_model
    from whetstone.prompting.families import family_of
    from whetstone.prompting.library import PromptLibrary
    from whetstone.workflows.shown_shots import shown_prompt

    console = Console(highlight=False)
    problem = data.problem_of(
        source,
        Console(stderr=True),
        text=text,
        target=target,
        id_column=id_column,
        group=group,
        kind=kind,
        unit=unit,
        test_size=test_size,
        validation_size=validation_size,
        train_size=train_size,
        seed=seed,
    )
    template = PromptLibrary().find(prompt or problem.kind, family=family_of(model)).template
    with closing(load_model(model)) as loaded:
        shown = shown_prompt(problem, template, examples, model=loaded, item=item, question=question, seed=seed)
    if json:
        write_result("-", as_json({"model": model, "examples": examples, **shown.to_json()}))
        return
    _print(shown, model, console)
    if whole:
        from whetstone.cli.prompts_show import print_messages

        console.print()
        print_messages(shown.messages, console)


def _print(shown: ShownPrompt, model: str, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.visible import one_line

    console.print(Text.assemble(("Asked about  ", "bold"), f"{shown.case.id}: {one_line(shown.case.text, _SHOWN)}"))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("", "example", "text", "answer"):
        table.add_column(title, overflow="fold")
    table.add_column("tokens", justify="right")
    for number, shot in enumerate(shown.shots, 1):
        tokens = "unknown" if shot.tokens is None else f"{shot.tokens:,}"
        cells = (one_line(shot.case.id), one_line(shot.case.text, _SHOWN), one_line(shot.answer, _SHOWN))
        table.add_row(str(number), *map(Text, cells), tokens)
    console.print(table)
    if shown.tokens is None or shown.bare_tokens is None:
        console.print(Text(f"{model} does not count tokens before it is asked."))
        return
    said = (
        f"The prompt takes {shown.tokens:,} tokens of {model}, {shown.bare_tokens:,} without the examples"
        + (f", and {shown.context_length:,} are there for prompt and reply" if shown.context_length else "")
        + "."
    )
    late = shown.context_length is not None and shown.tokens >= shown.context_length
    console.print(Text(said + (" It does not fit: take fewer examples." if late else ""), "bold red" if late else ""))
