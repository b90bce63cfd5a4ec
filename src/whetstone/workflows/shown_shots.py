"""The examples that one case would be shown, and the tokens that each of them takes of the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whetstone.errors import UsageError
from whetstone.evaluation.techniques.asked import template_values, written_answer
from whetstone.evaluation.techniques.examples import Examples
from whetstone.models import ChatModel, ContextModel
from whetstone.prompting.template import Template
from whetstone.types import Case, Message, Problem


@dataclass(frozen=True)
class ShownShot:
    """An example in a prompt.

    Attributes:
        answer: as the model is shown it.
        tokens: what the prompt is longer for it; None where the model does not count.
    """

    case: Case
    answer: str
    tokens: int | None


@dataclass(frozen=True)
class ShownPrompt:
    """A case's prompt with its examples.

    Attributes:
        shots: in the order in which the model sees them.
        messages: the whole conversation.
        tokens: of the whole prompt; None where the model does not count.
        bare_tokens: of the prompt without examples.
        context_length: what prompt and reply have to fit into; None where it is not known.
    """

    case: Case
    shots: tuple[ShownShot, ...]
    messages: Sequence[Message]
    tokens: int | None
    bare_tokens: int | None
    context_length: int | None

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "item": self.case.id,
            "tokens": self.tokens,
            "bare_tokens": self.bare_tokens,
            "context_length": self.context_length,
            "shots": [
                {"id": shot.case.id, "text": shot.case.text, "answer": shot.answer, "tokens": shot.tokens}
                for shot in self.shots
            ],
            "messages": list(self.messages),
        }


def shown_prompt(
    problem: Problem,
    template: Template,
    examples: str,
    *,
    model: ChatModel | None = None,
    item: str | None = None,
    question: str = "",
    seed: int = 42,
) -> ShownPrompt:
    """What a case would be asked with.

    Args:
        examples: how they are chosen, and how many: "balanced:3".
        model: whose tokens are counted.
        item: the case's id; the first validation case by default, so that no test item need be looked at.
        question: of the user's own.
        seed: of methods that draw.

    Raises:
        UsageError: there is no such case, or there are no training cases.
    """
    if template.kind != problem.kind:
        raise UsageError(
            f"the prompt {template.name} is for a {template.kind}, and {problem.name} asks for a {problem.kind}"
        )
    chosen = _case(problem, item)
    shown = Examples("few-shot", examples, seed)
    (cases,) = shown.chooser(problem, f"few-shot:{shown.name}", lambda *_: None, instead="ask").choose([chosen])
    counting = model if isinstance(model, ContextModel) else None

    pairs = [(template_values(problem, case, question), written_answer(problem, case)) for case in cases]

    def messages(count: int) -> list[Message]:
        return template.messages(template_values(problem, chosen, question), pairs[:count])

    def tokens(count: int) -> int | None:
        return None if counting is None else counting.count_tokens(messages(count))

    totals = [tokens(count) for count in range(len(cases) + 1)]
    shots = []
    for number, (case, (_, answer)) in enumerate(zip(cases, pairs, strict=True)):
        before, after = totals[number], totals[number + 1]
        shots.append(ShownShot(case, answer, None if before is None or after is None else after - before))
    length = None if counting is None else counting.context_length
    return ShownPrompt(chosen, tuple(shots), messages(len(cases)), totals[-1], totals[0], length)


def _case(problem: Problem, item: str | None) -> Case:
    if item is None:
        return next(iter(problem.validation or problem.test))
    for cases in (problem.validation, problem.test, problem.train):
        for case in cases:
            if case.id == item:
                return case
    raise UsageError(f"{problem.name} has no item {item!r}: name one by its id")
