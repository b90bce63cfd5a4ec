"""The score of one text by the metric that decides, from 0 to 1: what single answers are coloured and averaged by.

A metric of a whole run (chrF of a corpus, micro F1) has a counterpart for a single item, which this module names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from whetstone.evaluation import coverage, entities, execution, short_answers
from whetstone.types import Case


@dataclass(frozen=True)
class ItemScore:
    """How single texts are scored.

    Attributes:
        title: of the score, in sentences and figures.
        score: (case, answer) -> 0 to 1.
    """

    title: str
    score: Callable[[Case, str], float]


def _rouge(case: Case, text: str) -> float:
    from whetstone.evaluation.rouge import rouge_f

    return rouge_f(str(case.expected), text)[1]


def _chrf(case: Case, text: str) -> float:
    from whetstone.evaluation.translation import sentence_chrf

    return sentence_chrf(str(case.expected), text) / 100


def _bleu(case: Case, text: str) -> float:
    from whetstone.evaluation.translation import sentence_bleu

    return sentence_bleu(str(case.expected), text) / 100


def _f1(case: Case, text: str) -> float:
    return entities.item_f1(case.text, str(case.expected), text, partial=False)


def _partial_f1(case: Case, text: str) -> float:
    return entities.item_f1(case.text, str(case.expected), text, partial=True)


def _same_answer(case: Case, text: str) -> float:
    return float(short_answers.same_answer(case, text))


def _passes(case: Case, text: str) -> float:
    return float(execution.outcome(case, text).passed)


_ROUGE = ItemScore("ROUGE-L", _rouge)
_STRICT = ItemScore("F1", _f1)
_SCORES: Mapping[str, ItemScore] = {
    "chrf": ItemScore("chrF / 100", _chrf),
    "bleu": ItemScore("BLEU / 100", _bleu),
    "token_f1": ItemScore("word F1", short_answers.token_f1),
    "answer_match": ItemScore("right answers", _same_answer),
    "pass_rate": ItemScore("pass rate", _passes),
    "entity_f1": _STRICT,
    "entity_precision": _STRICT,
    "entity_recall": _STRICT,
    "entity_f1_partial": ItemScore("partial F1", _partial_f1),
    "coverage": ItemScore("coverage", coverage.coverage),
}


def item_score(metric: str) -> ItemScore:
    """How single texts are scored where this metric decides: by ROUGE-L, unless it says otherwise."""
    return _SCORES.get(metric, _ROUGE)
