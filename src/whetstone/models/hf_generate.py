"""Generation of our own on transformers models: many prompts together, each reply as soon as it is done.

Why not `model.generate`: it pads all prompts to the longest, reads what they share once per prompt, keeps finished rows
until the slowest is done, and returns everything at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from whetstone.models.hf_batch import Batch, read_prefix
from whetstone.models.hf_cache import Prefix
from whetstone.models.hf_grammar import Guide
from whetstone.models.hf_sampling import Sampler
from whetstone.models.hf_text import TextAssembler
from whetstone.types import Chunk, Reply, TokenLogprob, Usage
from whetstone.types.chat import FinishReason

# Rows of a batch at most: their logits, rows times vocabulary, are in memory too (130 MB for 256,000 tokens).
_MOST_ROWS = 128


@dataclass
class Row:
    """One prompt and the reply to it, while it is made.

    Attributes:
        index: which prompt, in the caller's order.
        prompt: token ids.
        limit: most tokens of the reply.
        text: turns the reply's tokens into text.
        generator: source of randomness; None when nothing is drawn.
        guide: says which tokens may come; None where any may.
        seconds: this row's share of the time so far.
    """

    index: int
    prompt: Sequence[int]
    limit: int
    text: TextAssembler
    generator: Any = None
    guide: Guide | None = None
    seconds: float = 0.0
    cached: int = 0
    ids: list[int] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return Usage(len(self.prompt), len(self.ids), self.cached)

    def take(self, token_id: int, logprob: TokenLogprob | None, end_ids: frozenset[int]) -> Chunk:
        """Append one token; what the caller gets to see of it."""
        self.ids.append(token_id)
        logprobs = (logprob,) if logprob else ()
        self.logprobs.extend(logprobs)
        text = ""
        if token_id in end_ids:
            self.finish_reason = "stop"
        else:
            text = self.text.push(token_id)
            if (self.guide is not None and self.guide.take(token_id)) or self.text.stopped:
                self.finish_reason = "stop"
            elif len(self.ids) >= self.limit:
                self.finish_reason = "length"
        if self.finish_reason:
            text += self.text.finish()
            if self.text.stopped:  # the reply's last characters completed a stop string
                self.finish_reason = "stop"
        self.pieces.append(text)
        return Chunk(
            text=text,
            logprobs=logprobs,
            finish_reason=self.finish_reason,
            usage=self.usage if self.finish_reason else None,
        )

    def allowed(self, size: int) -> Any | None:
        """Which token of so many may come next; None where any may, and once the reply is finished."""
        return None if self.guide is None or self.finish_reason is not None else self.guide.allowed(size)

    def reply(self) -> Reply:
        """The finished reply."""
        return Reply(
            text="".join(self.pieces),
            logprobs=tuple(self.logprobs),
            finish_reason=self.finish_reason,
            usage=self.usage,
            seconds=self.seconds,
        )


def advance(
    batch: Batch,
    rows: Sequence[Row],
    sampler: Sampler,
    end_ids: frozenset[int],
    seen: Callable[[Row], list[int]],
) -> Iterator[tuple[Row, Chunk]]:
    """Generate until every row is finished: `(row, chunk)` for every token of every row.

    A finished row is left in the batch until an eighth of the rows are finished: copying the others costs more than a
    few idle steps of one row.

    Args:
        batch: the rows' prompts, ready to start.
        rows: the same rows.
        sampler: chooses the tokens.
        end_ids: tokens that end a reply.
        seen: the ids of a row that a logits processor looks at.
    """
    live = list(rows)
    started = time.perf_counter()
    logits = batch.start()
    while True:
        ids = [seen(row) for row in live] if sampler.needs_ids else []
        allowed = [row.allowed(logits.shape[-1]) for row in live]
        choices = sampler.choose(logits, [row.generator for row in live], ids, [row.ids for row in live], allowed)
        share = (time.perf_counter() - started) / sum(row.finish_reason is None for row in live)
        for row, choice in zip(live, choices, strict=True):
            if row.finish_reason is None:
                row.seconds += share
                yield row, row.take(choice.token_id, choice.logprob, end_ids)
        kept = [n for n, row in enumerate(live) if row.finish_reason is None]
        if not kept:
            return
        started = time.perf_counter()
        if 8 * (len(live) - len(kept)) >= len(live):
            batch.keep(kept)
            live = [live[n] for n in kept]
            choices = [choices[n] for n in kept]
        logits = batch.step([choice.token_id for choice in choices])


def common_prefix(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens that all prompts begin with, leaving each at least one token of its own."""
    first, last = min(map(list, prompts)), max(map(list, prompts))  # all others lie between these
    longest = min(map(len, prompts)) - 1
    length = next((n for n in range(longest) if first[n] != last[n]), longest)
    return first[:length]


def plan(lengths: Sequence[int], reply: int, most_tokens: int) -> Iterator[list[int]]:
    """Which prompts to answer together: longest first, alike in length.

    A batch's state never takes more than `most_tokens` tokens (prompts and replies, padding included), except where
    one row alone is longer. No row of a batch is shorter than half its longest.

    Args:
        lengths: tokens of each prompt.
        reply: tokens that a reply may take.
        most_tokens: the bound.

    Returns:
        Indices into `lengths`, batch by batch.
    """
    order = sorted(range(len(lengths)), key=lambda n: (-lengths[n], n))
    batch: list[int] = []
    for n in order:
        if batch:
            longest = lengths[batch[0]]
            full = (len(batch) + 1) * (longest + reply) > most_tokens or len(batch) == _MOST_ROWS
            if full or 2 * lengths[n] < longest:
                yield batch
                batch = []
        batch.append(n)
    if batch:
        yield batch


def shared_prefix(model: Any, prompts: Sequence[Sequence[int]], reply: int) -> Prefix | None:
    """Read what all prompts begin with, if that is worth it and leaves the result as it is.

    Behind a prefix, short rows have a hole, which layers with a sliding window would count as distance. So nothing is
    shared where a row can outgrow the window.
    """
    shared = common_prefix(prompts) if len(prompts) > 1 else []
    if not shared:
        return None
    window = getattr(model.config.get_text_config(decoder=True), "sliding_window", None)
    if window is not None and max(map(len, prompts)) + reply > window:
        return None
    return read_prefix(model, shared)
