"""How far a job on a knowledge base is, as bars on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whetstone.retrieval.progress import Progress, Told

_WORDS = {
    "looking": "looking at the folder",
    "reading": "reading documents",
    "embedding": "embedding",
    "saving": "saving the new state",
    "checking": "checking documents",
}


@contextmanager
def shown() -> Iterator[Told]:
    """Something to tell the progress to; it is drawn on standard error, and wiped away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        documents = bars.add_task("", total=None)
        chunks = bars.add_task("chunks", total=None, visible=False)

        def told(progress: Progress) -> None:
            bars.update(
                documents,
                description=_WORDS[progress.stage],
                completed=progress.documents,
                total=progress.documents_total or None,
                visible=bool(progress.documents_total) or not progress.chunks_total,
            )
            bars.update(
                chunks,
                completed=progress.chunks,
                total=progress.chunks_total or None,
                visible=progress.chunks_total > 0,
            )

        yield told
