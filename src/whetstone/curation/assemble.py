"""Finished chunks brought together: rows compared, refused twice over or grouped, split, weighted, written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from whetstone.curation.balance import WEIGHT as SAMPLE_WEIGHT
from whetstone.curation.balance import weights
from whetstone.curation.cleaning import CONTENT, CONTENTS, EXACT, MEETING, REASON, RULE, SKETCH, TERM_HASHES
from whetstone.curation.grouping import NONE, Groups, find_groups
from whetstone.curation.listing import CATEGORY, ID, PRICE, STORE, TITLE
from whetstone.curation.minhash import Signatures
from whetstone.curation.options import Options
from whetstone.curation.pairs import compare, meetings
from whetstone.curation.prompts import completion, messages, prompt
from whetstone.curation.rules.length import TOKENS
from whetstone.curation.rules.measures import LENGTHS, WEIGHT
from whetstone.curation.rules.order import DUPLICATE
from whetstone.curation.rules.step import TEXT, VALUE
from whetstone.curation.work import ChunkFiles, Plan, WorkFolder
from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.split import Sizes, split_rows
from whetstone.errors import DataError

SPLITS = ("train", "validation", "test")
REJECTS = "rejects.parquet"
GROUP = "group"
# Rows of one Parquet file, and so of what is held at once while files are written.
SHARD_ROWS = 50_000
# How often splits are drawn until nothing alike straddles them.
_DRAWS = 5
_FILE, _SPLIT = "file", "split"


@dataclass(frozen=True)
class Assembled:
    """The kept rows of all chunks, and what became of each.

    Attributes:
        rows: a row for each row that the rules for rows kept: `file`, `ROW`, `LINE` (in the file), price, category,
            tokens, characters, `split` (null where refused), `group`, `sample_weight`.
        groups: duplicates and groups.
        notes: remarks for the user.
        straddling: pairs of alike rows in training and in another split.
    """

    rows: pl.DataFrame
    groups: Groups
    notes: tuple[str, ...]
    straddling: int

    @property
    def fingerprint(self) -> str:
        """Of what the kept rows say and of their splits, whatever order they are in."""
        kept = self.rows.filter(pl.col(_SPLIT).is_not_null()).select(CONTENTS, _SPLIT).sort(CONTENTS, _SPLIT)
        digest = blake2b(digest_size=16)
        digest.update(kept[CONTENTS].to_numpy().astype(">u8").tobytes())
        digest.update("".join(split[0] for split in kept[_SPLIT].to_list()).encode())
        return digest.hexdigest()


def assemble(work: WorkFolder, plan: Plan) -> Assembled:
    """Compare all kept rows and settle the split and weight of each.

    Raises:
        DataError: no row was kept.
        UsageError: too few rows for the splits.
    """
    chunks = sorted(work.finished)
    rows = pl.concat(_kept_facts(work, chunks))
    if rows.is_empty():
        raise DataError(
            "No row is left after the rules for rows; the rejected rows, each with its reason, are in "
            f"{work.chunks} (*.refused.parquet): check the source and the limits of price and length"
        )
    index = pl.concat(pl.read_parquet(ChunkFiles.of(work.chunks, *chunk).index) for chunk in chunks)
    groups = find_groups(index, rows[VALUE].to_numpy())
    groups, names, notes, straddling = _split(index, groups, plan.options)
    settled = rows.with_columns(
        pl.Series(_SPLIT, names, dtype=pl.String), pl.Series(GROUP, groups.group), index[CONTENTS]
    )
    counted = settled[_SPLIT].eq_missing("train")
    settled = settled.with_columns(weights(settled[CATEGORY], settled[VALUE], counted))
    return Assembled(settled, groups, notes, straddling)


def _split(
    index: pl.DataFrame, groups: Groups, options: Options
) -> tuple[Groups, npt.NDArray[np.object_], tuple[str, ...], int]:
    """Draw the splits and compare the held-out rows with all training rows; rows that are alike after all are joined.

    Of many texts that share boilerplate not every pair was compared, so the first draw may part some that are alike.
    """
    kept = np.flatnonzero(groups.same_as == NONE)
    contents = index[CONTENTS].to_numpy()[kept]
    exact, keys, slots = (index[name].to_numpy() for name in (EXACT, MEETING, SKETCH))
    terms = index[TERM_HASHES]
    for left in reversed(range(_DRAWS)):
        split = split_rows(groups.group[kept], contents, Sizes(options.test, options.validation), options.seed)
        train, held_out = kept[split.train], kept[np.concatenate([split.test, split.validation])]
        known, unknown = (Signatures(exact[rows], keys[rows], slots[rows]) for rows in (train, held_out))
        first, second = meetings(known, unknown)
        pairs = compare(terms, train[first], held_out[second])
        pairs = pairs.where(pairs.alike)
        if not len(pairs) or not left:
            break
        groups = groups.joined(pairs)
    names = np.full(index.height, None, dtype=object)
    for name, places in zip(SPLITS, (split.train, split.validation, split.test), strict=True):
        names[kept[places]] = name
    return groups, names, split.notes, len(pairs)


def _kept_facts(work: WorkFolder, chunks: list[tuple[int, int]]) -> Iterator[pl.DataFrame]:
    """Of every kept row where it is and what the split goes by; rows and lines are counted through each file here."""
    for (file, number), rows, lines in _offsets(work, chunks):
        yield (
            pl.scan_parquet(ChunkFiles.of(work.chunks, file, number).kept)
            .select(
                pl.lit(file, dtype=pl.Int32).alias(_FILE),
                pl.col(ROW) + rows,
                pl.col(LINE) + lines,
                pl.col(VALUE, CATEGORY, TOKENS),
                pl.col(TEXT).str.len_chars().alias("characters"),
            )
            .collect()
        )


def _offsets(work: WorkFolder, chunks: list[tuple[int, int]]) -> Iterator[tuple[tuple[int, int], int, int]]:
    """Each chunk with the rows and the lines of its file that come before it."""
    current, rows, lines = -1, 0, 0
    for chunk in chunks:
        if chunk[0] != current:
            current, rows, lines = chunk[0], 0, 0
        yield chunk, rows, lines
        rows += work.finished[chunk].rows
        lines += work.finished[chunk].lines


def write_splits(work: WorkFolder, plan: Plan, assembled: Assembled, out: Path) -> None:
    """Write `data/` and `messages/` below `out`, a Parquet file for each 50,000 rows of a split."""
    for name in ("data", "messages"):
        (out / name).mkdir(parents=True, exist_ok=True)
    counts = dict(assembled.rows.group_by(_SPLIT).len().iter_rows())
    waiting: dict[str, list[pl.DataFrame]] = {name: [] for name in SPLITS}
    written = dict.fromkeys(SPLITS, 0)

    def flush(name: str, least: int) -> None:
        while sum(frame.height for frame in waiting[name]) >= least:
            frame = pl.concat(waiting[name])
            shard, waiting[name] = frame.head(SHARD_ROWS), [frame.slice(SHARD_ROWS)]
            _write_shard(shard, out, name, written[name], -(-counts.get(name, 0) // SHARD_ROWS))
            written[name] += 1
            if frame.height <= SHARD_ROWS:
                waiting[name] = []
                return

    for frame in _finished_rows(work, plan, assembled):
        for (name,), part in frame.group_by(_SPLIT, maintain_order=True):
            waiting[str(name)].append(part.drop(_SPLIT))
            flush(str(name), SHARD_ROWS)
    for name in SPLITS:
        if waiting[name]:
            flush(name, 1)


def _finished_rows(work: WorkFolder, plan: Plan, assembled: Assembled) -> Iterator[pl.DataFrame]:
    """The kept rows chunk by chunk with every column of the data set."""
    done = 0
    names = [Path(path).name for path in plan.files]
    for file, number in sorted(work.finished):
        kept = pl.read_parquet(ChunkFiles.of(work.chunks, file, number).kept)
        settled = assembled.rows.slice(done, kept.height).select(ROW, LINE, _SPLIT, GROUP, SAMPLE_WEIGHT)
        done += kept.height
        yield (
            pl.concat([kept.drop(ROW, LINE), settled], how="horizontal")
            .filter(pl.col(_SPLIT).is_not_null())
            .select(
                ID,
                TITLE,
                TEXT,
                pl.col(VALUE).alias(PRICE),
                CATEGORY,
                STORE,
                WEIGHT,
                *LENGTHS,
                TOKENS,
                SAMPLE_WEIGHT,
                GROUP,
                pl.lit(names[file]).alias("source"),
                pl.col(ROW).alias("row"),
                prompt(pl.col(TEXT)).alias("prompt"),
                completion(pl.col(VALUE)).alias("completion"),
                _SPLIT,
            )
        )


def _write_shard(frame: pl.DataFrame, out: Path, split: str, number: int, of: int) -> None:
    name = f"{split}-{number:05d}-of-{of:05d}.parquet"
    _write(frame, out / "data" / name)
    talks = frame.select(ID, messages(pl.col(TEXT), pl.col(PRICE)).alias("messages"), SAMPLE_WEIGHT)
    _write(talks, out / "messages" / name)


def _write(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=1, row_group_size=10_000)


def write_rejects(work: WorkFolder, plan: Plan, assembled: Assembled, path: Path) -> int:
    """Write every refused row with its one reason, in the order of the source; how many there are."""
    chunks = sorted(work.finished)
    names = [Path(each).name for each in plan.files]
    parts: list[pl.LazyFrame] = []
    done = 0
    rule, same_as = assembled.groups.rule, assembled.groups.same_as
    for (file, number), rows, lines in _offsets(work, chunks):
        files = ChunkFiles.of(work.chunks, file, number)
        refused = pl.scan_parquet(files.refused).with_columns(pl.col(ROW) + rows, pl.col(LINE) + lines)
        kept = pl.scan_parquet(files.kept).select(pl.len()).collect().item()
        here = np.flatnonzero(same_as[done : done + kept] != NONE)
        if len(here):
            frame = pl.read_parquet(files.kept, columns=[ID, TITLE, TEXT, VALUE])[here]
            where = assembled.rows[here + done]
            original = assembled.rows[same_as[here + done]]
            again = frame.select(
                where[ROW],
                where[LINE],
                ID,
                rule.gather(here + done).alias(RULE),
                _repeat_reason(original, where, names, rule.gather(here + done)).alias(REASON),
                pl.struct(TITLE, TEXT, pl.col(VALUE).alias(PRICE)).struct.json_encode().alias(CONTENT),
            )
            refused = pl.concat([refused, again.lazy()])
        parts.append(refused.sort(ROW).select(pl.lit(names[file]).alias("source"), pl.all()))
        done += kept
    rejects = pl.concat(parts).rename({ROW: "row", LINE: "line"})
    part = path.with_suffix(".part")
    rejects.sink_parquet(part, compression="zstd", compression_level=1, maintain_order=True)
    os.replace(part, path)
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def _repeat_reason(original: pl.DataFrame, row: pl.DataFrame, names: list[str], rule: pl.Series) -> pl.Series:
    """Which row it repeats, and whether at another price."""
    facts = pl.DataFrame(
        {
            "rule": rule,
            "place": original[ROW],
            "name": pl.Series([names[file] for file in original[_FILE].to_list()]),
            "price": original[VALUE],
            "other": original[VALUE] != row[VALUE],
        }
    )
    nearly = pl.when(pl.col("rule") == DUPLICATE).then(pl.lit("")).otherwise(pl.lit("nearly "))
    at = pl.when("other").then(pl.format(", at another price (${})", "price")).otherwise(pl.lit(""))
    return facts.select(pl.format("{}the same text as row {} of {}{}", nearly, "place", "name", at)).to_series()


def put_in_place(out: Path, target: Path) -> None:
    """Move what was written from the working folder to the target; what stands there gives way."""
    for each in sorted(out.iterdir()):
        place = target / each.name
        if place.is_dir():
            shutil.rmtree(place)
        os.replace(each, place)
