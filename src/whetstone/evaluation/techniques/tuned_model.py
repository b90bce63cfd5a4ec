"""What is known of a tuned model: how it was asked in training, what it was trained on, and what that took.

A tuning run keeps this beside its revisions. A tuned model is asked as it was trained, down to the character, and never
about a row that it has learned by heart.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from whetstone.datasets.duplicates import Keys, text_keys
from whetstone.errors import StorageError, UsageError
from whetstone.evaluation.technique import Training, Way
from whetstone.evaluation.techniques.fitted import number_targets
from whetstone.evaluation.wording import with_unit
from whetstone.prompting.price import PricePrompt
from whetstone.specs import ModelSpec, parse_spec
from whetstone.storage.files import write_atomically
from whetstone.storage.revisions import ASKED, TEXTS, find_adapter, history, read_revision
from whetstone.types import Case, Problem, TargetKind

_FAR = 2.0  # times, between medians
_TIMED = ("step", "validation", "probe")
_FEW = 0.01  # share of the test items that a run may have seen: it moves no result, and is told


@dataclass(frozen=True)
class Asked:
    """How the rows of a tuning run asked.

    Attributes:
        kind: what an answer is; None where the rows were conversations and no problem.
        prompt: of a number problem, what stands around each item.
        question: of the user's own, "" for the usual one.
        numbers: of a number problem, quantiles of the true answers, rising.
        longest: of a number problem, tokens of the longest prompt, where texts were cut to keep to it; None where all
            texts were whole.
    """

    kind: TargetKind | None = None
    prompt: PricePrompt | None = None
    question: str = ""
    numbers: tuple[float, ...] = ()
    longest: int | None = None


@dataclass(frozen=True)
class TunedModel:
    """A model with an adapter, or one made of both.

    Attributes:
        name: "RUN@STEP", or the adapter's folder where it is of no run of ours.
        asked: how it was asked in training; None where that is not known.
        texts: keys of the texts that it was trained on, sorted; None where they are not known.
        training: what that took.
    """

    name: str
    asked: Asked | None
    texts: Keys | None
    training: Training

    def check(self, technique: str, problem: Problem) -> list[str]:
        """See that it may be asked about the test items.

        Returns:
            Sentences for the reader of the report.

        Raises:
            UsageError: it was tuned for other answers, or has learned test items by heart.
        """
        said = [f"asks {self.name}"]
        if self.asked is not None and self.asked.kind not in (None, problem.kind):
            raise UsageError(
                f"{technique}: {self.name} was tuned to answer with a {self.asked.kind}, and {problem.name} asks for a "
                f"{problem.kind}"
            )
        if self.asked is not None and problem.kind == "number":
            said += _range_shift(self.asked.numbers, problem)
        if self.texts is None:
            return [*said, "what it was tuned on is not known, so nobody has looked for test items among that"]
        seen = self.seen(problem.test)
        if seen > _FEW * len(problem.test):
            raise UsageError(
                f"{technique}: {seen:,} of the {len(problem.test):,} items that it is asked about are among the rows "
                f"that {self.name} was tuned on, so its answers would prove nothing. Tune on the training rows of this "
                "problem only, or ask about other items"
            )
        return [*said, f"it was tuned on {seen:,} of the test items"] if seen else said

    def seen(self, cases: Sequence[Case]) -> int:
        """How many of the cases are known to be among the rows that it was tuned on."""
        return 0 if self.texts is None else int(np.isin(_keys(cases), self.texts).sum())

    @property
    def longest(self) -> int | None:
        """Tokens of the longest prompt that it was tuned with, where texts were cut to that; None where none was."""
        return None if self.asked is None else self.asked.longest

    def prompt(self, technique: str, usual: PricePrompt, question: str = "") -> PricePrompt:
        """The prompt that it was tuned with; the usual one where that is not known.

        Args:
            usual: what another model would be asked with.
            question: of the user's own, "" for none.

        Raises:
            UsageError: another question was asked for.
        """
        known = self.asked.prompt if self.asked is not None else None
        if known is None:
            return usual
        if question and question != known.question:
            raise self._other_question(technique, known.question)
        return known

    def question(self, technique: str, wanted: str) -> str:
        """The question of the user's own that it was tuned with; "" for the usual one.

        Raises:
            UsageError: another one was asked for.
        """
        if self.asked is None or self.asked.kind is None:
            return wanted
        if wanted and wanted != self.asked.question:
            raise self._other_question(technique, self.asked.question or "the usual one")
        return self.asked.question

    def _other_question(self, technique: str, known: str) -> UsageError:
        return UsageError(
            f"{technique}: {self.name} was tuned with another question ({known}), and is asked as it was tuned: leave "
            "--question away"
        )


def model_ways(tuned: TunedModel | None, *, looks_up: bool) -> tuple[Way, ...]:
    """The ways of a technique that asks a language model, which may be tuned."""
    found: list[Way] = ["retrieval"] if looks_up else []
    if tuned is not None:
        found.append("tuning")
    return tuple(found) or ("prompting",)


def tuned_model(spec: str) -> TunedModel | None:
    """What is known of the model that a spec names; None for one that is not tuned.

    Raises:
        UsageError: the spec names a run or a revision that does not exist.
        StorageError: what the run kept is damaged.
    """
    parsed = parse_spec(spec)
    adapter = parsed.options.get("adapter")
    folder = find_adapter(adapter) if adapter else Path(parsed.name).expanduser()
    if adapter is None and (parsed.provider != "hf" or not (folder / ASKED).is_file()):
        return None
    place = _kept_at(folder)
    if place is None:
        return TunedModel(str(adapter), None, None, Training())
    name = place.name
    if place != folder:
        name = f"{place.name}@{read_revision(folder).step}"
    return TunedModel(name, _read_asked(place), _read_texts(place), _training(place))


def with_adapter(base: str, adapter: str) -> str:
    """A base's spec with an adapter, canonical."""
    parsed = parse_spec(base)
    return str(ModelSpec(parsed.provider, parsed.name, parsed.revision, {**parsed.options, "adapter": adapter}))


