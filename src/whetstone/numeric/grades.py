"""A grade as a distribution: the one that a model gave, and the probabilities of those that it did not give.

The expected grade instead of the likeliest: Liu et al. 2023, "G-Eval: NLG Evaluation using GPT-4 with Better Human
Alignment". It tells apart what would all get the same number.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from whetstone.numeric.distribution import Distribution
from whetstone.numeric.endpoint import Spelled, bounds_of
from whetstone.numeric.grid import Grid
from whetstone.types import Reply, TokenLogprob

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def graded(reply: Reply, grid: Grid) -> Distribution | None:
    """What a reply that holds one number says about the grades; None where it gives none of them.

    What stands before the number (`{"grade": `) is taken as given. Where the engine shows alternatives to the number's
    tokens they are counted as `whetstone.numeric.endpoint` counts them, and what they leave open is the `bound`; where
    it shows none, or thought before it answered, all mass is on the grade that was given.

    Args:
        grid: the grades, such as 1..5.
    """
    spelled = Spelled(grid)
    tokens = () if reply.reasoning else _from_number(reply.logprobs)
    if tokens and tokens[0].top:
        if not len(spelled.possible(tokens[0].text, ended=False)):
            return None
        found = bounds_of(replace(reply, logprobs=tokens), spelled, "").distribution
        return found if found.inside > 0 else None
    numbers = _NUMBER.findall(reply.text)
    given = grid.values == float(numbers[0]) if len(numbers) == 1 else None
    return Distribution(grid.values, given.astype(np.float64)) if given is not None and given.any() else None


def _from_number(tokens: tuple[TokenLogprob, ...]) -> tuple[TokenLogprob, ...]:
    """The tokens from the first number on, without what stands before it in its token."""
    for place, token in enumerate(tokens):
        number = _NUMBER.search(token.text)
        if number is not None:
            lead = token.text[: number.start()]
            top = tuple((text.removeprefix(lead), logprob) for text, logprob in token.top)
            return replace(token, text=token.text[number.start() :], top=top), *tokens[place + 1 :]
    return ()
