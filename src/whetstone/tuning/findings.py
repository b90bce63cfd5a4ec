"""Why tuning made a model worse, or not better: each likely cause with the numbers that speak for it, and a remedy.

Everything here is a function of plain values: the run's journal, its rows, its targets and its answers.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from whetstone.tuning.rows import TuneRow

Floats = npt.NDArray[np.float64]

_FEW_ROWS = 200  # below this, what a small adapter learns is mostly the few answers themselves
_MANY_PASSES = 3
_TELLING = 0.2  # a share of rows or answers that is no accident any more
_RISE = 0.02  # of the lowest validation loss: smaller rises are noise of few validation rows
_FEWEST_PROMPTS = 5
_FAR = 0.35  # Kolmogorov-Smirnov distance of two sets of numbers


@dataclass(frozen=True)
class Finding:
    """A likely cause.

    Attributes:
        name: one of "label format", "prompt", "mask", "truncated", "few rows", "range shift", "over-training",
            "not trained".
        sentence: what was found.
        advice: what to do.
        evidence: the numbers.
    """

    name: str
    sentence: str
    advice: str
    evidence: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class RowFacts:
    """What training rows have in common.

    Attributes:
        rows: how many, without replayed general ones.
        learned_share: learned tokens of all tokens.
        nothing_learned: rows of which nothing is learned.
        prompt_learned: rows whose very first tokens are learned.
        no_end: rows whose last learned token does not end the reply, so that a model learns to go on for ever.
        cut: rows whose text was cut.
        cut_characters: of them, in the median.
        encoder_decoder: whether rows have labels of their own, so that no mask can be wrong.
    """

    rows: int
    learned_share: float
    nothing_learned: int
    prompt_learned: int
    no_end: int
    cut: int
    cut_characters: float
    encoder_decoder: bool = False


def row_facts(rows: Iterable[TuneRow], end_ids: frozenset[int]) -> RowFacts:
    """What rows have in common; replayed rows are passed over.

    Args:
        rows: the training rows, or a sample of them.
        end_ids: tokens that end a reply; where the chat template writes a line end behind them, that one too.
    """
    counted = learned = tokens = nothing = prompt = endless = 0
    cuts: list[int] = []
    own_labels = False
    for row in rows:
        if row.replay:
            continue
        counted += 1
        own_labels |= row.labels is not None
        told = row.labels if row.labels is not None else [i for i, on in zip(row.ids, row.learned, strict=True) if on]
        tokens += row.tokens
        learned += len(told)
        nothing += not told
        prompt += row.labels is None and len(row.ids) > 1 and row.learned[1]
        endless += bool(told) and end_ids.isdisjoint(told[-2:])
        if row.cut:
            cuts.append(row.cut)
    return RowFacts(
        rows=counted,
        learned_share=learned / tokens if tokens else 0.0,
        nothing_learned=nothing,
        prompt_learned=prompt,
        no_end=endless,
        cut=len(cuts),
        cut_characters=float(np.median(cuts)) if cuts else 0.0,
        encoder_decoder=own_labels,
    )


@dataclass(frozen=True)
class Evidence:
    """What is known of a run; whatever is not known is left at its default, and not judged.

    Attributes:
        journal: the run's lines.
        facts: of the training rows.
        epochs: passes over the rows.
        completions: answers as training has them, as text, without control tokens.
        replies: what the tuned model answered, as text.
        train_prompts, test_prompts: prompts as the model saw them, up to where it answers.
        train_targets, test_targets: the numbers asked for.
    """

    journal: Sequence[Mapping[str, Any]] = ()
    facts: RowFacts | None = None
    epochs: float = 1.0
    completions: Sequence[str] = ()
    replies: Sequence[str] = ()
    train_prompts: Sequence[str] = ()
    test_prompts: Sequence[str] = ()
    train_targets: Sequence[float] = ()
    test_targets: Sequence[float] = ()


def diagnose(evidence: Evidence) -> list[Finding]:
    """Every likely cause, those that spoil a run entirely first."""
    checks = (_mask, _truncated, _prompt, _label_format, _not_trained, _over_training, _range_shift, _few_rows)
    return [finding for check in checks for finding in check(evidence)]


def _mask(evidence: Evidence) -> Iterator[Finding]:
    facts = evidence.facts
    if facts is None or not facts.rows:
        return
    if facts.nothing_learned:
        yield Finding(
            "mask",
            f"Nothing is learned from {facts.nothing_learned:,} of {facts.rows:,} rows: their loss mask is empty.",
            "Look at the rows with `whet tokens mask`; a cut that reaches the answer, or a template that is not the "
            "model's, empties it.",
            {"rows": facts.rows, "nothing_learned": facts.nothing_learned},
        )
    if not facts.encoder_decoder and facts.prompt_learned > _TELLING * facts.rows:
        yield Finding(
            "mask",
            f"{facts.prompt_learned:,} of {facts.rows:,} rows learn their prompt too: {facts.learned_share:.0%} of all "
            "tokens are learned, and most of the loss is about writing questions.",
            "Set completion_only_loss: true, unless writing such prompts is the task.",
            {"rows": facts.rows, "prompt_learned": facts.prompt_learned, "learned_share": facts.learned_share},
        )


def _truncated(evidence: Evidence) -> Iterator[Finding]:
    facts = evidence.facts
    if facts is None or not facts.rows:
        return
    if facts.no_end > _TELLING * facts.rows:
        yield Finding(
            "truncated",
            f"The answers of {facts.no_end:,} of {facts.rows:,} rows do not end with the token that ends a reply: they "
            "were cut off, or it is missing, and the model learns to go on.",
            "Raise max_length above the longest answer, and let the rows end with the model's end token.",
            {"rows": facts.rows, "no_end": facts.no_end},
        )
    if facts.cut > _TELLING * facts.rows:
        yield Finding(
            "truncated",
            f"The texts of {facts.cut:,} of {facts.rows:,} rows were cut to fit, by {facts.cut_characters:,.0f} "
            "characters in the median; what was cut cannot be learned from.",
            "Raise max_length, or shorten the texts so that what matters stands first.",
            {"rows": facts.rows, "cut": facts.cut, "cut_characters": facts.cut_characters},
        )


def _prompt(evidence: Evidence) -> Iterator[Finding]:
    """Whether the model is asked in the form in which it was tuned: how its prompts begin and end."""
    if min(len(evidence.train_prompts), len(evidence.test_prompts)) < _FEWEST_PROMPTS:
        return
    for where, common, has in (("end", _ending, str.endswith), ("begin", _beginning, str.startswith)):
        trained, asked = common(evidence.train_prompts), common(evidence.test_prompts)
        share = min(
            sum(has(prompt, form) for prompt in prompts) / len(prompts)
            for form, prompts in ((trained, evidence.test_prompts), (asked, evidence.train_prompts))
        )
        if share < 1 - _TELLING:
            yield Finding(
                "prompt",
                f"Training prompts {where} with {_quoted(trained)}, test prompts with {_quoted(asked)}: the model is "
                "asked in a form that it was not tuned on.",
                "Ask in the training's form: the same question, label and chat template, to the last blank and line "
                "end.",
                {"share_in_form": share},
            )
            return


def _label_format(evidence: Evidence) -> Iterator[Finding]:
    if not evidence.completions or not evidence.replies:
        return
    shapes = {shape(text) for text in evidence.completions}
    strange = [text for text in evidence.replies if shape(text) not in shapes]
    # Free texts have as many shapes as there are texts, and say nothing.
    if len(shapes) > max(5, 0.2 * len(evidence.completions)) or len(strange) <= _TELLING * len(evidence.replies):
        return
    usual = Counter(shape(text) for text in evidence.completions).most_common(1)[0][0]
    example = next(text for text in evidence.completions if shape(text) == usual)
    yield Finding(
        "label format",
        f"{len(strange):,} of {len(evidence.replies):,} replies are not written like any training answer: training has "
        f"{_quoted(example)}, replies have {_quoted(strange[0])}.",
        "Check that training answers stand where the prompt stops (no second label, no missing blank), and train "
        "longer if the form is not learned yet.",
        {"replies": len(evidence.replies), "not_in_form": len(strange), "training_shapes": len(shapes)},
    )


def _not_trained(evidence: Evidence) -> Iterator[Finding]:
    losses = _losses(evidence.journal, "step")
    if len(losses) < 10:
        return
    tenth = max(1, len(losses) // 10)
    first = float(np.mean([loss for _, loss in losses[:tenth]]))
    last = float(np.mean([loss for _, loss in losses[-tenth:]]))
    if last > 0.98 * first:
        yield Finding(
            "not trained",
            f"The training loss went from {first:.3g} to {last:.3g}: the model learned nothing.",
            "Raise learning_rate (2e-4 is usual for LoRA), or look whether the answers can be told from the texts at "
            "all.",
            {"first_loss": first, "last_loss": last},
        )


def _over_training(evidence: Evidence) -> Iterator[Finding]:
    training, validation = _losses(evidence.journal, "step"), _losses(evidence.journal, "validation")
    metrics = _losses(evidence.journal, "validation", "metric")
    measured, what = (metrics, "error") if len(metrics) >= 2 else (validation, "loss")
    if len(measured) < 2:
        return
    best_step, best = min(measured, key=lambda one: (one[1], one[0]))
    last_step, last = measured[-1]
    rise = (last - best) / abs(best) if best else 0.0
    if last_step == best_step or rise < _RISE:
        return
    near = [loss for step, loss in training if step <= best_step][-20:]
    late = [loss for _, loss in training][-20:]
    falls = bool(near) and bool(late) and float(np.mean(late)) < float(np.mean(near))
    yield Finding(
        "over-training",
        f"The validation {what} was lowest at step {best_step:,} ({best:.4g}) and rose to {last:.4g} at step "
        f"{last_step:,}, {rise:.0%} more"
        + (", while the training loss went on falling: the model learns the training rows by heart." if falls else "."),
        (
            f"Use the revision @best (step {best_step:,}), which the name of the run alone means, too; tune for fewer "
            "epochs, set early_stopping_patience: 2, or lower learning_rate."
            if best_step
            else "Use the base: no revision is better. Lower learning_rate, or tune on more rows."
        ),
        {
            "best_step": best_step,
            "best": best,
            "last_step": last_step,
            "last": last,
            **(
                {"training_loss_then": float(np.mean(near)), "training_loss_last": float(np.mean(late))} if near else {}
            ),
        },
    )


def _range_shift(evidence: Evidence) -> Iterator[Finding]:
    if len(evidence.train_targets) < 20 or len(evidence.test_targets) < 20:
        return
    train = np.sort(np.asarray(evidence.train_targets, dtype=np.float64))
    test = np.sort(np.asarray(evidence.test_targets, dtype=np.float64))
    distance = kolmogorov_smirnov(train, test)
    low, high = np.quantile(train, [0.01, 0.99])
    outside = float(np.mean((test < low) | (test > high)))
    if distance < _FAR and outside < _TELLING:
        return
    medians = float(np.median(train)), float(np.median(test))
    yield Finding(
        "range shift",
        f"The numbers to be predicted are others than those trained on: median {medians[1]:,.4g} against "
        f"{medians[0]:,.4g} (Kolmogorov-Smirnov distance {distance:.2f}), and {outside:.0%} lie outside what 98 % of "
        "the training rows have.",
        "Train on rows like those to be answered; or set weights: balance, which lets rare ranges count as much as "
        "common ones.",
        {
            "train_median": medians[0],
            "test_median": medians[1],
            "distance": distance,
            "outside": outside,
        },
    )


def _few_rows(evidence: Evidence) -> Iterator[Finding]:
    facts = evidence.facts
    if facts is None or not facts.rows or facts.rows >= _FEW_ROWS:
        return
    passes = f", seen {evidence.epochs:g} times each" if evidence.epochs >= _MANY_PASSES else ""
    yield Finding(
        "few rows",
        f"There are {facts.rows:,} training rows{passes}: enough to learn a form, few to learn a task.",
        "Gather more rows (a learning curve, `whet tune curve`, tells what they would bring), or show the rows to the "
        "base as examples in its prompt instead.",
        {"rows": facts.rows, "epochs": evidence.epochs},
    )


def shape(text: str) -> str:
    """How a text is written, whatever it says: "129.00" and "5.00" are "9.9", "Price: $5" is "A: $9"."""
    cut = re.sub(r"\d[\d,]*", "9", text.strip())
    return re.sub(r"[^\W\d_]+(?:\s+[^\W\d_]+)*", "A", cut)


def kolmogorov_smirnov(first: Floats, second: Floats) -> float:
    """The largest distance between two empirical distribution functions, 0 to 1; both samples sorted."""
    places = np.concatenate([first, second])
    shares = [np.searchsorted(one, places, side="right") / len(one) for one in (first, second)]
    return float(np.max(np.abs(shares[0] - shares[1])))


def _losses(journal: Iterable[Mapping[str, Any]], kind: str, key: str = "loss") -> list[tuple[int, float]]:
    """`(step, value)` by step; of a step that is there twice, the later line counts."""
    found = {int(line["step"]): line.get(key) for line in journal if line.get("kind") == kind}
    return [(step, float(value)) for step, value in sorted(found.items()) if value is not None and math.isfinite(value)]


def _beginning(prompts: Sequence[str]) -> str:
    """What all prompts begin with, up to a blank: half a word in common is chance."""
    same = _same_beginning(prompts)
    return same[: max((n + 1 for n, character in enumerate(same) if character.isspace()), default=len(same))]


def _ending(prompts: Sequence[str]) -> str:
    """What all prompts end with, from a blank on."""
    same = _same_beginning([prompt[::-1] for prompt in prompts])[::-1]
    return same[next((n for n, character in enumerate(same) if character.isspace()), 0) :]


def _same_beginning(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)  # all others lie between these
    return first[: next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _quoted(text: str) -> str:
    shown = text if len(text) <= 60 else text[:28] + "…" + text[-28:]
    return repr(shown)
