"""Which kept rows say the same, and which belong together: duplicates refused, product groups for the split."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from whetstone.curation.cleaning import EXACT, MEETING, PARENT_KEY, SKETCH, TERM_HASHES, TITLE_KEY
from whetstone.curation.pairs import NEARLY_EQUAL, Pairs, candidates, compare
from whetstone.curation.rules.order import DUPLICATE, NEAR_DUPLICATE
from whetstone.curation.words import Positions

NONE = -1


@dataclass(frozen=True)
class Groups:
    """Rows that belong together.

    Attributes:
        same_as: for each row, the row that it repeats; -1 where it is kept.
        rule: for each row, the rule that refuses it, null where it is kept.
        group: for each row, the number of its product group; numbers rise with each group's first row.
        alike: the pairs of kept rows that are alike.
    """

    same_as: Positions
    rule: pl.Series
    group: Positions
    alike: Pairs

    def joined(self, pairs: Pairs) -> Groups:
        """With the groups of these pairs as one each."""
        _, rows = np.unique(self.group, return_index=True)
        first = np.concatenate([np.arange(len(self.group)), pairs.first])
        second = np.concatenate([rows[self.group], pairs.second])
        return replace(self, group=linked(len(self.group), first, second))


def find_groups(index: pl.DataFrame, prices: npt.NDArray[np.float64]) -> Groups:
    """Compare all rows.

    Args:
        index: hashes of the rows, as `whetstone.curation.cleaning` makes them.
        prices: of the rows.
    """
    exact = index[EXACT].to_numpy()
    _, first, inverse = np.unique(exact, return_index=True, return_inverse=True)
    same_as = np.where(first[inverse] == np.arange(len(exact)), NONE, first[inverse])
    left = np.flatnonzero(same_as == NONE)
    a, b = candidates(index[MEETING].gather(left).to_numpy(), index[SKETCH].gather(left).to_numpy())
    pairs = compare(index[TERM_HASHES].gather(left), a, b)
    pairs = Pairs(left[pairs.first], left[pairs.second], pairs.similarity, pairs.one_term)
    alike = pairs.where(pairs.alike)
    nearly = alike.where((alike.similarity >= NEARLY_EQUAL) & (prices[alike.first] == prices[alike.second]))
    near = _repeats(nearly, len(exact))
    rule = pl.repeat(None, len(exact), dtype=pl.String, eager=True)
    rule = rule.scatter(np.flatnonzero(same_as != NONE), DUPLICATE).scatter(
        np.flatnonzero(near != NONE), NEAR_DUPLICATE
    )
    same_as = np.where(near != NONE, near, same_as)
    kept = same_as == NONE
    return Groups(same_as, rule, _groups(index, alike, same_as), alike.where(kept[alike.first] & kept[alike.second]))


def _repeats(pairs: Pairs, rows: int) -> Positions:
    """For each row, an earlier kept one that it nearly equals, else -1.

    A row is refused only for one that is itself kept, so that a chain of small changes is not swallowed whole.
    """
    same_as = np.full(rows, NONE)
    order = np.lexsort((pairs.first, pairs.second))
    for first, second in zip(pairs.first[order].tolist(), pairs.second[order].tolist(), strict=True):
        if same_as[first] == NONE and same_as[second] == NONE:
            same_as[second] = first
    return same_as


def _groups(index: pl.DataFrame, alike: Pairs, same_as: Positions) -> Positions:
    """Union-find over alike pairs, repeated rows, equal titles and equal parents."""
    rows = len(same_as)
    repeated = np.flatnonzero(same_as != NONE)
    edges = [(alike.first, alike.second), (same_as[repeated], repeated)]
    for key in (TITLE_KEY, PARENT_KEY):
        edges.append(_chained(index[key]))
    a, b = (np.concatenate(side) for side in zip(*edges, strict=True))
    return linked(rows, a, b)


def linked(rows: int, a: Positions, b: Positions) -> Positions:
    """A number for each row, the same for rows that pairs link, directly or not; numbers rise with first rows."""
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(rows, rows))
    _, labels = connected_components(graph, directed=False)
    # Numbered by first row, whatever order the library found them in.
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _chained(keys: pl.Series) -> tuple[Positions, Positions]:
    """Each row with the next one of the same key; null is the same as nothing."""
    given = keys.is_not_null().to_numpy()
    rows = np.flatnonzero(given)
    values = keys.fill_null(0).to_numpy()[rows]
    order = np.argsort(values, kind="stable")
    equal = values[order][1:] == values[order][:-1]
    return rows[order[:-1][equal]], rows[order[1:][equal]]
