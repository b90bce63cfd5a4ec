"""A transformers model that is in training, asked between two steps as any other model is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whetstone.models.hf import find_source
from whetstone.models.hf_load import memory_errors
from whetstone.models.hf_model import HfModel
from whetstone.models.spec import parse_spec
from whetstone.types import ModelIdentity, Options


class LiveModel(HfModel):
    """Weights that somebody else has loaded and goes on changing.

    What it answers holds for this moment, so nothing of it may be kept by its identity.

    Args:
        base: spec of the model that is tuned; its folder has the tokenizer.
        loaded: the transformers model; a PEFT model is looked into, since its wrapper hides what attention takes.
    """

    def __init__(self, base: str, loaded: Any) -> None:
        super().__init__(find_source(parse_spec(base)))
        self._loaded = loaded.get_base_model() if hasattr(loaded, "get_base_model") else loaded

    @property
    def identity(self) -> ModelIdentity:
        """Of no model that could be found again."""
        return ModelIdentity(spec=self._source.spec, engine="transformers", name=self._source.name, revision="training")

    def continue_many(self, prompts: Sequence[Sequence[int]], most: int) -> Iterator[tuple[int, str]]:
        """`(index, text)`: how each prompt (token ids) goes on, greedily, in any order.

        Args:
            most: tokens of each text.

        Raises:
            ContextTooLongError: a prompt does not fit.
        """
        if not prompts:
            return
        options = Options(temperature=0, max_tokens=most)
        sampler = self._sampler(options)
        rows = [self._row(index, ids, options, sampler) for index, ids in enumerate(prompts)]
        with memory_errors(self._source.spec):
            prefix = self._shared(prompts, most)
            for batch in self._plan(prompts, most):
                for row, chunk in self._advance([rows[n] for n in batch], prefix, sampler):
                    if chunk.finish_reason:
                        yield row.index, row.reply().text
