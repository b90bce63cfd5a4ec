"""How a text relates to the one it was to be: its length beside the reference's, and how much it merely copied."""

from __future__ import annotations

import math

from whetstone.evaluation.answers import Answers
from whetstone.evaluation.intervals import Floats
from whetstone.evaluation.rouge import words

GRAM = 4  # words in a row that the source has too are copied, where fewer may be a name or a phrase everybody uses


def copied_share(source: str, answer: str) -> float:
    """The share of the answer's runs of four words that stand in the source; 0 for an answer without words.

    An answer of fewer than four words is one run of its own length. The complement of what See et al. 2017 ("Get To The
    Point") plot as novel 4-grams.
    """
    said = words(answer)
    size = min(GRAM, len(said))
    if not size:
        return 0.0
    known = _grams(words(source), size)
    runs = [tuple(said[i : i + size]) for i in range(len(said) - size + 1)]
    return sum(run in known for run in runs) / len(runs)


def _grams(tokens: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}


def length_ratio(truth: str, answer: str) -> float:
    """Words of the answer for each word of the reference; letters where the reference has no words."""
    expected = len(words(truth))
    return len(words(answer)) / expected if expected else len(answer) / max(1, len(truth))


def copied(answers: Answers) -> Floats | None:
    """The share of each answer that is copied from what the case gave; None where cases give no text."""
    if not any(case.text for case in answers.cases):
        return None
    return answers.graded(lambda case, guess: copied_share(case.text, guess), math.nan)


def lengths(answers: Answers) -> Floats:
    """Each answer's length beside the reference's."""
    return answers.graded(lambda case, guess: length_ratio(str(case.expected), guess), math.nan)
