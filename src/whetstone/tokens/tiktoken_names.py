"""OpenAI's encodings by name: where their ranks are, how they split text, which models use them.

Names, patterns, addresses and checksums are those of tiktoken 0.14 (MIT). The patterns are written for Oniguruma, where
`$` would mean the end of any line and `{1,3}+` a repetition.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from whetstone.errors import ModelConnectionError, ModelFileError
from whetstone.registry import unknown_name
from whetstone.settings import home

_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/"
_TIMEOUT = 30.0  # seconds

_END = "<|endoftext|>"
_FIM = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
_R50K = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++\z|\s+(?!\S)|\s"
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++\z|\s*[\r\n]|\s+(?!\S)|\s"
)
_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_HARMONY = {
    "<|startoftext|>": 199998,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
    "<|endofprompt|>": 200018,
}
_RESERVED = [200000, 200001, 200004, 200009, 200010, 200011, *range(200013, 200018), *range(200019, 201088)]


class NamedEncoding(NamedTuple):
    """One encoding.

    Attributes:
        ranks: name of the file with its ranks.
        sha256: of that file.
        pattern: how text is split.
        special: control tokens and their ids.
    """

    ranks: str
    sha256: str
    pattern: str
    special: Mapping[str, int]


_R50K_SUM = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
_P50K_SUM = "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"
_CL100K_SUM = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_O200K_SUM = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

ENCODINGS: Mapping[str, NamedEncoding] = {
    # GPT-2's own file has the same tokens and ids as r50k_base.
    "gpt2": NamedEncoding("r50k_base", _R50K_SUM, _R50K, {_END: 50256}),
    "r50k_base": NamedEncoding("r50k_base", _R50K_SUM, _R50K, {_END: 50256}),
    "p50k_base": NamedEncoding("p50k_base", _P50K_SUM, _R50K, {_END: 50256}),
    "p50k_edit": NamedEncoding(
        "p50k_base",
        _P50K_SUM,
        _R50K,
        {_END: 50256, "<|fim_prefix|>": 50281, "<|fim_middle|>": 50282, "<|fim_suffix|>": 50283},
    ),
    "cl100k_base": NamedEncoding(
        "cl100k_base", _CL100K_SUM, _CL100K, {_END: 100257, **_FIM, "<|endofprompt|>": 100276}
    ),
    "o200k_base": NamedEncoding("o200k_base", _O200K_SUM, _O200K, {_END: 199999, "<|endofprompt|>": 200018}),
    "o200k_harmony": NamedEncoding(
        "o200k_base",
        _O200K_SUM,
        _O200K,
        {_END: 199999, **_HARMONY, **{f"<|reserved_{id}|>": id for id in _RESERVED}},
    ),
}

# What a model's name begins with -> its encoding; the longest beginning that fits decides.
_MODELS: Mapping[str, str] = {
    **dict.fromkeys(("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "chatgpt-4o", "o1", "o3", "o4-mini"), "o200k_base"),
    **dict.fromkeys(("gpt-4", "gpt-3.5", "gpt-35", "davinci-002", "babbage-002", "text-embedding"), "cl100k_base"),
    **dict.fromkeys(("text-davinci-002", "text-davinci-003", "code-davinci", "code-cushman"), "p50k_base"),
    **dict.fromkeys(("davinci", "curie", "babbage", "ada"), "r50k_base"),
    "gpt-2": "gpt2",
    "gpt-oss": "o200k_harmony",
}


def encoding_named(name: str) -> tuple[str, NamedEncoding]:
    """An encoding by its own name or by that of a model of OpenAI's.

    Raises:
        UnknownNameError: neither is known.
    """
    bare = name.removeprefix("ft:").partition(":")[0]  # a tuned model is ft:BASE:OWNER:…
    if bare in ENCODINGS:
        return bare, ENCODINGS[bare]
    fitting = [beginning for beginning in _MODELS if bare == beginning or bare.startswith(f"{beginning}-")]
    fitting += [beginning for beginning in _MODELS if bare.startswith(f"{beginning}.")]
    if not fitting:
        raise unknown_name("tiktoken encoding or OpenAI model", name, [*ENCODINGS, *_MODELS])
    found = _MODELS[max(fitting, key=len)]
    return found, ENCODINGS[found]


def ranks_data(encoding: NamedEncoding, folder: Path | None) -> bytes:
    """The file of ranks: from `folder`, our own or tiktoken's cache, else downloaded and kept.

    Raises:
        ModelConnectionError: it is nowhere here and cannot be downloaded.
        ModelFileError: the file that was found has another checksum.
    """
    name = f"{encoding.ranks}.tiktoken"
    address = _ADDRESS + name
    kept = home() / "tokenizers" / name
    for path in (*([folder / name] if folder else []), kept, _tiktoken_cache(address)):
        if path is not None and path.is_file():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != encoding.sha256:
                raise ModelFileError(
                    f"{path} is not OpenAI's {encoding.ranks}: its checksum differs; get it anew from {address}"
                )
            return data
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as reply:
            data = bytes(reply.read())
    except (urllib.error.URLError, OSError) as error:
        raise ModelConnectionError(
            f"The ranks of {encoding.ranks} are not on this machine and cannot be downloaded "
            f"({getattr(error, 'reason', error)}); get {address} where there is a network and put it at {kept}"
        ) from None
    if hashlib.sha256(data).hexdigest() != encoding.sha256:
        raise ModelConnectionError(f"{address} sent something else than {encoding.ranks}: its checksum differs")
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f".{name}.{os.getpid()}")
    partial.write_bytes(data)
    partial.replace(kept)
    return data


def _tiktoken_cache(address: str) -> Path | None:
    """Where tiktoken itself keeps what it has downloaded."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    cache = Path(folder) if folder else Path(tempfile.gettempdir()) / "data-gym-cache"
    return cache / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
