"""Short answers to questions, judged as SQuAD does (Rajpurkar et al. 2016): the words in common, articles aside.

A case may accept several answers: its field `accepted` is a JSON list of texts, and the one that fits best counts.
Words of any script count; ideographs and kana one by one.
"""

from __future__ import annotations

import json
from collections import Counter

from whetstone.evaluation.answers import Answers
from whetstone.evaluation.intervals import Floats
from whetstone.evaluation.rouge import words
from whetstone.types import Case

_ARTICLES = frozenset(("a", "an", "the"))


def accepted(case: Case) -> list[str]:
    """Every answer that a case takes for right."""
    listed = case.fields.get("accepted")
    return [str(text) for text in json.loads(listed)] if listed else [str(case.expected)]


def _plain(text: str) -> list[str]:
    return [word for word in words(text) if word not in _ARTICLES]


def token_f1(case: Case, guess: str) -> float:
    """F1 of the words of an answer and of the accepted one that it is most like."""
    return max(_f1(_plain(truth), _plain(guess)) for truth in accepted(case))


def _f1(truth: list[str], guess: list[str]) -> float:
    if not truth or not guess:
        return float(truth == guess)
    both = (Counter(truth) & Counter(guess)).total()
    return 2 * both / (len(truth) + len(guess))


def same_answer(case: Case, guess: str) -> bool:
    """Whether an answer is an accepted one, letter case, marks and articles aside."""
    return any(_plain(truth) == _plain(guess) for truth in accepted(case))


def f1_scores(answers: Answers) -> Floats:
    """`token_f1` of each answer; 0 for one that could not be read."""
    return answers.graded(token_f1)


def same(answers: Answers) -> Floats:
    """1 where the answer is an accepted one."""
    return answers.graded(same_answer)
