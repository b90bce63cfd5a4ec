"""What items cost, by a language model: an estimate, an interval, the whole distribution, and known items beside it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from whetstone.errors import ModelError, UsageError
from whetstone.evaluation.techniques.tuned_model import tuned_model
from whetstone.models.base import ChatModel, ContextModel, LogitModel, VocabularyModel
from whetstone.models.token_tree import TreeModel
from whetstone.numeric.calibration import Calibration
from whetstone.numeric.distribution import Distribution, Estimate
from whetstone.numeric.endpoint import NumberBounds, read_bounds
from whetstone.numeric.grid import PRICES, Grid, parse_grid
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.prompting.price import PricePrompt
from whetstone.types import Usage

EstimateName = Literal["auto", "mode", "median", "mean", "log_mean"]
ESTIMATE_NAMES: tuple[EstimateName, ...] = get_args(EstimateName)
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
LEVEL = 0.8
_AT_ONCE = 32  # items that an engine which reads batches is given together


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A known item that is like the one that is priced.

    Attributes:
        cosine: how alike the two texts are, 1 being the same.
    """

    text: str
    price: float
    cosine: float


class Neighbours(Protocol):
    """Known items that can be searched (`whetstone.workflows.known_items.KnownItems`)."""

    def nearest(self, texts: Sequence[str]) -> list[tuple[Neighbour, ...]]:
        """The known items most like each text, the most like first."""
        ...


@dataclass(frozen=True)
class PricedItem:
    """What an item costs.

    Attributes:
        index: of the item among those that were asked about.
        estimate: one number.
        kind: which one of the distribution: "median" and so on.
        interval: where the price lies with a probability of `level`, ends included.
        level: that probability.
        distribution: over all candidates, corrected where there is a correction.
        nearest: known items like it, the most like first.
        cut: characters at the end of its text that the model was not shown.
        usage: tokens that were read, and written.
        note: what the figures rest on, in words.
    """

    index: int
    estimate: float
    kind: Estimate
    interval: tuple[float, float]
    level: float
    distribution: Distribution = field(repr=False)
    nearest: tuple[Neighbour, ...] = ()
    cut: int = 0
    usage: Usage = field(default_factory=Usage)
    note: str = ""

    @property
    def inside(self) -> float:
        """The probability that the model answers with a number of the grid at all."""
        return self.distribution.inside

    @property
    def bound(self) -> float:
        """No probability is off by more than this."""
        return self.distribution.bound

    def likeliest(self, count: int = 10) -> list[tuple[float, float]]:
        """The most probable candidates with their probabilities."""
        found = self.distribution
        order = (-found.probabilities).argsort(kind="stable")[:count]
        return [(float(found.values[place]), float(found.probabilities[place])) for place in order]

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values; of the distribution, its quantiles and the ten most probable candidates."""
        return {
            "estimate": self.estimate,
            "kind": self.kind,
            "interval": list(self.interval),
            "level": self.level,
            "quantiles": {f"{share:g}": self.distribution.quantile(share) for share in QUANTILES},
            "inside": self.inside,
            "bound": self.bound,
            "candidates": [{"value": value, "probability": share} for value, share in self.likeliest()],
            "nearest": [{"text": one.text, "price": one.price, "cosine": one.cosine} for one in self.nearest],
            "cut": self.cut,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Unpriced:
    """An item that could not be priced, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Read:
    """A model's own distribution for an item, before any correction."""

    distribution: Distribution
    cut: int = 0
    usage: Usage = field(default_factory=Usage)


