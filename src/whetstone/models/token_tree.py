"""Tokens that may follow a prompt, as a tree: what many continuations share is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TokenTree:
    """Tokens after a prompt, each behind the one before it.

    Attributes:
        tokens: the token of each node, shape (n,). The prompt's end is no node.
        parents: the node that it follows, shape (n,); -1 for the prompt's end. A parent stands before its children.
    """

    tokens: npt.NDArray[np.int64]
    parents: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def depths(self) -> npt.NDArray[np.int64]:
        """Tokens from the prompt's end to each node, itself included, shape (n,)."""
        depths = np.zeros(len(self), dtype=np.int64)
        for node, parent in enumerate(self.parents):
            depths[node] = 1 + (depths[parent] if parent >= 0 else 0)
        return depths

    @cached_property
    def ancestry(self) -> npt.NDArray[np.bool_]:
        """Which nodes each node stands behind, itself included, shape (n, n)."""
        found = np.zeros((len(self), len(self)), dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                found[node] = found[parent]
            found[node, node] = True
        return found

    def path(self, node: int) -> list[int]:
        """The tokens from the prompt's end to a node; -1 gives none."""
        tokens: list[int] = []
        while node >= 0:
            tokens.append(int(self.tokens[node]))
            node = int(self.parents[node])
        return tokens[::-1]


@runtime_checkable
class TreeModel(Protocol):
    """A model that reads all continuations of a prompt at once."""

    def tree_logprobs(
        self, prompts: Sequence[Sequence[int]], tree: TokenTree, wanted: Sequence[int]
    ) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """`(index, log-probabilities)` for each prompt (token ids), in any order, each as soon as it is known.

        Args:
            tree: the continuations.
            wanted: token ids whose log-probabilities are asked for.

        Returns:
            Natural logarithms, shape (1 + len(tree), len(wanted)): how likely each wanted token is right after the
            prompt, in the first row, and right after each node.
        """
        ...
