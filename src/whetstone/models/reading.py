"""How likely a model finds every token of a text: in one go where the engine can, else position by position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from whetstone.models.base import LogitModel, NextToken

_LOOK = 64  # alternatives that are asked for at first; a token that is not among them costs a look at all


@dataclass(frozen=True, slots=True)
class ReadToken:
    """What a model expected where a token stands.

    Attributes:
        logprob: natural-log probability of that token, given all tokens before it.
        rank: 1 for the model's favourite.
        top: the most probable tokens there, as many as were asked for.
    """

    logprob: float
    rank: int
    top: NextToken


@runtime_checkable
class ReadingModel(LogitModel, Protocol):
    """A model that reads a text in one pass, and tells what it expected at every position."""

    def read(self, ids: Sequence[int], top: int, given: int = 1) -> Iterator[ReadToken]:
        """For each token but the first `given` (at least one), in order.

        Raises:
            RequestRefusedError: an id that the model does not have.
            ContextTooLongError: the text does not fit the model's context.
        """
        ...


def read(model: LogitModel, ids: Sequence[int], top: int, given: int = 1) -> Iterator[ReadToken]:
    """As `ReadingModel.read`, for any model that shows its probabilities."""
    if isinstance(model, ReadingModel):
        return model.read(ids, top, given)
    return read_stepwise(model, ids, top, given)


def read_stepwise(model: LogitModel, ids: Sequence[int], top: int, given: int = 1) -> Iterator[ReadToken]:
    """As `ReadingModel.read`, with everything before a token as a prompt of its own."""
    positions = range(given, len(ids))
    prompts = [ids[:position] for position in positions]
    for position, found in zip(positions, model.next_token(prompts, max(_LOOK, top)), strict=True):
        at = np.flatnonzero(found.ids == ids[position])
        if not len(at):
            found = next(iter(model.next_token([ids[:position]])))
            at = np.flatnonzero(found.ids == ids[position])
        best = NextToken(found.ids[:top], found.logprobs[:top])
        yield ReadToken(float(found.logprobs[at[0]]), int(at[0]) + 1, best)
