"""What a `transformers` model expects: next tokens, whole texts, trees of continuations, and its hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from whetstone.errors import RequestRefusedError
from whetstone.models.base import NextToken
from whetstone.models.hf_engine import HfEngine
from whetstone.models.hf_head import OutputLayer
from whetstone.models.hf_hidden import States, hidden_states
from whetstone.models.hf_load import memory_errors
from whetstone.models.hf_reading import read_in_passes, read_token_by_token
from whetstone.models.hf_tree import Logprobs, TreeBatch, branches_truly, can_branch, read_by_levels
from whetstone.models.reading import ReadToken, read_stepwise
from whetstone.models.token_tree import TokenTree

# How many prompts' distributions are computed before the first is handed out, in order.
_NEXT_TOKEN_WINDOW = 128


class HfProbabilities(HfEngine):
    """A transformers model that is asked what it expects, and not to speak."""

    def close(self) -> None:
        super().close()
        self.__dict__.pop("_head", None)  # it holds the model

    def next_token(self, prompts: Sequence[Sequence[int]], top: int | None = None) -> Iterator[NextToken]:
        """For each prompt (token ids), in order, what follows it; for an encoder-decoder, how its reply begins."""
        for n, ids in enumerate(prompts):
            if not len(ids):
                raise RequestRefusedError(f"prompt {n} has no token, so nothing can follow it")
            self._check_length(len(ids), 0)
        with memory_errors(self._source.spec):
            prefix = self._shared(prompts, 0) if prompts else None
            for start in range(0, len(prompts), _NEXT_TOKEN_WINDOW):
                window = prompts[start : start + _NEXT_TOKEN_WINDOW]
                found: dict[int, NextToken] = {}
                for batch in self._plan(window, 0):
                    logits = self._batch([window[n] for n in batch], 0, prefix).start()
                    found.update(zip(batch, _distributions(logits, top), strict=True))
                yield from (found[n] for n in range(len(window)))

    def read(self, ids: Sequence[int], top: int, given: int = 1) -> Iterator[ReadToken]:
        """What was expected at each position of a text, in one pass; see `ReadingModel`.

        For an encoder-decoder every beginning of the text is a prompt of its own.
        """
        ids = self._checked_ids(ids)
        if self.encoder_decoder:
            yield from read_stepwise(self, ids, top, given)
            return
        self._check_length(len(ids) - 1, 0)
        how = read_in_passes if self._keeps_every_token else read_token_by_token
        with memory_errors(self._source.spec):
            yield from how(self._model, ids, top, given)

    def tree_logprobs(
        self, prompts: Sequence[Sequence[int]], tree: TokenTree, wanted: Sequence[int]
    ) -> Iterator[tuple[int, Logprobs]]:
        """How likely tokens are after each prompt and each continuation; see `TreeModel`.

        A decoder reads all nodes of a batch of prompts in one pass, with at most 256 MB of logits; one whose attention
        takes no mask of ours, and an encoder-decoder, level by level.

        Raises:
            ContextTooLongError: a prompt with its deepest node does not fit.
            RequestRefusedError: a prompt is empty.
        """
        depth = int(tree.depths.max(initial=0))
        for n, ids in enumerate(prompts):
            if not len(ids):
                raise RequestRefusedError(f"prompt {n} has no token, so nothing can follow it")
            self._check_length(len(ids), depth)
        if not prompts:
            return
        with memory_errors(self._source.spec):
            if not self.encoder_decoder and not self._keeps_every_token:
                yield from self._tree_by_prompts(prompts, tree, wanted)
            elif (
                not self.encoder_decoder and self._branches and can_branch(self._model, max(map(len, prompts)) + depth)
            ):
                prefix = self._shared(prompts, len(tree))
                for rows in self._plan(prompts, len(tree)):
                    batch = [prompts[n] for n in rows]
                    read = TreeBatch(self._model, batch, tree, prefix, self._tokenizer.pad_id, self._head)
                    yield from zip(rows, read.read(wanted), strict=True)
            else:
                prefix = self._shared(prompts, depth)
                for n, ids in enumerate(prompts):
                    (found,) = read_by_levels(self._batch([ids], depth, prefix), 1, tree, wanted)
                    yield n, found

    def _tree_by_prompts(
        self, prompts: Sequence[Sequence[int]], tree: TokenTree, wanted: Sequence[int]
    ) -> Iterator[tuple[int, Logprobs]]:
        """Every node as a prompt of its own: for a state that can be neither copied nor masked."""
        for n, ids in enumerate(prompts):
            paths = [[*ids, *tree.path(node)] for node in range(-1, len(tree))]
            yield n, np.stack([token.logprobs[np.argsort(token.ids)[list(wanted)]] for token in self.next_token(paths)])

    def hidden_states(self, prompts: Sequence[Sequence[int]], depths: Sequence[float]) -> Iterator[tuple[int, States]]:
        """The vectors of some layers for each prompt; see `HiddenStateModel`. At most 1,024 tokens at once on a CPU.

        Raises:
            ContextTooLongError: a prompt does not fit.
            RequestRefusedError: a prompt is empty.
        """
        for n, ids in enumerate(prompts):
            if not len(ids):
                raise RequestRefusedError(f"prompt {n} has no token, so there is nothing to read")
            self._check_length(len(ids), 0)
        together = self.encoder_decoder or self._keeps_every_token
        with memory_errors(self._source.spec):
            yield from hidden_states(self._model, prompts, depths, self._tokenizer.pad_id, together)

    @cached_property
    def _head(self) -> OutputLayer:
        return OutputLayer(self._model)

    @cached_property
    def _branches(self) -> bool:
        return can_branch(self._model, 0) and branches_truly(self._model, self._tokenizer.pad_id)


def _distributions(logits: Any, top: int | None) -> Iterator[NextToken]:
    """Log-probabilities of each row of logits (rows, vocabulary), most probable first."""
    import torch

    with torch.inference_mode():
        logprobs = logits.float().log_softmax(-1)
        values, ids = logprobs.sort(descending=True) if top is None else logprobs.topk(min(top, logprobs.shape[-1]))
        values, ids = values.cpu().numpy(), ids.cpu().numpy()
    for row_ids, row_values in zip(ids, values, strict=True):
        yield NextToken(row_ids.astype(np.int64), row_values.astype(np.float32))
