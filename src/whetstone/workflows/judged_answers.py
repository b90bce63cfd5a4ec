"""`whet kb eval --judge`: every question is answered from the documents, and a model judges the answers.

Killed at any moment, it goes on where it was: an answer and its judgement are kept as soon as they are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from whetstone.errors import DataError, ModelError
from whetstone.evaluation.intervals import FunctionOfMeans, Interval, bootstrap, equal_tailed
from whetstone.evaluation.technique import digest
from whetstone.models import GREEDY, ChatModel, drain
from whetstone.retrieval.judge import ASPECTS, GRADES, Judge, Judgement, ToJudge
from whetstone.retrieval.measure import Question
from whetstone.retrieval.prompt import says_nothing
from whetstone.retrieval.sources import without_list
from whetstone.settings import home
from whetstone.storage.journal import JournalWriter, read_journal
from whetstone.types import user

_FEWEST = 5  # judgements below which an interval would say nothing
_SEED = 42
_OPTIONS = GREEDY.model_copy(update={"max_tokens": 300})


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """One question's answer and what the judge says of it.

    Attributes:
        question: as in the file.
        answer: without its list of sources; "" where the model failed.
        said: whether it is an answer, and not that the documents do not say.
        cited: whether the model cited a passage itself.
        judgement: of the answer; one that failed has no grades.
    """

    question: Question
    answer: str
    said: bool
    cited: bool
    judgement: Judgement


def judged_answers(
    model: ChatModel,
    judge: Judge,
    questions: Sequence[Question],
    progress: Callable[[int, int], None] | None = None,
) -> list[JudgedAnswer]:
    """Answers and judgements of all questions that have a reference answer, in their order.

    Args:
        model: answers from documents: `kb:NAME@MODEL`.
        progress: told `(done, total)` questions.

    Raises:
        DataError: no question has a reference answer.
        ModelError: a model cannot answer at all; what was judged is kept.
        StorageError: a judgement cannot be kept.
    """
    asked = [question for question in questions if question.reference_answer.strip()]
    if not asked:
        raise DataError("no question has a reference_answer: a judge compares answers with one, so add it to the file")
    identity = {"model": asdict(model.identity), "options": _OPTIONS.model_dump(mode="json"), **judge.identity}
    path = home() / "judged" / f"{digest(identity)}.jsonl"
    with JournalWriter(path) as journal:
        known = {str(entry["key"]): entry for entry in read_journal(path)}
        found = []
        for done, question in enumerate(asked, 1):
            key = digest(question.text, question.reference_answer)
            if key not in known:
                known[key] = {"key": key, **_judged(model, judge, question)}
                journal.append(known[key])
            entry = known[key]
            judgement = Judgement(entry["grades"], entry["failure"])
            found.append(JudgedAnswer(question, entry["answer"], entry["said"], entry["cited"], judgement))
            if progress is not None:
                progress(done, len(asked))
    return found


def _judged(model: ChatModel, judge: Judge, question: Question) -> dict[str, Any]:
    try:
        reply = drain(model.stream([user(question.text)], _OPTIONS))
    except ModelError as error:
        if not error.concerns_one_item:
            raise
        return {"answer": "", "said": False, "cited": False, "grades": {}, "failure": f"no answer: {error}"}
    answer = without_list(reply.text)
    ((_, judgement),) = judge.judge([ToJudge(question.text, answer, question.reference_answer)])
    return {
        "answer": answer,
        "said": not says_nothing(answer),
        "cited": any(not citation.attributed for citation in reply.citations),
        "grades": dict(judgement.grades),
        "failure": judgement.failure,
    }


def mean_grade(judged: Sequence[JudgedAnswer], aspect: str) -> Interval:
    """The mean of an aspect over the judgements that did not fail, with its 95 % interval by bootstrap."""
    grades = np.array([one.judgement.grades[aspect] for one in judged if one.judgement.grades], dtype=np.float64)
    if not len(grades):
        return Interval(None, None, None)
    mean = float(grades.mean())
    if len(grades) < _FEWEST or not grades.std():
        return Interval(mean, None, None)
    function = FunctionOfMeans(grades[:, None], lambda means: means[..., 0])
    low, high = equal_tailed(bootstrap([function], [(0, None)], seed=_SEED)[0])
    return Interval(mean, max(low, float(GRADES[0])), min(high, float(GRADES[-1])))


def as_json(judged: Sequence[JudgedAnswer]) -> dict[str, Any]:
    """Means with intervals, how many failed, and every answer with its grades."""
    return {
        **_summary(judged),
        "by_category": {name: _summary(of) for name, of in by_category(judged).items()},
        "answers": [
            {
                "row": one.question.row,
                "question": one.question.text,
                "answer": one.answer,
                "grades": dict(one.judgement.grades),
                "failure": one.judgement.failure,
            }
            for one in judged
        ],
    }


def by_category(judged: Sequence[JudgedAnswer]) -> Mapping[str, list[JudgedAnswer]]:
    """The judged answers of each category, in order of first appearance."""
    found: dict[str, list[JudgedAnswer]] = {}
    for one in judged:
        if one.question.category:
            found.setdefault(one.question.category, []).append(one)
    return found


def _summary(judged: Sequence[JudgedAnswer]) -> dict[str, Any]:
    means = {aspect: mean_grade(judged, aspect) for aspect in ASPECTS}
    return {
        "n": len(judged),
        "failed": failed(judged),
        "not_said": sum(not one.said for one in judged),
        "cited": sum(one.cited for one in judged),
        **{aspect: {"value": one.value, "low": one.low, "high": one.high} for aspect, one in means.items()},
    }


def failed(judged: Sequence[JudgedAnswer]) -> int:
    """How many judgements failed."""
    return sum(bool(one.judgement.failure) for one in judged)
