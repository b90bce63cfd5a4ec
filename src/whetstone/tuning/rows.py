"""Training rows as token ids, with what is learned of each; a million of them in a few arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import sha256
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from whetstone.datasets.rejects import Reject
from whetstone.numeric.grid import Grid
from whetstone.prompting.price import PricePrompt
from whetstone.tokens.chat import RenderedChat
from whetstone.types import Problem

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many rows of it are done, and of how many; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class TuneRow:
    """One row.

    Attributes:
        ids: all tokens; for an encoder-decoder, the encoder's input.
        learned: which of `ids` are learned, same length; for an encoder-decoder none is.
        labels: for an encoder-decoder, the tokens that the decoder learns.
        target: the number that is asked for, where the problem asks for one.
        number_at: where in `ids` the number begins, which is where the prompt ends; for an encoder-decoder None.
        weight: how much the row counts in the loss.
        where: what messages call it: "train.jsonl:17".
        cut: characters that were cut from the end of its text to keep it within the limit.
        replay: whether it is general data that is mixed in, and not the task's own.
    """

    ids: list[int]
    learned: list[bool]
    labels: list[int] | None = None
    target: float | None = None
    number_at: int | None = None
    weight: float = 1.0
    where: str = ""
    cut: int = 0
    replay: bool = False

    @property
    def tokens(self) -> int:
        """Tokens that the model reads and writes."""
        return len(self.ids) + len(self.labels or ())

    @property
    def learns(self) -> int:
        """Tokens that are learned."""
        return sum(self.learned) if self.labels is None else len(self.labels)


@dataclass(frozen=True)
class _Columns:
    """Facts of rows, each of shape (n,); the tokens of row i begin at `start[i]` of the flat arrays.

    `written` is the number of labels, -1 for none; `target` is NaN and `number_at` -1 where there is none.
    """

    start: Ints
    length: Ints
    label_start: Ints
    written: Ints
    learns: Ints
    target: Floats
    number_at: Ints
    weight: Floats
    cut: Ints
    replay: npt.NDArray[np.bool_]

    def take(self, positions: Ints) -> _Columns:
        return _Columns(*(getattr(self, each.name)[positions] for each in fields(self)))


class PackedRows(Sequence[TuneRow]):
    """Rows in flat arrays: five bytes a token, where lists take forty. A row is built when it is asked for."""

    def __init__(self, tokens: _Tokens, columns: _Columns, where: list[str]) -> None:
        self._tokens, self._columns, self._where = tokens, columns, where

    @classmethod
    def of(cls, rows: Iterable[TuneRow]) -> PackedRows:
        """These rows, packed."""
        builder = RowBuilder()
        for row in rows:
            builder.add(row)
        return builder.finish()

    def __len__(self) -> int:
        return len(self._where)

    @overload
    def __getitem__(self, index: int) -> TuneRow: ...
    @overload
    def __getitem__(self, index: slice) -> PackedRows: ...
    def __getitem__(self, index: int | slice) -> TuneRow | PackedRows:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        facts = self._columns
        here = slice(facts.start[index], facts.start[index] + facts.length[index])
        there = slice(facts.label_start[index], facts.label_start[index] + max(facts.written[index], 0))
        target, number_at = float(facts.target[index]), int(facts.number_at[index])
        return TuneRow(
            ids=self._tokens.ids[here].tolist(),
            learned=self._tokens.learned[here].tolist(),
            labels=None if facts.written[index] < 0 else self._tokens.labels[there].tolist(),
            target=None if np.isnan(target) else target,
            number_at=None if number_at < 0 else number_at,
            weight=float(facts.weight[index]),
            where=self._where[index],
            cut=int(facts.cut[index]),
            replay=bool(facts.replay[index]),
        )

    @property
    def lengths(self) -> Ints:
        """Tokens of each row that the model reads (`ids`), shape (n,)."""
        return self._columns.length

    @property
    def label_lengths(self) -> Ints:
        """Tokens of each row's `labels`, shape (n,); all 0 for decoders."""
        return np.maximum(self._columns.written, 0)

    @property
    def learns(self) -> Ints:
        """Tokens of each row that are learned, shape (n,)."""
        return self._columns.learns

    @property
    def targets(self) -> Floats:
        """The number that each row asks for, shape (n,); NaN where it asks for none."""
        return self._columns.target

    @property
    def prompt_lengths(self) -> Ints:
        """Tokens in front of each row's number, shape (n,); all of `ids` where there is none, or it has its own."""
        return np.where(self._columns.number_at < 0, self._columns.length, self._columns.number_at)

    @property
    def cut(self) -> Ints:
        """Characters that were cut from each row's text, shape (n,)."""
        return self._columns.cut

    def where(self, index: int) -> str:
        """What messages call a row."""
        return self._where[index]

    def take(self, positions: Ints) -> PackedRows:
        """The rows at these positions, in this order; the tokens are shared, not copied."""
        return PackedRows(self._tokens, self._columns.take(positions), [self._where[n] for n in positions.tolist()])

    def weighted(self, weights: Floats) -> PackedRows:
        """The same rows with other weights, shape (n,)."""
        return PackedRows(self._tokens, replace(self._columns, weight=weights), self._where)

    def digest(self) -> bytes:
        """sha256 over tokens, masks, targets and weights of all rows in their order."""
        found = sha256()
        for row in range(len(self)):
            facts = self._columns
            start, end = facts.start[row], facts.start[row] + facts.length[row]
            begin = facts.label_start[row]
            found.update(self._tokens.ids[start:end].tobytes())
            found.update(np.packbits(self._tokens.learned[start:end]).tobytes())
            found.update(self._tokens.labels[begin : begin + max(facts.written[row], 0)].tobytes())
        for column in (self._columns.length, self._columns.written, self._columns.target, self._columns.weight):
            found.update(np.ascontiguousarray(column).tobytes())
        return found.digest()


