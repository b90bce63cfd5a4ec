"""Regression-aware tuning: the loss is the error of the number, and not of its spelling.

Lukasik et al. 2025, "Better autoregressive regression with LLMs via regression-aware fine-tuning" (RAFT,
arXiv:2503.04182): the squared error of the expected number under the model's own distribution. To cross-entropy, 130
instead of 129 is as wrong as 930. The probability of every candidate is read as in evaluation (`NumberTrie`): the
nodes of the number tree follow the prompt under a tree attention mask, in the same pass as the row itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch

from whetstone.errors import UsageError
from whetstone.models.hf_tree import branches_truly, can_branch
from whetstone.numeric.trie import NumberTrie
from whetstone.tuning.collator import IGNORED
from whetstone.tuning.kl import base_logits
from whetstone.tuning.labelled import cross_entropy, logits_at, logprobs_of, unwrapped

Error = Literal["squared", "absolute", "crps"]


@dataclass(frozen=True)
class RaftLoss:
    """The loss of rows that ask for a number.

    Attributes:
        trie: the grid of candidates in the model's tokens.
        error: "squared": of the expected number, as in the paper; probability outside the grid counts as 0. "absolute":
            the expected distance to the right number, least for a point at the median. "crps": the continuous ranked
            probability score (Gneiting and Raftery 2007), the expected distance less half of that between two draws:
            least for the true distribution, so that intervals and medians stay honest. In both of these, probability
            outside the grid counts as the candidate that is farthest off.
        scale: what distances are divided by, such as the spread of the training targets.
        cross_entropy: how much the cross-entropy of the written number counts beside the error.
    """

    trie: NumberTrie
    error: Error = "squared"
    scale: float = 1.0
    cross_entropy: float = 0.0

    @property
    def tokens_per_row(self) -> int:
        """Tokens that each row takes besides its own."""
        return len(self.trie.tree)

    def __call__(
        self, model: Any, batch: Mapping[str, Any], num_items: float, num_rows: float, kl_weight: float = 0.0
    ) -> Any:
        """The loss of a micro-batch: a float32 scalar with its gradient.

        Args:
            model: a decoder that `check_raft` has let pass.
            batch: as a `Collator` makes it, not packed, on the model's device. Rows without a number (replay) count
                with their cross-entropy alone.
            num_items: tokens that the effective batch learns, over all processes.
            num_rows: rows of the effective batch that ask for a number, over all processes.
            kl_weight: how much the divergence from the model without its adapter counts, at the labelled positions.
        """
        ids, labels = batch["input_ids"], batch["labels"]
        number_at = batch.get("number_at", torch.full((len(ids),), -1, device=ids.device))
        asks = number_at > 0
        inputs = tree_inputs(unwrapped(model), ids, number_at.clamp(min=1), self._on(ids.device))
        asking = asks.nonzero()[:, 0]
        nodes = ids.shape[1] + torch.arange(self.tokens_per_row, device=ids.device)
        places = torch.cat([number_at[asking, None] - 1, nodes.expand(len(asking), -1)], dim=1)
        # The cross-entropy of a row that asks counts as much as is wanted of it, that of another one fully.
        shares = torch.where(asks, self.cross_entropy, 1.0)
        wanted = labels[:, 1:] != IGNORED if kl_weight else (labels[:, 1:] != IGNORED) & (shares > 0)[:, None]
        rows, columns = wanted.nonzero(as_tuple=True)
        read = torch.cat([asking.repeat_interleave(places.shape[1]), rows]), torch.cat([places.ravel(), columns])
        base = base_logits(model, inputs, rows, columns) if kl_weight else None
        numbers, written = logits_at(model, inputs, *read).split([places.numel(), len(rows)])
        weights = batch["weights"][rows, columns + 1] / num_items
        # Both losses write over their logits, so that they may not be parts of one tensor.
        loss = cross_entropy(
            written.clone(), labels[rows, columns + 1], weights * shares[rows], base, kl_weight * weights
        )
        if len(asking):
            masses = self.masses(numbers, len(asking))
            errors = self.errors(masses, batch["targets"][asking].float())
            loss = loss + (errors * batch["weights"][asking, 0]).sum() / num_rows
        return loss

    def masses(self, logits: Any, count: int) -> Any:
        """The probability of each candidate, (count, k), with gradients: see `NumberTrie.masses`.

        Args:
            logits: behind the prompt and behind each node, prompt by prompt: (count * (1 + nodes), vocabulary).
        """
        trie = self._on(logits.device)
        table = logprobs_of(logits, trie.wanted).view(count, -1, len(trie.wanted))
        along = (table[:, trie.rows, trie.columns] * trie.inside).sum(-1)
        going = (table.exp() * trie.onward).sum(-1)
        stopping = (1 - going).clamp(0, 1)
        mass = along.exp() * torch.where(trie.stops >= 0, stopping[:, trie.stops], 1.0)
        empty = torch.zeros(count, len(trie.values), device=mass.device)
        return empty.index_add(1, trie.candidates, mass)

    def errors(self, masses: Any, targets: Any) -> Any:
        """The error of each row, (n,).

        Args:
            masses: of each candidate, (n, k), summing up to at most 1.
            targets: the right numbers, (n,).
        """
        values = self._on(masses.device).values
        if self.error == "squared":
            return ((masses @ values - targets) / self.scale).square()
        distances = (values - targets[:, None]).abs() / self.scale
        worst, missing = distances.argmax(1, keepdim=True), (1 - masses.sum(1, keepdim=True)).clamp(min=0)
        masses = masses.scatter_add(1, worst, missing)
        expected = (masses * distances).sum(1)
        if self.error == "absolute":
            return expected
        below = masses.cumsum(1)[:, :-1]
        return expected - (below * (1 - below)) @ (values.diff() / self.scale)

    def _on(self, device: Any) -> _Tensors:
        return self._tensors.setdefault(str(device), _Tensors.of(self.trie, device))

    @cached_property
    def _tensors(self) -> dict[str, _Tensors]:
        return {}


@dataclass(frozen=True)
class _Tensors:
    """A number tree on a device; the names are those of `NumberTrie`."""

    tokens: Any
    depths: Any
    ancestry: Any
    wanted: Any
    rows: Any
    columns: Any
    inside: Any
    stops: Any
    onward: Any
    candidates: Any
    values: Any

    @classmethod
    def of(cls, trie: NumberTrie, device: Any) -> _Tensors:
        def moved(array: Any) -> Any:
            return torch.as_tensor(array, device=device)

        steps = moved(trie.steps)
        return cls(
            tokens=moved(trie.tree.tokens),
            depths=moved(trie.tree.depths),
            ancestry=moved(trie.tree.ancestry),
            wanted=moved(trie.wanted),
            rows=steps[..., 0].clamp(min=0),
            columns=steps[..., 1].clamp(min=0),
            inside=(steps[..., 0] >= 0).float(),
            stops=moved(trie.stops),
            onward=moved(trie.onward[trie.kinds]).float(),
            candidates=moved(trie.candidates),
            values=moved(trie.grid.values).float(),
        )


def tree_inputs(model: Any, ids: Any, number_at: Any, trie: _Tensors) -> dict[str, Any]:
    """Arguments of a forward pass over rows with the number tree behind the prompt of each.

    The tree's tokens stand behind the padded rows, with the positions of their depths: they see the prompt and their
    own ancestors, and no token of the row sees them.

    Args:
        ids: token ids, padded on the right, (b, t).
        number_at: where each row's prompt ends, (b,).
    """
    (count, width), nodes, device = ids.shape, len(trie.tokens), ids.device
    seen = torch.zeros(count, width + nodes, width + nodes, dtype=torch.bool, device=device)
    seen[:, :width, :width] = torch.ones(width, width, dtype=torch.bool, device=device).tril()
    places = torch.arange(width, device=device)
    seen[:, width:, :width] = (places < number_at[:, None])[:, None]
    seen[:, width:, width:] = trie.ancestry
    # A mask to be added, which both of transformers' own attentions take.
    mask = torch.zeros(seen.shape, dtype=model.dtype, device=device).masked_fill_(~seen, torch.finfo(model.dtype).min)
    positions = torch.cat([places.expand(count, width), number_at[:, None] + trie.depths - 1], dim=1)
    return {
        "input_ids": torch.cat([ids, trie.tokens.expand(count, nodes)], dim=1),
        "attention_mask": mask[:, None],
        "position_ids": positions,
    }


def check_raft(model: Any, longest: int, trie: NumberTrie, pad_id: int) -> None:
    """Check that a model can be tuned on the error of its numbers.

    Args:
        longest: tokens of the longest prompt.

    Raises:
        UsageError: it cannot read a number tree under a mask of ours.
    """
    inner = unwrapped(model)
    depth = int(trie.tree.depths.max(initial=0))
    if inner.config.is_encoder_decoder or not (can_branch(inner, longest + depth) and branches_truly(inner, pad_id)):
        raise UsageError(
            "loss: raft needs a decoder that reads all numbers under one attention mask, which "
            f"{inner.config.model_type} does not; write loss: cross_entropy"
        )
