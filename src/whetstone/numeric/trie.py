"""The candidates of a grid as a tree of tokens, and what is read off it: the probability of every candidate.

A candidate's probability is that of its tokens one after another. Where a longer candidate begins with a shorter one,
the probability that the number stops there counts too: 1 less that of all tokens that go on with it. A candidate behind
which no other begins carries the mass of its continuations; with `exact`, the probability that it stops there as well.
What remains is outside the grid: no number at all, one beyond it, and spellings that the tokenizer itself would not
choose ("1" + "29" where 129 is a token).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError
from whetstone.models.token_tree import TokenTree
from whetstone.numeric.grid import Grid
from whetstone.tokens.tokenizer import Tokenizer

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class NumberTrie:
    """A grid as tokens of one tokenizer, behind one kind of prompt.

    Attributes:
        grid: the candidates.
        tree: the nodes behind which probabilities are needed. Row r of what a model gives is node r - 1; row 0 is the
            prompt's end.
        wanted: the tokens whose probabilities are needed, shape (w,).
        steps: the way to each ending: shape (e, d, 2), row and column in `wanted`, token by token; (-1, -1) behind the
            last one.
        stops: the row behind which an ending has to stop, shape (e,); -1 where its continuations count.
        onward: per kind of continuation, the columns that go on with a number, (kinds, w).
        kinds: the kind of each row, shape (1 + len(tree),).
        candidates: the candidate that each ending spells, shape (e,).
    """

    grid: Grid
    tree: TokenTree
    wanted: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]
    stops: npt.NDArray[np.int64]
    onward: npt.NDArray[np.bool_]
    kinds: npt.NDArray[np.int64]
    candidates: npt.NDArray[np.int64]

    @cached_property
    def needed(self) -> npt.NDArray[np.bool_]:
        """Which of the wanted tokens count behind each row, shape (1 + len(tree), w)."""
        needed = np.zeros((1 + len(self.tree), len(self.wanted)), dtype=np.bool_)
        rows, columns = (axis.ravel() for axis in (self.steps[..., 0], self.steps[..., 1]))
        needed[rows[rows >= 0], columns[rows >= 0]] = True
        stopping = self.stops[self.stops >= 0]
        needed[stopping] |= self.onward[self.kinds[stopping]]
        return needed

    @property
    def forward_positions(self) -> int:
        """Positions behind the prompt whose probabilities are needed: 0 where each candidate is a single token."""
        return len(self.tree)

    def masses(self, logprobs: npt.NDArray[np.float32]) -> Floats:
        """The probability of each candidate, shape (k,), summing up to at most 1.

        Args:
            logprobs: as a `TreeModel` gives them for `tree` and `wanted`, shape (1 + len(tree), len(wanted)).
        """
        table = logprobs.astype(np.float64)
        rows, columns = self.steps[..., 0], self.steps[..., 1]
        along = np.where(rows >= 0, table[rows, columns], 0.0).sum(axis=1)
        going = np.where(self.onward[self.kinds], np.exp(table), 0.0).sum(axis=1)
        stopping = np.clip(1.0 - going, 0.0, 1.0)
        mass = np.exp(along) * np.where(self.stops >= 0, stopping[self.stops], 1.0)
        summed: Floats = np.bincount(self.candidates, mass, minlength=len(self.grid)).astype(np.float64)
        return summed


def build_trie(grid: Grid, tokenizer: Tokenizer, before: str, *, exact: bool = False) -> NumberTrie:
    """The tokens of a grid.

    Args:
        tokenizer: the model's own.
        before: the end of the prompt, up to where the number begins ("Price is $"): it may change how a number is cut.
            "" where a number begins a text.
        exact: whether a candidate that no other continues has to stop too.

    Raises:
        UsageError: the tokenizer cannot spell the grid there.
    """
    endings = _spelled(grid, tokenizer, before)
    nodes: dict[tuple[int, ...], str] = {}
    for ids, (_, written) in endings.items():
        for length in range(1, len(ids)):
            nodes.setdefault(ids[:length], written)
    stopping = {ids for ids in endings if exact or ids in nodes}
    inner = sorted({*nodes, *stopping}, key=lambda ids: (len(ids), ids))
    rows = {(): 0, **{ids: number for number, ids in enumerate(inner, start=1)}}
    texts = {ids: _text(tokenizer, ids) for ids in inner}
    first = _first_characters(tokenizer)
    groups = {ids: grid.goes_on(text) for ids, text in texts.items()}
    kinds = sorted({"", *groups.values()})
    onward_tokens = {kind: {token for mark in kind for token in first[mark]} for kind in kinds}
    needed = {ids[length] for ids in endings for length in range(len(ids))}
    for ids in stopping:
        needed |= onward_tokens[groups[ids]]
    wanted = np.array(sorted(needed), dtype=np.int64)
    column = {int(token): place for place, token in enumerate(wanted)}
    steps = np.full((len(endings), max(map(len, endings)), 2), -1, dtype=np.int64)
    for ending, ids in enumerate(endings):
        for length, token in enumerate(ids):
            steps[ending, length] = rows[ids[:length]], column[token]
    onward = np.zeros((len(kinds), len(wanted)), dtype=np.bool_)
    for place, kind in enumerate(kinds):
        onward[place, [column[token] for token in onward_tokens[kind] if token in column]] = True
    return NumberTrie(
        grid=grid,
        tree=TokenTree(
            np.array([ids[-1] for ids in inner], dtype=np.int64),
            np.array([rows[ids[:-1]] - 1 for ids in inner], dtype=np.int64),
        ),
        wanted=wanted,
        steps=steps,
        stops=np.array([rows[ids] if ids in stopping else -1 for ids in endings], dtype=np.int64),
        onward=onward,
        kinds=np.array([kinds.index(""), *(kinds.index(groups[ids]) for ids in inner)], dtype=np.int64),
        candidates=np.array([candidate for candidate, _ in endings.values()], dtype=np.int64),
    )


def _spelled(grid: Grid, tokenizer: Tokenizer, before: str) -> dict[tuple[int, ...], tuple[int, str]]:
    """Token ids of every spelling -> candidate, and the spelling."""
    spellings = [(index, written) for index in range(len(grid)) for written in grid.spellings(index)]
    lead, *encoded = tokenizer.encode_ids_many([before, *(before + written for _, written in spellings)])
    endings: dict[tuple[int, ...], tuple[int, str]] = {}
    for (index, written), ids in zip(spellings, encoded, strict=True):
        if ids[: len(lead)] != lead or len(ids) == len(lead):
            raise UsageError(
                f"{tokenizer.name} cannot spell {written!r} behind {before[-12:]!r}: its tokens run over where the "
                "number begins; end the prompt elsewhere"
            )
        other = endings.setdefault(tuple(ids[len(lead) :]), (index, written))
        if other[0] != index:
            raise UsageError(
                f"to {tokenizer.name}, {other[1]!r} and {written!r} are the same tokens: take another grid"
            )
    return endings


def _text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """What tokens spell; the blank before it that some tokenizers put at a text's beginning is none of the number's."""
    return b"".join(tokenizer.token_bytes(token) for token in ids).decode("ascii", "replace").lstrip(" ")


def _first_characters(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Tokens by the character that they begin with, where it can go on with a number."""
    special = {token.id for token in tokenizer.added if token.special}
    marks = {ord(mark): mark for mark in "0123456789.,"}
    found: dict[str, list[int]] = defaultdict(list)
    for token in range(tokenizer.vocab_size):
        written = tokenizer.token_bytes(token)
        if token not in special and written and written[0] in marks:
            found[marks[written[0]]].append(token)
    return found
