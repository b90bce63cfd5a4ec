"""`whet kb reembed`: other vectors for a knowledge base, while the old ones go on serving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.cli.interrupts import interrupts
from whetstone.cli.kb_options import Engine, Json, Kb, Wait

if TYPE_CHECKING:
    from whetstone.retrieval.sync import SyncResult


def reembed(
    embedder: Annotated[
        str,
        typer.Option(metavar="SPEC", help="The new embedder: minilm, st:NAME_OR_FOLDER, openai:MODEL?base_url=URL."),
    ],
    kb: Kb = "default",
    engine: Engine = "local",
    wait: Wait = 10.0,
    json: Json = False,
) -> None:
    """Compute all vectors anew, by another embedder or the same one, and swap them in at once.

    The old index serves until the swap. Stopped at any moment, the same command goes on from there. As another embedder
    may read longer or shorter texts, the folder is then synced.
    """
    from pathlib import Path

    from whetstone.cli.kb_progress import shown
    from whetstone.cli.output import as_json, write_result
    from whetstone.errors import DataError, UsageError
    from whetstone.retrieval.library import open_knowledge
    from whetstone.retrieval.reembed import reembed as run_reembed
    from whetstone.retrieval.sync import sync

    result: SyncResult | None = None
    problem = ""
    with open_knowledge(kb) as knowledge, shown() as told:
        store = knowledge.store
        try:
            with interrupts():
                header, embedded = run_reembed(store, spec=embedder, engine=engine, wait=wait, progress=told)
                try:
                    result = sync(store, Path(header.folder), engine=engine, wait=wait, progress=told)
                except (DataError, UsageError) as error:  # the folder is not there: it is synced when it is
                    problem = str(error)
        except KeyboardInterrupt:
            typer.echo(
                "Stopped. The new vectors computed so far are kept: the same command goes on from here. The old ones "
                "serve until it is done.",
                err=True,
            )
            raise typer.Exit(1) from None
    changed = len(result.changes) if result is not None else 0
    embedded += result.embedded if result is not None else 0
    if json:
        values = {"kb": kb, "embedder": header.embedder, "dimension": header.dimension, "embedded": embedded}
        write_result("-", as_json({**values, "changed_documents": changed, "problem": problem}))
        return
    typer.echo(f"{embedded} vectors computed; the knowledge base {kb} now uses {header.embedder}.")
    if changed:
        typer.echo(f"{changed} documents had changed meanwhile and were synced.")
    if problem:
        typer.echo(f"The folder could not be synced ({problem}): sync it when it is there.", err=True)
