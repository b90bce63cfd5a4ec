"""Rows to tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whetstone.tuning.batches import MicroBatch
from whetstone.tuning.rows import TuneRow

IGNORED = -100  # what transformers takes for "no label here"


@dataclass(frozen=True)
class Collator:
    """Makes one micro-batch of rows.

    Rows of a decoder are padded on the right, and no attention mask is made: a token sees only what is before it, so
    that padding changes nothing, and without a mask attention takes its faster way.

    Attributes:
        pad_id: any valid token id.
        packed: whether rows follow one another in a single line. Their positions begin anew with each, from which
            transformers' models tell that they may not see one another.
    """

    pad_id: int
    packed: bool = False

    def __call__(self, rows: Sequence[TuneRow], micro: MicroBatch) -> dict[str, Any]:
        """Tensors of one micro-batch.

        Args:
            rows: all rows of the run, from which those of the micro-batch are taken.

        Returns:
            input_ids: (b, t), or (1, t) where packed.
            labels: the same shape; `IGNORED` where nothing is learned. Unshifted: the label of a position is its own
                token, as transformers has it. (b, l) for an encoder-decoder.
            weights: the same shape as `labels`, float32; 0 in a stand-in.
            position_ids: (1, t), where packed only.
            attention_mask: (b, t), for an encoder-decoder only.
            targets, number_at: (b,), float64 and int64, where a row has a number to learn; NaN and -1 in rows without.
        """
        import torch

        taken = [rows[row] for row in micro.rows]
        weights = [row.weight if micro.counted else 0.0 for row in taken]
        if taken[0].labels is not None:
            return self._encoder_decoder(taken, weights)
        # The first token has nothing before it from which it could be told.
        labels = [
            [
                IGNORED,
                *(token if learned else IGNORED for token, learned in zip(row.ids[1:], row.learned[1:], strict=True)),
            ]
            for row in taken
        ]
        if self.packed:
            lengths = torch.tensor([len(row.ids) for row in taken])
            return {
                "input_ids": torch.tensor([[token for row in taken for token in row.ids]]),
                "labels": torch.tensor([[label for row in labels for label in row]]),
                "weights": torch.repeat_interleave(torch.tensor(weights), lengths)[None],
                "position_ids": torch.cat([torch.arange(int(length)) for length in lengths])[None],
            }
        found = {
            "input_ids": _padded([row.ids for row in taken], self.pad_id),
            "labels": _padded(labels, IGNORED),
        }
        found["weights"] = torch.tensor(weights)[:, None].expand(found["labels"].shape)
        if any(row.number_at is not None for row in taken):
            found["targets"] = torch.tensor(
                [float("nan") if row.target is None else row.target for row in taken], dtype=torch.float64
            )
            found["number_at"] = torch.tensor([-1 if row.number_at is None else row.number_at for row in taken])
        return found

    def _encoder_decoder(self, taken: Sequence[TuneRow], weights: Sequence[float]) -> dict[str, Any]:
        import torch

        labels = _padded([row.labels or [] for row in taken], IGNORED)
        lengths = torch.tensor([len(row.ids) for row in taken])
        ids = _padded([row.ids for row in taken], self.pad_id)
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1])[None] < lengths[:, None]).long(),
            "labels": labels,
            "weights": torch.tensor(weights)[:, None].expand(labels.shape),
        }


def learned_tokens(row: TuneRow) -> int:
    """Tokens of a row that a loss counts: what is learned, but not a first token, which nothing comes before."""
    return len(row.labels) if row.labels is not None else sum(row.learned[1:])


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Any:
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])
