"""`whet kb search`: what a knowledge base finds for a question, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli.kb_options import Json, Kb
from whetstone.cli.kb_searching import Diversity, Mode, Neighbours, Passages, PathPattern, Rerank, Where

if TYPE_CHECKING:
    from whetstone.retrieval.search import Hit


def search(
    text: Annotated[str, typer.Argument(help="A question or a few words; `-` reads a pipe.")],
    kb: Kb = "default",
    k: Passages = 10,
    where: Where = None,
    path: PathPattern = "",
    mode: Mode = "hybrid",
    rerank: Rerank = "",
    diversity: Diversity = 0.0,
    neighbours: Neighbours = 0,
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts behind each score.")] = False,
    json: Json = False,
) -> None:
    """Find the passages of a knowledge base that fit a question, best first.

    Chunks that stand next to each other are shown as one passage; all passages together have at most 400 characters for
    each that is asked for, so that there may be fewer.
    """
    import sys

    from whetstone.cli.kb_searching import Setup, filter_of, opened
    from whetstone.cli.output import as_json, write_result

    question = sys.stdin.read() if text == "-" else text
    wanted = filter_of(where, path)
    with opened(Setup(kb, mode, k, rerank, diversity, neighbours)) as (_, find):
        hits = find(question, wanted)
    if json:
        write_result("-", as_json({"question": question, "hits": [_as_json(hit) for hit in hits]}))
    elif not hits:
        typer.echo("Nothing was found." if not wanted else "Nothing was found among the documents that were asked for.")
    else:
        _show(hits, explain)


def _as_json(hit: Hit) -> dict[str, Any]:
    best, chunks = hit.chunk, hit.chunks
    return {
        "path": best.path,
        "title": best.title,
        "trail": chunks[0].chunk.trail,
        "place": chunks[0].chunk.place,
        "start": chunks[0].chunk.start,
        "end": chunks[-1].chunk.end,
        "score": hit.score,
        "dense": hit.dense,
        "keyword": hit.keyword,
        "coverage": hit.coverage,
        "matched": list(hit.matched),
        "text": hit.shown,
    }


def _show(hits: Sequence[Hit], explain: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from whetstone.cli.visible import one_line, visible

    console = Console(highlight=False)
    for rank, hit in enumerate(hits, start=1):
        place = hit.chunks[0].chunk.place
        where = one_line(" · ".join(part for part in (hit.chunk.path, place) if part))
        console.print(Text(f"{rank:>2}  {hit.score:.3f}  ", "bold").append(where, "cyan"))
        if explain:
            console.print(Text(_reasons(hit), "dim"))
        console.print(Text(visible(hit.shown)), end="\n\n")


def _reasons(hit: Hit) -> str:
    from whetstone.cli.visible import one_line

    words = f" ({one_line(', '.join(hit.matched))})" if hit.matched else ""
    return (
        f"    dense {hit.dense:.3f} (cosine), keyword {hit.keyword:.2f} (BM25), "
        f"coverage {hit.coverage:.0%} of the terms{words}"
    )
