"""The order of training rows: a pure function, every row once, the same work for any number of processes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whetstone.errors import UsageError
from whetstone.tuning.batches import BatchOrder, MicroBatch

one_part = st.lists(st.integers(1, 400), min_size=1, max_size=60)
two_parts = st.lists(st.tuples(st.integers(1, 200), st.integers(1, 50)), min_size=1, max_size=40)


@st.composite
def orders(draw: Any) -> BatchOrder:
    return BatchOrder(
        np.array(draw(st.one_of(one_part, two_parts)), dtype=np.int64),
        seed=draw(st.integers(0, 2**31)),
        batch_size=draw(st.integers(1, 24)),
        micro_batch_tokens=draw(st.integers(1, 900)),
        processes=draw(st.integers(1, 4)),
        overhead=draw(st.sampled_from([0, 24, 2048])),
        packed=draw(st.booleans()),
    )


def counted_rows(shares: list[list[MicroBatch]]) -> Counter[int]:
    return Counter(row for share in shares for micro in share if micro.counted for row in micro.rows)


@given(orders(), st.integers(0, 5))
def test_every_row_comes_once_in_an_epoch(order: BatchOrder, epoch: int) -> None:
    seen: Counter[int] = Counter()
    for step in range(order.steps_per_epoch):
        batch = order.rows(epoch, step)
        assert len(batch) == order.batch_size or step == order.steps_per_epoch - 1
        computed = counted_rows(order.shared_out(batch))
        assert computed == Counter(batch.tolist())
        seen += computed
    assert seen == Counter(range(len(order.lengths)))


@given(orders())
def test_no_micro_batch_outgrows_its_limit_unless_it_is_one_row(order: BatchOrder) -> None:
    for process in range(order.processes):
        for micro in order.micro_batches(0, 0, process):
            lengths = order.lengths[list(micro.rows)].reshape(len(micro.rows), -1)
            padded = lengths.sum() if order.packed else len(lengths) * lengths.max(axis=0).sum()
            assert micro.tokens == padded
            assert micro.tokens <= order.micro_batch_tokens or len(micro.rows) == 1


@given(orders())
def test_every_process_has_something_to_compute(order: BatchOrder) -> None:
    shares = order.shared_out(order.rows(0, order.steps_per_epoch - 1))
    assert len(shares) == order.processes
    assert all(shares)
    assert all(micro.rows for share in shares for micro in share)
    stand_ins = [micro for share in shares for micro in share if not micro.counted]
    assert len(stand_ins) == max(0, order.processes - len(order.rows(0, order.steps_per_epoch - 1)))


@given(orders(), st.randoms())
def test_the_same_rows_in_another_order_give_the_same_micro_batches(order: BatchOrder, random: Any) -> None:
    rows = order.rows(1, 0).tolist()
    shuffled = random.sample(rows, len(rows))
    assert order.shared_out(rows) == order.shared_out(shuffled)


@given(one_part, st.integers(1, 900), st.sampled_from([0, 24, 300]))
def test_no_other_cut_into_consecutive_groups_costs_less(lengths: list[int], limit: int, overhead: int) -> None:
    lengths = sorted(lengths[:9], reverse=True)
    order = BatchOrder(np.array(lengths), 0, len(lengths), limit, overhead=overhead)
    found = sum(micro.tokens + overhead for micro in order.shared_out(range(len(lengths)))[0])

    def cheapest(start: int) -> int:
        if start == len(lengths):
            return 0
        options = []
        for end in range(start + 1, len(lengths) + 1):
            size = (end - start) * lengths[start]
            if size <= limit or end == start + 1:
                options.append(size + overhead + cheapest(end))
        return min(options)

    assert found == cheapest(0)


def test_another_epoch_or_seed_shuffles_anew_and_the_same_one_does_not() -> None:
    lengths = np.arange(1, 101)
    order, other = BatchOrder(lengths, 1, 100, 512), BatchOrder(lengths, 2, 100, 512)
    assert order.rows(0, 0).tolist() == BatchOrder(lengths, 1, 100, 64, processes=3).rows(0, 0).tolist()
    assert len({tuple(rows) for rows in (order.rows(0, 0), order.rows(1, 0), other.rows(0, 0))}) == 3


def test_the_order_stays_what_it_is_so_that_old_runs_can_go_on() -> None:
    assert BatchOrder(np.ones(8, dtype=np.int64), 42, 8, 64).rows(0, 0).tolist() == [6, 2, 5, 7, 0, 4, 3, 1]


def test_batches_are_random_samples_not_sorted_by_length() -> None:
    lengths = np.arange(1, 2001)
    order = BatchOrder(lengths, 7, 20, 4096)
    means = [lengths[order.rows(0, step)].mean() for step in range(order.steps_per_epoch)]
    # Means of 20 draws spread by 577 / sqrt(20) = 129; sorted batches would spread by 577.
    assert 90 < np.std(means) < 170
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.35


def test_grouping_saves_most_of_the_padding() -> None:
    lengths = np.random.default_rng(0).lognormal(4.8, 0.6, 640).astype(np.int64) + 10
    order = BatchOrder(lengths, 0, 16, 4096)
    padded_as_drawn = sum(
        4 * int(lengths[order.rows(0, step)[start : start + 4]].max())
        for step in range(order.steps_per_epoch)
        for start in range(0, 16, 4)
    )
    assert padded_as_drawn > 1.4 * lengths.sum()
    assert order.tokens(0) < 1.12 * lengths.sum()


def test_processes_share_the_tokens_evenly() -> None:
    lengths = np.random.default_rng(1).integers(20, 400, 64)
    shares = BatchOrder(lengths, 0, 64, 1024, processes=2).shared_out(range(64))
    loads = [sum(int(lengths[list(micro.rows)].sum()) for micro in share) for share in shares]
    assert max(loads) < 1.02 * min(loads)


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(UsageError, match="no rows"):
        BatchOrder(np.array([], dtype=np.int64), 0, 16, 512)
    with pytest.raises(UsageError, match="batch_size is 0"):
        BatchOrder(np.array([3]), 0, 0, 512)
    with pytest.raises(IndexError, match="step 1 of an epoch of 1"):
        BatchOrder(np.array([3]), 0, 16, 512).rows(0, 1)
