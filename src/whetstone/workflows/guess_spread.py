"""How far several people's guesses at the same items lie apart: what no technique can be blamed for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from whetstone.errors import DataError, UsageError
from whetstone.evaluation.techniques.guess_file import read_guess_file
from whetstone.numeric.reading import read_number


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people.

    Attributes:
        difference: mean absolute difference of their guesses.
        correlation: Pearson's, of the guesses; None where one of them always guessed the same.
        log_correlation: the same of log(1 + guess), which a few expensive items do not rule; None also where a guess is
            negative.
    """

    first: str
    second: str
    difference: float
    correlation: float | None
    log_correlation: float | None


@dataclass(frozen=True, slots=True)
class ItemSpread:
    """One item: everybody's guesses, in the order of the names, and how far they lie apart."""

    id: str
    guesses: tuple[float, ...]
    mean: float
    deviation: float


@dataclass(frozen=True)
class Spread:
    """Several people's guesses.

    Attributes:
        names: of the people.
        pairs: every two of them.
        items: those that all have guessed.
        left_out: items that not all have guessed, or not all with a number.
    """

    names: tuple[str, ...]
    pairs: tuple[Pair, ...]
    items: tuple[ItemSpread, ...]
    left_out: int

    @property
    def difference(self) -> float:
        """The mean absolute difference of two people, over all pairs."""
        return float(np.mean([pair.difference for pair in self.pairs]))


def guess_spread(paths: Sequence[Path], *, unit: str = "$") -> Spread:
    """How far the guesses in files lie apart, matched by id, or by row where a file has none.

    Args:
        unit: in which the guesses are, for "1.299 €".

    Raises:
        UsageError: fewer than two files.
        DataError: a file cannot be read, or they have no two items in common.
    """
    if len(paths) < 2:
        raise UsageError("the spread is one between people: name at least two files of guesses")
    people = [_guesses(path, unit) for path in paths]
    every = list(dict.fromkeys(identifier for one in people for identifier in one))
    common = [identifier for identifier in every if all(one.get(identifier) is not None for one in people)]
    if len(common) < 2:
        raise DataError(f"{', '.join(map(str, paths))} have fewer than two guessed items in common")
    table = np.array([[one[identifier] for identifier in common] for one in people], dtype=np.float64)
    names = _names(paths)
    return Spread(
        names,
        tuple(_pair(names, table, first, second) for first, second in combinations(range(len(paths)), 2)),
        tuple(
            ItemSpread(identifier, tuple(column.tolist()), float(column.mean()), float(column.std(ddof=1)))
            for identifier, column in zip(common, table.T, strict=True)
        ),
        len(every) - len(common),
    )


def _guesses(path: Path, unit: str) -> dict[str, float | None]:
    file = read_guess_file(path)
    ids = file.ids or [str(row) for row in range(1, len(file.guesses) + 1)]
    found: dict[str, float | None] = {}
    for identifier, guess in zip(ids, file.guesses, strict=True):
        if identifier in found:
            raise DataError(f"{path}: the id {identifier!r} occurs twice")
        value = guess if isinstance(guess, float) else read_number(guess, unit=unit).value
        found[identifier] = float(value) if value is not None else None
    return found


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    stems = [path.stem for path in paths]
    return tuple(stems if len(set(stems)) == len(stems) else map(str, paths))


def _pair(names: Sequence[str], table: np.typing.NDArray[np.float64], first: int, second: int) -> Pair:
    one, other = table[first], table[second]
    logs = (np.log1p(one), np.log1p(other)) if min(one.min(), other.min()) >= 0 else None
    return Pair(
        names[first],
        names[second],
        float(np.abs(one - other).mean()),
        _correlation(one, other),
        None if logs is None else _correlation(*logs),
    )


def _correlation(one: np.typing.NDArray[np.float64], other: np.typing.NDArray[np.float64]) -> float | None:
    if not one.std() or not other.std():
        return None
    return float(np.corrcoef(one, other)[0, 1])
