"""Bounds of a distribution over numbers, from an endpoint that shows only its most likely tokens.

The reply is asked for greedily, with the alternatives to each of its tokens. So only what branches off the greedy path
is seen: an alternative that ends a number settles that number's probability, one after which digits may follow leaves
open which number it becomes, and tokens that are not shown may be anything. What is open counts to no candidate's lower
bound, and to the upper bound of every candidate that it may become. Nothing here is exact.

Numbers are read as text, however the tokenizer cuts them; an engine at hand (`whetstone.numeric.scoring`) counts only
the cut that the tokenizer itself would make.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from whetstone.errors import BadReplyError, ModelError, RequestRefusedError
from whetstone.models.base import ChatModel, replies
from whetstone.numeric.distribution import Distribution
from whetstone.numeric.grid import Grid
from whetstone.types import Message, Options, Reply, TokenLogprob

Floats = npt.NDArray[np.float64]
TOP = 20  # alternatives: the most that OpenAI gives
_MOST_TOKENS = 12  # "**Price is $1,299.00" digit by digit, and more
# What may stand before the number: all of it, or the beginning of it, while more tokens are to come.
_LEAD = re.compile(r"[\s*]*(?:(?:the\s+)?price\s+is\s*:?)?[\s*]*\$?[\s*]*", re.IGNORECASE)
_LEADS = ("price is $", "the price is $", "$")
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?")
_THOUSANDS = re.compile(r",(\d{0,2})")
_GROUP = 3  # digits that a tokenizer which groups them puts into one token


@dataclass(frozen=True)
class NumberBounds:
    """What a reply's alternatives say about the candidates of a grid.

    Attributes:
        values: the candidates, shape (k,), rising.
        lower: probability that each has at least, shape (k,).
        upper: probability that each has at most, shape (k,).
        guess: a division of what is open among the candidates that it may become, shape (k,); see `distribution`.
        missing: probability of tokens that were not shown, at any step.
        open: probability of which is not known to which candidate it belongs, or whether to any; `missing` included,
            unless it came where no number could follow.
        reply: what was answered.
    """

    values: Floats
    lower: Floats
    upper: Floats
    guess: Floats
    missing: float
    open: float
    reply: Reply = field(default_factory=lambda: Reply(""))

    @property
    def distribution(self) -> Distribution:
        """The candidates' probabilities as far as they are known, `bound` telling how far that is.

        What an alternative leaves open is divided evenly among the numbers that it may become; or goes whole to the
        number that it is so far, where a token of several digits shows that this tokenizer does not cut digit by digit.
        Tokens that were not shown, and those before a number begins, are given to none.
        """
        return Distribution(self.values, self.lower + self.guess, bound=self.open)


def read_bounds(
    model: ChatModel, conversations: Sequence[Sequence[Message]], grid: Grid, top: int = TOP
) -> Iterator[tuple[int, NumberBounds | ModelError]]:
    """`(index, bounds)` for each conversation whose reply is a number, in the order in which they finish.

    Args:
        conversations: each asks for a number and nothing else.
        top: alternatives to each token; endpoints give 20 at most, some fewer.

    Raises:
        ModelError: one of its kinds. One that concerns a single conversation takes that one's place instead: also a
            reply without log-probabilities.
    """
    options = Options(temperature=0, max_tokens=_MOST_TOKENS, top_logprobs=top)
    spelled = Spelled(grid)
    for index, reply in replies(model, conversations, options):
        if isinstance(reply, ModelError):
            yield index, reply
            continue
        try:
            yield index, bounds_of(reply, spelled, model.identity.spec)
        except ModelError as error:
            yield index, error


class Spelled:
    """Every spelling of a grid's candidates, to be looked up by how it begins."""

    def __init__(self, grid: Grid) -> None:
        self.values = grid.values
        pairs = sorted((form, index) for index in range(len(grid)) for form in grid.spellings(index))
        self._forms = [form for form, _ in pairs]
        self._indices = np.array([index for _, index in pairs], dtype=np.int64)
        self._places = grid.places

    def settled(self, number: str) -> npt.NDArray[np.int64]:
        """The candidate that is written like this, if there is one."""
        number = number if self._places else number.partition(".")[0]
        place = bisect_left(self._forms, number)
        found = place < len(self._forms) and self._forms[place] == number
        return self._indices[place : place + 1] if found else self._indices[:0]

    def beginning(self, number: str) -> npt.NDArray[np.int64]:
        """The candidates that begin like this, each once."""
        start = bisect_left(self._forms, number)
        end = bisect_left(self._forms, number + "~", lo=start)
        return np.unique(self._indices[start:end])

    def possible(self, text: str, *, ended: bool) -> npt.NDArray[np.int64]:
        """The candidates that a reply may mean which begins with a text: all, some, one or none.

        Args:
            ended: nothing follows the text.
        """
        lead = _LEAD.match(text)
        rest = text[lead.end() if lead else 0 :]
        written = _NUMBER.match(rest)
        number = written[0].replace(",", "") if written else ""
        if not number.strip("-."):
            begun = not rest or rest == "-" or any(form.startswith(text.strip(" *\n").lower()) for form in _LEADS)
            return np.arange(len(self.values)) if begun and not ended else self._indices[:0]
        behind = rest[len(written[0]) :] if written else ""
        if ended or (not self._places and "." in number):
            return self.settled(number)
        if len(number) <= _GROUP and (thousands := _THOUSANDS.fullmatch(behind)):  # "1,2" may become 1,299
            return np.union1d(self.settled(number), self.beginning(number + thousands[1]))
        return self.settled(number) if behind else self.beginning(number)


