"""The folder in which a curation works: its plan, the journal of finished chunks, and their files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl

from whetstone.curation.blocks import Chunk, Span, find_layout, read_span, spans
from whetstone.curation.cleaning import Cleaned, clean
from whetstone.curation.options import Options
from whetstone.curation.rules.step import Tools
from whetstone.curation.tally import Tally
from whetstone.curation.words import MOST_WORDS, WordTable
from whetstone.storage.files import storage_error, write_atomically
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.tokens.sources import load_tokenizer

# Another number makes every curation begin anew: the rules, or what chunks hold, have changed.
VERSION = 1
FOLDER = ".curation"


@dataclass(frozen=True)
class Plan:
    """What is curated and how; two plans with the same fingerprint give the same data set.

    Attributes:
        files: paths of the source, in order.
        sizes: of the files, bytes.
        changed: when each was last written, nanoseconds.
        options: the choices.
    """

    files: tuple[str, ...]
    sizes: tuple[int, ...]
    changed: tuple[int, ...]
    options: Options

    @staticmethod
    def of(files: Sequence[Path], options: Options) -> Plan:
        """The plan for these files. Links are not followed: in the hub's cache what they lead to has no extension."""
        stats = [path.stat() for path in files]
        return Plan(
            tuple(str(path.absolute()) for path in files),
            tuple(stat.st_size for stat in stats),
            tuple(stat.st_mtime_ns for stat in stats),
            options,
        )

    @property
    def fingerprint(self) -> str:
        """Of the files and the choices; of the version of polars too, whose hashes chunks hold."""
        content = json.dumps([VERSION, pl.__version__, asdict(self)], sort_keys=True, default=str)
        return blake2b(content.encode(), digest_size=16).hexdigest()

    def spans(self) -> list[Span]:
        """What is to be read."""
        return [span for file, path in enumerate(self.files) for span in spans(file, Path(path))]


@dataclass(frozen=True)
class ChunkFiles:
    """Where a finished chunk is kept."""

    kept: Path
    index: Path
    refused: Path

    @staticmethod
    def of(folder: Path, file: int, number: int) -> ChunkFiles:
        """Those of one chunk of one file."""
        stem = f"{file:05d}-{number:06d}"
        return ChunkFiles(*(folder / f"{stem}.{kind}.parquet" for kind in ("kept", "index", "refused")))


class Worker:
    """Cleans chunks and keeps the results; threads may share one.

    Args:
        folder: where chunks are kept.
        plan: what is curated.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self._tools = Tools(plan.options, WordTable(load_tokenizer(plan.options.tokenizer)))

    def read(self, span: Span, skip: frozenset[int]) -> Iterator[Chunk]:
        """The chunks of a span but those that are finished."""
        return read_span(span, find_layout(Path(span.path), dict(self.plan.options.mapping)), skip)

    def finish(self, chunk: Chunk) -> dict[str, Any]:
        """Clean and keep a chunk; its line for the journal."""
        tools = self._tools
        cleaned = clean(chunk, tools)
        if len(tools.words) > MOST_WORDS:
            # Threads that are at work keep the table that they began with.
            self._tools = Tools(tools.options, WordTable(tools.words.tokenizer))
        _keep(cleaned, ChunkFiles.of(self.folder, chunk.file, chunk.number))
        return {"file": chunk.file, "number": chunk.number, "tally": cleaned.tally.to_json()}


def _keep(cleaned: Cleaned, files: ChunkFiles) -> None:
    for frame, path in (
        (cleaned.kept, files.kept),
        (cleaned.index, files.index),
        (cleaned.refused, files.refused),
    ):
        part = path.with_suffix(".part")
        try:
            # Hashes do not get smaller, and trying takes longer than writing them.
            frame.write_parquet(part, compression="uncompressed" if frame is cleaned.index else "lz4")
            os.replace(part, path)
        except OSError as error:
            raise storage_error(path, error) from error


class WorkFolder:
    """The working folder of one curation, kept from its first chunk until the data set is in place.

    Args:
        target: where the data set will be.
        plan: what is curated; what another plan left behind is removed.
    """

    def __init__(self, target: Path, plan: Plan) -> None:
        self.path = target / FOLDER
        self.chunks = self.path / "chunks"
        self._journal_path = self.path / "journal.jsonl"
        self.chunks.mkdir(parents=True, exist_ok=True)
        self.journal = JournalWriter(self._journal_path)
        note = self.path / "plan.json"
        if not note.is_file() or json.loads(note.read_text("utf-8"))["fingerprint"] != plan.fingerprint:
            self.journal.close()
            shutil.rmtree(self.path)
            self.chunks.mkdir(parents=True)
            self.journal = JournalWriter(self._journal_path)
            write_atomically(note, json.dumps({"fingerprint": plan.fingerprint, "files": plan.files}, indent=2))
        self.finished: dict[tuple[int, int], Tally] = {
            (entry["file"], entry["number"]): Tally.from_json(entry["tally"])
            for entry in read_journal(self._journal_path)
        }

    def add(self, entry: dict[str, Any]) -> None:
        """Note a finished chunk."""
        self.journal.append(entry)
        self.finished[entry["file"], entry["number"]] = Tally.from_json(entry["tally"])

    def skip(self, span: Span) -> frozenset[int]:
        """Numbers of the finished chunks of a span's file."""
        return frozenset(number for file, number in self.finished if file == span.file)

    def remove(self) -> None:
        """The data set is in place."""
        self.journal.close()
        shutil.rmtree(self.path)
