"""What lies beside a tokenizer in a model folder: which tokens have a role, and the chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError

# The roles that transformers passes to templates, whatever else a folder names; others end in "_token" as well.
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class FolderFacts:
    """What a model folder says of its tokenizer.

    Attributes:
        special_tokens: role -> spelling.
        template: the chat template, None where there is none.
        templates: all templates by name, where a folder has several.
        added: added tokens by id, as tokenizer_config.json lists them.
        ids: ids that config.json and generation_config.json name: {"bos_token_id": [1], ...}.
    """

    special_tokens: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None
    templates: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    ids: Mapping[str, list[int]] = field(default_factory=dict)


def read_folder(folder: Path) -> FolderFacts:
    """What the files beside a tokenizer say, read as `transformers` 5 reads them.

    Raises:
        ModelFileError: a file is no JSON.
    """
    config = read_object(folder / "tokenizer_config.json")
    named = dict(config)
    added = config.get("added_tokens_decoder")
    if not isinstance(added, dict):
        # Only folders of the older kind, without that list, are read together with this file.
        named |= read_object(folder / "special_tokens_map.json")
        added = {}
    special = {key: text for key, value in named.items() if key.endswith("_token") and (text := _spelling(value))}
    extra = named.get("extra_special_tokens")
    if isinstance(extra, dict):
        special |= {str(key): text for key, value in extra.items() if (text := _spelling(value))}
    order = {role: number for number, role in enumerate(ROLES)}
    special = dict(sorted(special.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    templates = _templates(folder, config)
    ids: dict[str, list[int]] = {}
    for name in ("config.json", "generation_config.json"):
        for key, value in read_object(folder / name).items():
            if key in ("bos_token_id", "eos_token_id", "pad_token_id"):
                found = [value] if isinstance(value, int) else value if isinstance(value, list) else []
                ids[key] = list(dict.fromkeys([*ids.get(key, []), *(each for each in found if isinstance(each, int))]))
    entries = {int(id): entry for id, entry in added.items() if str(id).isdigit() and isinstance(entry, dict)}
    return FolderFacts(special, templates.get("default"), templates, entries, ids)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file's object; {} where there is no such file.

    Raises:
        ModelFileError: it cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is no JSON ({error}): get the file again") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} holds no JSON object: get the file again")
    return value


def _spelling(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else ""


def _templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Templates by name: files of their own win over the one in tokenizer_config.json."""
    found: dict[str, str] = {}
    listed = config.get("chat_template")
    if isinstance(listed, str):
        found["default"] = listed
    elif isinstance(listed, list):
        found |= {str(entry["name"]): str(entry["template"]) for entry in listed if {"name", "template"} <= {*entry}}
    files = {"default": folder / "chat_template.jinja"}
    files |= {path.stem: path for path in sorted((folder / "additional_chat_templates").glob("*.jinja"))}
    of_files: dict[str, str] = {}
    for name, path in files.items():
        if path.is_file():
            try:
                of_files[name] = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ModelFileError(f"{path} cannot be read: {error}") from None
    return of_files or found
