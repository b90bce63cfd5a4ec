"""Which training cases a technique shows a model as examples: the choice by its name, "nearest:3"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from whetstone.embeddings import load_embedder
from whetstone.embeddings.cache import CachedEmbedder
from whetstone.errors import UsageError
from whetstone.evaluation.held_out import HeldOut
from whetstone.prompting.few_shot import (
    BalancedExamples,
    ExampleChooser,
    FixedExamples,
    NearestExamples,
    RandomExamples,
    SharedExamples,
)
from whetstone.types import Problem

METHODS = ("fixed", "random", "balanced", "shared", "nearest")
DRAWN = ("random", "balanced", "shared")
"""The methods that draw with a seed, of which there are as many choices as seeds."""


class Examples:
    """A choice of examples: fixed (the same representative ones for every case), random, balanced (random, with as many
    of every label or band of numbers), shared (balanced, the same ones for every case), or nearest (by MiniLM).

    Args:
        technique: its name, for messages.
        arguments: "nearest:3"; three where no number stands there. For methods that draw, "shared:3:7" has a seed of
            its own.
        seed: of methods that draw.

    Attributes:
        name: "nearest:3".
        count: how many are shown.
        looked_up: whether each case gets examples of its own, by what they say.

    Raises:
        UsageError: the arguments cannot be read.
    """

    def __init__(self, technique: str, arguments: str, seed: int) -> None:
        method, _, numbers = arguments.partition(":")
        count, colon, draw = numbers.partition(":")
        count = count or "3"
        if method not in METHODS:
            raise UsageError(
                f"{technique} takes fixed, random, balanced, shared or nearest, and how many ({technique}:nearest:3), "
                f"not {arguments!r}"
            )
        if not (count.isascii() and count.isdigit() and int(count) > 0):
            raise UsageError(
                f"{technique} takes a number of examples from 1 up ({technique}:{method}:3), not {count!r}"
            )
        if colon and not (method in DRAWN and draw.isascii() and draw.isdigit()):
            raise UsageError(
                f"{technique}:{arguments}: behind the number of examples stands the seed by which {' or '.join(DRAWN)} "
                f"examples are drawn ({technique}:shared:3:7)"
            )
        self.name = f"{method}:{count}{colon}{draw}"
        self.looked_up = method == "nearest"
        self.count = int(count)
        self._method, self._seed = method, int(draw) if draw else seed
        self._embedder = CachedEmbedder(load_embedder()) if method == "nearest" else None

    @property
    def identity(self) -> Mapping[str, Any]:
        """What else settles the choice, JSON-ready."""
        if self._embedder is not None:
            return {"embedder": self._embedder.name}
        return {"seed": self._seed} if self._method in DRAWN else {}

    def chooser(
        self, problem: Problem, technique: str, progress: Callable[[str, int, int], None], instead: str
    ) -> ExampleChooser:
        """Choose among the training cases of a problem that are no test items.

        Args:
            technique: its full name.
            progress: told `(what, done, total)`.
            instead: what to use where there are no training cases.

        Raises:
            UsageError: there are none.
        """
        held_out = HeldOut(problem.test)
        pool = [case for case in problem.train if not held_out.is_item(case.text)]
        if not pool:
            raise UsageError(
                f"{technique} takes examples from the training cases, and {problem.name} has none: use {instead}"
            )
        if self._embedder is not None:
            what = f"{technique}: reading training texts"
            return NearestExamples(pool, self.count, self._embedder, lambda *done: progress(what, *done))
        if self._method == "random":
            return RandomExamples(pool, self.count, self._seed)
        if self._method == "balanced":
            return BalancedExamples(pool, self.count, problem.kind, self._seed)
        if self._method == "shared":
            return SharedExamples(pool, self.count, problem.kind, self._seed)
        return FixedExamples(pool, self.count, problem.kind)