def keep_asked(folder: Path, asked: Asked, cases: Sequence[Case] | None) -> None:
    """Keep in a run's folder how its rows ask, and the keys of their texts.

    Args:
        cases: the training cases; None where the rows are none.

    Raises:
        StorageError: the disk refuses.
    """
    if cases is None:
        (folder / TEXTS).unlink(missing_ok=True)  # of a run that was started afresh
    else:
        buffer = io.BytesIO()
        np.save(buffer, np.unique(_keys(cases)), allow_pickle=False)
        write_atomically(folder / TEXTS, buffer.getvalue())
    write_atomically(folder / ASKED, json.dumps(asdict(asked), ensure_ascii=False, indent=1) + "\n")


def _range_shift(learned: Sequence[float], problem: Problem) -> list[str]:
    """A sentence where the numbers that are asked for lie far from those that were learned."""
    asked = number_targets(problem.test)
    if not learned or not len(asked):
        return []
    before, now = float(np.median(learned)), float(np.median(asked))
    if before <= 0 or now <= 0 or max(before / now, now / before) < _FAR:
        return []
    return [
        f"it learned numbers with a median of {with_unit(before, problem.unit)}, and is asked for ones with a median "
        f"of {with_unit(now, problem.unit)}"
    ]


def _keys(cases: Sequence[Case]) -> Keys:
    return text_keys(pl.Series([case.text for case in cases], dtype=pl.String))


def _kept_at(folder: Path) -> Path | None:
    """A revision stands two folders below its run; an export has everything beside the weights."""
    return next((place for place in (folder, folder.parent.parent) if (place / ASKED).is_file()), None)


def _read_asked(place: Path) -> Asked:
    try:
        data: dict[str, Any] = json.loads((place / ASKED).read_text(encoding="utf-8"))
        prompt, numbers = data.pop("prompt"), data.pop("numbers")
        return Asked(**data, numbers=tuple(numbers), prompt=None if prompt is None else PricePrompt(**prompt))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{place / ASKED}: cannot be read ({error}); tune again") from None


def _read_texts(place: Path) -> Keys | None:
    path = place / TEXTS
    if not path.is_file():
        return None
    try:
        found: Keys = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: cannot be read ({error}); tune again") from None
    return found


def _training(place: Path) -> Training:
    """What the whole run took: the best revision is known only when all are."""
    seconds = sum(float(line.get("seconds") or 0.0) for line in history(place) if line["kind"] in _TIMED)
    price = _price_per_hour(place)
    return Training(seconds or None, price * seconds / 3600 if seconds else None, place.name)


def _price_per_hour(place: Path) -> float:
    """What the run's machine costs; 0 where nobody said, as for models that answer on it."""
    try:
        config = yaml.safe_load((place / "config.yaml").read_text(encoding="utf-8"))
        return float(config.get("price_per_hour") or 0.0)
    except (OSError, yaml.YAMLError, AttributeError, ValueError):
        return 0.0
