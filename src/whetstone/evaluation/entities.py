"""Entities that were found, against those that are there: micro F1, strict and partial.

Answers and truths are JSON lists of `{"type": "person", "text": "Ada Lovelace"}`. What counts are the distinct entities
of a text: a name that stands in it twice is one. Strict asks for the type and the very words. Partial gives one half
where the type is right and the words overlap somewhere in the text, as SemEval-2013 task 9 does for its partial
boundaries (which forgets the type, where we do not).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from whetstone.errors import DataError
from whetstone.evaluation.answers import Answers
from whetstone.evaluation.intervals import Floats

Entity = tuple[str, str]  # type, text


def read_entities(written: str) -> tuple[Entity, ...]:
    """The distinct entities of a JSON list, in order; letter case of types and spacing of texts aside.

    Raises:
        DataError: it is no JSON list of objects with the texts `type` and `text`.
    """
    try:
        listed = json.loads(written)
        if not isinstance(listed, list):
            raise ValueError
        pairs = [(item["type"], item["text"]) for item in listed]
        return tuple(dict.fromkeys((kind.strip().casefold(), " ".join(text.split())) for kind, text in pairs))
    except (ValueError, KeyError, TypeError, AttributeError):
        start = written[:60]
        raise DataError(
            f'entity_f1 judges JSON lists such as [{{"type": "person", "text": "Ada"}}], not {start!r}'
        ) from None


@lru_cache(maxsize=4096)
def matches(source: str, truth: tuple[Entity, ...], guess: tuple[Entity, ...]) -> tuple[int, int]:
    """How many entities agree wholly, and how many of the others in part, each with one of the other side."""
    exact = set(truth) & set(guess)
    missed = [entity for entity in truth if entity not in exact]
    extra = [entity for entity in guess if entity not in exact]
    near = 0
    for entity in extra:
        partner = next((other for other in missed if _touch(source, entity, other)), None)
        if partner is not None:
            missed.remove(partner)
            near += 1
    return len(exact), near


def _touch(source: str, a: Entity, b: Entity) -> bool:
    """Whether two entities have one type, and stand somewhere in the text in places that overlap."""
    if a[0] != b[0]:
        return False
    plain = " ".join(source.split())
    return any(
        start < other_end and other_start < end
        for start, end in _places(plain, a[1])
        for other_start, other_end in _places(plain, b[1])
    )


def _places(source: str, text: str) -> Sequence[tuple[int, int]]:
    found, start = [], source.find(text) if text else -1
    while start >= 0:
        found.append((start, start + len(text)))
        start = source.find(text, start + 1)
    return found


def counts(answers: Answers) -> Floats:
    """For each case: entities that agree wholly, those that agree in part, those answered, those that are there.

    An answer that could not be read names none.

    Raises:
        DataError: a truth is no list of entities.
    """
    rows = []
    for case, guess in zip(answers.cases, answers.guess, strict=True):
        truth, named = read_entities(str(case.expected)), () if guess is None else _named(guess)
        rows.append([*matches(case.text, truth, named), len(named), len(truth)])
    return np.array(rows, dtype=np.float64)


def _named(guess: str) -> tuple[Entity, ...]:
    """The entities of an answer; an answer that is no such list names none."""
    try:
        return read_entities(guess)
    except DataError:
        return ()


def f1(means: Floats) -> Floats:
    """Strict micro F1 of the means of `counts`; 1 where nothing is there and nothing was named."""
    return _ratio(2 * means[..., 0], means[..., 2] + means[..., 3])


def partial_f1(means: Floats) -> Floats:
    """Micro F1 with one half for what agrees in part."""
    return _ratio(2 * means[..., 0] + means[..., 1], means[..., 2] + means[..., 3])


def precision(means: Floats) -> Floats:
    """Of the entities answered, the share that is right, strictly."""
    return _ratio(means[..., 0], means[..., 2])


def recall(means: Floats) -> Floats:
    """Of the entities that are there, the share that was found, strictly."""
    return _ratio(means[..., 0], means[..., 3])


def _ratio(part: Floats, whole: Floats) -> Floats:
    some = whole > 1e-12
    return np.asarray(np.where(some, part / np.where(some, whole, 1.0), 1.0))


def item_f1(source: str, truth: str, guess: str, *, partial: bool) -> float:
    """F1 of one case."""
    wanted, named = read_entities(truth), _named(guess)
    row = np.array([*matches(source, wanted, named), len(named), len(wanted)], dtype=np.float64)
    return float((partial_f1 if partial else f1)(row))
