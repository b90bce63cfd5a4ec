"""One chunk through the rules for rows: what is kept, what is refused, what was done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from whetstone.curation.blocks import Chunk
from whetstone.curation.listing import CATEGORY, CELLS, ID, PARENT, STORE, TITLE
from whetstone.curation.minhash import KEYS, SLOTS, signatures
from whetstone.curation.rules.length import TOKENS, WORDS, flattened
from whetstone.curation.rules.markup import compose
from whetstone.curation.rules.measures import LENGTHS, WEIGHT
from whetstone.curation.rules.order import ON_CELLS, ON_TEXT, READABLE
from whetstone.curation.rules.step import OPENING, TEXT, VALUE, Rule, Step, Tools
from whetstone.curation.tally import EXAMPLES, LENGTH_EDGES, PRICE_EDGES, SHOWN, Tally, difference, histogram
from whetstone.curation.words import as_lists
from whetstone.datasets.cells import LINE, ROW
from whetstone.datasets.duplicates import hashed
from whetstone.datasets.rejects import LONGEST_CELL

RULE, REASON, CONTENT = "rule", "reason", "content"
REFUSED_SCHEMA = {
    ROW: pl.Int64(),
    LINE: pl.Int64(),
    ID: pl.String(),
    RULE: pl.String(),
    REASON: pl.String(),
    CONTENT: pl.String(),
}
KEPT_SCHEMA = {
    ROW: pl.Int64(),
    LINE: pl.Int64(),
    **{name: pl.String() for name in (ID, CATEGORY, STORE, TITLE, TEXT)},
    **{name: pl.Float64() for name in (VALUE, WEIGHT, *LENGTHS)},
    TOKENS: pl.Int32(),
}
# Hashes by which rows are compared.
EXACT, CONTENTS, TITLE_KEY, PARENT_KEY = "exact", "contents", "title", "parent"
MEETING, SKETCH, TERM_HASHES = "keys", "slots", "terms"
INDEX_SCHEMA = {
    **{name: pl.UInt64() for name in (EXACT, CONTENTS, TITLE_KEY, PARENT_KEY)},
    MEETING: pl.Array(pl.UInt64(), KEYS),
    SKETCH: pl.Array(pl.UInt8(), SLOTS),
    TERM_HASHES: pl.List(pl.UInt32()),
}


@dataclass(frozen=True)
class Cleaned:
    """What the rules for rows left of a chunk.

    Attributes:
        kept: the columns of `KEPT_SCHEMA`.
        index: `INDEX_SCHEMA`, a row for each kept one.
        refused: `REFUSED_SCHEMA`.
        tally: what was done.
    """

    kept: pl.DataFrame
    index: pl.DataFrame
    refused: pl.DataFrame
    tally: Tally


def clean(chunk: Chunk, tools: Tools) -> Cleaned:
    """Apply every rule for rows."""
    tally = Tally(rows=chunk.rows, lines=chunk.lines)
    refused = [_broken(chunk, tally)]
    frame = chunk.listings
    _count_categories(frame, tally)
    for rule in ON_CELLS:
        if frame.height:
            frame = _apply(rule, frame, tools, tally, refused, chunk.file)
    if frame.height:
        tally.prices = histogram(frame[VALUE], PRICE_EDGES)
        frame = compose(frame, tools)
        tally.characters = histogram(frame[TEXT].str.len_chars(), LENGTH_EDGES)
    for rule in ON_TEXT:
        if frame.height:
            frame = _apply(rule, frame, tools, tally, refused, chunk.file)
    if frame.is_empty():
        return Cleaned(pl.DataFrame(schema=KEPT_SCHEMA), pl.DataFrame(schema=INDEX_SCHEMA), pl.concat(refused), tally)
    kept = _finished(frame)
    return Cleaned(kept, _index(kept, frame, tools), pl.concat(refused), tally)


def _finished(frame: pl.DataFrame) -> pl.DataFrame:
    """The kept columns, with the title as the text has it now."""
    title = pl.when(OPENING).then(pl.col(TEXT).str.extract(r"^([^\n]*)"))
    labels = pl.col(CATEGORY, STORE).str.replace_all(r"<[^<>]*>", "").str.strip_chars()
    return frame.with_columns(title.alias(TITLE), pl.when(labels != "").then(labels)).select(list(KEPT_SCHEMA))


def _index(kept: pl.DataFrame, frame: pl.DataFrame, tools: Tools) -> pl.DataFrame:
    codes, starts = flattened(frame[WORDS])
    terms, counts = tools.words.terms(codes)
    edges = np.concatenate([[0], np.cumsum(counts)])[starts]
    titles = kept[TITLE].str.to_lowercase().hash()
    parents = frame[PARENT].str.strip_chars().hash()
    named = frame[PARENT].str.strip_chars() != ""
    found = signatures(terms, edges)
    contents = (f"{text}\x1f{price}" for text, price in zip(kept[TEXT].to_list(), kept[VALUE].to_list(), strict=True))
    return pl.DataFrame(
        {
            EXACT: found.whole,
            CONTENTS: hashed(contents, b"row", kept.height),
            TITLE_KEY: titles.set(kept[TITLE].is_null(), None),
            PARENT_KEY: parents.set(~named.fill_null(False), None),
            MEETING: found.keys,
            SKETCH: found.slots,
            TERM_HASHES: as_lists((terms >> np.uint64(32)).astype(np.uint32), edges),
        },
        schema=INDEX_SCHEMA,
    )


def _broken(chunk: Chunk, tally: Tally) -> pl.DataFrame:
    rows = chunk.broken
    if rows:
        tally.refuse(READABLE, pl.Series([each.reason.split(" (")[0] for each in rows]))
    for each in rows[:EXAMPLES]:
        tally.show(READABLE, {"file": chunk.file, "row": each.row, "reason": each.reason, "before": each.text[:SHOWN]})
    return pl.DataFrame(
        [(each.row, each.line, None, READABLE, each.reason, each.text) for each in rows],
        schema=REFUSED_SCHEMA,
        orient="row",
    )


def _count_categories(frame: pl.DataFrame, tally: Tally) -> None:
    counts = frame.group_by(CATEGORY).len().iter_rows()
    tally.categories.update({str(name)[:80] if name else "": count for name, count in counts})


def _apply(
    rule: Rule, frame: pl.DataFrame, tools: Tools, tally: Tally, refused: list[pl.DataFrame], file: int
) -> pl.DataFrame:
    step = rule.apply(frame, tools)
    if step.changed is not None:
        tally.changed[rule.name] += int(step.changed.sum())
        tally.changed.update(step.counts)
        _show_changes(rule.name, frame, step, tally, file)
    if step.reason is None or step.reason.null_count() == len(step.reason):
        return step.frame
    bad = step.reason.is_not_null()
    rows = step.frame.filter(bad).with_columns(
        step.reason.filter(bad).alias(REASON),
        pl.lit(rule.name).alias(RULE),
        pl.struct(pl.col(name).str.slice(0, LONGEST_CELL) for name in CELLS).struct.json_encode().alias(CONTENT),
    )
    tally.refuse(rule.name, rows[REASON])
    for row in rows.head(EXAMPLES).iter_rows(named=True):
        shown = row.get(TEXT) or row[TITLE] or ""
        tally.show(rule.name, {"file": file, "row": row[ROW], "reason": row[REASON], "before": shown[:SHOWN]})
    refused.append(rows.select(list(REFUSED_SCHEMA)))
    return step.frame.filter(~bad)


def _show_changes(rule: str, frame: pl.DataFrame, step: Step, tally: Tally, file: int) -> None:
    assert step.changed is not None
    for at in step.changed.arg_true().head(EXAMPLES).to_list():
        row = frame[ROW][at]
        if step.after == WEIGHT:
            found = {name: step.frame[name][at] for name in (WEIGHT, *LENGTHS)}
            after = ", ".join(f"{name} {value:g}" for name, value in found.items() if value is not None)
            tally.show(rule, {"file": file, "row": row, "before": "", "after": after})
            continue
        before, after = difference(frame[step.before][at], step.frame[step.after][at])
        tally.show(rule, {"file": file, "row": row, "before": before, "after": after})
