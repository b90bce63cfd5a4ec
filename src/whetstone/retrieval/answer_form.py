"""What the answer to a question would look like: a date, an amount of money, a percentage, a number.

A chunk with nothing of that form cannot hold the answer, however much it is about the subject. The idea is old in
question answering (Prager et al. 2000, "Question-answering by predictive annotation"). Questions in English and Korean;
others expect nothing.
"""

from __future__ import annotations

import re

__all__ = ["expected"]

_DATE = re.compile(
    r"\b(?:1[89]|20)\d\d\b|\b\d{1,2}[./-]\d{1,2}\b"
    r"|\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+\d|\d\s*(?:년|월|일)",
    re.IGNORECASE,
)
_MONEY = re.compile(
    r"[$€£¥₩]\s?\d|\d\s?[€£₩]|\d\s?(?:usd|eur|gbp|krw|dollars?|euros?|pounds?|won)\b|\d\s?(?:만|억)?\s?원|\bfree\b|무료",
    re.IGNORECASE,
)
_PERCENTAGE = re.compile(r"\d\s?%|\bpercent|퍼센트", re.IGNORECASE)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand)\b|[한두세네]\s?(?:개|명|번)",
    re.IGNORECASE,
)

_ASKED = (  # the first that fits decides
    (
        re.compile(r"\b(?:what|which|how many) percent|\bpercentage\b|몇\s?(?:퍼센트|%|프로)", re.IGNORECASE),
        _PERCENTAGE,
    ),
    (
        re.compile(r"^\W*when\b|\b(?:what|which) (?:date|day|month|year)\b|언제|며칠|몇\s?(?:년|월|일)", re.IGNORECASE),
        _DATE,
    ),
    (
        re.compile(
            r"\b(?:prices?|costs?|fees?|salary|salaries|budgets?|revenues?|how much (?:money|does|do|did|is|are|was))\b"
            r"|가격|비용|요금|수수료|연봉|급여|예산|매출|얼마예|얼마인",
            re.IGNORECASE,
        ),
        _MONEY,
    ),
    (re.compile(r"\bhow (?:many|long|old|far|big|often|much)\b|\bnumber of\b|몇|얼마나", re.IGNORECASE), _NUMBER),
)


def expected(question: str) -> re.Pattern[str] | None:
    """What finds the form of an answer in a text; None where the question does not tell."""
    return next((form for asked, form in _ASKED if asked.search(question)), None)
