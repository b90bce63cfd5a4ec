"""The fields of the Tune tab, as plain HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from whetstone.datasets.catalogues import CATALOGUES
from whetstone.tuning.config import TuneConfig, describe
from whetstone.ui.lab_form import ACCEPT, field, listed, number_field, views_html

VIEWS = (("new", "Set up"), ("run", "Run"), ("runs", "Runs and revisions"))
# The keys that have a field of their own; all others are written as YAML.
FIELDS = ("num_train_epochs", "max_steps", "learning_rate", "r", "batch_size", "replay")
_METHODS = (("lora", "LoRA"), ("qlora", "QLoRA: base in 4 bits, on a GPU"))
_LOSSES = (("cross_entropy", "cross-entropy"), ("raft", "RAFT: expected error over the numbers"))
_WEIGHTS = (("none", "all the same"), ("balance", "price bands balanced"))


def form_html(bases: Sequence[str], *, any_source: bool) -> str:
    """The whole tab before anything was answered.

    Args:
        bases: specs of models that can be tuned.
        any_source: files of the server, hub ids and other bases may be named.
    """
    bodies = {"new": _data(any_source) + _settings(bases, any_source), "run": _run(), "runs": _runs()}
    return views_html("wh-tu", "Tune a model", VIEWS, bodies)


def _data(any_source: bool) -> str:
    catalogues = "".join(f'<option value="{escape(name)}">{escape(name)}</option>' for name in CATALOGUES)
    path = (
        '<label class="wh-lab-grow"><span class="wh-lab-label">or a file or folder on this server, or a hub id</span>'
        '<input type="text" id="wh-tu-path" placeholder="/home/me/train.jsonl" autocomplete="off" spellcheck="false">'
        '</label><button type="button" class="wh-button wh-strong" id="wh-tu-path-open">Open</button>'
        if any_source
        else ""
    )
    return (
        '<fieldset><legend>1. Data</legend><p class="wh-note">A table with a text and the answer; or rows that hold '
        "messages, prompt and completion, conversations (ShareGPT), or instruction and output (Alpaca).</p>"
        '<p class="wh-lab-options"><label><span class="wh-lab-label">Data</span><select id="wh-tu-source">'
        f'{catalogues}<option value="" id="wh-tu-own" hidden></option></select></label>'
        f'<label class="wh-button wh-strong wh-lab-file">Upload a file<input type="file" id="wh-tu-file" '
        f'accept="{ACCEPT}"></label>{path}</p><div id="wh-tu-columns"></div></fieldset>'
    )


def _settings(bases: Sequence[str], any_source: bool) -> str:
    offered = "".join(f"<option>{escape(base)}</option>" for base in bases)
    other = field("wh-tu-base-other", "or another base", "hf:Qwen/Qwen2.5-0.5B", 26) if any_source else ""
    fields = TuneConfig.model_fields
    common = "".join(
        number_field(f"wh-tu-{name}", describe_short(name), str(fields[name].default or "")) for name in FIELDS
    )
    known = "".join(
        f"<dt><code>{name}</code></dt><dd>{escape(one.description or '')} "
        f"<small>{escape(_default(one.default))}</small></dd>"
        for name, one in fields.items()
    )
    return (
        '<fieldset><legend>2. Model and method</legend><p class="wh-lab-options">'
        f'<label><span class="wh-lab-label">Base</span><select id="wh-tu-base">{offered}</select></label>{other}'
        f'{field("wh-tu-run", "Name of the run", "made of data and base", 24)}</p><p class="wh-lab-options">'
        f"{listed('wh-tu-method', 'Method', _METHODS)}{listed('wh-tu-loss', 'Loss', _LOSSES)}"
        f'{listed("wh-tu-weights", "Rows count", _WEIGHTS)}</p><p class="wh-lab-options">{common}</p>'
        '<details id="wh-tu-more"><summary>All settings</summary><label class="wh-lab-label" for="wh-tu-yaml">More of '
        "them as YAML, a key on each line; a key that does not exist is refused</label>"
        '<textarea id="wh-tu-yaml" rows="4" spellcheck="false" placeholder="lora_alpha: 64&#10;'
        'eval_steps: 20"></textarea>'
        f'<dl class="wh-facts wh-lab-keys">{known}</dl></details>'
        '<p class="wh-lab-options"><button type="button" class="wh-button wh-strong" id="wh-tu-plan">See the plan'
        '</button><button type="button" class="wh-button wh-lab-go" id="wh-tu-start">Tune</button>'
        '<label class="wh-lab-check"><input type="checkbox" id="wh-tu-overwrite"> start afresh, if there is a run of '
        'this name</label></p><div id="wh-tu-start-out"></div></fieldset><div id="wh-tu-planned"></div>'
    )


def describe_short(key: str) -> str:
    """A key beside its field: the name that users of other programs know, and what it is for."""
    words = describe(key).partition(",")[0]
    return f"{key}: {words}"


def _default(value: object) -> str:
    if value is None or value == "" or repr(value) == "PydanticUndefined":
        return ""
    return f"({str(value).lower() if isinstance(value, bool) else value})"


def _run() -> str:
    return (
        '<div id="wh-tu-what"></div><p class="wh-lab-options">'
        '<button type="button" class="wh-button wh-danger" id="wh-tu-stop" hidden>Stop</button>'
        '<button type="button" class="wh-button wh-strong" id="wh-tu-resume" hidden>Go on</button></p>'
        '<div id="wh-tu-live"></div><div id="wh-tu-revisions"></div><div id="wh-tu-out"></div>'
    )


def _runs() -> str:
    return '<div id="wh-tu-list"><p class="wh-note" role="status">Looking …</p></div>'
