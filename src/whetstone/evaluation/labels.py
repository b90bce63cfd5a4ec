"""The label that a reply gives as its answer, as a typed result."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from whetstone.numeric.replies import answer_part, declines
from whetstone.types import Reading

_WRAPPING = " \t\r\n\"'`*_“”‘’«»()[]{}<>.,;:!?#-–—"
_NAMES_ANSWER = re.compile(
    r"\b(?:final answer|answer|label|class|category|sentiment|prediction|classification|verdict)"
    r"\W{0,4}(?:(?:is|would be|should be|as|to be)\b\W{0,4})?",
    re.IGNORECASE,
)
_NEGATION = re.compile(
    r"(?:\b(?:not|never|neither|nor|isn['’]?t|wasn['’]?t|rather than|instead of)\s+(?:\w+\s+)?|\bnon-)$", re.IGNORECASE
)
_JSON_KEYS = ("label", "answer", "class", "category", "sentiment", "prediction", "result", "value")


def read_label(reply: str, labels: Sequence[str]) -> Reading:
    """The one of `labels` that a reply gives as its answer.

    In this order: the whole reply, or its first line, is a label (letter case, quotes and marks around it aside); a
    JSON field names it; it follows "label:", "the answer is" or the like; it heads the first line ("B) Paris"); the
    reply mentions it and no other, those that it denies ("not positive") aside.

    Several that disagree are unparsable, and so is a mere denial. A reply that declines is refused, unless it names a
    label as its answer.
    """
    text = answer_part(reply).strip()
    if not text:
        return Reading("unparsable", None, "empty reply")
    known = _Labels(labels)
    first_line, _, _ = text.partition("\n")
    for candidate, how in ((text, "the reply"), (first_line, "the first line")):
        if (label := known.same(candidate)) is not None:
            return Reading("value", label, f"{how} is the label")
    if (label := known.from_json(text)) is not None:
        return Reading("value", label, "named in a JSON field")
    named = {
        label for match in _NAMES_ANSWER.finditer(text) if (label := known.heading(text[match.end() :])) is not None
    }
    if len(named) == 1:
        return Reading("value", named.pop(), "named as the answer")
    if not named and (label := known.heading(first_line, closed=True)) is not None:
        return Reading("value", label, "heads the reply")
    mentioned, denied = known.mentioned(text)
    if declines(text) and not named:
        return Reading("refused", None, "the reply declines to answer")
    if len(mentioned) == 1:
        return Reading("value", next(iter(mentioned)), "the only label mentioned")
    if mentioned or named:
        several = ", ".join(sorted(mentioned | named))
        return Reading("unparsable", None, f"several labels that disagree: {several}")
    if denied:
        return Reading("unparsable", None, f"only says what it is not: {', '.join(sorted(denied))}")
    return Reading("unparsable", None, "no label in it")


class _Labels:
    """The labels of a problem, to be found in text. Where two differ only in case, case counts."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = {label: label for label in labels}
        folded: dict[str, list[str]] = {}
        for label in labels:
            folded.setdefault(label.casefold().strip(_WRAPPING) or label.casefold(), []).append(label)
        self._folded = {key: found[0] for key, found in folded.items() if len(found) == 1}
        # The longest first, so that "very good" is not "good". A label of one letter counts in its own case only, since
        # "a" is a word.
        self._pattern = re.compile("|".join(map(self._spelt, sorted(labels, key=len, reverse=True))))

    def _spelt(self, label: str) -> str:
        """A pattern for one label as a word of its own; East Asian words take endings without space: "긍정입니다"."""
        cased = len(label) == 1 or label.casefold() not in self._folded
        end = r"(?![A-Za-z\d_])" if label[-1:] >= "\u2e80" else r"(?!\w)"
        return rf"(?<!\w){'' if cased else '(?i:'}{re.escape(label)}{'' if cased else ')'}{end}"

    def same(self, text: str) -> str | None:
        """The label that this text is."""
        text = text.strip()
        return self._exact.get(text) or self._exact.get(text.strip(_WRAPPING)) or self._fold(text)

    def _fold(self, text: str) -> str | None:
        return self._folded.get(text.casefold()) or self._folded.get(text.casefold().strip(_WRAPPING))

    def heading(self, text: str, closed: bool = False) -> str | None:
        """The label that this text begins with; with `closed`, only where a mark or nothing follows it."""
        text = text[:400].lstrip(_WRAPPING)
        match = self._pattern.match(text)
        if match is None or (closed and not re.match(r"\s*(?:[\"'`*)\].,;:!]|[-–—]|$)", text[match.end() :])):
            return None
        return self.same(match.group())

    def from_json(self, text: str) -> str | None:
        """The label that a JSON object in the text names."""
        start = text.find("{")
        try:
            data, _ = json.JSONDecoder(parse_int=str).raw_decode(text, start) if start >= 0 else (None, 0)
        except (ValueError, RecursionError):
            return None
        if not isinstance(data, dict):
            return None
        fields = {str(key).casefold(): value for key, value in data.items()}
        values = [fields[key] for key in _JSON_KEYS if key in fields] or list(fields.values())
        found = {label for value in values if isinstance(value, str) and (label := self.same(value)) is not None}
        return found.pop() if len(found) == 1 else None

    def mentioned(self, text: str) -> tuple[set[str], set[str]]:
        """The labels that the text mentions, and those that it only denies."""
        asserted: set[str] = set()
        denied: set[str] = set()
        for match in self._pattern.finditer(text):
            label = self.same(match.group())
            if label is not None:
                negated = _NEGATION.search(text[max(0, match.start() - 30) : match.start()])
                (denied if negated else asserted).add(label)
        return asserted, denied - asserted
