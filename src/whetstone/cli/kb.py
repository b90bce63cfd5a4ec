"""`whet kb`: knowledge bases made of folders of documents. A module per command."""

from __future__ import annotations

import typer

from whetstone.cli import kb_ask, kb_eval, kb_fsck, kb_list, kb_reembed, kb_search, kb_sync

app = typer.Typer(
    no_args_is_help=True,
    help="Knowledge bases: sync a folder of documents, search it, ask it, and prove that it is true to the folder.",
)
app.command("sync")(kb_sync.sync)
app.command("search")(kb_search.search)
app.command("eval")(kb_eval.evaluate)
app.command("list")(kb_list.list_)
app.command("show")(kb_list.show)
app.command("ask")(kb_ask.ask)
app.command("fsck")(kb_fsck.fsck)
app.command("reembed")(kb_reembed.reembed)
app.command("delete")(kb_list.delete)