class Pricer:
    """Prices items with one model.

    A model whose probabilities are at hand (gguf:, hf:) is read as `PricePrompt` writes the item, and its distribution
    is complete. An endpoint is asked in a chat, and gives bounds only: see `whetstone.numeric.endpoint`.

    Args:
        grid: the candidates; whole dollars from 0 to 999 by default.
        prompt: how the price is asked for; by default as the model was tuned to be asked, else in the usual words.
        calibration: a correction of this model's distributions on this grid.
        known: known items; without them there are no neighbours.
        limit: most tokens of a prompt; by default what the model's context holds, or what a tuned model was tuned with.

    Raises:
        UsageError: the model cannot spell the grid.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        grid: Grid | None = None,
        prompt: PricePrompt | None = None,
        calibration: Calibration | None = None,
        known: Neighbours | None = None,
        limit: int | None = None,
    ) -> None:
        self.model = model
        self.grid = grid or parse_grid(PRICES)
        tuned = tuned_model(model.identity.spec)
        asked = tuned.asked.prompt if tuned is not None and tuned.asked is not None else None
        self.prompt = prompt or asked or PricePrompt()
        self.calibration = calibration
        self._known = known
        self._trie = None
        if isinstance(model, LogitModel) and isinstance(model, VocabularyModel):
            self._trie = number_trie(model, self.grid, self.prompt.label)
        room = model.context_length - self._deepest if isinstance(model, ContextModel) else None
        longest = tuned.longest if tuned is not None else None
        self.limit = min((number for number in (limit, room, longest) if number is not None), default=None)

    def corrected_by(self, calibration: Calibration) -> Pricer:
        """The same with a correction; the grid's tokens are not looked for again."""
        other = copy.copy(self)
        other.calibration = calibration
        return other

    @property
    def shows_all(self) -> bool:
        """Whether the model gives all probabilities, not only those of its likeliest tokens."""
        return self._trie is not None

    @property
    def at_once(self) -> int:
        """Items that are best given together."""
        if isinstance(self.model, TreeModel):
            return _AT_ONCE
        return 1 if self._trie is not None else max(1, self.model.concurrency)

    @property
    def _deepest(self) -> int:
        return int(self._trie.tree.depths.max(initial=0)) + 1 if self._trie is not None else 0

    def price(
        self, texts: Iterable[str], *, level: float = LEVEL, estimate: EstimateName = "auto"
    ) -> Iterator[PricedItem | Unpriced]:
        """What each item costs, in the order of `texts`, each as soon as it is known.

        Args:
            texts: taken `at_once` at a time.
            level: probability that the interval is to hold.
            estimate: which number to take; "auto" is the median, whose expected absolute error is smallest.

        Raises:
            UsageError: the level is none, or is more than the correction's validation items can vouch for; or the
                estimate does not suit the grid.
            ModelError: the model cannot answer at all.
        """
        if not 0 < level < 1:
            raise UsageError(f"{level:g} is no level of an interval: it lies between 0 and 1, such as 0.8")
        if estimate not in ESTIMATE_NAMES:
            raise UsageError(f"there is no estimate named {estimate!r}: take one of {', '.join(ESTIMATE_NAMES)}")
        if estimate == "log_mean" and self.grid.values[0] < 0:
            raise UsageError("log_mean needs a grid without negative numbers: take another estimate")
        numbered = enumerate(texts)
        while block := list(itertools.islice(numbered, self.at_once)):
            usable = [(index, text) for index, text in block if text.strip()]
            beside = iter(self._known.nearest([text for _, text in usable]) if self._known and usable else ())
            answers = iter(self.read([text for _, text in usable]))
            for index, text in block:
                if not text.strip():
                    yield Unpriced(index, "the text is empty")
                    continue
                neighbours = next(beside, ())
                read = next(answers)
                if isinstance(read, Read):
                    yield self._priced(index, read, neighbours, level, estimate)
                else:
                    yield Unpriced(index, read)

    def read(self, texts: Sequence[str]) -> Iterator[Read | str]:
        """The model's own distribution for each text, in order, or the reason why there is none."""
        found = self._from_tokens(texts) if self._trie is not None else self._from_replies(texts)
        waiting: dict[int, Read | str] = {}
        for index in range(len(texts)):
            while index not in waiting:
                position, read = next(found)
                waiting[position] = _usable(read)
            yield waiting.pop(index)

    def _from_tokens(self, texts: Sequence[str]) -> Iterator[tuple[int, Read | str]]:
        assert self._trie is not None
        prompts = [self.prompt.ids(self.model, text, self.limit) for text in texts]
        try:
            for index, distribution in read_numbers(self.model, [prompt.ids for prompt in prompts], self._trie):
                prompt = prompts[index]
                yield index, Read(distribution, prompt.cut, Usage(len(prompt.ids), 0))
        except ModelError as error:
            if not error.concerns_one_item or len(texts) > 1:
                raise
            yield 0, str(error)

    def _from_replies(self, texts: Sequence[str]) -> Iterator[tuple[int, Read | str]]:
        asked = [self.prompt.conversation(text) for text in texts]
        for index, found in read_bounds(self.model, asked, self.grid):
            if isinstance(found, NumberBounds):
                yield index, Read(found.distribution, usage=found.reply.usage)
            else:
                yield index, str(found)

    def _priced(
        self, index: int, read: Read, neighbours: tuple[Neighbour, ...], level: float, estimate: EstimateName
    ) -> PricedItem:
        kind: Estimate = "median" if estimate == "auto" else estimate
        found = read.distribution
        if self.calibration is None:
            interval = found.interval(level)
        else:
            found = self.calibration.apply(found)
            interval = self.calibration.interval(found, level)
        return PricedItem(
            index,
            found.estimate(kind),
            kind,
            interval,
            level,
            found,
            neighbours,
            read.cut,
            read.usage,
            self._note(found),
        )

    def _note(self, found: Distribution) -> str:
        if not self.shows_all:
            return (
                f"bounds from the endpoint's likeliest tokens: each probability may be off by up to {found.bound:.1%}, "
                "and so may the interval's"
            )
        read = f"read step by step, off by at most {found.bound:.2%}" if found.bound else "all candidates were read"
        if self.calibration is None:
            return f"{read}; the model's own probabilities, not checked against known prices"
        return f"{read}; corrected by {len(self.calibration.ranks):,} known prices ({self.calibration.method})"


def _usable(read: Read | str) -> Read | str:
    if isinstance(read, Read) and not read.distribution.inside > 0:
        return "the model gives no candidate of the grid any probability: it does not answer with such a number"
    return read
