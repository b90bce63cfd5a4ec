"""How good one answer is, as a colour and a letter: the same in the terminal, in the report and in its figures.

Prices follow the rule of the Tester: green for an error under $40 or under 20 % of the truth (a hit, as in the hit
rate), orange under $80 or 40 %, red for the rest. Labels are right or wrong; texts are graded by their score: ROUGE-L,
unless the deciding metric has one of its own. The letter says the same as the colour, for readers who cannot tell the
colours apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from whetstone.evaluation.features import HIT_ABSOLUTE, HIT_RELATIVE
from whetstone.evaluation.item_scores import item_score
from whetstone.evaluation.wording import with_unit
from whetstone.types import Problem


@dataclass(frozen=True, slots=True)
class Band:
    """A grade of answers.

    Attributes:
        key: "good", "near", "far" or "unreadable"; names its colour in the report.
        letter: G, O, R or U.
        style: its colour in the terminal.
        symbol: its marker in figures, by plotly's names.
    """

    key: str
    letter: str
    style: str
    symbol: str


GOOD = Band("good", "G", "green", "circle")
NEAR = Band("near", "O", "dark_orange", "diamond")
FAR = Band("far", "R", "red", "x")
UNREADABLE = Band("unreadable", "U", "magenta", "triangle-down")
BANDS = (GOOD, NEAR, FAR, UNREADABLE)

NEAR_ABSOLUTE = 2 * HIT_ABSOLUTE
NEAR_RELATIVE = 2 * HIT_RELATIVE
GOOD_SCORE = 0.5
NEAR_SCORE = 0.25
_LEAST = {"good": GOOD_SCORE, "near": NEAR_SCORE}


def number_band(guess: float, truth: float) -> Band:
    """The grade of a number."""
    error, size = abs(guess - truth), abs(truth)
    if error < HIT_ABSOLUTE or error < HIT_RELATIVE * size:
        return GOOD
    return NEAR if error < NEAR_ABSOLUTE or error < NEAR_RELATIVE * size else FAR


def score_band(score: float) -> Band:
    """The grade of a text with this score, from 0 to 1."""
    return GOOD if score >= GOOD_SCORE else NEAR if score >= NEAR_SCORE else FAR


def bands_of(problem: Problem) -> tuple[Band, ...]:
    """The grades that answers to this problem can have."""
    return (GOOD, FAR, UNREADABLE) if problem.kind == "label" else BANDS


def describe(band: Band, problem: Problem) -> str:
    """What an answer must be to earn this grade, in words."""
    if band is UNREADABLE:
        return "unreadable"
    if problem.kind == "label":
        return "right" if band is GOOD else "wrong"
    if problem.kind == "text":
        title = item_score(problem.metric).title
        return f"{title} below {NEAR_SCORE}" if band is FAR else f"{title} from {_LEAST[band.key]}"
    if band is FAR:
        return "further off"
    absolute, relative = (HIT_ABSOLUTE, HIT_RELATIVE) if band is GOOD else (NEAR_ABSOLUTE, NEAR_RELATIVE)
    return f"error under {with_unit(absolute, problem.unit).replace('.00', '')} or {100 * relative:.0f} %"
