"""What `whet kb search` and `whet kb eval` share: options of a search, and the search that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from whetstone.errors import UsageError

if TYPE_CHECKING:
    from whetstone.retrieval.document import Filter
    from whetstone.retrieval.library import Knowledge
    from whetstone.retrieval.search import Hit

Mode = Annotated[
    Literal["hybrid", "dense", "keyword"],
    typer.Option(help="hybrid fuses meaning and words; dense and keyword rank by one of them alone."),
]
Passages = Annotated[int, typer.Option("-k", min=1, help="How many passages.")]
Rerank = Annotated[
    str,
    typer.Option(metavar="SPEC", help="Read the best ones again: hf:NAME is a cross-encoder, llm:MODEL a chat model."),
]
Diversity = Annotated[
    float, typer.Option(min=0, max=1, help="How much a passage loses that is like a better one, from 0 to 1.")
]
Neighbours = Annotated[int, typer.Option(min=0, help="Chunks before and behind each passage that are shown with it.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="NAME=VALUE", help="Only documents with that metadata, as type=pdf. Repeatable."),
]
PathPattern = Annotated[
    str, typer.Option("--path", metavar="PATTERN", help="Only documents whose path fits, as contracts/*.md.")
]


@dataclass(frozen=True)
class Setup:
    """One way to search, as options say it."""

    kb: str = "default"
    mode: str = "hybrid"
    k: int = 10
    rerank: str = ""
    diversity: float = 0.0
    neighbours: int = 0

    def with_(self, changes: str) -> Setup:
        """This with other settings: "NAME=VALUE,NAME=VALUE"; a word without "=" is a knowledge base.

        Raises:
            UsageError: no such setting, or a value that it cannot have.
        """
        changed: dict[str, Any] = {}
        for change in changes.split(","):
            name, equals, value = (part.strip() for part in change.partition("="))
            if not equals:
                name, value = "kb", name
            kind = _KINDS.get(name)
            if kind is None or not value:
                raise UsageError(
                    f"{change.strip()!r} is no setting: write a knowledge base, or {', '.join(_KINDS)} = …"
                )
            try:
                changed[name] = kind(value)
            except ValueError:
                raise UsageError(f"{change.strip()!r}: {value!r} is no number") from None
        return replace(self, **changed)

    def named(self, other: Setup) -> str:
        """What tells it from another: "kb=a, mode=dense"."""
        differing = [name for name in _KINDS if getattr(self, name) != getattr(other, name)]
        return ", ".join(f"{name}={getattr(self, name) or 'none'}" for name in differing) or f"kb={self.kb}"


_KINDS: dict[str, Callable[[str], str | int | float]] = {
    "kb": str,
    "mode": str,
    "k": int,
    "rerank": str,
    "diversity": float,
    "neighbours": int,
}


@contextmanager
def opened(setup: Setup) -> Iterator[tuple[Knowledge, Callable[[str, Filter], list[Hit]]]]:
    """A knowledge base and what searches it that way; both are closed at the end."""
    from whetstone.retrieval.library import open_knowledge
    from whetstone.retrieval.rerank import load_reranker
    from whetstone.retrieval.search import Search, SearchSettings

    mode: Any = setup.mode  # SearchSettings checks it
    settings = SearchSettings(mode=mode, diversity=setup.diversity, neighbours=setup.neighbours)
    with open_knowledge(setup.kb) as knowledge:
        reranker = load_reranker(setup.rerank) if setup.rerank else None
        try:
            search = Search(knowledge.store, lambda: knowledge.embedder, settings, reranker=reranker)
            yield knowledge, lambda question, where: search.find(question, setup.k, where)
        finally:
            if reranker is not None:
                reranker.close()


def filter_of(where: Sequence[str] | None, path: str) -> Filter:
    """The filter of --where and --path.

    Raises:
        UsageError: a condition is not NAME=VALUE, or one name has two values.
    """
    from whetstone.retrieval.document import Filter

    metadata: dict[str, str] = {}
    for condition in where or ():
        name, equals, value = condition.partition("=")
        if not equals or not name:
            raise UsageError(f"--where {condition}: write NAME=VALUE, as in --where type=pdf")
        if metadata.get(name, value) != value:
            raise UsageError(f"--where: {name} cannot be {metadata[name]} and {value} at once")
        metadata[name] = value
    return Filter(metadata, path)
