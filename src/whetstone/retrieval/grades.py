"""A grade that a model gives as a digit, made finer by the probabilities of the digits it did not give.

The expected grade instead of the likeliest: Liu et al. 2023, "G-Eval: NLG Evaluation using GPT-4 with Better Human
Alignment". It tells apart what would all get the same number.
"""

from __future__ import annotations

import math

from whetstone.types import Reply


def expected_grade(reply: Reply, grades: range) -> float | None:
    """The expected grade if the model shows probabilities, else the one that was given; None if there is none.

    Args:
        reply: holds one digit, maybe within other text (`{"grade": 4}`).
        grades: those that there are, each a single digit.
    """
    for token in reply.logprobs:
        if (given := _digit(token.text, grades)) is not None:
            weights = {given: math.exp(token.logprob)}
            for text, logprob in token.top:
                if (grade := _digit(text, grades)) is not None:
                    weights[grade] = max(weights.get(grade, 0.0), math.exp(logprob))
            total = sum(weights.values())
            return sum(grade * weight for grade, weight in weights.items()) / total if total > 0 else float(given)
    digits = [character for character in reply.text if character.isdigit()]
    return _digit(digits[0], grades) if len(digits) == 1 else None


def _digit(text: str, grades: range) -> int | None:
    text = text.strip()
    return int(text) if len(text) == 1 and text.isascii() and text.isdigit() and int(text) in grades else None
