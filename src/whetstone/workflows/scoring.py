"""How likely a model finds each token of a text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whetstone.errors import RequestRefusedError
from whetstone.models import LogitModel
from whetstone.models.reading import read


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """One token of a text.

    Attributes:
        id: the token.
        text: its text; a part of a character shows as U+FFFD.
        logprob: natural-log probability given what precedes it; None for a first token with nothing before it.
        rank: 1 for the model's favourite; None as above.
        top: the most probable tokens there: (id, text, logprob), the best first.
    """

    id: int
    text: str
    logprob: float | None
    rank: int | None
    top: tuple[tuple[int, str, float], ...] = ()


def score_ids(model: LogitModel, ids: Sequence[int], *, given: int = 1, top: int = 5) -> Iterator[ScoredToken]:
    """Each token's probability, given all tokens before it.

    Args:
        ids: the text, as the model reads it.
        given: so many tokens at the beginning are not scored; at least one, which nothing precedes.
        top: so many alternatives are told.

    Raises:
        RequestRefusedError: there is no token, or an id that the model does not have.
        ContextTooLongError: the text does not fit the model's context.
    """
    if not ids:
        raise RequestRefusedError("the text has no token: there is nothing to score")
    given = max(1, given)
    for token in ids[:given]:
        yield ScoredToken(token, model.decode([token]), None, None)
    for token, found in zip(ids[given:], read(model, ids, top, given), strict=True):
        best = zip(found.top.ids.tolist(), found.top.logprobs.tolist(), strict=True)
        alternatives = tuple((other, model.decode([other]), logprob) for other, logprob in best)
        yield ScoredToken(token, model.decode([token]), found.logprob, found.rank, alternatives)


def score_text(model: LogitModel, text: str, *, top: int = 5) -> Iterator[ScoredToken]:
    """Each token of a text; spellings of control tokens in it are text. Raises as `score_ids`.

    Where the model's tokenizer begins texts with a BOS token, that comes first, and is not scored.
    """
    begin = getattr(model, "prefix_ids", ())
    ids = [*begin, *model.encode(text)]
    return score_ids(model, ids, given=max(1, len(begin)), top=top)


def perplexity(scored: Sequence[ScoredToken]) -> float | None:
    """Exponential of the mean negative log-probability of the scored tokens; None when there are none."""
    logprobs = [token.logprob for token in scored if token.logprob is not None]
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else None
