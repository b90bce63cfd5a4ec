"""Numbers from an endpoint that shows only its likeliest tokens: distributions as far as these settle them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from whetstone.errors import ModelError, RequestRefusedError
from whetstone.evaluation.technique import digest
from whetstone.models import ChatModel
from whetstone.models.base import LogitModel, VocabularyModel
from whetstone.models.catalogue import cost
from whetstone.numeric.decoding import estimated
from whetstone.numeric.distribution import Estimate
from whetstone.numeric.endpoint import TOP, NumberBounds, read_bounds
from whetstone.numeric.grid import Grid
from whetstone.numeric.summary import summarise
from whetstone.types import Message, Prediction, Reading

# So many refusals, and no answer before them: it will refuse the rest too, and each has its price.
_REFUSES = 3


def shows_all_tokens(model: ChatModel) -> bool:
    """Whether a model gives the probabilities of all its tokens, so that nothing has to be bounded."""
    return isinstance(model, LogitModel) and isinstance(model, VocabularyModel)


class EndpointNumbers:
    """One estimate from one endpoint, for a technique that asks it about cases.

    Args:
        model: shows its likeliest tokens.
        grid: the candidates.
        estimate: of the distribution.
    """

    def __init__(self, model: ChatModel, grid: Grid, estimate: Estimate) -> None:
        self._model = model
        self._grid = grid
        self._estimate: Estimate = estimate

    @property
    def remark(self) -> str:
        """What a reader of the answers must know."""
        return (
            f"{self._model.identity.spec} shows only its {TOP} likeliest tokens: its distributions are bounds, and the "
            "note of each answer says by how much a probability may be off"
        )

    def keys(self, asked: Sequence[Sequence[Message]]) -> list[str]:
        """What decides the answer to each conversation."""
        how = [asdict(self._model.identity), self._grid.name, self._estimate, TOP]
        return [digest("bounds", list(messages), *how) for messages in asked]

    def predict(self, asked: Mapping[str, Sequence[Message]]) -> Iterator[Prediction]:
        """An answer for each case, in the order in which the endpoint replies.

        Args:
            asked: case id -> conversation.

        Raises:
            RequestRefusedError: the endpoint refuses from the start, because it shows no log-probabilities.
        """
        ids, keys = list(asked), self.keys(list(asked.values()))
        refused = 0
        for index, found in read_bounds(self._model, list(asked.values()), self._grid):
            prompt = json.dumps(list(asked[ids[index]]), ensure_ascii=False)
            blank = Prediction(ids[index], keys[index], Reading("error"), prompt=prompt)
            refused = refused + 1 if isinstance(found, RequestRefusedError) and refused >= 0 else -1
            if isinstance(found, ModelError) and refused == _REFUSES:
                raise found
            if isinstance(found, ModelError):
                yield replace(blank, reading=Reading("error", note=str(found)))
            else:
                yield self._answered(blank, found)

    def _answered(self, blank: Prediction, found: NumberBounds) -> Prediction:
        distribution, reply = found.distribution, found.reply
        reading = estimated(distribution, self._estimate).reading
        note = (
            f"{reading.note}; bounds: any probability may be off by up to {found.open:.1%}, and tokens with "
            f"{found.missing:.1%} were not shown"
        )
        return replace(
            blank,
            reading=replace(reading, note=note),
            raw=reply.text,
            usage=reply.usage,
            seconds=reply.seconds,
            cost=cost(self._model.identity, reply.usage),
            finish_reason=reply.finish_reason,
            distribution=summarise(distribution) if distribution.inside > 0 else None,
        )
