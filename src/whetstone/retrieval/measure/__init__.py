"""How well a search finds, without a judge: questions, what was found for each, and the metrics of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whetstone.retrieval.measure.metrics import (
    coverage,
    holds_keyword,
    holds_span,
    ndcg,
    recall,
    reciprocal_rank,
    strict_rank,
)
from whetstone.retrieval.measure.questions import Question, Span, read_questions
from whetstone.retrieval.search import Hit

__all__ = ["Measures", "Question", "Scores", "Span", "evaluate", "read_questions"]


@dataclass(frozen=True, slots=True)
class Scores:
    """What one question's search is worth; None where the question does not say what is relevant in that way.

    Attributes:
        mrr: mean reciprocal rank over the question's keywords, or where it has none its spans, from 0 to 1.
        ndcg: their mean normalised discounted gain, from 0 to 1.
        coverage: percent of the keywords that were found.
        recall: percent of the characters of the spans that were found.
        strict: reciprocal rank of the first passage that holds all of them.
        context_chars: characters of all passages as they are put into the prompt.
        seconds: that the search took.
    """

    mrr: float
    ndcg: float
    coverage: float | None
    recall: float | None
    strict: float
    context_chars: float
    seconds: float


@dataclass(frozen=True)
class Measures:
    """The scores of every question, in their order."""

    questions: tuple[Question, ...]
    scores: tuple[Scores, ...]

    def values(self, metric: str) -> list[float | None]:
        """One metric, question by question."""
        return [getattr(score, metric) for score in self.scores]

    def mean(self, metric: str) -> float | None:
        """The mean of a metric over the questions that have it; None where none has."""
        values = [value for value in self.values(metric) if value is not None]
        return sum(values) / len(values) if values else None

    def by_category(self) -> dict[str, Measures]:
        """The measures of each category, in order of first appearance; questions without one are left out."""
        names = dict.fromkeys(question.category for question in self.questions if question.category)
        return {name: self._of(name) for name in names}

    def _of(self, category: str) -> Measures:
        kept = [n for n, question in enumerate(self.questions) if question.category == category]
        return Measures(tuple(self.questions[n] for n in kept), tuple(self.scores[n] for n in kept))


def evaluate(
    find: Callable[[str], Sequence[Hit]],
    questions: Sequence[Question],
    progress: Callable[[int, int], None] | None = None,
) -> Measures:
    """Search for every question and score what comes.

    Args:
        find: the search: a question in, passages out, best first.
        questions: see `read_questions`.
        progress: told `(done, total)` questions.
    """
    scores = []
    for done, question in enumerate(questions, start=1):
        scores.append(_scores(find, question))
        if progress is not None:
            progress(done, len(questions))
    return Measures(tuple(questions), tuple(scores))


def _scores(find: Callable[[str], Sequence[Hit]], question: Question) -> Scores:
    started = time.perf_counter()
    hits = find(question.text)
    seconds = time.perf_counter() - started
    shown = [hit.shown for hit in hits]
    keywords = [[holds_keyword(text, keyword) for text in shown] for keyword in question.keywords]
    spans = [[holds_span(hit, span) for hit in hits] for span in question.spans]
    ranked = keywords or spans
    return Scores(
        mrr=reciprocal_rank(ranked),
        ndcg=ndcg(ranked),
        coverage=coverage(keywords) if keywords else None,
        recall=recall(hits, question.spans) if spans else None,
        strict=strict_rank(ranked),
        context_chars=sum(map(len, shown)),
        seconds=seconds,
    )
