"""What a run minimises, over rows in any number of micro-batches and processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whetstone.errors import DataError, UsageError
from whetstone.models.hf_live import LiveModel
from whetstone.numeric.problem_grid import number_grid
from whetstone.numeric.scoring import number_trie
from whetstone.tuning.batches import Ints
from whetstone.tuning.collator import learned_tokens
from whetstone.tuning.config import TuneConfig
from whetstone.tuning.loss import causal_loss, seq2seq_loss
from whetstone.tuning.raft import RaftLoss, check_raft
from whetstone.tuning.rows import PackedRows, TuneData, TuneRow
from whetstone.types import Case, Problem


@dataclass(frozen=True)
class Objective:
    """The loss of a run.

    Attributes:
        encoder_decoder: what kind of model it is.
        kl_weight: how much the divergence from the base counts beside it.
        raft: the error of numbers, where it is minimised instead of their cross-entropy.
    """

    encoder_decoder: bool
    kl_weight: float = 0.0
    raft: RaftLoss | None = None

    def __call__(self, model: Any, batch: Mapping[str, Any], totals: tuple[float, float]) -> Any:
        """The share of a micro-batch in the loss of its effective batch: a float32 scalar with its gradient.

        Args:
            batch: as a `Collator` makes it, on the model's device.
            totals: of the effective batch, see `totals`.
        """
        if self.raft is not None:
            return self.raft(model, batch, *totals, kl_weight=self.kl_weight)
        kind = seq2seq_loss if self.encoder_decoder else causal_loss
        return kind(model, batch, totals[0], self.kl_weight)

    def lengths(self, rows: Sequence[TuneRow]) -> Ints:
        """Tokens of each row in memory, as `BatchOrder` wants them."""
        if isinstance(rows, PackedRows):
            read, written = rows.lengths, rows.label_lengths
        else:
            read = np.array([len(row.ids) for row in rows], dtype=np.int64)
            written = np.array([len(row.labels or ()) for row in rows], dtype=np.int64)
        if self.encoder_decoder:
            return np.stack([read, written], axis=1)
        return read + (self.raft.tokens_per_row if self.raft is not None else 0)


def totals(rows: Iterable[TuneRow]) -> tuple[float, float]:
    """What losses are divided by: tokens that are learned, and rows that ask for a number; at least 1 each."""
    learned = asking = 0
    for row in rows:
        learned += learned_tokens(row)
        asking += row.number_at is not None and row.target is not None
    return float(max(learned, 1)), float(max(asking, 1))


def check_rows(rows: Sequence[TuneRow], *, raft: bool) -> None:
    """Check that every row teaches something.

    Args:
        raft: whether numbers are learned by their error.

    Raises:
        DataError: a row has nothing to learn, or no number where one has to be; the sentence says which row.
    """
    if not len(rows):
        raise DataError("There are no rows to train on")
    for number, row in enumerate(rows):
        where = row.where or f"row {number + 1}"
        if learned_tokens(row) == 0:
            raise DataError(
                f"{where}: nothing of it is learned: its answer is empty, or was cut off, or the template hides it; "
                "correct the row, or leave it out"
            )
        if row.target is not None and not np.isfinite(row.target):
            raise DataError(f"{where}: its number is {row.target}; correct the row, or leave it out")
        if raft and not row.replay and (row.target is None or row.number_at is None):
            raise DataError(f"{where}: loss: raft learns numbers, and this row has none; write loss: cross_entropy")


def make_objective(config: TuneConfig, data: TuneData, model: Any, *, encoder_decoder: bool, pad_id: int) -> Objective:
    """The loss that a configuration asks for.

    Raises:
        UsageError: the data or the model does not go with it.
    """
    if config.loss != "raft":
        return Objective(encoder_decoder, config.kl_weight)
    if data.form is None:
        raise UsageError("loss: raft needs rows that ask for a number (a problem with a number to guess)")
    known = np.array([row.target for row in data.train if row.target is not None], dtype=np.float64)
    problem = data.problem or Problem(
        "rows", "number", "number", "mae", [Case(str(n), "", float(v)) for n, v in enumerate(known)], (), (), ""
    )
    trie = number_trie(LiveModel(config.base, model), number_grid(problem), data.form.label)
    longest = max(len(row.ids) for row in data.train)
    check_raft(model, longest, trie, pad_id)
    # In units of the spread, so that a learning rate suits numbers of any size.
    scale = float(known.std()) or 1.0
    loss = RaftLoss(trie, config.raft_error, scale=scale, cross_entropy=config.raft_cross_entropy)
    return Objective(encoder_decoder, config.kl_weight, loss)
