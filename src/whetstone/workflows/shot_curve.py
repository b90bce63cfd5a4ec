"""The curve of the score against the number of examples in the prompt: which arms a comparison runs for it."""

from __future__ import annotations

from collections.abc import Sequence

from whetstone.errors import UsageError
from whetstone.evaluation.techniques.examples import METHODS
from whetstone.registry import unknown_name
from whetstone.types import Problem

DEFAULT_METHOD = "balanced"


def read_shots(written: str) -> list[int]:
    """Numbers of examples as they are written: "0,1,3,5"; rising, each once.

    Raises:
        UsageError: they cannot be read.
    """
    parts = [part.strip() for part in written.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(f"--shots {written}: write numbers of examples with commas between, such as 0,1,3,5")
    return sorted({int(part) for part in parts})


def shot_arms(
    problem: Problem,
    shots: Sequence[int],
    method: str = DEFAULT_METHOD,
    *,
    plain: str = "ask",
    shown: str = "few-shot",
) -> list[str]:
    """The techniques that ask with each number of examples: "ask" for none, "few-shot:METHOD:K" for K.

    Args:
        method: how examples are chosen.
        plain: the technique that shows none.
        shown: the technique that shows some; the method and their number follow its name.

    Raises:
        UnknownNameError: there is no such method.
        UsageError: there are fewer cases to take examples from than are asked for.
    """
    if method not in METHODS:
        raise unknown_name("way to choose examples", method, list(METHODS))
    pool = len(problem.train)
    if not pool and problem.cross_fit:
        pool = len(problem.test) - -(-len(problem.test) // problem.cross_fit)
    if shots and max(shots) > pool:
        raise UsageError(
            f"{problem.name} has {pool:,} training cases to take examples from, and {max(shots):,} are asked for"
        )
    return [f"{shown}:{method}:{count}" if count else plain for count in shots]
