"""Self-consistency: the same question asked several times, and what most of the answers say.

Wang et al. 2022, "Self-Consistency Improves Chain of Thought Reasoning in Language Models": several replies are
sampled, the answer is read out of each, and the answers vote. Numbers, where near misses matter, give their median.
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whetstone.types import Options

How = Literal["majority", "median"]

TEMPERATURE = 0.7  # of samples, where nothing else is said: the paper's
NEAR = 0.05  # a number agrees with the median when it is off by at most this share of it
_EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True, slots=True)
class Vote:
    """What several answers come to.

    Attributes:
        value: the answer; None where no sample could be read.
        agreement: the share of all samples that say so, those that could not be read included in the whole.
        samples: how many were asked for.
        readable: how many had an answer.
        counts: of a majority, each answer as it was first written, and how many samples gave it, most frequent first.
    """

    value: Any
    agreement: float
    samples: int
    readable: int
    counts: tuple[tuple[Any, int], ...] = ()

    def __str__(self) -> str:
        """In words: "4 of 5 samples agree"."""
        told = f"{round(self.agreement * self.samples)} of {self.samples} samples agree"
        unread = self.samples - self.readable
        return f"{told}, {unread} could not be read" if unread else told


def majority(answers: Sequence[Any]) -> Vote:
    """The answer that most samples give; of several with equally many votes, the one that came first.

    Texts count as the same when they differ in letter case, blanks or marks at their ends only; other values, when they
    are the same JSON.

    Args:
        answers: one per sample; None where it could not be read.
    """
    first: dict[str, Any] = {}
    votes: Counter[str] = Counter()
    for answer in answers:
        if answer is not None:
            key = normalised(answer)
            first.setdefault(key, answer)
            votes[key] += 1
    if not votes:
        return Vote(None, 0.0, len(answers), 0)
    ranked = votes.most_common()  # those with equal counts in the order in which they came
    counts = tuple((first[key], count) for key, count in ranked)
    return Vote(first[ranked[0][0]], ranked[0][1] / len(answers), len(answers), votes.total(), counts)


def median(answers: Sequence[float | None]) -> Vote:
    """The median of the samples' numbers; samples within `NEAR` of it agree."""
    numbers = [float(answer) for answer in answers if answer is not None]
    if not numbers:
        return Vote(None, 0.0, len(answers), 0)
    middle = statistics.median(numbers)
    agreeing = sum(abs(number - middle) <= NEAR * abs(middle) for number in numbers)
    return Vote(middle, agreeing / len(answers), len(answers), len(numbers))


def vote(answers: Sequence[Any], how: How) -> Vote:
    """The samples' answers put together one way or the other."""
    return majority(answers) if how == "majority" else median(answers)


def normalised(answer: Any) -> str:
    """What two answers must have in common to count as the same."""
    if not isinstance(answer, str):
        return json.dumps(answer, ensure_ascii=False, sort_keys=True)
    text = " ".join(unicodedata.normalize("NFKC", answer).casefold().split())
    return _EDGES.sub("", text) or text


def sampling(options: Options, seed: int, sample: int, *place: Any) -> Options:
    """The options of one sample: a seed of its own, and a temperature above 0.

    Args:
        options: of the request; a temperature other than 0 is kept.
        seed: of the whole run.
        sample: which one, from 0.
        place: what else tells requests apart, so that two of them do not sample alike.
    """
    temperature = options.temperature or TEMPERATURE
    return options.model_copy(update={"temperature": temperature, "seed": derived_seed(seed, sample, *place)})


def derived_seed(seed: int, *parts: Any) -> int:
    """A seed made of another and of what it is for: 31 bits."""
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
