"""A language model is asked after it was given passages of a knowledge base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.held_out import HeldOut
from whetstone.evaluation.technique import FoundPassage, PassageSource, TechniqueContext
from whetstone.evaluation.techniques.asked import OPTIONS, Ask
from whetstone.models import ContextModel
from whetstone.types import Case, Message, Problem

_DEFAULT_K = 5
_MORE = 10  # passages that are looked at beyond those wanted, because some may show test items


class Retrieved(Ask):
    """`retrieved:KB[:K]`: the passages of a knowledge base that are most like the case stand above the question.

    A passage that shows an item of the test split is never given, nor the passages right before and behind it: the rest
    of a catalogue's entry may hold the answer. What does not fit into the model's context is left out, the last first.
    """

    looks_up = True

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        name, _, count = arguments.partition(":")
        count = count or str(_DEFAULT_K)
        if not name or not (count.isascii() and count.isdigit() and int(count) > 0):
            raise UsageError(
                f"retrieved takes a knowledge base and how many passages (retrieved:handbook:5), not {arguments!r}"
            )
        self._knowledge, self._count = name, int(count)
        self._set_up(f"retrieved:{name}:{count}", context)

    @cached_property
    def _source(self) -> PassageSource:
        if self._context.open_passages is None:
            raise UsageError(f"{self.name}: there are no knowledge bases here")
        return self._context.open_passages(self._knowledge)

    def _more_identity(self) -> Mapping[str, Any]:
        return {"passages": dict(self._source.identity), "count": self._count}

    def fit(self, problem: Problem) -> None:
        """Learn nothing; find out which passages show items of the test split."""
        super().fit(problem)
        self._held_out = HeldOut(problem.test)
        self._found: dict[str, list[FoundPassage]] = {}
        self._kept_back: list[FoundPassage] = []
        for done, case in enumerate(problem.test, 1):
            self._kept_back += [found for found in self._find(case.text) if self._held_out.shows(found.text)]
            self._context.progress(f"{self.name}: searching", done, len(problem.test))

    def _find(self, text: str) -> list[FoundPassage]:
        if text not in self._found:
            self._found[text] = self._source.find(text, self._count + _MORE)
        return self._found[text]

    def _allowed(self, text: str) -> Iterator[FoundPassage]:
        for found in self._find(text):
            if not self._held_out.shows(found.text) and not any(found.touches(other) for other in self._kept_back):
                yield found

    def _completed(self, case: Case, messages: list[Message]) -> list[Message]:
        passages = list(self._allowed(case.text))[: self._count]
        while passages:
            told = self._source.given(messages, passages)
            if self._fits(told):
                return told
            passages.pop()
        return messages

    def _fits(self, messages: Sequence[Message]) -> bool:
        model, options = self._model, OPTIONS[self._problem.kind]
        if not isinstance(model, ContextModel):
            return True
        return model.count_tokens(messages, options) + (options.max_tokens or 0) <= model.context_length
