"""`whet prompts show`: a prompt's file, what it becomes with values, and what a model sees of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.prompts_values import Variables

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.models import ChatModel
    from whetstone.prompting.library import PromptFile
    from whetstone.types import Message


def show(
    name: Annotated[str, typer.Argument(help="The prompt: reply, reply@2 for a version, reply.t5 for a variant.")],
    var: Variables = None,
    file: Annotated[
        str | None, typer.Option(help="Values from a file (JSON, YAML), or a text; see `whet prompts run`.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Show the text that this model's chat template makes of it, and its tokens."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a prompt: its text, or with values the messages that it becomes, or with a model what that model sees."""
    from contextlib import closing

    from rich.console import Console

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.prompts_files import facts
    from whetstone.cli.prompts_values import rows_of
    from whetstone.models import load_model
    from whetstone.prompting.families import family_of
    from whetstone.prompting.library import PromptLibrary

    library = PromptLibrary()
    prompt = library.find(name, family=family_of(model) if model else None)
    told: dict[str, Any] = {**facts(prompt), "versions": _versions(library.versions(prompt.stem))}
    told["text"] = prompt.template.source
    messages: list[Message] | None = None
    if var or file or model or not prompt.variables:
        rows, several = rows_of(file, var or [], prompt.template)
        if several:
            from whetstone.errors import UsageError

            raise UsageError(f"{file}: one set of values can be shown at a time, and this is a list of {len(rows)}")
        messages = prompt.template.messages(rows[0])
        told["messages"] = messages
    if model is not None and messages is not None:
        with closing(load_model(model)) as loaded:
            told["model"] = model
            told |= _as_seen(loaded, messages)
    if json:
        write_result("-", as_json(told))
        return
    console = Console(highlight=False)
    _print_head(prompt, told, console)
    if messages is None:
        _print_text(told["text"], console)
    elif model is None:
        print_messages(messages, console)
    else:
        _print_seen(told, console)


def _versions(prompts: Sequence[PromptFile]) -> list[dict[str, Any]]:
    return [
        {"version": prompt.version or None, "digest": prompt.digest or None, "path": str(prompt.path)}
        for prompt in prompts
    ]


def _as_seen(model: ChatModel, messages: Sequence[Message]) -> dict[str, Any]:
    """The rendered prompt and its tokens, as far as the model shows them."""
    from whetstone.models import ContextModel, RenderingModel

    return {
        "rendered": model.render(messages) if isinstance(model, RenderingModel) else None,
        "tokens": model.count_tokens(messages) if isinstance(model, ContextModel) else None,
    }


def _print_head(prompt: PromptFile, told: dict[str, Any], console: Console) -> None:
    from rich.text import Text

    from whetstone.cli.visible import one_line

    console.print(Text.assemble((prompt.reference, "bold"), f"  {prompt.source}, {prompt.path}"), soft_wrap=True)
    others = [str(one["version"]) for one in told["versions"] if one["version"] not in (None, prompt.version)]
    facts = [f"digest {prompt.digest}"]
    if others:
        facts.append(f"other versions: {', '.join(others)}")
    console.print(Text("; ".join(facts), style="dim"))
    for sentence in (prompt.description, prompt.notes):
        if sentence:
            console.print(Text(one_line(sentence)))
    console.print()


def _print_text(text: str, console: Console) -> None:
    from rich.text import Text

    from whetstone.cli.visible import visible

    console.print(Text(visible(text.rstrip("\n"))), soft_wrap=True)


def print_messages(messages: Sequence[Message], console: Console) -> None:
    """Print a conversation, a role above each message."""
    from rich.text import Text

    from whetstone.cli.visible import visible
    from whetstone.types import text_of

    for message in messages:
        console.print(Text(message["role"], style="bold cyan"))
        console.print(Text(visible(text_of(message))), soft_wrap=True)
        console.print()


def _print_seen(told: dict[str, Any], console: Console) -> None:
    from rich.text import Text

    from whetstone.cli.visible import visible

    if told["rendered"] is None:
        console.print(Text(f"{told['model']} does not show what it makes of messages; they are sent as they are:"))
        print_messages(told["messages"], console)
        return
    console.print(Text(visible(told["rendered"])), soft_wrap=True)
    if told["tokens"] is not None:
        console.print(Text(f"\n{told['tokens']:,} tokens for {told['model']}", style="dim"))
