"""The ways to get a number out of a model behind a prompt, by name, so that each can be compared with the others.

- generate: the reply, greedily, read by `read_number`.
- course: the same reply, read by the LLM Engineering course's `extract_price`.
- top_k: the course's weighted mean of the most likely next tokens, one step only.
- mode, median, mean, log_mean: read off the whole distribution over a grid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from whetstone.errors import UsageError
from whetstone.models.base import ChatModel, CompletionModel, LogitModel, NextToken, VocabularyModel, drain
from whetstone.numeric.distribution import Distribution, Estimate
from whetstone.numeric.grid import Grid
from whetstone.numeric.reading import read_number
from whetstone.numeric.scoring import number_trie, read_numbers
from whetstone.numeric.trie import NumberTrie
from whetstone.registry import unknown_name
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.types import Options, Reading

Decoder = Literal["generate", "course", "top_k", "mode", "median", "mean", "log_mean"]
DECODERS: tuple[Decoder, ...] = get_args(Decoder)
_GREEDY = Options(temperature=0, max_tokens=8)  # "$1,299.00" takes eight tokens, digit by digit
TOP_K = 3  # as in the course


@dataclass(frozen=True, slots=True)
class Decoded:
    """A number read behind one prompt.

    Attributes:
        reading: the number, or why there is none.
        raw: the reply's text; "" where none was generated.
        distribution: None where none was computed.
    """

    reading: Reading
    raw: str = ""
    distribution: Distribution | None = None


class NumberDecoder:
    """One way to read numbers from one model.

    Args:
        model: a model that continues text (generate, course), or gives probabilities.
        decoder: which way.
        before: the end of every prompt ("Price is $").
        grid: the candidates.
        unit: what the number is in.

    Raises:
        UnknownNameError: there is no such decoder.
        UsageError: the model cannot be read that way, or cannot spell the grid.
    """

    def __init__(self, model: ChatModel, decoder: str, before: str, grid: Grid, unit: str = "$") -> None:
        if decoder not in DECODERS:
            raise unknown_name("decoder", decoder, list(DECODERS))
        self._model = model
        self._decoder: Decoder = decoder
        self._grid = grid
        self._unit = unit
        self._trie: NumberTrie | None = None
        self._single = False
        needed = {"generate": CompletionModel, "course": CompletionModel}.get(decoder, LogitModel)
        if not isinstance(model, needed):
            raise UsageError(f"{model.identity.spec} cannot be read by {decoder}: take a local model (gguf:, hf:)")
        if decoder == "top_k" and isinstance(model, VocabularyModel):
            self._single = single_digits(model.vocabulary, before)
        elif decoder not in ("generate", "course"):
            self._trie = number_trie(model, grid, before)

    @property
    def warning(self) -> str:
        """What is wrong with reading this model that way; "" where nothing is."""
        if self._decoder == "top_k" and self._single:
            return (
                "this tokenizer cuts numbers into single digits, so the next token is only the first digit: the "
                "weighted mean of the top tokens is wrong here by orders of magnitude; take median or mean"
            )
        return ""

    def decode(self, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, Decoded]]:
        """`(index, number)` for each prompt (token ids), each as soon as it is known, in any order."""
        if self._trie is not None:
            kind: Estimate = self._decoder  # type: ignore[assignment]
            for index, found in read_numbers(self._model, prompts, self._trie):
                yield index, estimated(found, kind)
        elif isinstance(self._model, LogitModel) and self._decoder == "top_k":
            for index, following in enumerate(self._model.next_token(prompts, TOP_K)):
                yield index, Decoded(self._of_top(following))
        elif isinstance(self._model, CompletionModel):
            for index, prompt in enumerate(prompts):
                raw = drain(self._model.complete(prompt, _GREEDY)).text
                yield index, Decoded(read_continuation(raw, self._decoder, self._unit), raw)

    def _of_top(self, following: NextToken) -> Reading:
        """The mean of those tokens that are numbers, weighted by their probabilities."""
        assert isinstance(self._model, VocabularyModel)
        pairs = [
            (float(text), float(np.exp(logprob)))
            for token, logprob in zip(following.ids.tolist(), following.logprobs.tolist(), strict=True)
            if (text := self._model.vocabulary.decode([token]).strip()).isdecimal() and text.isascii()
        ]
        weight = sum(share for _, share in pairs)
        if not weight:
            return Reading("unparsable", None, f"none of the {TOP_K} most likely tokens is a number")
        mean = sum(value * share for value, share in pairs) / weight
        return Reading("value", mean, f"weighted mean of {len(pairs)} of the {TOP_K} most likely tokens")


def read_continuation(raw: str, decoder: Decoder, unit: str) -> Reading:
    """What was generated behind the prompt, as an amount in the unit that the prompt ended with.

    Args:
        decoder: "course" reads as the course does.
    """
    return extract_price(raw) if decoder == "course" else read_number(f"{unit}{raw}", unit=unit)


def estimated(found: Distribution, kind: Estimate) -> Decoded:
    """A distribution read as one number."""
    if not found.inside > 0:
        return Decoded(Reading("unparsable", None, "no candidate of the grid has any probability"), "", found)
    note = f"{kind} of the distribution; {found.inside:.1%} of the probability lies on the grid"
    return Decoded(Reading("value", found.estimate(kind), note), "", found)


def extract_price(reply: str) -> Reading:
    """The first number in a reply, as the course reads it: dollar signs and commas are passed over, words as well.

    The course takes 0 where there is none; here that is no answer.
    """
    match = re.search(r"[-+]?\d*\.\d+|\d+", reply.replace("$", "").replace(",", ""))
    if match is None:
        return Reading("unparsable", None, "no number in it")
    return Reading("value", float(match.group()), f"first number {match.group()!r}")


def single_digits(tokenizer: Tokenizer, before: str) -> bool:
    """Whether a number behind `before` is cut into its digits."""
    return len(tokenizer.encode(before + "129").ids) - len(tokenizer.encode(before).ids) >= 3
