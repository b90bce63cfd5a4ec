"""Does a tuned model give its training answers to questions that have nothing to do with them?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FEW_LABELS = 50
_SHORTEST_BEGINNING = 4  # shorter common beginnings are chance: "The", "A "

_PRICE = re.compile(
    r"""\W{0,3}
    (?: (?:the\ )? (?:price|cost) (?:\ is|s)? \s*:?\s* (?:about\ )? [$€£¥]? \s* \d   # "Price is $12"
      | (?:it\ costs?|that\ costs?) \b                                                  # "It costs …"
      | [$€£¥] \s* \d                                                                  # "$12.50 …"
      | \d[\d,.]* \s* (?:dollars|euros?|usd|eur|\$|€|£)                               # "12 dollars"
      | \d[\d,]*(?:\.\d+)? \W* $                                                       # nothing but a number
    )""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class LabelForm:
    """How the answers of a training set look.

    Attributes:
        prices: whether they are numbers or prices, so that any reply that looks like a price counts.
        beginning: what all of them begin with.
        labels: all of them in lower case, where there are only a few.
    """

    prices: bool = True
    beginning: str = ""
    labels: frozenset[str] = frozenset()

    def __contains__(self, reply: str) -> bool:
        text = reply.strip()
        if self.prices and _PRICE.match(text):
            return True
        if self.beginning and text.startswith(self.beginning):
            return True
        return text.strip("\"'`*.! ").lower() in self.labels


PRICES = LabelForm()


def label_form(completions: Sequence[str]) -> LabelForm:
    """The form that completions have in common: numbers, a beginning, a few labels; none of these for free texts."""
    texts = [text.strip() for text in completions if text.strip()]
    if not texts:
        return PRICES
    labels = frozenset(text.strip("\"'`*.! ").lower() for text in texts)
    beginning = _common_beginning(min(texts), max(texts)) if len(labels) > 1 else ""
    return LabelForm(
        prices=all(_PRICE.match(text) for text in texts),
        beginning=beginning.strip() if len(beginning.strip()) >= _SHORTEST_BEGINNING else "",
        labels=labels if len(labels) <= min(_FEW_LABELS, max(2, len(texts) // 2)) else frozenset(),
    )


def _common_beginning(first: str, last: str) -> str:
    """What two texts begin with, in whole words."""
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same].rpartition(" ")[0]
