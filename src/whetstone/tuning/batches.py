"""Which rows are trained on together, step by step.

An effective batch is a random sample of the rows, as in plain shuffled training: nothing is sorted across batches. Only
inside one are rows of like length put together into micro-batches, which are computed one after the other and whose
gradients are summed: padding goes, and what the optimizer sees does not change.

The order is a function of its arguments alone. A run can go on at any step without replaying what was before, and
several processes share each effective batch among them: together they see the rows that a single one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError

Ints = npt.NDArray[np.int64]

# What one more micro-batch costs besides its tokens, in tokens: layers are started one by one, whatever they hold.
# Measured with SmolLM2-135M on two CPU cores; a GPU waits for some thousand tokens' time on its launches.
OVERHEAD_TOKENS = {"cpu": 24}
OVERHEAD_TOKENS_GPU = 2048


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows of one forward and backward pass.

    Attributes:
        rows: numbers of rows, the longest first.
        tokens: what they take in memory, padding included.
        counted: False for a stand-in, which gives a process without rows of its own something to compute while the
            others do: its loss has to be multiplied by 0.
    """

    rows: tuple[int, ...]
    tokens: int
    counted: bool = True


@dataclass(frozen=True)
class BatchOrder:
    """The order of a run.

    Attributes:
        lengths: tokens of each row, shape (n,), or (n, parts) where parts are padded apart: an encoder's input and a
            decoder's. What a loss appends to each row (the nodes of a number tree) has to be in it.
        seed: of the shuffling.
        batch_size: rows of an effective batch; the last one of an epoch has what is left.
        micro_batch_tokens: most tokens of a micro-batch, padding included; a longer row runs alone.
        processes: how many share each effective batch.
        overhead: what a micro-batch costs besides its tokens, in tokens; see `OVERHEAD_TOKENS`.
        packed: whether the rows of a micro-batch follow one another in a single line, without padding.

    Raises:
        UsageError: there are no rows, or a size is below 1.
    """

    lengths: Ints
    seed: int
    batch_size: int
    micro_batch_tokens: int
    processes: int = 1
    overhead: int = OVERHEAD_TOKENS["cpu"]
    packed: bool = False

    def __post_init__(self) -> None:
        if not len(self.lengths):
            raise UsageError("there are no rows to train on")
        for name in ("batch_size", "micro_batch_tokens", "processes"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it has to be at least 1")

    @property
    def steps_per_epoch(self) -> int:
        """Effective batches that it takes to see every row once."""
        return -(-len(self.lengths) // self.batch_size)

    def rows(self, epoch: int, step: int) -> Ints:
        """The rows of an effective batch, over all processes.

        Args:
            step: counted from 0 within the epoch.
        """
        if not 0 <= step < self.steps_per_epoch:
            raise IndexError(f"step {step} of an epoch of {self.steps_per_epoch}")
        start = step * self.batch_size
        return _shuffled(len(self.lengths), self.seed, epoch)[start : start + self.batch_size]

    def micro_batches(self, epoch: int, step: int, process: int = 0) -> list[MicroBatch]:
        """What one process computes in a step; never nothing."""
        return self.shared_out(self.rows(epoch, step))[process]

    def shared_out(self, rows: Sequence[int] | Ints) -> list[list[MicroBatch]]:
        """The micro-batches of any rows (an effective batch, or validation rows), process by process.

        Each process gets about the same number of tokens: the others wait for the slowest one.
        """
        numbers = np.asarray(rows, dtype=np.int64)
        # Ties are broken by the row's number, so that the same rows in another order give the same micro-batches.
        ordered = numbers[np.lexsort((numbers, -self._whole[numbers]))]
        shares: list[list[int]] = [[] for _ in range(self.processes)]
        loads = [0] * self.processes
        for row in ordered.tolist():
            least = loads.index(min(loads))
            shares[least].append(row)
            loads[least] += int(self._whole[row])
        return [self._grouped(share) if share else [self._stand_in(ordered)] for share in shares]

    def tokens(self, epoch: int) -> int:
        """Tokens that all processes compute in an epoch, padding included."""
        return sum(
            micro.tokens
            for step in range(self.steps_per_epoch)
            for share in self.shared_out(self.rows(epoch, step))
            for micro in share
        )

    def _stand_in(self, ordered: Ints) -> MicroBatch:
        """The shortest row there is, not counted."""
        row = int(ordered[-1])
        return MicroBatch((row,), int(self._whole[row]), counted=False)

    def _grouped(self, rows: list[int]) -> list[MicroBatch]:
        """Rows, longest first, cut into micro-batches so that padding and overhead together are least.

        Consecutive rows only, which is best as long as rows are padded to the longest one; found by dynamic
        programming from the end.
        """
        parts = self.lengths.reshape(len(self.lengths), -1)[rows].tolist()
        count = len(rows)
        costs = [0] * (count + 1)
        ends = [count] * count
        sizes = [0] * count
        for start in range(count - 1, -1, -1):
            widest = [0] * len(parts[start])
            whole = 0
            best = None
            for end in range(start + 1, count + 1):
                widest = [max(pair) for pair in zip(widest, parts[end - 1], strict=True)]
                whole += sum(parts[end - 1])
                size = whole if self.packed else (end - start) * sum(widest)
                if end > start + 1 and size > self.micro_batch_tokens:
                    break
                cost = size + self.overhead + costs[end]
                if best is None or cost < best:
                    best, ends[start], sizes[start] = cost, end, size
            costs[start] = best or 0
        found = []
        start = 0
        while start < count:
            found.append(MicroBatch(tuple(rows[start : ends[start]]), sizes[start]))
            start = ends[start]
        return found

    @cached_property
    def _whole(self) -> Ints:
        """Tokens of each row, its parts together."""
        return self.lengths if self.lengths.ndim == 1 else self.lengths.sum(axis=1)


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> Ints:
    """The numbers below `count` in a random order.

    Sorted by a hash of our own (SplitMix64, Steele et al. 2014), because numpy's generators may give another order in
    its next version, and a run that is taken up again must go on with the rows that it has not seen.
    """
    with np.errstate(over="ignore"):
        start = _mixed(_mixed(np.array([seed], dtype=np.int64).view(np.uint64)) + np.uint64(epoch))
        keys = _mixed(start + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    order = np.argsort(keys, kind="stable")
    order.flags.writeable = False  # it is shared by all who ask
    return order


def _mixed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
