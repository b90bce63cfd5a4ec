"""`whet kb fsck`: prove that a knowledge base is true to its folder, or say where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whetstone.cli.kb_options import Json, Kb

_LISTED = 50


def fsck(
    kb: Kb = "default",
    folder: Annotated[
        Path | None, typer.Option(help="The folder, if it was moved. Default: the one that was synced.")
    ] = None,
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Compute every vector again, not only a sample of 512: as long as a first sync."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Chooses the sample.")] = 0,
    json: Json = False,
) -> None:
    """Compare manifest, store and disk; list every fault, and exit with 1 if there is any.

    Every file is read and chunked again, and vectors are computed again. Nothing is changed.
    """
    from whetstone.cli.kb_progress import shown
    from whetstone.cli.output import as_json, write_result
    from whetstone.cli.visible import one_line
    from whetstone.retrieval.fsck import check, cure
    from whetstone.retrieval.library import open_store, require

    name = require(kb)
    store = open_store(name)
    try:
        with shown() as told:
            faults = list(check(store, folder, deep=deep, seed=seed, progress=told))
        remedy = cure(store, faults)
    finally:
        store.close()
    if json:
        listed = [{"kind": fault.kind, "where": fault.where, "detail": fault.detail} for fault in faults]
        write_result("-", as_json({"kb": name, "deep": deep, "faults": listed, "cure": remedy}))
    else:
        for fault in faults[:_LISTED]:
            typer.echo(f"{fault.kind}: {one_line(fault.where)}: {one_line(fault.detail, 300)}")
        if len(faults) > _LISTED:
            typer.echo(f"and {len(faults) - _LISTED} more; --json lists them all")
        if faults:
            typer.echo(f"{len(faults)} fault{'s' if len(faults) != 1 else ''}: {remedy}")
        else:
            typer.echo(f"The knowledge base {name} is true to its folder.")
    if faults:
        raise typer.Exit(1)
