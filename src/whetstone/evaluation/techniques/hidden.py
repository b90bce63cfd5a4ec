"""Ridge regression on what a language model holds inside when it has read the question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.embeddings.cache import CachedEmbedder
from whetstone.errors import UsageError
from whetstone.evaluation.technique import TechniqueContext, Way
from whetstone.evaluation.techniques.aim import Aim, Floats, from_scale, loss, to_scale
from whetstone.evaluation.techniques.fitted import FittedTechnique, no_arguments, number_targets, problem_aim
from whetstone.evaluation.techniques.model_technique import ModelTechnique
from whetstone.evaluation.techniques.number_question import number_grid, number_prompt
from whetstone.models.base import ContextModel, HiddenStateModel
from whetstone.prompting.price import PricePrompt
from whetstone.types import Problem

# The upper half of the layers: the first ones hold words, the last one what is to be said next.
_DEPTHS = (0.5, 0.75, 1.0)
_POOLS = 2  # the last token's vector, and the mean of all
_ALPHAS = tuple(10.0 ** np.arange(-1, 6))
_ENOUGH = 50  # validation cases to choose by; with fewer, cross-validation within the training cases
_FOLDS = 5
_SAVE_EVERY = 32  # texts: some seconds of work on a CPU


class HiddenRidge(ModelTechnique, FittedTechnique):
    """Ridge regression on a language model's hidden states behind the price prompt.

    The vectors of the last token and the mean of all tokens, of three layers, each standardised: whichever of the six
    does best on the validation cases, or all of them together, with the penalty that does best there. Vectors are kept
    on disk by text. Nothing of the model itself is trained (a linear probe: Alain & Bengio 2017).

    For RMSLE the target is log(1 + value).
    """

    def __init__(self, arguments: str, context: TechniqueContext) -> None:
        no_arguments("hidden-ridge", arguments)
        super().__init__("hidden-ridge", context)
        self._question = str(context.options.get("question") or "")
        self._aim: Aim
        self._vectors: CachedEmbedder
        self._columns: slice
        self._ridge: Any
        self._chosen = ""
        self._said: list[str] = []

    @property
    def ways(self) -> tuple[Way, ...]:
        return ("tuning", "fitting") if self._tuned is not None else ("fitting",)

    @cached_property
    def identity(self) -> Mapping[str, Any]:  # type: ignore[override]  # which model it is has to be looked up
        return {"technique": self.name, "question": self._question, "model": asdict(self._model.identity)}

    @property
    def remarks(self) -> list[str]:
        """Which vectors did best."""
        return [*self._said, f"rests on {self._chosen}"]

    def _learn(self, problem: Problem) -> None:
        if problem.kind != "number":
            raise UsageError(f"{self.name} answers with numbers, and {problem.name} asks for a {problem.kind}: use ask")
        if not isinstance(self._model, HiddenStateModel):
            raise UsageError(f"{self._model.identity.spec} does not show its hidden states: take an hf: model")
        self._aim = problem_aim(problem)
        prompt = number_prompt(problem, number_grid(problem), "plain", self._question)
        if self._tuned is not None:
            self._said = self._tuned.check(self.name, problem)
            prompt = self._tuned.prompt(self.name, prompt, self._question)
        longest = self._tuned.longest if self._tuned is not None else None
        self._vectors = CachedEmbedder(_PromptVectors(self._model, prompt, longest), save_every=_SAVE_EVERY)
        texts = [case.text for case in (*problem.train, *problem.validation)]
        table = self._vectors.embed(texts, partial(self._context.progress, f"{self.name}: reading training texts"))
        goal = number_targets([*problem.train, *problem.validation])
        trials = list(self._trials(len(problem.train), len(problem.validation)))
        judged = [
            (sum(self._loss(table[:, columns], goal, alpha, *trial) for trial in trials), alpha, columns, name)
            for name, columns in _blocks(table.shape[1])
            for alpha in _ALPHAS
        ]
        _, alpha, self._columns, self._chosen = min(judged, key=lambda one: one[0])
        train = slice(len(problem.train))
        self._ridge = self._fitted(table[train, self._columns], goal[train], alpha)

    def _trials(self, train: int, validation: int) -> Iterator[tuple[Any, Any]]:
        """Pairs of rows: to fit on, to judge by."""
        if validation >= _ENOUGH:
            yield np.arange(train), np.arange(train, train + validation)
            return
        fold = np.random.default_rng(self._context.seed).permutation(train) % max(2, min(_FOLDS, train))
        for number in range(int(fold.max(initial=0)) + 1):
            if (fold != number).any():
                yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)

    def _fitted(self, table: Any, targets: Floats, alpha: float) -> Any:
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        ridge = make_pipeline(StandardScaler(), Ridge(alpha))
        return ridge.fit(table.astype(np.float64), to_scale(targets, self._aim))

    def _loss(self, table: Any, goal: Floats, alpha: float, learn: Any, judge: Any) -> float:
        guessed = self._fitted(table[learn], goal[learn], alpha).predict(table[judge].astype(np.float64))
        return loss(self._aim, goal[judge], np.clip(from_scale(guessed, self._aim), *self._range))

    def _answer(self, cases: Sequence[Any]) -> Floats:
        table = self._vectors.embed([case.text for case in cases])[:, self._columns]
        return from_scale(self._ridge.predict(table.astype(np.float64)), self._aim)


def _blocks(width: int) -> Iterator[tuple[str, slice]]:
    """The vectors one by one, and all of them: name, columns."""
    size = width // (len(_DEPTHS) * _POOLS)
    for place, depth in enumerate(_DEPTHS):
        for pool, name in enumerate(("the last token", "the mean of all tokens")):
            start = (_POOLS * place + pool) * size
            yield f"{name}, {depth:.0%} of the way through the layers", slice(start, start + size)
    yield "the last token and the mean of all tokens in three layers", slice(0, width)


class _PromptVectors:
    """A model's hidden states of prompts as an embedder of the prompts' texts, so that they are kept as others are.

    Each of a text's vectors has length 1 divided by the root of their number, so that all together have length 1.
    """

    max_tokens = 0  # a text is cut to the model's context, not to a number of its own tokens

    def __init__(self, model: Any, prompt: PricePrompt, longest: int | None) -> None:
        self._model = model
        self._prompt = prompt
        limits = [longest, model.context_length if isinstance(model, ContextModel) else None]
        self._limit = min((limit for limit in limits if limit is not None), default=None)
        self.name = f"hidden {_DEPTHS} {asdict(model.identity)} {prompt}" + (f" {longest}" if longest else "")
        self.dimension = next(iter(self._read([prompt.label])))[1].size

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(self._model.vocabulary.encode(text).ids) for text in texts]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for done, (index, states) in enumerate(self._read(texts), start=1):
            long = np.maximum(np.linalg.norm(states, axis=-1, keepdims=True), 1e-12)
            vectors[index] = (states / long).ravel() / np.sqrt(len(_DEPTHS) * _POOLS)
            if progress is not None:
                progress(done, len(texts))
        return vectors

    def _read(self, texts: Sequence[str]) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        prompts = [self._prompt.ids(self._model, text, self._limit).ids for text in texts]
        found: Iterator[tuple[int, npt.NDArray[np.float32]]] = self._model.hidden_states(prompts, _DEPTHS)
        return found
