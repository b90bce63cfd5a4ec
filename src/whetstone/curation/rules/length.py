"""Rules that look at words: part numbers scrubbed, the length budget in tokens, minimum content."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from whetstone.curation.rules.step import TEXT, Step, Tools
from whetstone.curation.words import Positions, WordTable
from whetstone.tokens.tokenizer import Tokenizer

WORDS = "words"
TOKENS = "tokens"

# A word of more tokens than this that reaches over the budget is cut inside: it is no word but a text without blanks.
_LONG_WORD = 24


def flattened(lists: pl.Series) -> tuple[npt.NDArray[np.uint32], Positions]:
    """The elements of all lists, and where each list begins; one longer than the lists. No list may be empty."""
    starts = np.concatenate([[0], np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)])
    return lists.explode().to_numpy(), starts


def scrub_part_numbers(frame: pl.DataFrame, tools: Tools) -> Step:
    """Takes out part numbers, and adds the words of each text by their numbers."""
    text, words = frame[TEXT], tools.words.codes(frame[TEXT])
    codes, starts = flattened(words)
    parts = np.flatnonzero(tools.words.holds_part(codes))
    changed = pl.repeat(False, len(text), eager=True)
    if len(parts):
        named = pl.DataFrame({"row": np.searchsorted(starts, parts, side="right") - 1, "code": codes[parts]})
        found = named.group_by("row", maintain_order=True).agg("code")
        rows = found["row"]
        scrubbed = [
            tools.words.without_parts(each, numbers)
            for each, numbers in zip(text.gather(rows).to_list(), found["code"].to_list(), strict=True)
        ]
        new = pl.Series(TEXT, scrubbed, dtype=pl.String)
        text, changed = text.scatter(rows, new), changed.scatter(rows, True)
        words = _put(words, rows, tools.words.codes(new))
    return Step(frame.with_columns(text.alias(TEXT), words.alias(WORDS)), changed=changed)


def _put(lists: pl.Series, rows: pl.Series, new: pl.Series) -> pl.Series:
    """Lists with new ones in some rows."""
    place = pl.int_range(len(lists), eager=True).scatter(rows, np.arange(len(rows)) + len(lists))
    return pl.concat([lists, new]).gather(place)


def cut_to_budget(frame: pl.DataFrame, tools: Tools) -> Step:
    """Cuts texts that have more tokens than the budget, at the end of a word, and adds the number of tokens."""
    most = tools.options.max_tokens
    if not tools.words.adds_up:
        return _cut_whole_texts(frame, tools.words, most)
    text = frame[TEXT]
    codes, starts = flattened(frame[WORDS])
    tokens = tools.words.tokens(codes)
    leading = tools.words.leading(text)
    tokens[starts[:-1]] = tools.words.leading_tokens(codes[starts[:-1]], leading)
    so_far, total = _running(tokens, starts)
    kept = np.add.reduceat(so_far <= most, starts[:-1], dtype=np.int64)
    rows = np.flatnonzero(total > most)
    if not len(rows):
        counted = frame.with_columns(pl.Series(TOKENS, total, dtype=pl.Int32))
        return Step(counted, changed=pl.repeat(False, len(text), eager=True))
    crossing = starts[rows] + kept[rows]
    inside = tokens[crossing] > _LONG_WORD
    total[rows] = np.where(kept[rows] > 0, so_far[crossing - 1], 0)
    length = np.where(kept > 0, np.add.reduceat(tools.words.characters(codes) * (so_far <= most), starts[:-1]) - 1, 0)
    cut = frame.with_columns(
        pl.Series(TOKENS, total, dtype=pl.Int32),
        pl.Series("_length", length),
        pl.Series("_kept", kept),
    ).with_columns(pl.col(TEXT).str.slice(0, pl.col("_length")), pl.col(WORDS).list.head(pl.col("_kept")))
    if inside.any():
        cut = _cut_inside(cut, text, pl.Series(rows[inside]), tools.words, most)
    return Step(
        cut.drop("_length", "_kept"), changed=pl.repeat(False, len(text), eager=True).scatter(pl.Series(rows), True)
    )


def _running(values: npt.NDArray[np.int32], starts: Positions) -> tuple[Positions, Positions]:
    """The sum of each stretch so far at each of its values, and at its end."""
    sums = np.cumsum(values, dtype=np.int64)
    before = np.concatenate([[0], sums])[starts]
    return sums - np.repeat(before[:-1], np.diff(starts)), np.diff(before)


def _cut_inside(cut: pl.DataFrame, text: pl.Series, rows: pl.Series, words: WordTable, most: int) -> pl.DataFrame:
    """With some rows cut within a word."""
    found = [cut_text(words.tokenizer, each, most) for each in text.gather(rows).to_list()]
    new = pl.Series(TEXT, [text for text, _ in found], dtype=pl.String)
    return cut.with_columns(
        cut[TEXT].scatter(rows, new),
        _put(cut[WORDS], rows, words.codes(new)).alias(WORDS),
        cut[TOKENS].scatter(rows, pl.Series([tokens for _, tokens in found], dtype=pl.Int32)),
    )


def cut_text(tokenizer: Tokenizer, text: str, most: int) -> tuple[str, int]:
    """The beginning of a text that has at most so many tokens, no character halved; and its tokens."""
    encoding = tokenizer.encode(text)
    kept = len(encoding.ids)
    while kept > most:
        # Cut before a token that begins a character; a cut text may be split up otherwise, so it is counted again.
        end = encoding.offsets[most][0]
        text = text[:end].rstrip()
        encoding = tokenizer.encode(text)
        kept = len(encoding.ids)
        most -= kept > most
    return text, kept


def _cut_whole_texts(frame: pl.DataFrame, words: WordTable, most: int) -> Step:
    """The same for a tokenizer whose tokens reach over blanks: every text is encoded."""
    text = frame[TEXT]
    counts = np.fromiter(map(len, words.tokenizer.encode_ids_many(text.to_list())), np.int32, len(text))
    cut = frame.with_columns(pl.Series(TOKENS, counts))
    rows = pl.Series(np.flatnonzero(counts > most))
    if len(rows):
        cut = _cut_inside(cut, text, rows, words, most)
    return Step(cut, changed=pl.repeat(False, len(text), eager=True).scatter(rows, True))


def enough_content(frame: pl.DataFrame, tools: Tools) -> Step:
    """Refuses texts that are too short to tell a price from."""
    least = tools.options.min_characters
    characters = pl.col(TEXT).str.len_chars()
    reason = frame.select(
        pl.when(characters == 0)
        .then(pl.lit("no text"))
        .when(characters < least)
        .then(pl.format("too short: {} characters, {} are wanted", characters, pl.lit(str(least))))
        .when(~pl.col(TEXT).str.contains(r"[\p{L}\p{N}]"))
        .then(pl.lit("a text without a word"))
        .alias("reason")
    ).to_series()
    return Step(frame, reason=reason)
