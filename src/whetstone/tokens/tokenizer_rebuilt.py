"""Where transformers' AutoTokenizer is not the tokenizer that the model's folder holds.

transformers 5 builds some tokenizers anew from the class that tokenizer_config.json names, and takes from
tokenizer.json only vocabulary and merges. Steps that the class does not know (the single digits of StarCoder2 and
SmolLM2) are lost, and the same text gets other ids than in training.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import MissingPackageError, ModelFileError

# Each is a place where pipelines are known to differ: digits, spaces, forms, bytes, control tokens.
PROBES = (
    "Hello world",
    "  two leading and  double spaces ",
    "\tif x:\n\t\treturn  y\n\n\n",
    "$7, $42, $199 and $1,299 in 2024",
    "4 ½ cups, ² and ⅷ, ١٢٣ and 一二三",
    "e\u0301a\u0308 ﬁ Å",
    "안녕하세요 세계, 日本語 текст हिन्दी",
    "👍🏽 👨‍👩‍👧 🇰🇷",
    "don't WE'RE they'Ll",
    "\u00a0no\u200bbreak\u3000wide",
    "a\u0000b\r\nc",
    "x" * 40 + " " * 20 + "y",
)
_PARTS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")


@dataclass(frozen=True, slots=True)
class PartChange:
    """A part of a pipeline that was rebuilt into something else; both as tokenizer.json would write them."""

    part: str
    file: Any
    rebuilt: Any


@dataclass(frozen=True, slots=True)
class IdChange:
    """A text that the two encode differently."""

    text: str
    add_special_tokens: bool
    file_ids: list[int]
    rebuilt_ids: list[int]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How AutoTokenizer departs from a folder's tokenizer.json.

    Attributes:
        folder: the folder.
        tokenizer_class: the class that AutoTokenizer chose; "" where it could not load the folder.
        version: of transformers.
        parts: parts of the pipeline that differ.
        examples: texts with other ids. None found does not prove that there is none.
        problem: why AutoTokenizer could not load it, where it could not.
    """

    folder: str
    tokenizer_class: str
    version: str
    parts: tuple[PartChange, ...] = ()
    examples: tuple[IdChange, ...] = ()
    problem: str = ""

    def __str__(self) -> str:
        who = f"transformers {self.version}'s AutoTokenizer"
        if self.problem:
            return f"{who} cannot load {self.folder}: {self.problem}"
        changed = ", ".join(part.part for part in self.parts) or "nothing visible in the pipeline"
        how = f"{who} makes a {self.tokenizer_class} of {self.folder} and changes {changed}"
        if not self.examples:
            return f"{how}; none of the texts tried has other ids"
        first = self.examples[0]
        return f"{how}: {first.text!r} becomes {first.rebuilt_ids} instead of {first.file_ids}"


def autotokenizer_disagreement(folder: str | Path) -> Disagreement | None:
    """How AutoTokenizer departs from the tokenizer.json in a folder; None where it does not.

    A decoder or post-processor that is written otherwise, with the same ids for every text tried, is no disagreement.

    Raises:
        ModelFileError: there is no tokenizer.json that can be read.
        MissingPackageError: transformers is not installed.
    """
    from whetstone.tokens.json_tokenizer import read_tokenizer_json

    try:
        import transformers
    except ImportError:
        raise MissingPackageError(
            "transformers", "Comparing with AutoTokenizer", "pip install 'whetstone-llm[transformers]'"
        ) from None

    folder = Path(folder)
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelFileError(f"{folder}: there is no tokenizer.json in the folder to compare AutoTokenizer with")
    ours = read_tokenizer_json(path)
    ours.no_truncation()
    ours.no_padding()
    version = transformers.__version__
    try:
        wrapper = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        theirs = wrapper.backend_tokenizer
    except Exception as error:  # from several libraries, some of them bare Exceptions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Disagreement(str(folder), "", version, problem=reason)
    theirs.no_truncation()
    theirs.no_padding()
    before, after = _pipeline_of(ours), _pipeline_of(theirs)
    parts = [PartChange(part, before[part], after[part]) for part in _PARTS if _differs(before[part], after[part])]
    if (added := _added(ours)) != (rebuilt := _added(theirs)):
        changed = {id for id in added.keys() | rebuilt.keys() if added.get(id) != rebuilt.get(id)}
        parts.append(PartChange("added tokens", _of(added, changed), _of(rebuilt, changed)))
    if _merging(ours) != _merging(theirs):
        parts.append(PartChange("model", _merging(ours), _merging(theirs)))
    examples = tuple(_examples(ours, theirs))
    if not examples and not any(part.part in ("normalizer", "pre_tokenizer", "model") for part in parts):
        return None
    return Disagreement(str(folder), type(wrapper).__name__, version, tuple(parts), examples)


def _pipeline_of(engine: Any) -> dict[str, Any]:
    from whetstone.tokens.json_tokenizer import pipeline

    parts = pipeline(engine)
    after = parts["post_processor"] or {}
    # The one only trims offsets, and the other puts nothing around a text.
    if after.get("type") == "ByteLevel" or (after.get("type") == "TemplateProcessing" and not after["special_tokens"]):
        parts["post_processor"] = None
    return parts


def _examples(ours: Any, theirs: Any) -> Iterator[IdChange]:
    control = [token.content for _, token in sorted(ours.get_added_tokens_decoder().items())][:40]
    probes = [*PROBES, *(f"a {spelling}\n b{spelling} {spelling}c" for spelling in control)]
    for text in probes:
        for add in (False, True):
            before = ours.encode(text, add_special_tokens=add).ids
            after = theirs.encode(text, add_special_tokens=add).ids
            if before != after:
                yield IdChange(text, add, before, after)
                break


def _differs(before: Any, after: Any) -> bool:
    return json.dumps(_bare(before), sort_keys=True) != json.dumps(_bare(after), sort_keys=True)


def _bare(part: Any) -> Any:
    """A part without what changes no ids: how offsets are trimmed, a sequence of one."""
    if isinstance(part, list):
        return [_bare(each) for each in part]
    if not isinstance(part, dict):
        return part
    inner = next((part[key] for key in ("normalizers", "pretokenizers", "processors", "decoders") if key in part), None)
    if inner is not None and len(inner) == 1:
        return _bare(inner[0])
    return {key: _bare(value) for key, value in part.items() if key != "trim_offsets"}


def _added(engine: Any) -> dict[int, dict[str, Any]]:
    flags = ("content", "special", "lstrip", "rstrip", "normalized", "single_word")
    return {
        id: {flag: getattr(token, flag) for flag in flags} for id, token in engine.get_added_tokens_decoder().items()
    }


def _of(added: Mapping[int, Any], ids: set[int]) -> dict[int, Any]:
    return {id: added[id] for id in sorted(ids) if id in added}


def _merging(engine: Any) -> dict[str, Any]:
    """The model's kind, options and size; texts tell whether its merges differ."""
    names = (
        "unk_token",
        "fuse_unk",
        "byte_fallback",
        "ignore_merges",
        "continuing_subword_prefix",
        "end_of_word_suffix",
    )
    options = {name: getattr(engine.model, name, None) or None for name in names}
    return {"type": type(engine.model).__name__, "tokens": engine.get_vocab_size(), **options}
