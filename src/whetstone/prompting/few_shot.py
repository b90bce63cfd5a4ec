"""Which training cases to show a model as examples: fixed, random, balanced, or those nearest to the case asked about.

Examples come from the pool that the caller hands over (the training split), and a case is never an example for itself.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

from whetstone.embeddings import Embedder
from whetstone.embeddings.nearest import nearest
from whetstone.types import Case, TargetKind


class ExampleChooser(Protocol):
    """Chooses examples for cases."""

    def choose(self, cases: Sequence[Case]) -> list[list[Case]]:
        """For each case its examples, in the order in which the model is to see them."""
        ...


def _stable_order(case: Case) -> tuple[bytes, str]:
    """An order that has nothing to do with the rows' order or their answers."""
    return hashlib.sha256(f"{case.id}\0{case.text}".encode("utf-8", "surrogatepass")).digest(), case.id


class FixedExamples:
    """The same examples for every case, representative of the pool.

    For numbers and texts they stand at evenly spaced quantiles of the answers (of the answers' length, for texts):
    three examples are those at 1/6, 1/2 and 5/6. For labels each label has its turn, the frequent ones first. They
    are shown in an order that has nothing to do with the answer, so that they form no trend.

    Args:
        kind: of the answers.
    """

    def __init__(self, pool: Sequence[Case], count: int, kind: TargetKind) -> None:
        self._count = count
        self._ranked = _label_turns(pool) if kind == "label" else None
        self._sorted = [] if kind == "label" else sorted(pool, key=_size_of_answer)
        self._usual = self._examples_without("")
        self._usual_ids = {case.id for case in self._usual}

    def _examples_without(self, case_id: str) -> list[Case]:
        """The examples for the case of this id, which is not among them."""
        if self._ranked is not None:
            chosen = [case for case in self._ranked if case.id != case_id][: self._count]
        else:
            pool = [case for case in self._sorted if case.id != case_id]
            count = min(self._count, len(pool))
            chosen = [pool[int((index + 0.5) / count * len(pool))] for index in range(count)]
        return sorted(chosen, key=_stable_order)

    def choose(self, cases: Sequence[Case]) -> list[list[Case]]:
        return [self._examples_without(case.id) if case.id in self._usual_ids else self._usual for case in cases]


def _size_of_answer(case: Case) -> tuple[float, tuple[bytes, str]]:
    size = float(len(case.expected)) if isinstance(case.expected, str) else case.expected
    return size, _stable_order(case)


def _label_turns(pool: Sequence[Case]) -> list[Case]:
    """The pool in rounds: the first case of every label, then the second of every label, and so on."""
    by_label: dict[str, list[Case]] = {}
    for case in sorted(pool, key=_stable_order):
        by_label.setdefault(str(case.expected), []).append(case)
    frequency = {label: (-len(cases), label) for label, cases in by_label.items()}
    rounds = [(index, frequency[label], case) for label, cases in by_label.items() for index, case in enumerate(cases)]
    return [case for *_, case in sorted(rounds, key=lambda entry: entry[:2])]


class RandomExamples:
    """Other random examples for each case, drawn with a seed made of `seed` and the case's id.

    What a case is shown does not depend on which cases are asked about before it.
    """

    def __init__(self, pool: Sequence[Case], count: int, seed: int) -> None:
        self._pool = pool
        self._count = count
        self._seed = seed

    def choose(self, cases: Sequence[Case]) -> list[list[Case]]:
        return [self._draw(case) for case in cases]

    def _draw(self, case: Case) -> list[Case]:
        return _drawn(self._pool, self._count, case.id, random.Random(case_seed(self._seed, case)))


