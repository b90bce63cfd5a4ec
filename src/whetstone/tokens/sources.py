"""One door to tokenizers: a folder, a file, the embedded model, OpenAI's encodings, a name on the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from whetstone.errors import ModelFileError
from whetstone.registry import unknown_name
from whetstone.tokens.embedded import embedded_weights
from whetstone.tokens.gguf_file import read_header
from whetstone.tokens.gguf_tokenizer import byte_level_tokenizer
from whetstone.tokens.hub import hub_folder
from whetstone.tokens.tokenizer import AddedToken, Tokenizer
from whetstone.tokens.tokenizer_folder import FolderFacts, read_folder, read_object

if TYPE_CHECKING:
    from whetstone.tokens.json_tokenizer import JsonTokenizer
    from whetstone.tokens.sentencepiece_tokenizer import SentencePieceTokenizer

DEFAULT = "smollm2"
_TIKTOKEN = "tiktoken:"

# Short names of families. A folder of that name under WHETSTONE_TOKENIZERS comes first.
FAMILIES = {
    "llama-3.1": "meta-llama/Llama-3.1-8B-Instruct",
    "phi-3": "microsoft/Phi-3-mini-4k-instruct",
    "qwen2": "Qwen/Qwen2.5-7B-Instruct",
    "qwen3": "Qwen/Qwen3-8B",
    "starcoder2": "bigcode/starcoder2-3b",
    "gemma-3": "google/gemma-3-4b-it",
    "mistral": "mistralai/Mistral-7B-Instruct-v0.3",
}

# What is read of a model's repository: no weights, no code.
_WANTED = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
    "generation_config.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
]
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")

# Tokenizers whose class puts a BOS before, or an EOS after, every text where the folder does not say.
_BOS_CLASSES = {"LlamaTokenizer", "LlamaTokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast"}
_EOS_CLASSES = {"T5Tokenizer", "T5TokenizerFast"}


def load_tokenizer(source: str) -> Tokenizer:
    """The tokenizer that a user names.

    Args:
        source: a folder with tokenizer.json or a SentencePiece model; such a file itself; a .gguf file; `smollm2` (the
            embedded model); `tiktoken:o200k_base`, `tiktoken:gpt-4o` or a .tiktoken file; a family (`llama-3.1`); a
            name on the Hugging Face hub (`organisation/name`, `organisation/name@revision`). A folder of that name
            under WHETSTONE_TOKENIZERS comes before families, the embedded model and the hub.

    Raises:
        ModelFileError: the files are not there, or are not what they should be.
        UnknownNameError: no such family or encoding.
        UnknownModelError: the hub has no such model or revision.
        LoginError: the hub asks for a login.
        ModelConnectionError: it is not on this machine and cannot be downloaded.
        MissingPackageError: an optional package is needed.
    """
    found = _locate(source)
    if isinstance(found, _Tiktoken):
        return _tiktoken(source, found.name)
    return _folder(found, source) if found.is_dir() else _file(found, source)


def folder_of(source: str) -> Path | None:
    """The folder that `load_tokenizer` reads for this source; None where it reads no folder. Raises as it does."""
    found = _locate(source)
    if isinstance(found, _Tiktoken):
        return None
    if found.is_dir():
        return found
    return found.parent if found.name == "tokenizer.json" and found.is_file() else None


class _Tiktoken(NamedTuple):
    """One of OpenAI's encodings, or a file of ranks with the name of one."""

    name: str


def _locate(source: str) -> Path | _Tiktoken:
    """What a source stands for: a folder or file, or one of OpenAI's encodings. Raises as `load_tokenizer`."""
    if source.startswith(_TIKTOKEN):
        return _Tiktoken(source.removeprefix(_TIKTOKEN))
    path = Path(source).expanduser()
    if source and path.exists():
        return path
    if path.suffix.lower() in (".json", ".model", ".gguf", ".tiktoken"):
        raise ModelFileError(f"There is no file {path}")
    shelf = shelf_folder()
    if shelf is not None and source and (shelf / source).is_dir():
        return shelf / source
    if ".tiktoken?" in source:
        return _Tiktoken(source)
    if source == DEFAULT:
        return embedded_weights()
    if source.startswith((".", "/", "~")) or path.is_absolute():
        raise ModelFileError(f"There is no folder or file {source}")
    if source in FAMILIES or source.count("/") == 1:
        return _hub(source)
    raise unknown_name("tokenizer", source, [DEFAULT, *FAMILIES, "tiktoken:o200k_base"])


def shelf_folder() -> Path | None:
    """The folder of tokenizer folders that `WHETSTONE_TOKENIZERS` names."""
    configured = os.environ.get("WHETSTONE_TOKENIZERS")
    return Path(configured).expanduser() if configured else None


def _file(path: Path, source: str) -> Tokenizer:
    match path.suffix.lower():
        case ".gguf":
            return _gguf(path, source)
        case ".model":
            return _sentencepiece(path, source, FolderFacts(), {})
        case ".tiktoken":
            return _tiktoken(source, source)
    if path.name == "tokenizer.json":
        return _json(path, source, read_folder(path.parent))
    return _json(path, source, FolderFacts())


