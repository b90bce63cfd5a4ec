"""`whet kb sync`: bring a knowledge base up to date with its folder, once or whenever the folder changes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.interrupts import interrupts
from whetstone.cli.kb_options import Engine, Json, Kb, Wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from whetstone.errors import WhetstoneError
    from whetstone.retrieval.chunker import ChunkSettings
    from whetstone.retrieval.plan import Plan
    from whetstone.retrieval.store import Store
    from whetstone.retrieval.sync import SyncResult

_LISTED = 20  # documents of one kind on the terminal
_SIGNS = {"added": "+", "changed": "~", "removed": "-", "renamed": ">", "unreadable": "!"}


def sync(
    folder: Annotated[Path, typer.Argument(help="Folder of documents, with all folders in it.", show_default=False)],
    kb: Kb = "default",
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be done and about how long it would take; do nothing.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on and follow the folder, until Ctrl-C.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Read, chunk and embed every document again: mends a damaged knowledge base, and lets it take another "
            "folder or other chunks. The old state answers meanwhile.",
        ),
    ] = False,
    embedder: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="What turns texts into vectors: minilm, st:NAME_OR_FOLDER, openai:MODEL?base_url=URL. Default: as "
            "before, at first minilm.",
        ),
    ] = None,
    engine: Engine = "local",
    chunk_chars: Annotated[
        int | None,
        typer.Option(
            min=50, metavar="N", help="Characters of a chunk. Default: as before, at first what measured best."
        ),
    ] = None,
    chunk_overlap: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Characters that a chunk repeats of the one before, at most.")
    ] = None,
    wait: Wait = 10.0,
    json: Json = False,
) -> None:
    """Bring a knowledge base up to date with a folder: only what changed is read and embedded.

    The new state appears at once and wholly. Stopped at any moment, the old state goes on answering, and the same
    command goes on from there.
    """
    from whetstone.errors import ModelError, UsageError
    from whetstone.retrieval.agreement import settings_for
    from whetstone.retrieval.library import open_store

    if plan and watch:
        raise UsageError("--plan does nothing and --watch goes on: choose one")
    settings = settings_for(chunk_chars, chunk_overlap)
    store = open_store(kb)
    try:
        if plan:
            _plan(store, folder, embedder, settings, rebuild, json)
            return

        def run(rebuild: bool = rebuild) -> SyncResult:
            from whetstone.cli.kb_progress import shown
            from whetstone.retrieval.sync import sync as run_sync

            with shown() as told:
                return run_sync(
                    store, folder, spec=embedder, chunks=settings, engine=engine, rebuild=rebuild, wait=wait,
                    progress=told,
                )  # fmt: skip

        try:
            with interrupts():
                if watch:
                    _follow(store.name, folder, run, rebuild, json)
                else:
                    _report(store.name, run(), json)
        except ModelError as error:
            kept = "the vectors computed so far are kept, and the same command goes on from there"
            raise type(error)(f"{str(error).rstrip('.')}; {kept}") from error
        except KeyboardInterrupt:
            typer.echo(
                "Stopped. The vectors computed so far are kept, and the state before goes on answering: the same "
                "command goes on from here.",
                err=True,
            )
            raise typer.Exit(1) from None
    finally:
        store.close()


def _plan(
    store: Store, folder: Path, embedder: str | None, chunks: ChunkSettings | None, rebuild: bool, json: bool
) -> None:
    from whetstone.cli.output import as_json, write_result
    from whetstone.retrieval.sync import plan as make_plan

    planned = make_plan(store, folder, spec=embedder, chunks=chunks, rebuild=rebuild)
    if json:
        write_result("-", as_json(_plan_as_dict(store.name, planned)))
        return
    typer.echo(str(planned))
    for kind, paths in (("added", planned.added), ("changed", planned.changed), ("removed", planned.removed)):
        _list(_SIGNS[kind], [(path, "") for path in paths])
    _list(_SIGNS["renamed"], [(new, f"was {old}") for new, old in sorted(planned.renamed.items())])
    if planned.retried:
        _list("?", [(path, "could not be read before: is tried again") for path in planned.retried])
    _skipped(planned.skipped)
    typer.echo("The time is an estimate, by how fast the embedder was here before. Nothing was changed.", err=True)


def _plan_as_dict(name: str, planned: Plan) -> dict[str, Any]:
    return {
        "kb": name,
        "summary": str(planned),
        "added": planned.added,
        "changed": planned.changed,
        "removed": planned.removed,
        "renamed": dict(planned.renamed),
        "retried": planned.retried,
        "unchanged": planned.unchanged,
        "skipped": dict(planned.skipped),
        "estimated_seconds": planned.seconds,
    }


def _follow(name: str, folder: Path, run: Callable[[bool], SyncResult], rebuild: bool, json: bool) -> None:
    from whetstone.cli.visible import visible
    from whetstone.retrieval.watch import follow

    def failed(error: WhetstoneError) -> None:
        typer.echo(f"whet: {visible(str(error))}; it is tried again", err=True)

    first = True

    def once() -> SyncResult:
        return run(rebuild and first)

    typer.echo(f"Following {folder}; Ctrl-C ends it.", err=True)
    try:
        for result in follow(folder, once, failed):
            if first or result.changes:
                _report(name, result, json)
            first = False
    except KeyboardInterrupt:
        typer.echo("Stopped following. The last state is kept.", err=True)


def _report(name: str, result: SyncResult, json: bool) -> None:
    """What a sync did."""
    import sys

    from whetstone.cli.output import as_json, write_result

    if json:
        write_result("-", as_json(_as_dict(name, result)))
        sys.stdout.flush()
        return
    counts = [f"{result.count(kind)} {kind}" for kind in _SIGNS if result.count(kind)]
    typer.echo(f"{', '.join(counts) or 'Nothing changed'}; {result.embedded} chunks embedded; {result.seconds:.1f} s")
    for kind, sign in _SIGNS.items():
        _list(sign, [(change.path, change.detail) for change in result.changes if change.kind == kind])
    told = {change.path for change in result.changes if change.kind == "unreadable"}
    _list(_SIGNS["unreadable"], [(path, why) for path, why in result.problems.items() if path not in told])
    _skipped(result.skipped)
    typer.echo(f"The knowledge base {name} holds {result.documents} documents, {result.chunks} chunks.")
    sys.stdout.flush()


def _as_dict(name: str, result: SyncResult) -> dict[str, Any]:
    return {
        "kb": name,
        "changes": [{"path": one.path, "kind": one.kind, "detail": one.detail} for one in result.changes],
        "problems": dict(result.problems),
        "skipped": dict(result.skipped),
        "documents": result.documents,
        "chunks": result.chunks,
        "embedded": result.embedded,
        "seconds": result.seconds,
        "synced": result.header.synced,
        "state": result.header.state,
    }


def _list(sign: str, entries: list[tuple[str, str]]) -> None:
    from whetstone.cli.visible import one_line

    for path, detail in entries[:_LISTED]:
        typer.echo(f"{sign} {one_line(path)}" + (f" ({one_line(detail, 200)})" if detail else ""))
    if len(entries) > _LISTED:
        typer.echo(f"{sign} and {len(entries) - _LISTED} more; --json lists them all")


def _skipped(skipped: Any) -> None:
    from collections import Counter

    from whetstone.cli.visible import one_line

    reasons = Counter(skipped.values())
    for reason, count in reasons.most_common(_LISTED):
        example = next(path for path, why in skipped.items() if why == reason)
        more = f" and {count - 1} more" if count > 1 else ""
        typer.echo(f"left out: {one_line(example)}{more} ({one_line(reason, 200)})", err=True)
