"""Forward passes of a probe: how probable a model finds given tokens, and how far it is from the base at each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.errors import ModelError
from whetstone.models.hf_batch import bare
from whetstone.models.hf_cache import keeps_every_token
from whetstone.tuning.labelled import logits_at
from whetstone.tuning.probe_items import Scored

# Of the base's distribution at each token, this many of the most probable are kept; all others count as one outcome.
# That can only make the divergence smaller (the data processing inequality).
TOP = 256

_TOKENS = {"cpu": 1024}  # padded tokens of one pass: more no longer fit a CPU's caches
_TOKENS_GPU = 8192
_LOGIT_BYTES = 2.0e8


@dataclass(frozen=True)
class Tops:
    """The most probable next tokens at some places.

    Attributes:
        ids: (n, TOP).
        logprobs: (n, TOP).
    """

    ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Told:
    """What a model thinks of the wanted tokens of one text.

    Attributes:
        logprobs: of each wanted token, (n,), in nats.
        greedy: whether each is the most probable one, (n,).
        behind: the most probable token behind the text.
        tops: the most probable tokens at each place, where asked for.
        divergence: KL(base || model) at each place, (n,), where the base's were given.
    """

    logprobs: npt.NDArray[np.float64]
    greedy: npt.NDArray[np.bool_]
    behind: int
    tops: Tops | None = None
    divergence: npt.NDArray[np.float64] | None = None


@contextmanager
def at_rest(model: Any) -> Iterator[None]:
    """Dropout off; afterwards the model trains on if it did before."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def read_scored(
    model: Any, texts: Sequence[Scored], *, base: Sequence[Tops] | None = None, keep_tops: bool = False
) -> list[Told]:
    """What a model thinks of texts, each in its place of the list.

    Args:
        model: a transformers model, with or without PEFT.
        base: the base's distributions at the wanted tokens of each text.
        keep_tops: return the model's own.

    Raises:
        ModelError: the model computes no numbers any more.
    """
    import torch

    told: list[Told | None] = [None] * len(texts)
    with torch.no_grad():
        for batch in _batches(model, texts):
            inputs, rows, columns = _inputs(model, [texts[n] for n in batch])
            logits = logits_at(model, inputs, rows, columns)
            if not bool(torch.isfinite(logits).all()):
                raise ModelError("The model's logits are not finite: the training broke it; lower learning_rate")
            start = 0
            for n in batch:
                text, size = texts[n], len(texts[n].wanted) + 1  # and the place behind the text
                logprobs = logits[start : start + size].float().log_softmax(-1)
                told[n] = _told(text, logprobs, base[n] if base is not None else None, keep_tops)
                start += size
    return [one for one in told if one is not None]


def _told(text: Scored, logprobs: Any, base: Tops | None, keep_tops: bool) -> Told:
    import torch

    within = logprobs[:-1]
    wanted = torch.tensor(text.wanted, device=logprobs.device)
    best = logprobs.argmax(-1)
    tops = None
    if keep_tops:
        values, ids = within.topk(min(TOP, within.shape[-1]))
        tops = Tops(ids.cpu().numpy().astype(np.int32), values.cpu().numpy().astype(np.float32))
    return Told(
        logprobs=within.gather(1, wanted[:, None])[:, 0].double().cpu().numpy(),
        greedy=(best[:-1] == wanted).cpu().numpy(),
        behind=int(best[-1]),
        tops=tops,
        divergence=None if base is None else divergence(base, within),
    )


def divergence(base: Tops, logprobs: Any) -> npt.NDArray[np.float64]:
    """KL(base || model) at each place, (n,), in nats; what the base kept no probability for is one outcome.

    Args:
        base: (n, TOP).
        logprobs: the model's, (n, vocabulary).
    """
    import torch

    ids = torch.from_numpy(base.ids.astype(np.int64)).to(logprobs.device)
    known = base.logprobs.astype(np.float64)
    mine = logprobs.gather(1, ids).double().cpu().numpy()
    # Where both are certain, the rest is rounding: without a floor its logarithm is anything.
    rest = np.clip(1 - np.exp(known).sum(axis=1), 1e-7, 1)
    my_rest = np.clip(1 - np.exp(mine).sum(axis=1), 1e-7, 1)
    return np.asarray(np.sum(np.exp(known) * (known - mine), axis=1) + rest * np.log(rest / my_rest))


def _batches(model: Any, texts: Sequence[Scored]) -> Iterator[list[int]]:
    """Texts that are read together, the longest first."""
    inner = bare(model)
    kind = model.device.type
    most = _TOKENS.get(kind, _TOKENS_GPU)
    places = int(_LOGIT_BYTES / (4 * inner.config.get_text_config(decoder=True).vocab_size))
    together = bool(inner.config.is_encoder_decoder) or keeps_every_token(inner)
    batch: list[int] = []
    wanted = 0
    for n in sorted(range(len(texts)), key=lambda n: -len(texts[n].ids)):
        size = len(texts[n].wanted) + 1
        full = batch and ((len(batch) + 1) * len(texts[batch[0]].ids) > most or wanted + size > places)
        if batch and (full or not together):
            yield batch
            batch, wanted = [], 0
        batch.append(n)
        wanted += size
    if batch:
        yield batch


def _inputs(model: Any, texts: Sequence[Scored]) -> tuple[dict[str, Any], Any, Any]:
    """Arguments of a forward pass, and the rows and columns whose logits are wanted: those before each wanted token."""
    import torch

    device = model.device
    ids, mask = _padded([text.ids for text in texts], device)
    inputs = {"input_ids": ids}
    shift = 1
    # A decoder's token sees only what is before it, so that padding behind changes nothing and needs no mask.
    if texts[0].labels is not None:
        inputs["attention_mask"] = mask
        config = bare(model).config
        start = config.decoder_start_token_id
        begin = config.pad_token_id if start is None else start
        inputs["decoder_input_ids"], _ = _padded([[begin, *(text.labels or [])] for text in texts], device)
        shift = 0  # the start token stands before the first label
    rows: list[int] = []
    columns: list[int] = []
    for row, text in enumerate(texts):
        places = range(text.first - shift, text.first - shift + len(text.wanted) + 1)
        rows += [row] * len(places)
        columns += places
    return inputs, torch.tensor(rows, device=device), torch.tensor(columns, device=device)


def _padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any]:
    """Rows filled up behind with token 0, and their mask."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, (torch.arange(width, device=device)[None] < lengths[:, None]).long()