class NearestExamples:
    """The pool's cases with the most similar texts, the most similar last, next to the question.

    Choosing examples by similarity: Liu et al. 2022, "What Makes Good In-Context Examples for GPT-3?".

    Args:
        progress: told `(done, total)` texts while the pool is embedded.
    """

    def __init__(
        self,
        pool: Sequence[Case],
        count: int,
        embedder: Embedder,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._pool = pool
        self._count = count
        self._embedder = embedder
        self._vectors = embedder.embed([case.text for case in pool], progress)

    def choose(self, cases: Sequence[Case]) -> list[list[Case]]:
        rows, _ = nearest(self._embedder.embed([case.text for case in cases]), self._vectors, self._count + 1)
        return [
            [found for found in (self._pool[row] for row in found_rows) if found.id != case.id][: self._count][::-1]
            for case, found_rows in zip(cases, rows.tolist(), strict=True)
        ]


class BalancedExamples:
    """Other examples for each case, in which every kind of answer has an equal share.

    The pool falls into strata: its labels; or as many bands of its numbers (of its answers' lengths, for texts) as
    there are examples, each with equally many cases. Every stratum gives one example before any gives a second. Which
    strata have their turn first, where there are more of them than examples, which cases they give and in which order
    these are shown is drawn with a seed made of `seed` and the case's id. So frequent labels do not outweigh rare ones,
    which models take for a hint, and what stands last is not always of one kind (the majority label bias and the
    recency bias of Zhao et al. 2021, "Calibrate Before Use").

    Args:
        kind: of the answers.
    """

    def __init__(self, pool: Sequence[Case], count: int, kind: TargetKind, seed: int) -> None:
        self._count, self._seed = count, seed
        self._strata = _by_label(pool) if kind == "label" else _bands(pool, count)

    def choose(self, cases: Sequence[Case]) -> list[list[Case]]:
        return [self._draw(case) for case in cases]

    def _draw(self, case: Case) -> list[Case]:
        drawing = random.Random(case_seed(self._seed, case))
        strata = list(self._strata)
        drawing.shuffle(strata)
        # Each stratum's own order is drawn lazily, so that a large pool is not shuffled for three examples.
        left = [_drawn(stratum, self._count, case.id, drawing) for stratum in strata]
        chosen: list[Case] = []
        while len(chosen) < self._count and any(left):
            for stratum in left:
                if stratum and len(chosen) < self._count:
                    chosen.append(stratum.pop())
        drawing.shuffle(chosen)
        return chosen


class SharedExamples:
    """The same examples for every case, drawn once with a seed as `BalancedExamples` draws them.

    Other seeds give other sets, of which a search may find the best; an engine that keeps what prompts have in common
    reads them only once. A case that is among them is shown a set of its own.

    Args:
        kind: of the answers.
    """

    def __init__(self, pool: Sequence[Case], count: int, kind: TargetKind, seed: int) -> None:
        self._balanced = BalancedExamples(pool, count, kind, seed)
        (self._usual,) = self._balanced.choose([Case("", "", "")])

    def choose(self, cases: Sequence[Case]) -> list[list[Case]]:
        usual = {case.id for case in self._usual}
        return [self._balanced.choose([case])[0] if case.id in usual else self._usual for case in cases]


def case_seed(seed: int, case: Case) -> bytes:
    """A seed of a case's own, or its place in a random order: it does not depend on which other cases there are."""
    return hashlib.sha256(f"{seed}\0{case.id}".encode("utf-8", "surrogatepass")).digest()


def _drawn(pool: Sequence[Case], count: int, besides: str, drawing: random.Random) -> list[Case]:
    """So many random cases of a pool, without the one of this id."""
    # One more than needed is drawn, in case the case itself is among them.
    indices = drawing.sample(range(len(pool)), min(count + 1, len(pool)))
    return [drawn for drawn in (pool[index] for index in indices) if drawn.id != besides][:count]


def _by_label(pool: Sequence[Case]) -> list[list[Case]]:
    """The cases of each label, in an order that has nothing to do with that of the pool."""
    labels: dict[str, list[Case]] = {}
    for case in sorted(pool, key=_stable_order):
        labels.setdefault(str(case.expected), []).append(case)
    return [labels[label] for label in sorted(labels)]


def _bands(pool: Sequence[Case], count: int) -> list[list[Case]]:
    """The pool in as many bands of its answers, with equally many cases each."""
    ranked = sorted(pool, key=_size_of_answer)
    count = max(1, min(count, len(ranked)))
    ends = [round(index * len(ranked) / count) for index in range(count + 1)]
    return [ranked[start:end] for start, end in pairwise(ends)]
