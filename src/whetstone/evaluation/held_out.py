"""What a technique must never be shown: the items of the test split, in whatever text they turn up.

Texts are compared as duplicates are (`datasets.duplicates.normalised`), and by their runs of five words: a text shows
an item if it holds at least four fifths of the item's runs, or if at least four fifths of its own runs are the item's
(Broder 1997, "On the resemblance and containment of documents").
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from whetstone.datasets.duplicates import normalised
from whetstone.types import Case

_RUN = 5  # words
_SHARE = 0.8
# A character of a script without spaces counts as a word.
_WORD = re.compile(
    r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u1100-\u11ff\u3040-\u9fff\uac00-\ud7af]+"
)
_CELL = re.compile(r"[\n|\t]")


class HeldOut:
    """The test cases of a problem, to be recognised in other texts.

    Args:
        cases: of the test split.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self._texts = {normalised(case.text) for case in cases}
        self._runs: dict[int, list[int]] = defaultdict(list)  # hash of a run -> items that hold it
        self._sizes: list[int] = []
        self._short: set[str] = set()
        for text in self._texts:
            runs = set(_runs(text))
            if not runs:
                self._short.add(text)
                continue
            for run in runs:
                self._runs[run].append(len(self._sizes))
            self._sizes.append(len(runs))

    def is_item(self, text: str) -> bool:
        """Whether a text is an item's, up to case, blanks and Unicode form."""
        return normalised(text) in self._texts

    def shows(self, text: str) -> bool:
        """Whether a text holds an item, or most of one, or is a piece of one.

        An item of fewer than five words is looked for as a whole line or cell: within a sentence it says nothing.
        """
        if self._short and any(normalised(cell) in self._short for cell in _CELL.split(text) if cell.strip()):
            return True
        runs = set(_runs(normalised(text)))
        shared = Counter(item for run in runs for item in self._runs.get(run, ()))
        return any(count >= _SHARE * min(self._sizes[item], len(runs)) for item, count in shared.items())


def _runs(text: str) -> Iterator[int]:
    words = _WORD.findall(text)
    return (hash(tuple(words[at : at + _RUN])) for at in range(len(words) - _RUN + 1))
