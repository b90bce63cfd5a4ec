"""Which training cases to show a model as examples: fixed, random, or those nearest to the case that is asked about.

Examples come from the pool that the caller hands over (the training split), and a case is never an example for itself.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
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
        seed = hashlib.sha256(f"{self._seed}\0{case.id}".encode("utf-8", "surrogatepass")).digest()
        # One more than needed is drawn, in case the case itself is among them.
        indices = random.Random(seed).sample(range(len(self._pool)), min(self._count + 1, len(self._pool)))
        return [drawn for drawn in (self._pool[index] for index in indices) if drawn.id != case.id][: self._count]


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
