"""The configuration of a tuning run: YAML, in the names that axolotl and TRL users know. Unknown keys are errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from whetstone.errors import UsageError
from whetstone.registry import unknown_name
from whetstone.specs import parse_spec

# What other programs call it, for people who bring their configuration along.
_ELSEWHERE = {
    "adapter": "method",
    "base_model": "base",
    "datasets": "data",
    "early_stopping_threshold": "early_stopping_patience",
    "epochs": "num_train_epochs",
    "gradient_accumulation_steps": "batch_size",
    "learning_rate_scheduler": "lr_scheduler_type",
    "load_in_4bit": "method",
    "lora_r": "r",
    "lora_target_linear": "target_modules",
    "lora_target_modules": "target_modules",
    "lr": "learning_rate",
    "lr_scheduler": "lr_scheduler_type",
    "micro_batch_size": "micro_batch_tokens",
    "model_name_or_path": "base",
    "num_epochs": "num_train_epochs",
    "output_dir": "run",
    "per_device_train_batch_size": "micro_batch_tokens",
    "rank": "r",
    "sample_packing": "packing",
    "saves_per_epoch": "eval_steps",
    "save_steps": "eval_steps",
    "sequence_len": "max_length",
    "train_on_inputs": "completion_only_loss",
    "warmup_steps": "warmup_ratio",
}

# May differ between a run and the command that goes on with it: they do not change what a step learns.
MAY_CHANGE = frozenset(
    {
        "auto_batch",
        "early_stopping_patience",
        "gradient_checkpointing",
        "micro_batch_tokens",
        "price_per_hour",
        "report_to",
        "run",
        "save_total_limit",
    }
)


class TuneConfig(BaseModel):
    """What a run is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str = Field("hf:smollm2", description="the model to tune: an hf: spec of safetensors weights")
    data: str = Field("", description="training rows: a problem, a curated folder, a .jsonl file, or a data set's name")
    text: str | None = Field(None, description="column that holds the text, where the data has columns of its own")
    target: str | None = Field(None, description="column that holds the answer, where the data has columns of its own")
    group: str | None = Field(None, description="column whose equal values stay in one split")
    kind: Literal["number", "label", "text"] | None = Field(
        None, description="what the answer is; seen from the target when not given"
    )
    unit: str | None = Field(None, description="unit of the numbers, such as $; seen from the target when not given")
    test_data: str | None = Field(
        None, description="items to be tested on later: the data is for training alone, without what belongs to them"
    )
    test_size: float | None = Field(None, ge=0, description="rows held out for tests: a count, or a fraction below 1")
    validation_size: float | None = Field(None, ge=0, description="rows to validate on, likewise")
    form: Literal["plain", "chat"] = Field(
        "plain", description="how a number is asked for: as text to continue, or in the model's chat template"
    )
    question: str = Field("", description="what is asked about each item, instead of the usual question")
    price_per_hour: float | None = Field(None, ge=0, description="what the machine costs an hour, for the plan")
    run: str = Field(
        "",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$",
        description="the run's name; made of the data's and the model's when not given",
    )

    method: Literal["lora", "qlora"] = Field("lora", description="qlora keeps the base in 4 bits (NF4)")
    r: int = Field(16, ge=1, le=1024, description="rank of the adapter")
    lora_alpha: float = Field(32, gt=0, description="scale of the adapter, times 1/r")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's input that is dropped")
    target_modules: str | list[str] = Field(
        "attention", description="what gets an adapter: attention, all-linear, or names of modules"
    )
    learning_rate: float = Field(2e-4, gt=0, description="highest learning rate")
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="how the learning rate falls"
    )
    warmup_ratio: float = Field(0.03, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    num_train_epochs: float = Field(1, gt=0, description="passes over the training rows")
    max_steps: int | None = Field(None, ge=1, description="stop after this many steps, instead of num_train_epochs")
    batch_size: int = Field(16, ge=1, description="rows that one step learns from, over all processes")
    micro_batch_tokens: int = Field(
        4096, ge=16, description="tokens (padding included) in memory at a time; a longer single row runs alone"
    )
    max_length: int = Field(1024, ge=8, description="longest row in tokens; longer texts are cut, answers never")
    packing: Literal["auto"] | bool = Field("auto", description="put several short rows into one sequence")
    loss: Literal["cross_entropy", "raft"] = Field(
        "cross_entropy", description="raft: the expected error under the model's own distribution over the numbers"
    )
    raft_error: Literal["squared", "absolute", "crps"] = Field(
        "squared",
        description="what raft makes small: the squared error of the expected number, the expected absolute error, or "
        "the continuous ranked probability score, which keeps intervals honest",
    )
    raft_cross_entropy: float = Field(
        0.0, ge=0, description="how much the cross-entropy of the written number counts beside raft's error"
    )
    completion_only_loss: bool = Field(True, description="learn answers only, not prompts")
    gradient_checkpointing: Literal["auto"] | bool = Field(
        "auto", description="compute activations twice to save memory; auto: only where memory asks for it"
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field("auto", description="precision of the base's weights")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to compute; auto takes a GPU if any")
    seed: int = Field(42, ge=0, description="of the adapter's first weights, the rows' order and dropout")
    eval_steps: Literal["auto"] | int = Field(
        "auto", description="steps between validations; each leaves a revision; auto: ten in a run"
    )
    save_total_limit: int = Field(3, ge=1, description="newest revisions to keep; the best is kept besides")
    early_stopping_patience: int | None = Field(
        None, ge=1, description="stop after this many validations without a better one"
    )
    validation_metric: Literal["auto", "loss"] = Field(
        "auto", description="what the best revision is chosen by: the task's own metric where there is one, or the loss"
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="longer gradients are shortened to this length")
    replay: float = Field(0.0, ge=0, le=0.9, description="share of general rows mixed into the training rows")
    replay_data: str | None = Field(
        None,
        description="a .jsonl file of general rows, or base for the base's own replies; our small set if not given",
    )
    kl_weight: float = Field(
        0.0, ge=0, description="weight of the divergence from the base, which holds the model near"
    )
    probe: bool = Field(True, description="measure at each revision what was forgotten")
    weights: Literal["none", "balance"] = Field(
        "none", description="balance: rows of rarer price bands weigh more, until each band weighs the same"
    )
    report_to: list[Literal["tensorboard", "trackio", "wandb", "mlflow"]] = Field(
        default_factory=list, description="where else to log"
    )
    auto_batch: bool = Field(False, description="halve micro_batch_tokens and go on when the memory is full")

    @model_validator(mode="before")
    @classmethod
    def _name_the_run(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("run"):
            base = str(values.get("base", cls.model_fields["base"].default))
            return {**values, "run": default_run(str(values.get("data", "")), base)}
        return values

    @model_validator(mode="after")
    def _agree(self) -> TuneConfig:
        spec = parse_spec(self.base)
        if spec.provider != "hf":
            raise UsageError(
                f"base: {self.base!r} cannot be tuned: only hf: models can (safetensors weights through transformers); "
                + ("write hf:smollm2" if spec.provider == "smollm2" else "name the model's hf: form")
            )
        if taken := sorted(set(spec.options) & {"adapter", "quantize", "dtype", "device"}):
            instead = {"adapter": "a base without adapter", "quantize": "method: qlora"}.get(taken[0], taken[0] + ": …")
            raise UsageError(f"base: {self.base!r} has the option {taken[0]}; in a tuning run write {instead}")
        if isinstance(self.eval_steps, int) and self.eval_steps < 1:
            raise UsageError(f"eval_steps: {self.eval_steps} is too few; write 1 or more, or auto")
        if self.replay_data is not None and self.replay == 0:
            raise UsageError("replay_data is given, and replay is 0, so no row of it would be used; write replay: 0.1")
        if self.loss != "raft":
            for key in ("raft_error", "raft_cross_entropy"):
                if getattr(self, key) != type(self).model_fields[key].default:
                    raise UsageError(f"{key} is for loss: raft, and the loss is {self.loss}; write loss: raft")
        if isinstance(self.target_modules, list) and not self.target_modules:
            raise UsageError("target_modules is an empty list; write attention, all-linear, or names of modules")
        return self

    def to_yaml(self) -> str:
        """The whole configuration, as `read_config` reads it."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True)

    def differences(self, other: TuneConfig) -> list[str]:
        """What another configuration says differently that would change what is learned: "r: 8, not 16"."""
        mine, others = self.model_dump(), other.model_dump()
        return [
            f"{key}: {mine[key]}, not {others[key]}"
            for key in mine
            if key not in MAY_CHANGE and mine[key] != others[key]
        ]


def default_run(data: str, base: str) -> str:
    """A run's name from its data and its model: "products-smollm2"."""
    parts = [Path(data).name.partition(".")[0] if data else "run", Path(parse_spec(base).name).name]
    slugs = [re.sub(r"[^A-Za-z0-9.]+", "-", part).strip("-.").lower()[:36] for part in parts]
    return "-".join(slug for slug in slugs if slug) or "run"


def read_config(path: Path | None, overrides: Mapping[str, str] | None = None) -> TuneConfig:
    """The configuration of a file, with some keys changed.

    Args:
        path: a YAML file; None for the defaults.
        overrides: keys and their values as YAML text: {"r": "32", "target_modules": "[q_proj, v_proj]"}.

    Raises:
        UsageError: the file cannot be read, a key is unknown, or a value is wrong; the sentence names it.
    """
    values = _read_file(path) if path is not None else {}
    for key, text in (overrides or {}).items():
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(
                f"{key}={text}: the value is not YAML; write {key}=1, {key}=text or {key}=[a, b]"
            ) from None
    where = f"{path}: " if path is not None else ""
    for key in values:
        if key not in TuneConfig.model_fields:
            if key in _ELSEWHERE:
                raise UsageError(f"{where}{key} is called {_ELSEWHERE[key]} here: {describe(_ELSEWHERE[key])}")
            raise UsageError(where + str(unknown_name("key of a tuning configuration", str(key), _known())))
    try:
        return TuneConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "configuration"
        raise UsageError(f"{where}{key}: {values.get(key)!r} is wrong: {first['msg']} ({describe(key)})") from None
    except UsageError as error:
        raise UsageError(f"{where}{error}") from None


def describe(key: str) -> str:
    """What a key is for, in a few words; "" for one that does not exist."""
    found = TuneConfig.model_fields.get(key)
    return found.description or "" if found else ""


def _known() -> list[str]:
    return list(TuneConfig.model_fields)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{place}: not YAML: {getattr(error, 'problem', None) or error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UsageError(f"{path}: a configuration is lines of the form key: value, not a {type(values).__name__}")
    return values
