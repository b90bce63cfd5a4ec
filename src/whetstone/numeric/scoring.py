"""From a model to distributions over numbers: all at once where the engine reads trees, else step by step."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from whetstone.errors import UsageError
from whetstone.models.base import ChatModel, LogitModel, NextToken, VocabularyModel, answers_apart
from whetstone.models.token_tree import TokenTree, TreeModel
from whetstone.numeric.distribution import Distribution
from whetstone.numeric.grid import Grid
from whetstone.numeric.trie import NumberTrie, build_trie

# Nodes behind a prompt at most, for reading them all at once: 1,500 take ten times the work of a prompt of 150 tokens.
_MOST_NODES = 1_500
# Tokens listed for one step. The digits are nearly always among the first hundred; see `_fill` for those that are not.
_TOP = 256
_STEPS_AT_ONCE = 16
TOLERANCE = 5e-3


def number_trie(model: ChatModel, grid: Grid, before: str, *, exact: bool = False) -> NumberTrie:
    """A grid in a model's tokens, see `build_trie`.

    Args:
        before: the end of the prompt. The answer of an encoder-decoder begins anew behind it, and numbers are spelled
            as they are at a text's beginning.

    Raises:
        UsageError: the model's vocabulary or probabilities are not at hand, or it cannot spell the grid.
    """
    if not isinstance(model, VocabularyModel) or not isinstance(model, LogitModel):
        raise UsageError(
            f"{model.identity.spec} does not give the probabilities of all its tokens: take a local model (gguf:, hf:)"
        )
    return build_trie(grid, model.vocabulary, "" if answers_apart(model) else before, exact=exact)


def read_numbers(
    model: ChatModel, prompts: Sequence[Sequence[int]], trie: NumberTrie, *, tolerance: float = TOLERANCE
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
    """Nodes by falling probability of being reached. One that is left out is taken to go on as those beside it do."""
    tree = trie.tree
    table = np.full((1 + len(tree), len(trie.wanted)), -np.inf, dtype=np.float32)
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parents.tolist()):
        children.setdefault(parent, []).append(node)
    column = {token: place for place, token in enumerate(trie.wanted.tolist())}
    reached: dict[int, float] = {}
    waiting: list[tuple[float, int]] = [(-1.0, -1)]  # (-probability of being reached, node)
    unlisted = 0.0
    while waiting and sum(-reach for reach, _ in waiting) > tolerance:
        popped = [heapq.heappop(waiting) for _ in range(min(_STEPS_AT_ONCE, len(waiting)))]
        # Brothers one after another: all but the last token is still in the engine's cache.
        asked = sorted(popped, key=lambda one: tree.path(one[1]))
        steps = model.next_token([prompt + tree.path(node) for _, node in asked], _TOP)
        for (reach, node), found in zip(asked, steps, strict=True):
            unlisted += -reach * _fill(table[node + 1], found, column, trie.needed[node + 1])
            reached[node] = -reach
            for child in children.get(node, ()):
                probability = float(np.exp(table[node + 1, column[int(tree.tokens[child])]]))
                if probability > 0:
                    heapq.heappush(waiting, (reach * probability, child))
    _guess(table, tree, reached)
    bound = unlisted + sum(-reach for reach, _ in waiting)
    return Distribution(trie.grid.values, trie.masses(table), min(1.0, bound))


def _fill(
    row: npt.NDArray[np.float32], found: NextToken, column: dict[int, int], needed: npt.NDArray[np.bool_]
) -> float:
    """Write down what is known behind a node; the probability that needed tokens may have which are not listed.

    None of them has more than the last one that is listed.
    """
    listed = np.zeros(len(row), dtype=np.bool_)
    for token, logprob in zip(found.ids.tolist(), found.logprobs.tolist(), strict=True):
        place = column.get(token)
        if place is not None:
            row[place] = logprob
            listed[place] = True
    missing = int((needed & ~listed).sum())
    return min(found.missing_mass, missing * float(np.exp(found.logprobs[-1])))


def _guess(table: npt.NDArray[np.float32], tree: TokenTree, reached: dict[int, float]) -> None:
    """Fill the rows of nodes that were not asked with the mean of those of their depth that were."""
    for depth in range(1, 1 + int(tree.depths.max(initial=0))):
        level = np.flatnonzero(tree.depths == depth)
        known = np.array([node for node in level.tolist() if reached.get(node)], dtype=np.int64)
        if not len(known):
            return
        weights = np.array([reached[node] for node in known.tolist()])
        with np.errstate(divide="ignore"):
            mean = np.log(weights @ np.exp(table[1 + known].astype(np.float64)) / weights.sum())
        table[1 + np.setdiff1d(level, known)] = mean
