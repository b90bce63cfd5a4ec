"""A technique: one way to answer the cases of a problem."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, get_args, runtime_checkable

from whetstone.models import ChatModel
from whetstone.types import Case, Message, Prediction, Problem


class Technique(Protocol):
    """One way to answer the cases of a problem.

    Attributes:
        name: as it was asked for, canonical: "constant:median", "few-shot:nearest:3".
        identity: JSON-ready values that settle every answer together with the training cases and the case itself:
            technique, its arguments, prompt version, model identity and options. Equal identities answer alike.
        model: the spec of the language model behind it, in its canonical form; None where none is asked.
        needs_training: whether `fit` needs training cases.
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    @property
    def model(self) -> str | None: ...

    @property
    def needs_training(self) -> bool: ...

    def fit(self, problem: Problem) -> None:
        """Learn from `problem.train` (and validation); never from the test cases.

        Raises:
            UsageError: the technique cannot work on this problem; the sentence says why.
        """
        ...

    def keys(self, cases: Sequence[Case]) -> list[str]:
        """For each case, the digest of what would be asked; answers with a known key need not be asked for again."""
        ...

    def predict(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        """An answer to each case, in any order, each as soon as it is known."""
        ...


@runtime_checkable
class Rereading(Protocol):
    """A technique whose replies say the same wherever they were given: equal keys, equal replies.

    Its answers are taken over from other runs (a larger test split, another seed) instead of being asked for again.
    """

    def reread(self, prediction: Prediction) -> Prediction:
        """An earlier reply, read as an answer to the problem that the technique is fitted to."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A technique that has something to say about itself once it is fitted: what it learnt, what is wrong with it."""

    @property
    def remarks(self) -> Sequence[str]:
        """Sentences for the reader of the report."""
        ...


Way = Literal["prompting", "retrieval", "tuning", "fitting"]
"""How a technique comes to know more than its model does: by what the prompt says, by what is looked up for each case
and shown to the model, by tuning the model, or by fitting one of the classical models."""

WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True, slots=True)
class Training:
    """What it took to make the model that a technique asks, before the technique itself was built.

    Attributes:
        seconds: of tuning; None where they were not kept.
        cost: US dollars; None where no price is known.
        source: the tuning run, "" where it is not known.
    """

    seconds: float | None = None
    cost: float | None = None
    source: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Self | None:
        """From JSON values; None gives None."""
        return None if data is None else cls(**data)

    def __add__(self, other: Training) -> Training:
        """What both took; unknown where one is."""
        return Training(
            None if self.seconds is None or other.seconds is None else self.seconds + other.seconds,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
            ", ".join(filter(None, (self.source, other.source))),
        )


@runtime_checkable
class Classed(Protocol):
    """A technique that says by which ways it answers: what the verdict puts side by side."""

    @property
    def ways(self) -> tuple[Way, ...]:
        """One or several, in the order of `Way`."""
        ...

    @property
    def training(self) -> Training | None:
        """What tuning its model took; None where none was tuned."""
        ...


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage of a document: `text` as a model is shown it, `start` and `end` in characters of the document."""

    path: str
    start: int
    end: int
    text: str

    def touches(self, other: FoundPassage) -> bool:
        """Whether the two overlap, or stand side by side in one document."""
        return self.path == other.path and self.start <= other.end + _GAP and other.start <= self.end + _GAP


_GAP = 2  # line ends between neighbouring passages


class PassageSource(Protocol):
    """A knowledge base, for techniques that show passages to a model."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """JSON-ready values that decide what is found."""
        ...

    def find(self, text: str, k: int) -> list[FoundPassage]:
        """The passages most like a text, the best first."""
        ...

    def given(self, messages: Sequence[Message], passages: Sequence[FoundPassage]) -> list[Message]:
        """The conversation with the passages above its last message, marked as data."""
        ...


def no_progress(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class TechniqueContext:
    """What a technique may need besides its arguments.

    Attributes:
        seed: seed of every random choice.
        load_model: gives the model of a spec; the same spec gives the same object.
        model: spec of the model that language-model techniques ask.
        options: techniques' options by name, such as a question of the user's own.
        open_passages: gives the knowledge base of a name; None where there are none. The same name, the same object.
        progress: is told `(what, done, total)` by a `fit` that takes more than moments.
    """

    seed: int
    load_model: Callable[[str], ChatModel]
    model: str = "smollm2"
    options: Mapping[str, Any] = field(default_factory=dict)
    open_passages: Callable[[str], PassageSource] | None = None
    progress: Callable[[str, int, int], None] = no_progress


def digest(*parts: Any) -> str:
    """A short, stable digest of JSON-ready values: 24 hex digits of their sha256."""
    canonical = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:24]
