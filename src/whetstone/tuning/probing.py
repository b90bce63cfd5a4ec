"""The probe as a run uses it: the base is read before the first step, and whatever answers look like is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from whetstone.tokens.sources import load_tokenizer
from whetstone.tuning.probe import BASE_FILE, read_base, run_probe
from whetstone.tuning.probe_label import LabelForm, label_form
from whetstone.tuning.rows import TuneRow

_LOOKED_AT = 200  # rows


class Probing:
    """Measures what a model in training has forgotten.

    Args:
        rows: what it is trained on.
        base: folder of the model that is tuned.
        folder: the run's, where the base's readings are kept.
    """

    def __init__(self, rows: Sequence[TuneRow], base: Path, folder: Path) -> None:
        self._rows, self._base, self._folder = rows, base, folder

    def __call__(self, model: Any) -> Mapping[str, Any]:
        """What it still can do, as JSON-ready values.

        Args:
            model: with its adapter, without which it is the base.

        Raises:
            StorageError: the base's readings cannot be written.
            ModelError: the model computes no numbers any more.
        """
        readings = read_base(model, self._tokenizer, self._label, self._folder / BASE_FILE)
        return run_probe(model, self._tokenizer, readings).to_json()

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(str(self._base))

    @cached_property
    def _label(self) -> LabelForm:
        shown = (self._rows[number] for number in range(min(_LOOKED_AT, len(self._rows))))
        return label_form([self._answer(row) for row in shown if not row.replay])

    def _answer(self, row: TuneRow) -> str:
        learned = [token for token, wanted in zip(row.ids, row.learned, strict=True) if wanted]
        text: str = self._tokenizer.decode(row.labels or learned, skip_special=True)
        return text
