"""What the techniques that ask a language model have in common: the model, loaded when it is needed, and its tuning."""

from __future__ import annotations

from functools import cached_property

from whetstone.evaluation.technique import TechniqueContext, Training
from whetstone.evaluation.techniques.tuned_model import TunedModel, tuned_model
from whetstone.models import ChatModel


class ModelTechnique:
    """A technique that asks the model of its context, which may be a tuned one."""

    _context: TechniqueContext

    @cached_property
    def _model(self) -> ChatModel:
        return self._context.load_model(self._context.model)

    @property
    def model(self) -> str | None:
        return self._model.identity.spec

    @cached_property
    def _tuned(self) -> TunedModel | None:
        return tuned_model(self._context.model)

    @property
    def training(self) -> Training | None:
        """What it took to tune the model; None for one that is not tuned."""
        return None if self._tuned is None else self._tuned.training