def _folder(folder: Path, source: str) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return _json(folder / "tokenizer.json", source, read_folder(folder))
    for name in _SENTENCEPIECE:
        if (folder / name).is_file():
            config = read_object(folder / "tokenizer_config.json")
            return _sentencepiece(folder / name, source, read_folder(folder), config)
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return _gguf(files[0], source)
    instead = f"; it holds {len(files)} GGUF files: name one" if files else ""
    raise ModelFileError(f"{source}: there is no tokenizer in the folder (tokenizer.json or tokenizer.model){instead}")


def _name(path: Path, source: str) -> str:
    """What headings call it: the short name or hub id that was asked for, else the folder's or file's own name."""
    if not Path(source).expanduser().exists():
        return source
    path = path.resolve()
    return path.parent.name if path.name == "tokenizer.json" or path.name in _SENTENCEPIECE else path.name


def _json(path: Path, source: str, facts: FolderFacts) -> JsonTokenizer:
    from whetstone.tokens.json_tokenizer import JsonTokenizer, read_tokenizer_json

    engine = read_tokenizer_json(path)
    special = dict(facts.special_tokens)
    for role in ("bos_token", "eos_token", "pad_token"):
        if role not in special and (ids := facts.ids.get(f"{role}_id")):
            spelling = engine.id_to_token(ids[0])
            special |= {role: spelling} if spelling is not None else {}
    return JsonTokenizer(
        engine,
        name=_name(path, source),
        source=source,
        special_tokens=special,
        template=facts.template,
        end_ids=facts.ids.get("eos_token_id", ()),
    )


def _sentencepiece(path: Path, source: str, facts: FolderFacts, config: dict[str, Any]) -> Tokenizer:
    from whetstone.tokens.sentencepiece_tokenizer import SentencePieceTokenizer, read_sentencepiece
    from whetstone.tokens.tiktoken_ranks import looks_like_ranks

    with path.open("rb") as file:
        if looks_like_ranks(file.read(400)):
            raise ModelFileError(
                f"{path} holds tiktoken ranks, which do not say how text is split: use the folder's tokenizer.json, or "
                f"copy it to ranks.tiktoken and name ranks.tiktoken?encoding=cl100k_base"
            )
    flags = ("special", "lstrip", "rstrip", "normalized", "single_word")
    further = [
        AddedToken(id, str(entry.get("content", "")), **{flag: bool(entry.get(flag)) for flag in flags})
        for id, entry in facts.added.items()
    ]
    kind = str(config.get("tokenizer_class"))
    made: SentencePieceTokenizer = SentencePieceTokenizer(
        read_sentencepiece(path),
        name=_name(path, source),
        source=source,
        special_tokens=facts.special_tokens,
        template=facts.template,
        further=further,
        add_bos=bool(config.get("add_bos_token", kind in _BOS_CLASSES)),
        add_eos=bool(config.get("add_eos_token", kind in _EOS_CLASSES)),
    )
    return made


def _gguf(path: Path, source: str) -> Tokenizer:
    from whetstone.tokens.gguf_sentencepiece import KIND, sentencepiece_of
    from whetstone.tokens.json_tokenizer import JsonTokenizer

    header = read_header(path)
    if header.text("tokenizer.ggml.model") == KIND:
        found: Tokenizer = sentencepiece_of(header, _name(path, source), source)
        return found
    engine, special = byte_level_tokenizer(header)
    return JsonTokenizer(
        engine,
        name=_name(path, source),
        source=source,
        kind="gguf",
        special_tokens=special,
        template=header.chat_template or None,
    )


def _tiktoken(source: str, name: str) -> JsonTokenizer:
    """OpenAI's encodings by name; a file of ranks by its name, or by `FILE.tiktoken?encoding=NAME`."""
    from whetstone.tokens.json_tokenizer import JsonTokenizer
    from whetstone.tokens.tiktoken_names import ENCODINGS, encoding_named, ranks_data
    from whetstone.tokens.tiktoken_ranks import parse_ranks, ranks_engine

    file, _, query = name.partition("?")
    path = Path(file).expanduser()
    if path.suffix == ".tiktoken":
        asked = query.removeprefix("encoding=") if query.startswith("encoding=") else path.stem
        if asked not in ENCODINGS:
            raise ModelFileError(
                f"{file}: a file of ranks does not say how text is split: write {file}?encoding=NAME with one of "
                f"{', '.join(ENCODINGS)}"
            )
        encoding = ENCODINGS[asked]
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from None
    else:
        asked, encoding = encoding_named(name)
        data = ranks_data(encoding, shelf_folder())
    ranks = parse_ranks(data, str(path) if path.suffix else encoding.ranks)
    taken = set(ranks.values())
    special = {spelling: id for spelling, id in encoding.special.items() if id not in taken}
    end = {"eos_token": "<|endoftext|>"} if "<|endoftext|>" in special else {}
    return JsonTokenizer(
        ranks_engine(ranks, encoding.pattern, special),
        name=name if path.suffix != ".tiktoken" else path.stem,
        source=source,
        kind="tiktoken",
        special_tokens=end,
    )


def _hub(source: str) -> Path:
    """The folder of a tokenizer in the hub's cache; nothing but the tokenizer's files."""
    name, _, revision = FAMILIES.get(source, source).partition("@")
    return hub_folder(name, revision, _WANTED, asked=source, instead="put its folder under WHETSTONE_TOKENIZERS")
