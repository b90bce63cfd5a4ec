"""Training rows as token ids, with what is learned of each; a million of them in a few arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from whetstone.prompting.price import PricePrompt
from whetstone.tokens.chat import RenderedChat
from whetstone.types import Problem


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
class Reject:
    """A row that is not trained on: where it is, and why."""

    where: str
    reason: str


class PackedRows(Sequence[TuneRow]):
    """Rows in flat arrays: five bytes a token, where lists take forty. A row is built when it is asked for.

    Attributes:
        lengths: tokens of each row that the model reads (`ids`), shape (n,).
        label_lengths: tokens of each row's `labels`, shape (n,); all 0 for decoders.
        learns: tokens of each row that are learned, shape (n,).
        weights: of each row, shape (n,).
        cut: characters cut from each row's text, shape (n,).
        replay: whether each row is general data, shape (n,).
    """

    def __init__(self, rows: Iterable[TuneRow] = ()) -> None:
        ids, learned, labels = _Growing(np.int32), _Growing(np.bool_), _Growing(np.int32)
        facts: list[tuple[int, int, int, float, int, float, int, bool]] = []
        self._where: list[str] = []
        for row in rows:
            ids.extend(row.ids)
            learned.extend(row.learned)
            labels.extend(row.labels or ())
            written = -1 if row.labels is None else len(row.labels)
            target = np.nan if row.target is None else row.target
            number_at = -1 if row.number_at is None else row.number_at
            facts.append((len(row.ids), written, row.learns, target, number_at, row.weight, row.cut, row.replay))
            self._where.append(row.where)
        self._ids, self._learned, self._labels = ids.array(), learned.array(), labels.array()
        columns: list[Any] = list(zip(*facts, strict=True)) if facts else [()] * 8
        self.lengths: npt.NDArray[np.int64] = np.array(columns[0], dtype=np.int64)
        self._written: npt.NDArray[np.int64] = np.array(columns[1], dtype=np.int64)
        self.label_lengths: npt.NDArray[np.int64] = np.maximum(self._written, 0)
        self.learns: npt.NDArray[np.int64] = np.array(columns[2], dtype=np.int64)
        self._target: npt.NDArray[np.float64] = np.array(columns[3], dtype=np.float64)
        self._number_at: npt.NDArray[np.int64] = np.array(columns[4], dtype=np.int64)
        self.weights: npt.NDArray[np.float64] = np.array(columns[5], dtype=np.float64)
        self.cut: npt.NDArray[np.int64] = np.array(columns[6], dtype=np.int64)
        self.replay: npt.NDArray[np.bool_] = np.array(columns[7], dtype=np.bool_)
        self._starts = np.r_[0, np.cumsum(self.lengths)]
        self._label_starts = np.r_[0, np.cumsum(self.label_lengths)]

    def __len__(self) -> int:
        return len(self._where)

    @overload
    def __getitem__(self, index: int) -> TuneRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[TuneRow]: ...
    def __getitem__(self, index: int | slice) -> TuneRow | list[TuneRow]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        here = slice(self._starts[index], self._starts[index + 1])
        there = slice(self._label_starts[index], self._label_starts[index + 1])
        target, number_at = float(self._target[index]), int(self._number_at[index])
        return TuneRow(
            ids=self._ids[here].tolist(),
            learned=self._learned[here].tolist(),
            labels=None if self._written[index] < 0 else self._labels[there].tolist(),
            target=None if np.isnan(target) else target,
            number_at=None if number_at < 0 else number_at,
            weight=float(self.weights[index]),
            where=self._where[index],
            cut=int(self.cut[index]),
            replay=bool(self.replay[index]),
        )

    def where(self, index: int) -> str:
        """What messages call a row."""
        return self._where[index]


class _Growing:
    """An array that is appended to piece by piece, without a Python object for each number."""

    _PIECE = 1 << 20

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
        self._done = [whole]
        return whole


@dataclass(frozen=True)
class TuneData:
    """What a run trains on.

    Attributes:
        train: the rows to learn from.
        validation: rows that are only measured on; empty where there are too few.
        fingerprint: hex digest over every row's tokens, mask, target and weight, and over the form.
        source: the file, folder or data set, as messages name it.
        layout: what its rows were recognised as, in words.
        rejects: rows that are not trained on.
        remarks: sentences for the user.
        kept_texts: the first training rows as text, tokens and mask, to be shown.
        problem: where the source is a problem, the problem, with its own validation and test cases.
        form: where it asks for a number, the form in which it asks; evaluation must use the same.
        chats: whether the rows went through the model's chat template.
    """

    train: Sequence[TuneRow]
    validation: Sequence[TuneRow]
    fingerprint: str
    source: str = ""
    layout: str = ""
    rejects: Sequence[Reject] = ()
    remarks: Sequence[str] = ()
    kept_texts: Sequence[RenderedChat] = ()
    problem: Problem | None = None
    form: PricePrompt | None = None
    chats: bool = False
