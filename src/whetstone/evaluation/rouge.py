"""ROUGE (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries") by the library rouge-score.

With Porter stemming, as summarisation papers report it. The library's own tokenizer drops every letter outside a-z, so
that a Korean answer would score 0 against itself; here words of any script count, ideographs and kana one by one. On
ASCII text the tokens, and so the scores, are the library's own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

_WRITTEN_WITHOUT_SPACES = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff])")


def words(text: str) -> list[str]:
    """Runs of letters, marks and digits of any script."""
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in unicodedata.normalize("NFKC", text).lower())
    return _WRITTEN_WITHOUT_SPACES.sub(r" \1 ", "".join(kept)).split()


@cache
def _scorer() -> Any:
    from rouge_score import rouge_scorer, tokenizers

    stemming = tokenizers.DefaultTokenizer(use_stemmer=True)

    class AnyScript(tokenizers.Tokenizer):  # type: ignore[misc]
        def tokenize(self, text: str) -> list[str]:
            if text.isascii():
                return list(stemming.tokenize(text))
            return [token for word in words(text) for token in (stemming.tokenize(word) if word.isascii() else [word])]

    return rouge_scorer.RougeScorer(["rouge1", "rougeL"], tokenizer=AnyScript())


def rouge_f(truth: str, guess: str) -> tuple[float, float]:
    """F-measures of ROUGE-1 (words in common) and ROUGE-L (longest common subsequence)."""
    scores = _scorer().score(truth, guess)
    return scores["rouge1"].fmeasure, scores["rougeL"].fmeasure
