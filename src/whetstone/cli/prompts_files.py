"""`whet prompts list`, `diff`, `new` and `save`: the library's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from whetstone.prompting.library import PromptFile

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_BODIES = {
    "text": "\n---\n{{ text }}\n\n{% if question %}{{ question }}{% else %}What is the {{ target }}?{% endif %}\n",
    "label": '\n---\n{{ text }}\n\nWhich of these is it: {{ labels | join(", ") }}?\n',
    "number": "\n---\n{{ text }}\n\nWhat is the {{ target }}{% if unit_name %} in {{ unit_name }}{% endif %}?\n",
}
_VARIABLES = {"text": "text, question, target", "label": "text, labels", "number": "text, target, unit_name"}


def list_(json: Json = False) -> None:
    """List every prompt: its version, where it stands, its variables and what it is for.

    The package's own come first, then those of your home folder (WHETSTONE_HOME/prompts), then those of ./prompts; of
    two prompts of one name the latter holds.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import one_line
    from whetstone.prompting.library import PromptLibrary

    prompts = PromptLibrary().list()
    if json:
        write_result("-", as_json([facts(prompt) for prompt in prompts]))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("prompt", "version", "from", "variables", ""):
        table.add_column(title, overflow="fold")
    for prompt in prompts:
        name = f"{prompt.name}.{prompt.family}" if prompt.family else prompt.name
        told = Text(one_line(prompt.problem), style="red") if prompt.problem else Text(one_line(prompt.description))
        version = str(prompt.version or "")
        table.add_row(Text(name), version, prompt.source, Text(", ".join(prompt.variables)), told)
    Console().print(table)


def diff(
    a: Annotated[str, typer.Argument(help="A prompt, or a version of it: reply@1.")],
    b: Annotated[
        str | None, typer.Argument(help="Another one. Default: the newest version of the same prompt.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what changed from one prompt or version to another. Exits with 1 where something did."""
    from rich.console import Console
    from rich.text import Text

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import visible
    from whetstone.prompting.library import PromptLibrary

    library = PromptLibrary()
    one, other = library.find(a), library.find(b or a.partition("@")[0])
    changed = library.diff(a, other.reference)
    if json:
        write_result("-", as_json({"a": facts(one), "b": facts(other), "diff": changed}))
    elif changed:
        console = Console(highlight=False)
        for line in changed.splitlines():
            style = {"-": "red", "+": "green", "@": "cyan"}.get(line[:1], "")
            console.print(Text(visible(line), style), soft_wrap=True)
    else:
        typer.echo(f"{one.reference} and {other.reference} are the same")
    if changed:
        raise typer.Exit(1)


def new(
    name: Annotated[str, typer.Argument(help="What to call it: reply, mail/reply; reply.t5 for a variant.")],
    template: Annotated[
        str | None, typer.Option("--from", help="Begin with the text of this prompt instead of an empty one.")
    ] = None,
    kind: Annotated[
        str, typer.Option(help="What an answer is: text, label or number. It fits the problems of `whet compare`.")
    ] = "text",
    description: Annotated[str, typer.Option(help="What it is for, in a sentence.")] = "",
) -> None:
    """Write a new prompt, to be edited in any editor, and say where it is.

    It goes to ./prompts where that folder exists, else to WHETSTONE_HOME/prompts.
    """
    import yaml

    from whetstone.errors import UsageError
    from whetstone.prompting.library import PromptLibrary
    from whetstone.prompting.prompt_file import Reference
    from whetstone.prompting.template import with_version
    from whetstone.registry import unknown_name

    if kind not in _BODIES:
        raise unknown_name("kind of answer", kind, list(_BODIES))
    library = PromptLibrary()
    if library.next_version(name) > 1:
        raise UsageError(
            f"There is a prompt {name} already, at {library.find(name).path}: edit it, or keep a new text with "
            f"`whet prompts save {name} FILE`"
        )
    own = Reference.parse(name).name.rpartition("/")[2]
    if template is not None:
        source = with_version(library.find(template).template.source, 1, own)
    else:
        told = yaml.safe_dump({"description": description}, allow_unicode=True, width=1_000) if description else ""
        head = f"---\nname: {own}\nversion: 1\nkind: {kind}\nvariables: [{_VARIABLES[kind]}]\n{told}"
        source = head.rstrip("\n") + _BODIES[kind]
    saved = library.save(name, source)
    typer.echo(f"{saved.reference}: {saved.path}")


def save(
    name: Annotated[str, typer.Argument(help="The prompt; a new one is made where there is none.")],
    file: Annotated[str, typer.Argument(help="File with the text, or - for standard input.")],
    raise_version: Annotated[
        bool, typer.Option("--raise-version", help="Write the next free version into its head.")
    ] = False,
) -> None:
    """Keep a changed text as a new version of a prompt; the version before stays beside it."""
    import sys
    from pathlib import Path

    from whetstone.prompting.library import PromptLibrary
    from whetstone.prompting.template import decoded, read_text_file, with_version

    library = PromptLibrary()
    if file == "-":
        source = decoded(sys.stdin.buffer.read(), "standard input", "template")
    else:
        source = read_text_file(Path(file), file, "template")
    if raise_version:
        source = with_version(source, library.next_version(name))
    saved = library.save(name, source)
    typer.echo(f"{saved.reference}: {saved.path}")


def facts(prompt: PromptFile) -> dict[str, Any]:
    """A prompt as JSON-ready values."""
    return {
        "name": prompt.name,
        "family": prompt.family or None,
        "version": prompt.version or None,
        "digest": prompt.digest or None,
        "kind": None if prompt.problem else prompt.kind,
        "variables": list(prompt.variables),
        "description": prompt.description,
        "notes": prompt.notes,
        "source": prompt.source,
        "path": str(prompt.path),
        "problem": prompt.problem or None,
    }
