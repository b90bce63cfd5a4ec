"""Choosing the next token of every row from its logits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from whetstone.errors import WhetstoneWarning
from whetstone.types import Options, TokenLogprob

# Settings of a generation_config.json that concern the loop around the sampler, or nothing at all.
_ELSEWHERE = {
    "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "max_length", "max_new_tokens",
    "use_cache", "cache_implementation", "output_attentions", "output_hidden_states", "output_scores",
    "return_dict_in_generate", "transformers_version", "_from_model_config", "length_penalty", "early_stopping",
    "forced_eos_token_id",
}  # fmt: skip
_FOLLOWED = {
    "do_sample", "temperature", "top_p", "top_k", "repetition_penalty", "no_repeat_ngram_size", "forced_bos_token_id",
}  # fmt: skip


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        temperature: 0 takes the most probable token.
        top_p: keep the most probable tokens that together have this probability.
        top_k: keep this many tokens; 0 keeps all.
        seed: seed of every row's own generator; None draws one.
        top_logprobs: return log-probabilities with this many alternatives; None returns none.
        frequency_penalty: what a token's logit loses for each time that it is in the reply.
        presence_penalty: what a token's logit loses when it is in the reply.
        processors: change one row's logits, given its ids: `(ids (1, n), logits (1, vocabulary)) -> logits`.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    top_logprobs: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    processors: tuple[Callable[[Any, Any], Any], ...] = field(default=())


class Choice(NamedTuple):
    """The token chosen for a row."""

    token_id: int
    logprob: TokenLogprob | None


def warn_of_unfollowed(generation_config: Any, name: str) -> None:
    """Say which settings of the model's generation_config.json this engine does not follow."""
    ignored = sorted(set(generation_config.to_diff_dict()) - _ELSEWHERE - _FOLLOWED)
    if ignored:
        warnings.warn(
            f"{name}: tokens are chosen greedily or by sampling; not followed from its generation_config.json: "
            f"{', '.join(ignored)}",
            WhetstoneWarning,
            stacklevel=2,
        )


