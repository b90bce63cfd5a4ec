"""`whet tokens vocab`: what a vocabulary is like, and looking tokens up in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.tokens_input import Json, Tokenizers

if TYPE_CHECKING:
    from rich.console import Console

    from whetstone.tokens.tokenizer import Tokenizer
    from whetstone.tokens.vocabulary import By, Entry


def vocab(
    query: Annotated[
        str | None, typer.Argument(help="What is sought; without it, the vocabulary is described.")
    ] = None,
    tokenizer: Tokenizers = None,
    regex: Annotated[bool, typer.Option("--regex", help="QUERY is a regular expression.")] = False,
    id: Annotated[bool, typer.Option("--id", help="QUERY is ids and ranges: 42 or 0-16,100.")] = False,
    bytes: Annotated[bool, typer.Option("--bytes", help="QUERY is bytes in hexadecimal: F0 9F.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Tokens to show at most.")] = 50,
    json: Json = False,
) -> None:
    """Look tokens up by text, regular expression, id or bytes; or describe a vocabulary and its habits."""
    from rich.console import Console

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.tokens_input import mistakes, tokenizers_of
    from whetstone.errors import UsageError
    from whetstone.tokens.vocabulary import search

    chosen: list[By] = [by for by, wanted in (("regex", regex), ("id", id), ("bytes", bytes)) if wanted]  # type: ignore[misc]
    if len(chosen) > 1:
        raise UsageError("give one of --regex, --id and --bytes")
    if chosen and query is None:
        raise UsageError(f"--{chosen[0]} needs a query")
    console = Console(highlight=False)
    views: list[dict[str, Any]] = []
    for each in tokenizers_of(tokenizer):
        if query is None:
            facts = _facts(each)
            views.append(facts)
            if not json:
                _print_facts(console, facts)
            continue
        with mistakes():
            found = list(search(each, query, by=chosen[0] if chosen else "text"))
        views.append(
            {"tokenizer": each.name, "found": len(found), "tokens": [_as_values(entry) for entry in found[:limit]]}
        )
        if not json:
            _print_found(console, each, found, limit)
    if json:
        write_result("-", as_json({"query": query, "tokenizers": views}))


def _as_values(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "spelling": entry.spelling,
        "shown": entry.shown,
        "bytes": entry.bytes.hex(),
        "kind": entry.kind,
    }


def _print_found(console: Console, tokenizer: Tokenizer, found: list[Entry], limit: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.tokens_render import EVEN, KINDS, counted
    from whetstone.tokens.pieces import visible_text

    console.print(Text(tokenizer.name, "bold").append(f"  {counted(len(found), 'token')} found", "not bold"))
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("id", justify="right")
    for column in ("token", "spelling", "bytes", "kind"):
        table.add_column(column, overflow="fold")
    for entry in found[:limit]:
        table.add_row(
            str(entry.id),
            Text(entry.shown, KINDS.get(entry.kind, EVEN)),
            Text(visible_text(entry.spelling)),
            entry.bytes.hex(" ").upper(),
            "" if entry.kind == "text" else entry.kind,
        )
    if found:
        console.print(table)
    if len(found) > limit:
        console.print(f"… and {len(found) - limit:,} more: --limit shows more.", style="dim")


def _facts(tokenizer: Tokenizer) -> dict[str, Any]:
    from dataclasses import asdict

    from whetstone.tokens.tokenizer_habits import boundary_habit, digit_habit
    from whetstone.tokens.vocabulary import entries

    kinds: dict[str, int] = {}
    longest: Entry | None = None
    for entry in entries(tokenizer):
        kinds[entry.kind] = kinds.get(entry.kind, 0) + 1
        if entry.kind == "text" and (longest is None or len(entry.bytes) > len(longest.bytes)):
            longest = entry
    return {
        "tokenizer": tokenizer.name,
        "source": tokenizer.source,
        "kind": tokenizer.kind,
        "size": tokenizer.vocab_size,
        "kinds": kinds,
        "special_tokens": dict(tokenizer.special_tokens),
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "adds_bos": tokenizer.adds_bos,
        "adds_eos": tokenizer.adds_eos,
        "around": boundary_habit(tokenizer),
        "digits": str(digit_habit(tokenizer)),
        "chat_template": tokenizer.template is not None,
        "longest": None if longest is None else _as_values(longest),
        "added": [asdict(token) for token in tokenizer.added],
    }


def _print_facts(console: Console, facts: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from whetstone.tokens.pieces import visible_text

    console.print(
        Text(facts["tokenizer"], "bold").append(f"  {facts['size']:,} tokens, from {facts['kind']}", "not bold")
    )
    kinds = facts["kinds"]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    lines = {
        "whole characters": f"{kinds.get('text', 0):,}",
        "parts of characters": f"{kinds.get('bytes', 0):,}",
        "control tokens": f"{kinds.get('control', 0):,}",
        "other added tokens": f"{kinds.get('added', 0):,}",
        "numbers are cut": facts["digits"],
        "add_special_tokens": facts["around"],
        "roles": ", ".join(f"{role} {spelling}" for role, spelling in facts["special_tokens"].items()) or "none named",
        "chat template": "yes" if facts["chat_template"] else "none: a base model, or the template is elsewhere",
    }
    if facts["longest"] is not None:
        lines["longest token"] = f"{facts['longest']['shown'][:100]} ({facts['longest']['id']})"
    for name, value in lines.items():
        table.add_row(name, Text(value))
    console.print(table)
    shown = [f"{visible_text(token['text'])} {token['id']}" for token in facts["added"]]
    if shown:
        console.print(Text("added  ", "bold").append("  ".join(shown[:40]), "not bold"))
    if len(shown) > 40:
        console.print(f"… and {len(shown) - 40:,} more: --json lists all.", style="dim")
    console.print()
