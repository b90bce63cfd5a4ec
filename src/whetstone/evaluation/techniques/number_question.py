"""How a number problem is put to a model that is read number by number: the prompt, and the candidates."""

from __future__ import annotations

import math

import numpy as np

from whetstone.errors import UsageError
from whetstone.evaluation.techniques.fitted import number_targets
from whetstone.numeric.grid import PRICES, Grid, parse_grid
from whetstone.prompting.answers import unit_in_words
from whetstone.prompting.price import LABEL, QUESTION, Form, PricePrompt
from whetstone.types import Problem

_MOST_WHOLE = 1_000  # candidates of a grid of whole numbers
_LOG_SPACED = 200  # candidates of a grid that spans more: neighbours differ by some percent
_TENTHS = 20  # a narrower range than this, whose truths have decimals, has a candidate at every tenth


def number_prompt(problem: Problem, grid: Grid, form: Form, question: str = "") -> PricePrompt:
    """The course's prompt, character by character, for dollars; the same form for anything else.

    The label ends in no blank: many tokenizers take one and the number behind it as a single token.

    Args:
        question: of the user's own; "" for the usual one.
    """
    if problem.unit == "$":
        return PricePrompt(form, question or QUESTION, LABEL, None if grid.places == 0 else grid.places)
    target = problem.target.replace("_", " ")
    name = unit_in_words(problem.unit)
    usual = f"What is the {target}{f' in {name}' if name else ''}?"
    sign = problem.unit if name != problem.unit else ""  # a currency sign
    label = f"{target[:1].upper()}{target[1:]} {f'is {sign}' if sign else '='}"
    return PricePrompt(form, question or usual, label, grid.places)


def number_grid(problem: Problem, written: str = "") -> Grid:
    """The candidates of a number problem.

    Args:
        written: as the user asked for them, see `parse_grid`. By default they span the true answers of the training and
            validation cases: whole dollars from 0 to 999 where those hold them; else whole numbers, tenths in a narrow
            range, or numbers evenly spaced in the logarithm.

    Raises:
        UsageError: it cannot be read; or there are no true answers to go by, or some below 0 over too wide a range.
    """
    if written:
        return parse_grid(written)
    known = number_targets([*problem.train, *problem.validation])
    if not len(known):
        if problem.unit == "$":
            return parse_grid(PRICES)
        raise UsageError(
            f"{problem.name} has no training cases to see the range of its numbers from: say which numbers to consider "
            "(--grid 0..100)"
        )
    low, high = math.floor(known.min()), math.ceil(known.max())
    if problem.unit == "$" and low >= 0 and high < _MOST_WHOLE:
        return parse_grid(PRICES)
    if high - low <= _TENTHS and not np.array_equal(known, np.round(known)):
        return parse_grid(f"{low}.0..{high}.0")
    if high - low < _MOST_WHOLE:
        return parse_grid(f"{low}..{high}")
    if low < 0:
        raise UsageError(
            f"the numbers of {problem.name} reach from {low:,} to {high:,}: say which ones to consider (--grid)"
        )
    return parse_grid(f"log:{max(low, 1)}..{high}:{_LOG_SPACED}")
