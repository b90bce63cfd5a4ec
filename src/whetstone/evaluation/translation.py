"""BLEU and chrF by sacrebleu, as corpus figures whose intervals can be resampled, and for single sentences.

Both are functions of counts that are added up over all items before anything is divided (Papineni et al. 2002; Popović
2015), so an item's features are its counts. From 0 to 100, as papers write them; the corpus figures are sacrebleu's own
with its default settings, and words are cut as it does for the language: "13a", "zh" for Chinese, and letter by letter
for Japanese, Korean and Thai, for which sacrebleu would need a dictionary that does not come with it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np

from whetstone.errors import MissingPackageError
from whetstone.evaluation.answers import Answers
from whetstone.evaluation.intervals import Floats

_WORD_ORDERS = 4
_LETTER_ORDERS = 6
_CHRF_BETA = 2
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_NO_WORD_BREAKS = re.compile(r"[\u3040-\u30ff\uac00-\ud7af\u1100-\u11ff\u0e00-\u0e7f]")


def _sacrebleu() -> Any:
    try:
        import sacrebleu.metrics  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise MissingPackageError("sacrebleu", "BLEU and chrF", "pip install 'whetstone-llm[tasks]'") from None
    return sacrebleu.metrics


def cut(reference: str) -> str:
    """The name of sacrebleu's tokenizer for texts like this one."""
    letters = max(1, sum(character.isalpha() for character in reference))
    if 2 * len(_NO_WORD_BREAKS.findall(reference)) > letters or (
        _NO_WORD_BREAKS.search(reference) and 2 * len(_HAN.findall(reference)) > letters
    ):
        return "char"
    return "zh" if 2 * len(_HAN.findall(reference)) > letters else "13a"


@cache
def _bleu(tokenizer: str) -> Any:
    return _sacrebleu().BLEU(tokenize=tokenizer, effective_order=True)


@cache
def _chrf() -> Any:
    return _sacrebleu().CHRF()


def sentence_bleu(truth: str, guess: str) -> float:
    """BLEU of one sentence, 0 to 100, over the orders of n-grams that it is long enough for."""
    return float(_bleu(cut(truth)).sentence_score(guess, [truth]).score)


def sentence_chrf(truth: str, guess: str) -> float:
    """chrF2 of one sentence, 0 to 100."""
    return float(_chrf().sentence_score(guess, [truth]).score)


def bleu_counts(answers: Answers) -> Floats:
    """Length of the answer and of the reference, n-grams of each order that both have and that the answer has; and n.

    The number of items stands in every row, because BLEU's smoothing needs sums and the function is given means.
    """
    rows = []
    for truth, guess in zip(answers.truth, answers.guess, strict=True):
        found = _bleu(cut(truth)).sentence_score(guess or "", [truth])
        rows.append([found.sys_len, found.ref_len, *found.counts, *found.totals, len(answers.truth)])
    return np.array(rows, dtype=np.float64)


def bleu(means: Floats) -> Floats:
    """Corpus BLEU of the means of `bleu_counts`, smoothed as mteval does ("exp"), as sacrebleu by default."""
    sums = means * means[..., -1:]
    answer, reference = sums[..., 0], sums[..., 1]
    right, given = sums[..., 2 : 2 + _WORD_ORDERS], sums[..., 2 + _WORD_ORDERS : 2 + 2 * _WORD_ORDERS]
    none = right < 0.5
    halved = 2.0 ** np.cumsum(none, axis=-1)
    precision = np.where(none, 1 / halved, right) / np.maximum(given, 1.0)
    brevity = np.exp(np.minimum(0.0, 1 - reference / np.maximum(answer, 1.0)))
    defined = (given[..., -1] > 0.5) & ~none.all(axis=-1)
    return np.asarray(np.where(defined, 100 * brevity * np.exp(np.log(precision).mean(axis=-1)), 0.0))


def chrf_counts(answers: Answers) -> Floats:
    """For each order: letter n-grams of the answer, of the reference, and of both."""
    from sacrebleu.metrics.helpers import extract_all_char_ngrams  # type: ignore[import-not-found, unused-ignore]

    _sacrebleu()
    rows = []
    for truth, guess in zip(answers.truth, answers.guess, strict=True):
        said, wanted = (extract_all_char_ngrams(text, _LETTER_ORDERS, False) for text in (guess or "", truth))
        rows.append(
            [count for a, b in zip(said, wanted, strict=True) for count in (a.total(), b.total(), (a & b).total())]
        )
    return np.array(rows, dtype=np.float64)


def chrf(means: Floats) -> Floats:
    """Corpus chrF2 of the means of `chrf_counts`."""
    said, wanted, both = (means[..., part::3] for part in range(3))
    counted = (said > 1e-12) & (wanted > 1e-12)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision = np.where(counted, both / np.maximum(said, 1e-12), 0.0).sum(axis=-1) / orders
    recall = np.where(counted, both / np.maximum(wanted, 1e-12), 0.0).sum(axis=-1) / orders
    weight = _CHRF_BETA**2
    below = weight * precision + recall
    score = 100 * (1 + weight) * precision * recall / np.where(below > 0, below, 1.0)
    return np.asarray(np.where(below > 0, score, 0.0))