@dataclass(frozen=True)
class _Tokens:
    ids: npt.NDArray[np.int32]
    learned: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int32]


class RowBuilder:
    """Rows that come one by one, packed as they come."""

    def __init__(self) -> None:
        self._ids, self._learned, self._labels = _Growing(np.int32), _Growing(np.bool_), _Growing(np.int32)
        self._facts = [_Growing(np.int64) for _ in range(6)]  # length, written, learns, number_at, cut, replay
        self._reals = [_Growing(np.float64) for _ in range(2)]  # target, weight
        self._where: list[str] = []

    def add(self, row: TuneRow) -> None:
        """Append one."""
        self._ids.extend(row.ids)
        self._learned.extend(row.learned)
        self._labels.extend(row.labels or ())
        written = -1 if row.labels is None else len(row.labels)
        number_at = -1 if row.number_at is None else row.number_at
        facts = (len(row.ids), written, row.learns, number_at, row.cut, int(row.replay))
        for column, fact in zip(self._facts, facts, strict=True):
            column.extend((fact,))
        for column, real in zip(self._reals, (np.nan if row.target is None else row.target, row.weight), strict=True):
            column.extend((real,))
        self._where.append(row.where)

    def finish(self) -> PackedRows:
        """All of them. The builder is empty afterwards."""
        length, written, learns, number_at, cut, replay = (column.array() for column in self._facts)
        target, weight = (column.array() for column in self._reals)
        starts, label_starts = np.cumsum(length) - length, np.cumsum(np.maximum(written, 0)) - np.maximum(written, 0)
        columns = _Columns(
            starts, length, label_starts, written, learns, target, number_at, weight, cut, replay.astype(np.bool_)
        )
        tokens = _Tokens(self._ids.array(), self._learned.array(), self._labels.array())
        where, self._where = self._where, []
        return PackedRows(tokens, columns, where)


class _Growing:
    """An array that is appended to, without a Python object for each number that it holds for long."""

    _PIECE = 1 << 18

    def __init__(self, dtype: type[np.generic]) -> None:
        self._dtype = dtype
        self._done: list[npt.NDArray[Any]] = []
        self._waiting: list[Any] = []

    def extend(self, values: Iterable[Any]) -> None:
        self._waiting.extend(values)
        if len(self._waiting) >= self._PIECE:
            self._flush()

    def _flush(self) -> None:
        self._done.append(np.array(self._waiting, dtype=self._dtype))
        self._waiting = []

    def array(self) -> npt.NDArray[Any]:
        self._flush()
        whole = np.concatenate(self._done)
        self._done = []
        return whole


@dataclass(frozen=True)
class TuneData:
    """What a run trains on.

    Attributes:
        train: the rows to learn from.
        validation: rows that are only measured on; empty where there are too few.
        fingerprint: hex digest over every row's tokens, mask, target and weight, and over the form.
        rejects: rows that are not trained on, each with its reason.
        problem: where the source is a problem, the problem, with its own validation and test cases.
        form: where it asks for a number, the form in which it asks; evaluation must use the same.
        grid: the candidate numbers, likewise.
        remarks: sentences for the user.
        kept_texts: the first training rows as text, tokens and mask, to be shown; an encoder-decoder's answer follows
            its input.
        source: the file, folder or data set, as messages name it.
        layout: what its rows were recognised as, in words.
        chats: whether the rows went through the model's chat template.
    """

    train: Sequence[TuneRow]
    validation: Sequence[TuneRow]
    fingerprint: str
    rejects: Sequence[Reject] = ()
    problem: Problem | None = None
    form: PricePrompt | None = None
    grid: Grid | None = None
    remarks: Sequence[str] = ()
    kept_texts: Sequence[RenderedChat] = ()
    source: str = ""
    layout: str = ""
    chats: bool = False
