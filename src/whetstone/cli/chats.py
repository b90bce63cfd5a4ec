"""`whet chats`: the conversations that are kept: list, search, show, rename, delete, export, import."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from whetstone.chat.store import ConversationStore
    from whetstone.types import Conversation, Turn

app = typer.Typer(help="List, search, show, rename, delete, export and import conversations.", no_args_is_help=False)

_REJECTED_SHOWN = 20

_Id = Annotated[str, typer.Argument(metavar="ID", help="A conversation's id, or the beginning of it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most this many, the latest ones first.")]


@contextlib.contextmanager
def _store() -> Iterator[ConversationStore]:
    from whetstone.chat.store import ConversationStore
    from whetstone.storage.database import open_database

    database = open_database()
    try:
        yield ConversationStore(database)
    finally:
        database.close()


@app.callback(invoke_without_command=True)
def chats(context: typer.Context, limit: _Limit = 20, json: _Json = False) -> None:
    """List, search, show, rename, delete, export and import conversations. Alone, it lists the latest ones."""
    if context.invoked_subcommand is None:
        _list("", limit, json)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Sought in titles and messages, in any script, whatever its case.")],
    limit: _Limit = 20,
    json: _Json = False,
) -> None:
    """List the conversations that hold a text."""
    from whetstone.errors import UsageError

    if not text.strip():
        raise UsageError("nothing to search for: give a text")
    _list(text, limit, json)


def _list(sought: str, limit: int, json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import one_line

    with _store() as store:
        found = store.list(sought, limit + 1)
    if json:
        write_result("-", as_json([_as_dict(conversation) for conversation in found[:limit]]))
        return
    if not found:
        typer.echo(f"No conversation holds {sought!r}." if sought else "There is none yet: `whet chat` begins one.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("id", "changed", "model", "title"):
        table.add_column(column, overflow="fold", no_wrap=column in ("id", "changed"))
    for conversation in found[:limit]:
        table.add_row(
            conversation.id,
            f"{conversation.updated.astimezone():%Y-%m-%d %H:%M}",
            Text(one_line(conversation.model, 40)),
            Text(one_line(conversation.title) or "no title"),
        )
    console = Console()
    console.print(table)
    if len(found) > limit:
        console.print(Text(f"There are more: --limit {limit * 5}", style="dim"))


@app.command()
def show(id: _Id, json: _Json = False) -> None:
    """Show the open branch of a conversation."""
    import sys

    from rich.console import Console

    from whetstone.chat.transfer import to_markdown
    from whetstone.cli.chat_show import say, show_path
    from whetstone.cli.output import as_json, write_result

    with _store() as store:
        conversation = store.get(id)
        path = store.path(conversation.id)
    if json:
        write_result("-", as_json({**_as_dict(conversation), "turns": [_turn_as_dict(turn) for turn in path]}))
    elif sys.stdout.isatty():
        console = Console()
        say(console, f"{conversation.title or 'no title'} · {conversation.id} · {conversation.model}", "bold")
        if conversation.system:
            say(console, f"system: {conversation.system}", "dim")
        console.print()
        show_path(console, path)
    else:
        write_result("-", to_markdown(conversation, path))


@app.command()
def rename(id: _Id, title: Annotated[str, typer.Argument(help="The new title.")]) -> None:
    """Give a conversation another title."""
    from whetstone.errors import UsageError

    if not title.strip():
        raise UsageError("the title is empty: write one")
    with _store() as store:
        store.update(id, title=" ".join(title.split()))


@app.command()
def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Conversations, by id or the beginning of it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete conversations with all their branches. They cannot be brought back."""
    import sys

    from whetstone.cli.visible import one_line
    from whetstone.errors import UsageError

    with _store() as store:
        found = {conversation.id: conversation for conversation in map(store.get, ids)}
        if not yes:
            if not sys.stdin.isatty():
                raise UsageError(f"this deletes {len(found)} of your conversations for good: add --yes")
            for conversation in found.values():
                typer.echo(f"{conversation.id}  {one_line(conversation.title, 60)}")
            if not typer.confirm("Delete for good?", err=True):
                raise typer.Exit(1)
        for conversation in found.values():
            store.delete(conversation.id)
    typer.echo(f"{len(found)} deleted.", err=True)


@app.command()
def export(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Conversations; without any, all of them.")
    ] = None,
    format: Annotated[
        Literal["jsonl", "markdown"],
        typer.Option("--format", "-f", help="jsonl: a line of messages each, to train and evaluate on; or to read."),
    ] = "jsonl",
    output: Annotated[str, typer.Option("--output", "-o", help="A file, or - for standard output.")] = "-",
) -> None:
    """Write the open branch of conversations as messages or as Markdown."""
    from whetstone.chat.transfer import to_jsonl, to_markdown
    from whetstone.cli.output import write_result

    with _store() as store:
        chosen = [store.get(id) for id in ids] if ids else _all(store)
        written = [(to_jsonl if format == "jsonl" else to_markdown)(one, store.path(one.id)) for one in chosen]
    if written or output != "-":
        write_result(output, ("" if format == "jsonl" else "\n").join(written))
    typer.echo(f"{len(written)} exported.", err=True)


@app.command("import")
def import_(
    file: Annotated[
        str,
        typer.Argument(help="ChatGPT's export (zip or conversations.json), ShareGPT, or messages (JSON, JSONL)."),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="Model with which the conversations go on.")] = "smollm2",
    json: _Json = False,
) -> None:
    """Import conversations. What cannot be read is told, and the rest is imported."""
    from pathlib import Path

    from whetstone.chat.transfer import import_conversations
    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import one_line
    from whetstone.models.spec import parse_spec

    with _store() as store:
        report = import_conversations(store, Path(file).expanduser(), str(parse_spec(model)))
    rejected = [{"entry": one.number, "reason": one.reason} for one in report.rejected]
    if json:
        write_result("-", as_json({"added": report.added, "known": report.known, "rejected": rejected}))
    else:
        for entry in rejected[:_REJECTED_SHOWN]:
            typer.echo(f"entry {entry['entry']} rejected: {one_line(str(entry['reason']))}", err=True)
        if len(rejected) > _REJECTED_SHOWN:
            typer.echo(f"and {len(rejected) - _REJECTED_SHOWN} more; --json lists them all", err=True)
        typer.echo(f"{len(report.added)} imported, {report.known} already there, {len(rejected)} rejected.")
    if rejected:
        raise typer.Exit(1)


def _all(store: ConversationStore) -> list[Conversation]:
    found: list[Conversation] = []
    while page := store.list(limit=200, offset=len(found)):
        found.extend(page)
    return found[::-1]


def _as_dict(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "title": conversation.title,
        "model": conversation.model,
        "system": conversation.system,
        "options": conversation.options.model_dump(exclude_none=True, exclude_defaults=True),
        "created": conversation.created.isoformat(),
        "updated": conversation.updated.isoformat(),
    }


def _turn_as_dict(turn: Turn) -> dict[str, Any]:
    from dataclasses import asdict

    told = asdict(turn)
    told["created"] = turn.created.isoformat()
    if turn.origin is not None:
        told["origin"]["options"] = turn.origin.options.model_dump(exclude_none=True, exclude_defaults=True)
    return told
