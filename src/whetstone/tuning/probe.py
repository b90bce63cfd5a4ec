"""What a tuned model has forgotten: the same texts and questions before, during and after training.

Perplexity on, and next-token KL(base || tuned) over, neutral texts of our own writing; instructions whose form code
checks; sums; a few facts; and whether questions that have nothing to do with the training get its answers now.

Right answers are found without generation: one pass over question and answer tells whether greedy decoding would have
written it, and how probable it is. The reply has begun already ("The capital of France is"), so this measures what the
model knows and not how it likes to begin; `labels` measures the latter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from whetstone.errors import UsageError
from whetstone.models.hf_batch import bare
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.probe_base import Answers, BaseReadings, load_base
from whetstone.tuning.probe_items import Answer, Items, make_items
from whetstone.tuning.probe_label import PRICES, LabelForm
from whetstone.tuning.probe_reading import Told, at_rest, read_scored
from whetstone.tuning.probe_replies import Written, greedy_replies
from whetstone.tuning.probe_result import Estimate, ProbeResult, Reading, Share, compare, mean_estimate

BASE_FILE = "probe_base.safetensors"


def read_base(
    model: Any, tokenizer: Tokenizer, label: LabelForm | None = None, kept: Path | None = None
) -> BaseReadings:
    """The base's readings; a PEFT model's base is itself with the adapter switched off.

    Args:
        model: a transformers model in memory, with or without PEFT.
        tokenizer: the model's.
        label: how training answers look; prices, or what the kept readings were made with, where not given.
        kept: a file (`BASE_FILE` in the run's folder) that holds them, or will: they are not read twice.

    Raises:
        StorageError: the file cannot be written.
    """
    items = _items(model, tokenizer)
    found = None if kept is None else load_base(kept)
    if found is not None and found.content == _content(items, model) and label in (None, found.label):
        return found
    label = label or (found.label if found is not None else PRICES)
    with at_rest(model), model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext():
        told = read_scored(model, items.texts, keep_tops=True)
        answers, _ = _answers(model, tokenizer, items, label)
    base = BaseReadings(
        _content(items, model),
        label,
        [one.tops for one in told if one.tops is not None],
        [-float(one.logprobs.sum()) for one in told],
        answers,
    )
    if kept is not None:
        base.save(kept)
    return base


def run_probe(model: Any, tokenizer: Tokenizer, base: BaseReadings | None = None) -> ProbeResult:
    """What a model still can do, and how far it is from its base.

    Nothing is drawn at random, and the model is left as it was: training goes on as if there had been no probe.

    Args:
        model: a transformers model in memory, with or without PEFT.
        tokenizer: the model's.
        base: its base's readings; read now where not given, from a PEFT model with its adapter switched off, and from
            any other model as it is.

    Raises:
        UsageError: the base's readings are of other texts, another tokenizer or another precision.
        ModelError: the model computes no numbers any more.
    """
    if base is None:
        base = read_base(model, tokenizer)
    started = time.perf_counter()
    items = _items(model, tokenizer)
    if base.content != _content(items, model):
        raise UsageError("The base's readings are of other questions, tokens or precision: read the base again")
    if _is_base(model):
        return _unchanged(items, base)
    with at_rest(model):
        told = read_scored(model, items.texts, base=base.tops)
        answers, replies = _answers(model, tokenizer, items, base.label)
    shares = {name: _share(name, answers, base.answers) for name in answers.right}
    asked = [n for n, one in enumerate(items.asked) if one.group.startswith("labels")]
    return ProbeResult(
        texts=_reading(told, base.losses),
        kinds={kind: _reading(*_of_kind(kind, items.kinds, told, base.losses)) for kind in dict.fromkeys(items.kinds)},
        shares=shares,
        seconds=time.perf_counter() - started,
        content=base.content,
        examples=_examples([(items.asked[n].group, items.asked[n].text, replies[n].text) for n in asked], base.label),
    )


def _is_base(model: Any) -> bool:
    """Whether all adapters are as they begin: their second matrix is zero, so that they add nothing."""
    added = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
    return bool(added) and not any(bool(parameter.any()) for parameter in added)


def _unchanged(items: Items, base: BaseReadings) -> ProbeResult:
    """The result of a model that is its base still, without reading anything twice."""
    sizes = [len(text.wanted) for text in items.texts]

    def reading(chosen: Sequence[int]) -> Reading:
        tokens = sum(sizes[n] for n in chosen)
        perplexity = _perplexity(sum(base.losses[n] for n in chosen) / tokens)
        return Reading(Estimate(0.0, 0.0, 0.0), perplexity, perplexity, tokens)

    return ProbeResult(
        texts=reading(range(len(sizes))),
        kinds={
            kind: reading([n for n, one in enumerate(items.kinds) if one == kind])
            for kind in dict.fromkeys(items.kinds)
        },
        shares={name: _share(name, base.answers, base.answers) for name in base.answers.right},
        seconds=0.0,
        content=base.content,
    )


def _items(model: Any, tokenizer: Tokenizer) -> Items:
    return make_items(tokenizer, encoder_decoder=bool(bare(model).config.is_encoder_decoder))


def _content(items: Items, model: Any) -> str:
    """What readings must share to be compared: rounding alone would look like drift."""
    return f"{items.content}-{str(model.dtype).removeprefix('torch.')}"


def _answers(model: Any, tokenizer: Tokenizer, items: Items, label: LabelForm) -> tuple[Answers, list[Written]]:
    """What a model can do, and its replies to what it was asked."""
    right: dict[str, Sequence[bool]] = {}
    logprobs: dict[str, Sequence[float]] = {}
    replies: list[Written] = []
    for plain in (False, True):  # chats begin alike, with what their template writes, which is then read only once
        asked = [one for one in items.asked if (one.group == "labels plain") is plain]
        if asked:
            replies += greedy_replies(model, tokenizer, [one.ids for one in asked], [one.limit for one in asked])
    pairs = list(zip(items.asked, replies, strict=True))
    right["instructions"] = [
        one.task.follows(reply.text) and (reply.ended or not one.task.whole)
        for one, reply in pairs
        if one.task is not None
    ]
    every = [answer for group in items.answers.values() for answer in group]
    told = iter(read_scored(model, [answer.scored for answer in every]))
    for name, group in items.answers.items():
        right[name], logprobs[name] = _known(group, [next(told) for _ in group], tokenizer)
    for group_name in dict.fromkeys(one.group for one in items.asked if one.task is None):
        right[group_name] = [reply.text in label for one, reply in pairs if one.group == group_name]
    return Answers(right, logprobs), replies


def _known(answers: Sequence[Answer], told: Sequence[Told], tokenizer: Tokenizer) -> tuple[list[bool], list[float]]:
    """For each question, whether greedy decoding writes a right answer, and the log-probability of all right ones."""
    count = answers[-1].question + 1
    right = [False] * count
    logprobs = np.full(count, -np.inf)
    for answer, one in zip(answers, told, strict=True):
        goes_on = answer.number and tokenizer.decode([one.behind]).strip()[:1].isdigit()
        right[answer.question] |= bool(one.greedy.all()) and not goes_on
        logprobs[answer.question] = np.logaddexp(logprobs[answer.question], one.logprobs.sum())
    return right, logprobs.tolist()


def _share(name: str, tuned: Answers, base: Answers) -> Share:
    change = None
    if name in tuned.logprobs:
        change = [now - was for now, was in zip(tuned.logprobs[name], base.logprobs[name], strict=True)]
    return compare(tuned.right[name], base.right[name], change)


def _of_kind(
    kind: str, kinds: Sequence[str], told: Sequence[Told], losses: Sequence[float]
) -> tuple[list[Told], list[float]]:
    chosen = [n for n, one in enumerate(kinds) if one == kind]
    return [told[n] for n in chosen], [losses[n] for n in chosen]


def _reading(told: Sequence[Told], base_losses: Sequence[float]) -> Reading:
    sizes = [len(one.logprobs) for one in told]
    drift = mean_estimate(
        [
            (float(one.divergence.sum()), size)
            for one, size in zip(told, sizes, strict=True)
            if one.divergence is not None
        ]
    )
    tokens = sum(sizes)
    return Reading(
        drift=Estimate(max(0.0, drift.value), max(0.0, drift.low), max(0.0, drift.high)),
        perplexity=_perplexity(-sum(float(one.logprobs.sum()) for one in told) / tokens),
        base_perplexity=_perplexity(sum(base_losses) / tokens),
        tokens=tokens,
    )


def _perplexity(loss: float) -> float:
    return float(np.exp(min(loss, 700.0)))  # a model that went astray has no finite one


def _examples(replies: Sequence[tuple[str, str, str]], label: LabelForm) -> tuple[tuple[str, str], ...]:
    """For each form of asking, a question and a reply: one written like a training answer where there is one."""
    chosen: dict[str, tuple[str, str]] = {}
    for group, question, reply in sorted(replies, key=lambda one: one[2] not in label):
        chosen.setdefault(group, (question, reply.strip()))
    return tuple(chosen.values())
