"""A small knowledge base on real parts: a folder, the packaged embedder, SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from whetstone.embeddings import load_embedder
from whetstone.retrieval.library import open_store
from whetstone.retrieval.sync import sync

HANDBOOK = {
    "leave.md": (
        "# Leave\n\n## Annual leave\n\nEveryone at Hazelworks has 27 days of annual leave a year.\n\n"
        "## Carrying over\n\nUp to five days of leave may be carried over into the next year, until the end of March.\n"
    ),
    "people.md": (
        "# People\n\n## Management\n\nIngrid Solberg is the founder and managing director of Hazelworks.\n\n"
        "## Kitchen\n\nThe kitchen is run by Tomas Berg, who bakes on Fridays.\n"
    ),
    "travel.md": (
        "# Travel\n\nTrains are preferred over flights. A hotel may cost up to 140 euros a night in Norway, "
        "and receipts are handed in within ten days.\n"
    ),
}


def write(folder: Path, documents: Mapping[str, str]) -> Path:
    """The documents as files of a folder."""
    for name, text in documents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def synced(folder: Path, name: str = "handbook") -> None:
    """A knowledge base of a folder, in the home folder of the test."""
    store = open_store(name)
    try:
        sync(store, folder, embedder=load_embedder(), spec="minilm")
    finally:
        store.close()
