"""General rows mixed into the training rows, so that a model practises what it knew while it learns its task.

`replay: 0.1` makes one row in ten of the training mix general. They come from a small packaged set of our own writing,
from a file of the user's (in any layout that training data may have), or, with `replay_data: base`, from the base
itself: its own replies to packaged instructions, which hold it where it was without any data (Li & Hoiem 2016,
Learning without Forgetting).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from whetstone.datasets.rejects import Rejects
from whetstone.errors import DataError
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.encoding import Encoder
from whetstone.tuning.formats import LAYOUTS, Example, Talk, Texts, Unusable, recognise
from whetstone.tuning.records import read_records
from whetstone.tuning.replay_base import base_talks
from whetstone.tuning.rows import PackedRows, Progress, TuneData, TuneRow
from whetstone.types import assistant, user

BASE = "base"
FOLDER = Path(__file__).with_name("replay_texts")
_MOST_ROWS = 200_000  # of a user's file: more could not be repeated even once in most runs, and all are held in memory


def with_replay(
    data: TuneData,
    config: TuneConfig,
    tokenizer: Tokenizer,
    *,
    encoder_decoder: bool = False,
    progress: Progress | None = None,
) -> TuneData:
    """The data with general rows behind its training rows, `config.replay` of all; validation stays as it was.

    Raises:
        DataError: the general data cannot be read, or no row of it can be used.
    """
    if config.replay == 0:
        return data
    general, source, unused = _general(config, tokenizer, encoder_decoder, progress)
    rows = list(replayed(general, data.train, config.replay, config.seed))
    whole = PackedRows.of(chain(data.train, rows))
    digest = sha256(data.fingerprint.encode() + PackedRows.of(rows).digest()).hexdigest()
    return replace(
        data, train=whole, fingerprint=digest, remarks=(*data.remarks, *_remarks(general, rows, whole, source, unused))
    )


def replayed(general: Sequence[TuneRow], task: Sequence[TuneRow], share: float, seed: int) -> Iterator[TuneRow]:
    """The general rows of a training mix, the same for the same arguments: whole passes, then a draw of the rest.

    General answers are long and a task's are often a few tokens, so the loss, which counts tokens, would be mostly
    about the general rows. Where it would be, they weigh less: together `share` of it, as they are `share` of the rows.

    Args:
        general: the rows to choose from.
        task: the task's own rows.
        share: of all rows, below 1.
        seed: of the draw.
    """
    count = replay_count(len(task), share)
    passes, rest = divmod(count, len(general))
    drawn = np.random.default_rng(seed).permutation(len(general))[:rest].tolist()
    chosen = [*(n for _ in range(passes) for n in range(len(general))), *sorted(drawn)]
    learned = sum(general[n].learns for n in chosen)
    task_learned = sum(row.learns * row.weight for row in task)
    weight = min(1.0, share / (1 - share) * task_learned / learned) if learned else 1.0
    for n in chosen:
        yield replace(general[n], replay=True, weight=weight)


def replay_count(task_rows: int, share: float) -> int:
    """How many general rows make this share of the mix; at least one."""
    return max(1, round(task_rows * share / (1 - share)))


def packaged() -> Iterator[Example]:
    """The packaged set: short conversations and passages of our own writing."""
    with open(FOLDER / "answered.jsonl", encoding="utf-8") as file:
        for line in file:
            row: dict[str, str] = json.loads(line)
            yield Talk([user(row["instruction"]), assistant(row["reply"])])
    with open(FOLDER / "passages.jsonl", encoding="utf-8") as file:
        for line in file:
            text: str = json.loads(line)["text"]
            middle = text.find(" ", len(text) // 3)
            middle = len(text) // 3 if middle < 0 else middle
            yield Texts(text[:middle], text[middle:])


def _general(
    config: TuneConfig, tokenizer: Tokenizer, encoder_decoder: bool, progress: Progress | None
) -> tuple[list[TuneRow], str, int]:
    """The general rows, what they are in words, and how many could not be used."""
    if config.replay_data is None:
        examples: Sequence[tuple[str, Example]] = [(f"replay:{n}", one) for n, one in enumerate(packaged(), start=1)]
        source, unused = "short answers and passages of our own writing", 0
    elif config.replay_data == BASE:
        talks = base_talks(
            config.base, (FOLDER / "instructions.txt").read_text(encoding="utf-8").splitlines(), progress
        )
        examples, source, unused = (
            [(f"replay:{n}", one) for n, one in enumerate(talks, start=1)],
            "the base's own replies",
            0,
        )
    else:
        examples, unused = _from_file(config.replay_data)
        source = config.replay_data
    encoder = Encoder(tokenizer, encoder_decoder, config.completion_only_loss, config.max_length)
    rows = []
    for (where, _), encoded in zip(examples, encoder.encode([example for _, example in examples]), strict=True):
        if isinstance(encoded, Unusable):
            unused += 1
            continue
        row = TuneRow(encoded.ids, encoded.learned, encoded.labels, where=where, replay=True)
        if row.learns:
            rows.append(row)
        else:
            unused += 1
    if not rows:
        raise DataError(f"replay_data: {source}: none of its {unused:,} rows can be used as training rows")
    return rows, source, unused


def _from_file(path: str) -> tuple[list[tuple[str, Example]], int]:
    """The examples of a user's file, and how many of its rows are none.

    Raises:
        DataError: it cannot be read, or its layout is not known.
    """
    rejects = Rejects(path)
    columns, records = read_records(path, rejects)
    layout = recognise(columns)
    if layout is None:
        known = "; ".join(", ".join(each.needs) for each in LAYOUTS)
        raise DataError(
            f"replay_data: {path} has the columns {', '.join(columns[:40])}, and general rows are recognised by {known}"
        )
    examples: list[tuple[str, Example]] = []
    unused = 0
    for row, line, cells in records:
        if len(examples) == _MOST_ROWS:
            raise DataError(f"replay_data: {path} has more than {_MOST_ROWS:,} rows; give a sample of it")
        try:
            examples.append((f"{path}:{line or row}", layout.read(cells)))
        except Unusable:
            unused += 1
    return examples, unused + len(rejects)


def _remarks(
    general: Sequence[TuneRow], rows: Sequence[TuneRow], whole: Sequence[Any], source: str, unused: int
) -> Iterator[str]:
    """What was mixed in, and how far that can carry."""
    times = len(rows) / len(general)
    often = f"each {times:.1f} times" if times > 1 else "none of them twice"
    weight = rows[0].weight
    yield (
        f"replay: {len(rows):,} of {len(whole):,} training rows are general, drawn from {len(general):,} ({source}), "
        f"{often}" + (f"; each weighs {weight:.2g}, because its answer is longer than the task's" if weight < 1 else "")
    )
    if unused:
        yield f"replay: {unused:,} general rows could not be used"
    tokens = sum(row.learns for row in general)
    if source.startswith(("short answers", "the base")):
        yield (
            f"replay: this set is tiny ({tokens:,} learned tokens). It reminds a model of how it answers; it cannot "
            "stand for what it was trained on. For more, name a file: replay_data: FILE.jsonl"
        )
