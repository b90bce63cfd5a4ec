"""How many of the points that a text must make it makes: what can be checked of a text that has no one right wording.

A case's field `points` is a JSON list of points, each a list of spellings of which one has to occur; a spelling matches
at the beginning of a word, letter case aside, so that "pollinat" finds "pollinators". It says that a point is
mentioned, not that what is said of it is true.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache

from whetstone.errors import UsageError
from whetstone.evaluation.answers import Answers
from whetstone.evaluation.intervals import Floats
from whetstone.types import Case


def coverage(case: Case, text: str) -> float:
    """The share of the case's points that a text mentions.

    Raises:
        UsageError: the case has no points.
    """
    if not (listed := case.fields.get("points")):
        raise UsageError(f"coverage looks for the points in a field `points`, which the case {case.id!r} lacks")
    plain = _plain(text)
    points = _points(str(listed))
    return sum(any(spelling.search(plain) for spelling in point) for point in points) / len(points)


@lru_cache(maxsize=1024)
def _points(listed: str) -> tuple[tuple[re.Pattern[str], ...], ...]:
    return tuple(tuple(map(_spelt, point)) for point in json.loads(listed))


def _spelt(spelling: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(_plain(spelling))}")


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def coverages(answers: Answers) -> Floats:
    """`coverage` of each answer; 0 for one that could not be read."""
    return answers.graded(coverage)
