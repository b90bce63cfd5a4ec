"""TRL as a path of the parity check: what its SFTTrainer makes of conversations, its collator's labels included."""

from __future__ import annotations

import importlib.util
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any, Literal

from whetstone.errors import MissingPackageError, RequestRefusedError
from whetstone.tokens.parity import Messages, Seen, up_to_last_answer

Form = Literal["messages", "completion"]
FORMS: Mapping[str, tuple[Form, ...]] = {
    "trl": ("messages", "completion"),
    "trl:messages": ("messages",),
    "trl:completion": ("completion",),
}


class TrlPath:
    """A folder's tokenizer in TRL's SFTTrainer, which prepares the data for a model of a few weights.

    Args:
        folder: with tokenizer and template.
        form: `messages`: whole conversations with `assistant_only_loss`, for which TRL knows `{% generation %}` blocks
            and templates of its own for some families, and refuses others. `completion`: `prompt` and `completion`,
            of which TRL learns the latter; each answer is the completion of what precedes it.
        conversations: those that will be asked for, which are prepared together.

    Raises:
        MissingPackageError: trl is not installed.
    """

    def __init__(self, folder: FilePath, form: Form, conversations: Sequence[Messages] = ()) -> None:
        for package in ("trl", "transformers", "torch"):
            if importlib.util.find_spec(package) is None:
                raise MissingPackageError(package, "The path trl", "pip install 'whetstone-llm[transformers,tune]'")
        from transformers import AutoTokenizer

        self.name = f"trl ({form})"
        self._form = form
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._conversations = conversations
        self._made: dict[str, Seen | str] = {}

    def prompt(self, messages: Messages) -> None:
        """A trainer makes no prompts."""

    def training(self, messages: Messages) -> Seen | None:
        """What would be learned of a conversation.

        Raises:
            RequestRefusedError: TRL does not train on it.
        """
        if not self._made:
            wanted = {_key(row): row for each in self._conversations for row in self._rows(up_to_last_answer(each))}
            self._prepare(list(wanted.values()))
        rows = self._rows(messages)
        self._prepare([row for row in rows if _key(row) not in self._made])
        seen: list[Seen] = []
        for row in rows:
            made = self._made[_key(row)]
            if isinstance(made, str):
                raise RequestRefusedError(made)
            seen.append(made)
        return _together(seen) if seen else None

    def _rows(self, messages: Messages) -> list[dict[str, Any]]:
        told = [dict(message) for message in messages]
        answers = [number for number, message in enumerate(told) if message["role"] == "assistant"]
        if self._form == "messages":
            return [{"messages": told}] if answers else []
        return [{"prompt": told[:number], "completion": [told[number]]} for number in answers]

    def _prepare(self, rows: Sequence[dict[str, Any]]) -> None:
        """Remember what becomes of rows, or why nothing does; one bad row stops TRL, so each is then tried alone."""
        if not rows:
            return
        try:
            made: Sequence[Seen | str] = self._trained(rows)
        except Exception as error:  # TRL, datasets, jinja2 and Arrow each raise their own
            if len(rows) > 1:
                for row in rows:
                    self._prepare([row])
                return
            made = [" ".join(str(error).split()) or type(error).__name__]
        self._made |= {_key(row): one for row, one in zip(rows, made, strict=True)}

    def _trained(self, rows: Sequence[dict[str, Any]]) -> list[Seen]:
        from datasets import Dataset
        from transformers import LlamaConfig, LlamaForCausalLM
        from trl import SFTConfig, SFTTrainer

        sizes = dict.fromkeys(("hidden_size", "intermediate_size"), 2)
        heads = dict.fromkeys(("num_hidden_layers", "num_attention_heads", "num_key_value_heads"), 1)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(self._tokenizer), **sizes, **heads))
        with tempfile.TemporaryDirectory() as folder, _quiet():
            trainer = SFTTrainer(
                model,
                args=SFTConfig(
                    folder,
                    assistant_only_loss=self._form == "messages",
                    max_length=None,
                    shuffle_dataset=False,
                    report_to="none",
                    use_cpu=True,
                    bf16=False,
                    disable_tqdm=True,
                ),
                train_dataset=Dataset.from_list(list(rows)),
                processing_class=self._tokenizer,
            )
            prepared = list(trainer.train_dataset)
            batches = [trainer.data_collator([example]) for example in prepared]
        return [
            Seen(batch["input_ids"][0].tolist(), None, [label != -100 for label in batch["labels"][0].tolist()])
            for batch in batches
        ]


def _together(rows: Sequence[Seen]) -> Seen:
    """Rows of one conversation that grows: the longest, with what any of them learns; else the first that departs."""
    whole = rows[-1]
    learned = [False] * len(whole.ids)
    for row in rows:
        if list(row.ids) != list(whole.ids[: len(row.ids)]):
            return row
        for place, on in enumerate(row.trained or ()):
            learned[place] |= on
    return Seen(whole.ids, None, learned)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a progress bar for each of the steps over a handful of rows."""
    import datasets

    were_shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)
