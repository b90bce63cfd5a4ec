"""All continuations of a prompt in one forward pass: the nodes of a token tree, each seeing only its own ancestors.

Tree attention as in Miao et al. 2023, "SpecInfer". The prompt's keys and values are computed once; the nodes follow as
one more stretch of tokens, with the positions of their depths and a mask in place of the causal one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.models.hf_batch import Batch, DecoderBatch, takes_positions
from whetstone.models.hf_cache import Prefix, next_cache
from whetstone.models.hf_head import OutputLayer, logprobs_of
from whetstone.models.token_tree import TokenTree

Logprobs = npt.NDArray[np.float32]

# Bounds of one pass over nodes: padded tokens (beyond about a thousand they fall out of a CPU's caches), and bytes of
# logits, of which the softmax needs a copy.
_NODE_TOKENS = {"cpu": 1024}
_NODE_TOKENS_GPU = 16_384
_LOGIT_BYTES = 256e6
_HALF_PRECISION = 0.25  # in the mean of a node's log-probabilities


def can_branch(model: Any, longest: int) -> bool:
    """Whether nodes can be read under a mask of our own.

    Args:
        model: a decoder that keeps keys and values per token.
        longest: tokens of the longest prompt with its deepest node.

    A model that derives positions from the mask (ALiBi) cannot; nor can one whose window some node outgrows.
    """
    window = getattr(model.config.get_text_config(decoder=True), "sliding_window", None)
    if window is not None and longest > window:
        return False
    return takes_positions(model) and model.config._attn_implementation in ("sdpa", "eager")


class TreeBatch(DecoderBatch):
    """Prompts of a decoder, and a token tree that follows each of them.

    Args:
        model: the transformers model.
        prompts: token ids, longest first.
        tree: the continuations.
        prefix: what all prompts begin with.
        pad_id: any valid token id.
        head: of the model.
    """

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Sequence[int]],
        tree: TokenTree,
        prefix: Prefix | None,
        pad_id: int,
        head: OutputLayer,
    ) -> None:
        super().__init__(model, prompts, len(tree), prefix, pad_id)
        self._tree = tree
        self._head = head

    def read(self, wanted: Sequence[int]) -> Iterator[Logprobs]:
        """For each prompt, in order, the log-probabilities of the wanted tokens: see `TreeModel`."""
        import torch

        device = self._model.device
        with torch.inference_mode():
            columns = torch.tensor(list(wanted), device=device)
            first = logprobs_of(self.start(), columns)[:, None]
            count = len(self._tree)
            if not count:
                yield from first.cpu().numpy()
                return
            tokens = torch.tensor(self._tree.tokens, device=device)
            depths = torch.tensor(self._tree.depths, device=device)
            ancestry = torch.tensor(self._tree.ancestry, device=device)
            for rows in self._stretches(count):
                size = rows.stop - rows.start
                # A mask to be added, which both of transformers' own attentions take.
                seen = torch.cat(
                    [
                        self._mask[rows, None, : self._length].bool().expand(size, count, self._length),
                        ancestry[None].expand(size, count, count),
                    ],
                    dim=-1,
                )
                dtype = self._model.dtype
                mask = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, torch.finfo(dtype).min)
                behind = self._head.logprobs(
                    columns,
                    input_ids=tokens[None].expand(size, count),
                    past_key_values=next_cache(self._blocks, rows, self._length),
                    attention_mask=mask[:, None],
                    position_ids=self._positions[rows, None] + depths[None] - 1,
                    use_cache=True,
                )
                yield from torch.cat([first[rows], behind], dim=1).cpu().numpy()

    def _stretches(self, count: int) -> Iterator[slice]:
        limit = _NODE_TOKENS.get(self._model.device.type, _NODE_TOKENS_GPU)
        vocabulary = self._model.config.get_text_config(decoder=True).vocab_size
        rows = max(1, min(limit // count, int(_LOGIT_BYTES / (4 * vocabulary * count))))
        for start in range(0, len(self._rests), rows):
            yield slice(start, min(start + rows, len(self._rests)))


def read_by_levels(batch: Batch, rows: int, tree: TokenTree, wanted: Sequence[int]) -> Iterator[Logprobs]:
    """The same for any batch that can be advanced: every row is copied for each of its nodes, one level at a time."""
    import torch

    with torch.inference_mode():
        logits = batch.start()
        columns = torch.tensor(list(wanted), device=logits.device)
        found = np.empty((rows, 1 + len(tree), len(columns)), dtype=np.float32)
        found[:, 0] = logprobs_of(logits, columns).cpu().numpy()
        above = np.array([-1])
        for depth in range(1, 1 + int(tree.depths.max(initial=0))):
            nodes = np.flatnonzero(tree.depths == depth)
            place = {int(node): position for position, node in enumerate(above)}
            positions = np.array([place[int(tree.parents[node])] for node in nodes])
            batch.keep((np.arange(rows)[:, None] * len(above) + positions[None]).ravel().tolist())
            logits = batch.step(np.tile(tree.tokens[nodes], rows).tolist())
            found[:, 1 + nodes] = logprobs_of(logits, columns).cpu().numpy().reshape(rows, len(nodes), -1)
            above = nodes
    yield from found


def branches_truly(model: Any, pad_id: int) -> bool:
    """Whether a tree read at once agrees with one read step by step: tried once on a few tokens.

    Nothing that a model says of itself settles how its attention treats a mask of ours.
    """
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    prompts = [[(7 * n + 3) % vocabulary for n in range(9)], [(5 * n + 1) % vocabulary for n in range(4)]]
    tree = TokenTree(np.array([5, 6, 7, 8]) % vocabulary, np.array([-1, -1, 0, 2]))
    wanted = list(range(min(50, vocabulary)))
    at_once = TreeBatch(model, prompts, tree, None, pad_id, OutputLayer(model)).read(wanted)
    by_levels = read_by_levels(DecoderBatch(model, prompts, 3, None, pad_id), len(prompts), tree, wanted)
    off = np.array([np.abs(one - other) for one, other in zip(at_once, by_levels, strict=True)])
    if model.dtype.itemsize >= 4:
        return bool(off.max() <= 1e-3)
    # Half precision rounds each in its own way: SmolLM2 in bfloat16 is off by up to 0.34, in the mean of a node by
    # 0.12. A node that sees another one's branch is off by 1.9 in the mean.
    return bool(off.mean(axis=-1).max() <= _HALF_PRECISION)
