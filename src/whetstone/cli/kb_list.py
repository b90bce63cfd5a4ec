"""`whet kb list`, `show` and `delete`: which knowledge bases there are, and what is in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.kb_options import Json, Kb

if TYPE_CHECKING:
    from whetstone.retrieval.store import Header, Store

_LISTED = 100


def list_(json: Json = False) -> None:
    """List the knowledge bases."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import one_line
    from whetstone.retrieval.library import names

    bases = [_summary(name) for name in names()]
    if json:
        write_result("-", as_json(bases))
        return
    if not bases:
        typer.echo("There is none yet: `whet kb sync FOLDER` makes one.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "documents", "chunks", "synced", "embedder", "folder"):
        table.add_column(column, overflow="fold", justify="right" if column in ("documents", "chunks") else "left")
    for base in bases:
        if base["problem"]:
            table.add_row(Text(base["name"]), "", "", "", "", Text(one_line(base["problem"])))
            continue
        table.add_row(
            Text(base["name"]),
            f"{base['documents']:,}",
            f"{base['chunks']:,}",
            _when(base["synced"]),
            Text(one_line(base["embedder_spec"])),
            Text(one_line(base["folder"])),
        )
    Console().print(table)


def show(
    document: Annotated[
        str | None, typer.Argument(help="Path of a document: its chunks. Without one: all documents.")
    ] = None,
    kb: Kb = "default",
    json: Json = False,
) -> None:
    """Show the documents of a knowledge base, or the chunks of one document."""
    from whetstone.retrieval.library import open_knowledge

    with open_knowledge(kb) as knowledge:
        if document is None:
            _show_documents(knowledge.store, knowledge.header, json)
        else:
            _show_chunks(knowledge.store, document, json)


def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Knowledge bases.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete knowledge bases. The documents themselves are not touched."""
    import sys

    from whetstone.errors import UsageError
    from whetstone.retrieval.library import open_store, require

    chosen = list(dict.fromkeys(require(name) for name in names))
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"this deletes {', '.join(chosen)} with all vectors: add --yes")
        if not typer.confirm(f"Delete {', '.join(chosen)} with all vectors? The documents stay.", err=True):
            raise typer.Exit(1)
    for name in chosen:
        store = open_store(name)
        try:
            store.delete()
        finally:
            store.close()
    typer.echo(f"{len(chosen)} deleted.", err=True)


def _summary(name: str) -> dict[str, Any]:
    """A knowledge base in a few values; `problem` says why there are no more."""
    from whetstone.errors import StorageError
    from whetstone.retrieval.library import open_store

    store = open_store(name)
    try:
        header = store.header()
        if header is None:
            return {"name": name, "problem": "its first sync did not begin"}
        return {"name": name, "problem": "", **_facts(store, header)}
    except StorageError as error:
        return {"name": name, "problem": str(error)}
    finally:
        store.close()


def _facts(store: Store, header: Header) -> dict[str, Any]:
    manifest = store.manifest()
    return {
        **asdict(header),
        "where": store.where,
        "documents": len(manifest),
        "chunks": store.count(),
        "unreadable": sum(bool(record.problem) for record in manifest.values()),
    }


def _show_documents(store: Store, header: Header, json: bool) -> None:
    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import one_line

    manifest = store.manifest()
    if json:
        documents = [{**asdict(record), "metadata": dict(record.metadata)} for record in manifest.values()]
        write_result("-", as_json({"name": store.name, **_facts(store, header), "documents": documents}))
        return
    facts = _facts(store, header)
    typer.echo(f"{store.name}: {facts['documents']} documents, {facts['chunks']} chunks, in {store.where}")
    typer.echo(f"from {one_line(header.folder)}, synced {_when(header.synced)}")
    typer.echo(f"vectors by {header.embedder_spec} ({header.embedder}), chunks by version {header.chunker}")
    for record in list(manifest.values())[:_LISTED]:
        problem = f", {one_line(record.problem, 200)}" if record.problem else ""
        typer.echo(f"{one_line(record.path)}: {one_line(record.title, 80)} ({record.chunks} chunks{problem})")
    if len(manifest) > _LISTED:
        typer.echo(f"and {len(manifest) - _LISTED} more; --json lists them all")


def _show_chunks(store: Store, document: str, json: bool) -> None:
    import unicodedata

    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import visible
    from whetstone.registry import unknown_name

    path = unicodedata.normalize("NFC", document)
    manifest = store.manifest()
    if path not in manifest:
        raise unknown_name("document", path, manifest)
    record = manifest[path]
    if json:
        chunks = [{"id": stored.id, **asdict(stored.chunk)} for stored in store.chunks_of(path)]
        values = {**asdict(record), "metadata": dict(record.metadata), "chunks": chunks}
        write_result("-", as_json(values))
        return
    for stored in store.chunks_of(path):
        chunk = stored.chunk
        place = f", {chunk.place}" if chunk.place else ""
        typer.echo(f"--- {chunk.ordinal}: characters {chunk.start} to {chunk.end}{visible(place)}")
        typer.echo(visible(chunk.shown))
    if record.problem:
        typer.echo(visible(record.problem), err=True)


def _when(seconds: float) -> str:
    from datetime import datetime

    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}" if seconds else "never"