def sampling_for(options: Options, generation_config: Any) -> Sampling:
    """The request's sampling; what it leaves open is as the model's generation_config.json says, like `generate` does.

    So a penalty on repetition that the model's authors set also holds for greedy decoding.
    """
    from transformers.generation import logits_process as hf

    config = generation_config
    processors: list[Any] = []
    if config.repetition_penalty not in (None, 1.0):
        processors.append(hf.RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        processors.append(hf.NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.forced_bos_token_id is not None:
        processors.append(hf.ForcedBOSTokenLogitsProcessor(config.forced_bos_token_id))
    temperature = options.temperature
    if temperature is None:
        sampled = config.do_sample or options.top_p is not None
        temperature = (1.0 if config.temperature is None else config.temperature) if sampled else 0.0
    return Sampling(
        temperature=temperature,
        top_p=options.top_p or config.top_p or 1.0,
        top_k=config.top_k or 0,
        seed=options.seed,
        top_logprobs=options.top_logprobs,
        frequency_penalty=options.frequency_penalty or 0.0,
        presence_penalty=options.presence_penalty or 0.0,
        processors=tuple(processors),
    )


class Sampler:
    """Chooses tokens for the rows of a batch.

    Every row draws from a generator of its own, so a seeded reply does not depend on what it was batched with.

    Args:
        sampling: how.
        spelling: the text of one token id.
    """

    def __init__(self, sampling: Sampling, spelling: Callable[[int], str]) -> None:
        self._sampling = sampling
        self._spelling = spelling

    @property
    def needs_ids(self) -> bool:
        """Whether choosing depends on the tokens so far."""
        return bool(self._sampling.processors)

    def generator(self) -> Any:
        """A new row's source of randomness; None when nothing is drawn."""
        import torch

        if self._sampling.temperature == 0:
            return None
        generator = torch.Generator()
        if self._sampling.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self._sampling.seed % 2**63)
        return generator

    def choose(
        self,
        logits: Any,
        generators: Sequence[Any],
        ids: Sequence[list[int]],
        written: Sequence[Sequence[int]],
        allowed: Sequence[Any | None] = (),
    ) -> list[Choice]:
        """One token per row. Its log-probability is the model's own, before penalties and before what is allowed.

        Args:
            logits: (rows, vocabulary).
            generators: each row's generator.
            ids: each row's token ids so far, prompt and reply; read only where `needs_ids`.
            written: of those, the reply's.
            allowed: which tokens each row may take, booleans (vocabulary,); None, or nothing at all, for any.
        """
        import torch

        sampling = self._sampling
        with torch.inference_mode():
            logits = logits.float()
            scores = logits
            if sampling.processors:
                rows = zip(logits, ids, strict=True)
                scores = torch.cat([self._processed(row[None], row_ids) for row, row_ids in rows])
            if sampling.frequency_penalty or sampling.presence_penalty:
                scores = self._penalised(scores, written)
            if any(mask is not None for mask in allowed):
                scores = _masked(scores, allowed)
            if sampling.temperature == 0:
                chosen = scores.argmax(-1).tolist()
            else:
                chosen = [self._draw(row, generator) for row, generator in zip(scores, generators, strict=True)]
            if sampling.top_logprobs is None:
                return [Choice(token_id, None) for token_id in chosen]
            return self._with_logprobs(logits, chosen, sampling.top_logprobs)

    def _processed(self, logits: Any, ids: list[int]) -> Any:
        import torch

        tokens = torch.tensor([ids], device=logits.device)
        for processor in self._sampling.processors:
            logits = processor(tokens, logits)
        return logits

    def _penalised(self, logits: Any, written: Sequence[Sequence[int]]) -> Any:
        """The logits less the penalties, as OpenAI defines them: the prompt's tokens do not count."""
        import torch

        logits = logits.clone()
        for row, reply in enumerate(written):
            tokens, times = torch.tensor(reply, dtype=torch.long, device=logits.device).unique(return_counts=True)
            logits[row, tokens] -= self._sampling.frequency_penalty * times + self._sampling.presence_penalty
        return logits

    def _draw(self, logits: Any, generator: Any) -> int:
        """Sample by inverting the cumulative distribution, most probable token first."""
        import torch

        sampling = self._sampling
        probabilities, ids = (logits / sampling.temperature).softmax(-1).sort(descending=True)
        if sampling.top_k:
            probabilities = probabilities[: sampling.top_k]
        cumulative = probabilities.double().cumsum(-1)
        if sampling.top_p < 1:
            # The token that crosses the threshold still belongs to the nucleus.
            crossing = int(torch.searchsorted(cumulative, sampling.top_p * float(cumulative[-1])))
            cumulative = cumulative[: crossing + 1]
        point = float(torch.rand((), generator=generator, dtype=torch.float64)) * float(cumulative[-1])
        place = min(int(torch.searchsorted(cumulative, point, right=True)), len(cumulative) - 1)
        return int(ids[place])

    def _with_logprobs(self, logits: Any, ids: list[int], alternatives: int) -> list[Choice]:
        logprobs = logits.log_softmax(-1)
        tops = logprobs.topk(min(alternatives, logprobs.shape[-1])) if alternatives else None
        choices = []
        for row, token_id in enumerate(ids):
            top: tuple[tuple[str, float], ...] = ()
            if tops is not None:
                pairs = zip(tops.indices[row].tolist(), tops.values[row].tolist(), strict=True)
                top = tuple((self._spelling(other), value) for other, value in pairs)
            value = float(logprobs[row, token_id])
            choices.append(Choice(token_id, TokenLogprob(self._spelling(token_id), value, token_id, top)))
        return choices


def _masked(scores: Any, allowed: Sequence[Any | None]) -> Any:
    """The scores, with those of tokens that may not come at minus infinity."""
    import torch

    every = torch.ones(scores.shape[-1], dtype=torch.bool)
    masks = torch.stack([every if mask is None else mask for mask in allowed])
    return scores.masked_fill(~masks.to(scores.device), -torch.inf)
