"""Prompts judged on the cases of a card: the card asked with each of them, through the harness of every comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from whetstone.errors import UsageError
from whetstone.evaluation.harness import Watcher
from whetstone.evaluation.report import Report
from whetstone.evaluation.run import RunStore
from whetstone.evaluation.technique import TechniqueContext
from whetstone.models import ChatModel, load_model
from whetstone.prompting.template import Template
from whetstone.tasks import Card
from whetstone.workflows.compare import EMBEDDED_MODEL, compare
from whetstone.workflows.prompt_draft import misfit
from whetstone.workflows.task_problem import card_problem
from whetstone.workflows.task_technique import TaskTechnique


@dataclass(frozen=True)
class RewordedCard(Card):
    """A card that asks with another prompt than its own.

    Attributes:
        template: the prompt, for models of every family. What the card asks about parts of a text stays.
    """

    template: Template

    @property
    def prompts(self) -> Mapping[str, Template]:
        others = {name: prompt for name, prompt in super().prompts.items() if name.partition(".")[0] != "prompt"}
        return {**others, "prompt": self.template}


def reworded(card: Card, template: Template) -> Card:
    """The card, asking with this prompt.

    Raises:
        UsageError: the prompt needs what the card does not have, or does not ask about its main input.
    """
    if why := misfit(card, template):
        raise UsageError(why)
    own = {one.name: getattr(card, one.name) for one in fields(Card)}
    return RewordedCard(**own, template=template)


@dataclass(frozen=True)
class PromptArm:
    """One of the prompts that are compared.

    Attributes:
        label: what tables call it.
        template: the prompt; None for the card's own.
    """

    label: str
    template: Template | None = None


class _Asked(TaskTechnique):
    """A card asked with one of several prompts, after which it is called."""

    def __init__(self, card: Card, label: str, context: TechniqueContext) -> None:
        super().__init__(card, "ask", context)
        self.name = label


def score_prompts(
    card: Card,
    arms: Sequence[PromptArm],
    *,
    model: str = EMBEDDED_MODEL,
    seed: int = 42,
    store: RunStore | None = None,
    watcher: Watcher | None = None,
    load: Callable[[str], ChatModel] = load_model,
) -> Report:
    """Let a model do a card's test cases, once with each prompt, and report on them.

    Interrupted at any moment, it keeps every answer; called again, it asks only for the rest. A text that was scored
    before, as a draft say, keeps its answers under its new name.

    Raises:
        UsageError: a prompt does not suit the card, or the card does not suit the model.
        ContainmentError: the cases are programs to be run, and this machine has no guards for that.
        ModelError: the model cannot answer at all.
        StorageError: an answer cannot be kept.
    """
    asked = {arm.label: card if arm.template is None else reworded(card, arm.template) for arm in arms}
    return compare(
        card_problem(card),
        list(asked),
        models=(model,),
        seed=seed,
        store=store,
        watcher=watcher,
        load=load,
        build=lambda label, context: _Asked(asked[label], label, context),
    )
