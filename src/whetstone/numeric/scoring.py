"""From a model to distributions over numbers: all at once where the engine reads trees, else step by step."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError
from whetstone.models.base import ChatModel, LogitModel, VocabularyModel
from whetstone.models.token_tree import TreeModel
from whetstone.numeric.distribution import Distribution
from whetstone.numeric.grid import Grid
from whetstone.numeric.trie import NumberTrie, build_trie

# Nodes behind a prompt at most, for reading them all at once: 1,500 take ten times the work of a prompt of 150 tokens.
_MOST_NODES = 1_500
_TOP = 256  # tokens listed for one step; what they leave out is part of the bound
_STEPS_AT_ONCE = 8


def number_trie(model: ChatModel, grid: Grid, before: str, *, exact: bool = False) -> NumberTrie:
    """A grid in a model's tokens, see `build_trie`.

    Raises:
        UsageError: the model's vocabulary or probabilities are not at hand, or it cannot spell the grid.
    """
    if not isinstance(model, VocabularyModel) or not isinstance(model, LogitModel):
        raise UsageError(
            f"{model.identity.spec} does not give the probabilities of all its tokens: take a local model (gguf:, hf:)"
        )
    return build_trie(grid, model.vocabulary, before, exact=exact)


def read_numbers(
    model: ChatModel, prompts: Sequence[Sequence[int]], trie: NumberTrie, *, tolerance: float = 1e-3
) -> Iterator[tuple[int, Distribution]]:
    """`(index, distribution)` for each prompt (token ids), in any order, each as soon as it is known.

    An engine that reads trees (transformers) gives exact distributions in one pass. Others (llama.cpp) are asked node
    by node, the most likely first, until what is left undecided is at most `tolerance`; `Distribution.bound` says how
    much that was.

    Raises:
        UsageError: the model gives no probabilities, or the grid is too large to be read at once.
    """
    if isinstance(model, TreeModel):
        if len(trie.tree) > _MOST_NODES:
            raise UsageError(
                f"the grid {trie.grid.name} needs {len(trie.tree):,} positions behind every prompt, more than "
                f"{_MOST_NODES:,}: take fewer candidates, in steps or log:"
            )
        for index, logprobs in model.tree_logprobs(prompts, trie.tree, trie.wanted.tolist()):
            yield index, Distribution(trie.grid.values, trie.masses(logprobs))
    elif isinstance(model, LogitModel):
        for index, prompt in enumerate(prompts):
            yield index, _step_by_step(model, list(prompt), trie, tolerance)
    else:
        raise UsageError(f"{model.identity.spec} does not give the probabilities of its tokens: take a local model")


def _step_by_step(model: LogitModel, prompt: list[int], trie: NumberTrie, tolerance: float) -> Distribution:
    """Nodes by falling probability of being reached; one that is left out counts as the end of its number."""
    tree, wanted = trie.tree, trie.wanted
    table = np.full((1 + len(tree), len(wanted)), -np.inf, dtype=np.float32)
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parents.tolist()):
        children.setdefault(parent, []).append(node)
    column = {token: place for place, token in enumerate(wanted.tolist())}
    waiting: list[tuple[float, int]] = [(-1.0, -1)]  # (-probability of being reached, node)
    unlisted = 0.0
    while waiting and sum(-reach for reach, _ in waiting) > tolerance:
        asked = [heapq.heappop(waiting) for _ in range(min(_STEPS_AT_ONCE, len(waiting)))]
        steps = model.next_token([prompt + tree.path(node) for _, node in asked], _TOP)
        for (reach, node), found in zip(asked, steps, strict=True):
            _fill(table[node + 1], found.ids, found.logprobs, column)
            unlisted += -reach * found.missing_mass
            for child in children.get(node, ()):
                probability = float(np.exp(table[node + 1, column[int(tree.tokens[child])]]))
                if probability > 0:
                    heapq.heappush(waiting, (reach * probability, child))
    bound = unlisted + sum(-reach for reach, _ in waiting)
    return Distribution(trie.grid.values, trie.masses(table), min(1.0, bound))


def _fill(
    row: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int64],
    logprobs: npt.NDArray[np.float32],
    column: dict[int, int],
) -> None:
    for token, logprob in zip(ids.tolist(), logprobs.tolist(), strict=True):
        place = column.get(token)
        if place is not None:
            row[place] = logprob
