"""What metrics are means of: features of each item, and the functions that make metrics of their means.

Features are (n, k), a row per item, NaN where a number could not be read. Functions map means (..., k) to values (...),
so that thousands of resamples are one call.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whetstone.evaluation.answers import Answers

Floats = NDArray[np.float64]

HIT_ABSOLUTE = 40.0
HIT_RELATIVE = 0.2


def _column(values: Any) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


def errors(answers: Answers) -> Floats:
    """Guess minus truth."""
    return _column(answers.error)


def absolute_errors(answers: Answers) -> Floats:
    """|guess - truth|."""
    return _column(np.abs(answers.error))


def squared_errors(answers: Answers) -> Floats:
    """(guess - truth)²."""
    return _column(answers.error**2)


def squared_log_errors(answers: Answers) -> Floats | None:
    """(log(1 + guess) - log(1 + truth))²; a guess below 0 counts as 0. None where a truth is below 0."""
    if np.any(answers.truth < 0):
        return None
    return _column((np.log1p(np.maximum(answers.guess, 0.0)) - np.log1p(answers.truth)) ** 2)


def explained(answers: Answers) -> Floats:
    """(guess - truth)², truth and truth², the truth from its mean: R² is the same from any origin, rounding is not."""
    truth = answers.truth - answers.origin
    return np.column_stack([answers.error**2, truth, truth**2])


def symmetric_relative_errors(answers: Answers) -> Floats:
    """2 |guess - truth| / (|guess| + |truth|), from 0 to 2; 0 where both are 0."""
    size = np.abs(answers.guess) + np.abs(answers.truth)
    return _column(2 * np.abs(answers.error) / np.where(size == 0, 1.0, size))


def hits(answers: Answers) -> Floats:
    """1 where the error is below 40 (of the problem's unit) or below 20 % of the truth, both strictly."""
    error = np.abs(answers.error)
    hit = (error < HIT_ABSOLUTE) | (error < HIT_RELATIVE * np.abs(answers.truth))
    return _column(np.where(answers.readable, hit, np.nan))


def readable(answers: Answers) -> Floats:
    """1 where the answer could be read."""
    return _column(answers.readable)


def correct(answers: Answers) -> Floats:
    """1 where the answer is the truth."""
    return _column([guess == truth for guess, truth in zip(answers.guess, answers.truth, strict=True)])


def same_text(answers: Answers) -> Floats:
    """1 where the answer is the truth, whatever its spacing."""
    pairs = zip(answers.guess, answers.truth, strict=True)
    return _column([guess is not None and guess.split() == truth.split() for guess, truth in pairs])


def rouge_1(answers: Answers) -> Floats:
    """F-measure of ROUGE-1."""
    return answers.rouge[:, :1]


def rouge_l(answers: Answers) -> Floats:
    """F-measure of ROUGE-L."""
    return answers.rouge[:, 1:]


def classes(answers: Answers) -> Floats:
    """For each label that occurs: 1 where it was answered rightly; how often it is the answer or the truth."""
    names = sorted({*answers.truth, *(guess for guess in answers.guess if guess is not None)})
    truth = np.array([[value == name for name in names] for value in answers.truth], dtype=np.float64)
    guess = np.array([[value == name for name in names] for value in answers.guess], dtype=np.float64)
    return np.hstack([truth * guess, truth + guess])


def mean(means: Floats) -> Floats:
    """The mean of the one feature."""
    return means[..., 0]


def root_mean(means: Floats) -> Floats:
    """The square root of the mean of the one feature."""
    return np.asarray(np.sqrt(np.maximum(means[..., 0], 0.0)))


def r2(means: Floats) -> Floats:
    """1 - mean squared error / variance of the truth, of `explained`; NaN where the truth does not vary."""
    variance = means[..., 2] - means[..., 1] ** 2
    varies = variance > 1e-12 * means[..., 2]
    return np.asarray(np.where(varies, 1 - means[..., 0] / np.where(varies, variance, 1.0), np.nan))


def macro_f1(means: Floats) -> Floats:
    """The mean of 2 right / (answered + true) over the labels that occur, of `classes`."""
    half = means.shape[-1] // 2
    right, named = means[..., :half], means[..., half:]
    occurs = named > 1e-12
    f1 = np.where(occurs, 2 * right / np.where(occurs, named, 1.0), 0.0)
    return np.asarray(f1.sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1))