def bounds_of(reply: Reply, spelled: Spelled, spec: str) -> NumberBounds:
    """What a greedy reply and the alternatives to its tokens say.

    Raises:
        RequestRefusedError: it came without log-probabilities.
        BadReplyError: its tokens are not those of its text.
    """
    tokens = reply.logprobs
    if not tokens or not any(token.top for token in tokens):
        raise RequestRefusedError(
            f"{spec} gave no log-probabilities with its reply, so there is no distribution: take a model that does, or "
            "a local one (gguf:, hf:)"
        )
    if reply.reasoning:
        raise BadReplyError(f"{spec} thought before it answered, so the first tokens are no number: switch that off")
    counted = _Counted(spelled, grouped=any(_digits(text) > 1 for token in tokens for text, _ in token.top))
    reach, before, missing = 1.0, "", 0.0
    for token in tokens:
        shown = _shown(token)
        for text, logprob in shown.items():
            if text != token.text:
                counted.add(before, text, reach * math.exp(logprob))
        unseen = reach * max(0.0, 1.0 - sum(math.exp(logprob) for logprob in shown.values()))
        counted.leave_open(before, unseen)
        missing += unseen
        reach *= math.exp(token.logprob)
        if len(spelled.possible(before + token.text, ended=False)) <= 1:
            counted.add(before, token.text, reach)
            break
        before += token.text
    else:  # what was cut off may go on
        counted.add(before, "", reach, ended=reply.finish_reason != "length")
    return NumberBounds(
        spelled.values,
        counted.lower,
        np.minimum(counted.upper, 1.0),
        counted.guess,
        min(1.0, missing),
        min(1.0, counted.open),
        reply,
    )


class _Counted:
    """Masses behind texts, gathered by what these texts may mean."""

    def __init__(self, spelled: Spelled, *, grouped: bool) -> None:
        self._spelled = spelled
        self._grouped = grouped
        self.lower, self.upper, self.guess = np.zeros((3, len(spelled.values)))
        self.open = 0.0

    def add(self, before: str, token: str, mass: float, *, ended: bool = False) -> None:
        """Count the mass of a token behind a text."""
        text = before + token
        found = self._spelled.possible(text, ended=ended)
        if len(found) == 1:
            self.lower[found] += mass
            self.upper[found] += mass
            return
        if not len(found):
            return
        self.leave_open(before + token, mass)
        if not any(character.isdigit() for character in text):
            return
        alone = self._spelled.possible(text, ended=True)
        likely = alone if self._grouped and len(alone) and 0 < _digits(token) < _GROUP else found
        self.guess[likely] += mass / len(likely)

    def leave_open(self, text: str, mass: float) -> None:
        """Count a mass that may go to whatever a text may become."""
        found = self._spelled.possible(text, ended=False)
        self.upper[found] += mass
        self.open += mass if len(found) else 0.0


def _shown(token: TokenLogprob) -> dict[str, float]:
    """The alternatives, the chosen token among them, whose texts may be listed twice (as parts of one character)."""
    shown: dict[str, float] = {}
    for text, logprob in (*token.top, (token.text, token.logprob)):
        shown[text] = max(logprob, shown.get(text, -math.inf))
    return shown


def _digits(text: str) -> int:
    return len(text) if text.isascii() and text.isdigit() else 0
