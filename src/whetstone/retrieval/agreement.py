"""Whether a sync may go on with a knowledge base as its header describes it: embedders and chunkers are never mixed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path

from whetstone.embeddings import Embedder, load_embedder
from whetstone.errors import StorageError, UsageError
from whetstone.retrieval.chunker import Chunker, ChunkSettings
from whetstone.retrieval.store import Header, Store

__all__ = [
    "DEFAULT_EMBEDDER",
    "Base",
    "chosen_embedder",
    "chunker_for",
    "cut_for_another_tokenizer",
    "examine",
    "settings_for",
]

DEFAULT_EMBEDDER = "minilm"

_ANOTHER_TOKENIZER = "tokens=?"  # in `Header.chunker`: cut for an embedder that is not in use any more


@dataclass(frozen=True)
class Base:
    """What a sync builds on.

    Attributes:
        header: of the knowledge base; None if there is none, or none that can be read.
        agreed: the header that the new state will have.
        embedder, chunker: to go on with.
        new: whether the store is to be created, over what may be there.
        everything: whether every document is to be read again.
    """

    header: Header | None
    agreed: Header
    embedder: Embedder
    chunker: Chunker
    new: bool
    everything: bool


def examine(
    store: Store,
    folder: Path,
    embedder: Embedder | None,
    spec: str | None,
    chunks: ChunkSettings | None,
    *,
    rebuild: bool,
) -> Base:
    """Look at what is there, and settle how to go on. Nothing is changed. The arguments are those of `sync.sync`.

    Raises:
        UsageError: it would mix; the sentence says what to do.
        StorageError: the store cannot be read, and is not to be rebuilt.
    """
    damaged = False
    try:
        header = store.header()
        damaged = rebuild and header is not None and next(iter(store.faults()), None) is not None
    except StorageError:
        if not rebuild:
            raise
        header, damaged = None, True
    if embedder is None:
        embedder, spec = chosen_embedder(header, spec)
    elif spec is None:
        spec = header.embedder_spec if header is not None else embedder.name
    chunker = chunker_for(header, embedder, chunks)
    wanted = Header(folder_of(folder), embedder.name, spec, embedder.dimension, chunker.version)
    if header is None or damaged:
        return Base(header, wanted, embedder, chunker, new=True, everything=False)
    if not header.synced:  # its first sync did not end: nothing is there to be mixed with
        same = replace(header, state=0, embedder_spec=spec) == wanted
        return Base(header, replace(wanted, state=header.state), embedder, chunker, new=not same, everything=False)
    if not rebuild:
        _refuse_mixing(store.name, header, wanted)
    _refuse_another_embedder(store.name, header, wanted)
    agreed = replace(header, folder=wanted.folder, chunker=wanted.chunker, embedder_spec=spec)
    everything = rebuild or header.chunker != chunker.version
    return Base(header, agreed, embedder, chunker, new=False, everything=everything)


def folder_of(folder: Path) -> str:
    """A folder as a header names it: absolute, links resolved."""
    return str(folder.expanduser().resolve())


def chosen_embedder(header: Header | None, spec: str | None) -> tuple[Embedder, str]:
    """The embedder that was asked for, else the one that the header names, else the default; and its spec.

    Raises:
        UnknownNameError: there is no such embedder.
        MissingPackageError: it needs a package that is not installed.
    """
    spec = spec or (header.embedder_spec if header is not None else DEFAULT_EMBEDDER)
    return load_embedder(spec), spec


def settings_for(characters: int | None, overlap: int | None) -> ChunkSettings | None:
    """Chunk settings of a size, in the proportions of the default ones; None if neither is given.

    Args:
        characters: of a chunk; None for the default size.
        overlap: characters that a chunk repeats of the one before, at most.

    Raises:
        UsageError: chunks cannot be so small, or overlap so much.
    """
    if characters is None and overlap is None:
        return None
    usual = ChunkSettings()
    target = usual.target if characters is None else characters
    longest = target * usual.longest // usual.target
    return ChunkSettings(
        target=target,
        longest=longest,
        overlap=overlap or 0,
        least=target * usual.least // usual.target,
        trail=min(usual.trail, longest // 2),
    )


def chunker_for(header: Header | None, embedder: Embedder, settings: ChunkSettings | None) -> Chunker:
    """A chunker of the settings that were asked for, else of those in the header, else of the default ones."""
    if settings is None and header is not None:
        settings = _settings_of(header.chunker)
    return Chunker(embedder.count_tokens, embedder.max_tokens, settings)


def _refuse_mixing(name: str, header: Header, wanted: Header) -> None:
    _refuse_another_embedder(name, header, wanted)
    if header.folder != wanted.folder:
        raise UsageError(
            f"The knowledge base {name} follows {header.folder}, not {wanted.folder}: choose another one with --kb, or "
            "add --rebuild to follow this folder from now on"
        )
    if _without_tokens(header.chunker) != _without_tokens(wanted.chunker):
        raise UsageError(
            f"The chunks of the knowledge base {name} were made otherwise (version {header.chunker}; now it would be "
            f"{wanted.chunker}): add --rebuild to chunk every document again"
        )


def _refuse_another_embedder(name: str, header: Header, wanted: Header) -> None:
    if (header.embedder, header.dimension) != (wanted.embedder, wanted.dimension):
        raise UsageError(
            f"The vectors of the knowledge base {name} were made by {header.embedder}, not by {wanted.embedder}: "
            f"`whet kb reembed --kb {name} --embedder {wanted.embedder_spec}` makes them anew"
        )


def cut_for_another_tokenizer(chunker: str) -> str:
    """The version of a chunker, marked: after a change of embedder the documents are to be chunked again."""
    return " ".join(_ANOTHER_TOKENIZER if part.startswith("tokens=") else part for part in chunker.split())


def _without_tokens(version: str) -> list[str]:
    return [part for part in version.split() if not part.startswith("tokens=")]


def _settings_of(version: str) -> ChunkSettings | None:
    """The settings that a version names; None when it names other ones than today's, which is then refused."""
    said = dict(part.split("=", 1) for part in version.split() if "=" in part)
    names = {field.name for field in dataclasses.fields(ChunkSettings)}
    if set(said) - {"tokens"} != names or not all(said[name].isdigit() for name in names):
        return None
    return ChunkSettings(**{name: int(said[name]) for name in names})
