"""`whet tokens check`: the paths by which a conversation reaches a model, gathered and held against each other."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path as FilePath
from typing import Any, cast

from whetstone.errors import DataError, ModelConnectionError, RequestRefusedError, UsageError
from whetstone.models import PromptModel, load_model
from whetstone.tokens.chat import render_chat
from whetstone.tokens.parity import CONVERSATIONS, Facts, Finding, Messages, Path, Seen, check
from whetstone.tokens.sources import folder_of, load_tokenizer
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.tokenizer_rebuilt import autotokenizer_disagreement
from whetstone.types import Message
from whetstone.workflows.parity_trl import FORMS, Form, TrlPath

_ENGINES = ("smollm2", "gguf:", "hf:")


class TokenizerPath:
    """A tokenizer with its chat template, as Whetstone renders and trains."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.name = f"{tokenizer.name} ({tokenizer.kind})"
        self._tokenizer = tokenizer

    def prompt(self, messages: Messages) -> Seen:
        chat = render_chat(self._tokenizer, messages, add_generation_prompt=True)
        return Seen(chat.ids, chat.text)

    def training(self, messages: Messages) -> Seen:
        chat = render_chat(self._tokenizer, messages)
        return Seen(chat.ids, chat.text, chat.trained)


class TransformersPath:
    """A folder through transformers' AutoTokenizer, trained on as TRL's SFTTrainer does with prompt and completion.

    Control tokens in messages are kept text, as transformers 5 can (`sanitize_control_tokens`).
    """

    def __init__(self, folder: FilePath) -> None:
        from transformers import AutoTokenizer

        self.name = "transformers"
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._control = self._tokenizer.all_special_tokens

    def prompt(self, messages: Messages) -> Seen:
        return Seen(self._ids(messages, True), self._text(messages, True))

    def training(self, messages: Messages) -> Seen | None:
        """Every answer as a completion of what precedes it."""
        whole = self._ids(messages, False)
        trained = [False] * len(whole)
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                start = len(self._ids(messages[:number], True))
                end = len(self._ids(messages[: number + 1], False))
                trained[start:end] = [True] * (end - start)
        return Seen(whole, self._text(messages, False), trained)

    def _text(self, messages: Messages, prompt: bool) -> str:
        return str(self._apply(messages, prompt, tokenize=False))

    def _ids(self, messages: Messages, prompt: bool) -> list[int]:
        spelled = any(token in str(message.get("content")) for message in messages for token in self._control)
        return list(self._apply(messages, prompt, tokenize=True, return_dict=False, sanitize_control_tokens=spelled))

    def _apply(self, messages: Messages, prompt: bool, **how: Any) -> Any:
        try:
            return self._tokenizer.apply_chat_template(
                [dict(message) for message in messages], add_generation_prompt=prompt, **how
            )
        except Exception as error:  # templates fail in every way
            raise RequestRefusedError(str(error)) from None


class EnginePath:
    """A model that runs here, with its engine's own template and tokenizer."""

    def __init__(self, spec: str, model: PromptModel, engine: str) -> None:
        self.name = f"{spec} ({engine})"
        self._model = model

    def prompt(self, messages: Messages) -> Seen:
        told = [cast("Message", dict(message)) for message in messages]
        return Seen(self._model.prompt_ids(told), self._model.render(told))

    def training(self, messages: Messages) -> None:
        """An engine that answers does not train."""


class ServerPath:
    """A running server with llama.cpp's routes /apply-template and /tokenize: its own, or `whet serve`.

    Its ids are those of a prompt sent as text, BOS added where the server adds it; `whet serve` tells the very ids.
    """

    def __init__(self, url: str) -> None:
        self.name = url
        self._url = url.rstrip("/").removesuffix("/v1")

    def prompt(self, messages: Messages) -> Seen:
        rendered = self._post("/apply-template", {"messages": list(messages)})
        text = str(rendered["prompt"])
        if rendered.get("tokens"):  # `whet serve`
            return Seen([int(token) for token in rendered["tokens"]], text)
        asked = {"content": text, "add_special": True, "parse_special": True}
        return Seen([int(token) for token in self._post("/tokenize", asked)["tokens"]], text)

    def training(self, messages: Messages) -> None:
        """A server does not train."""

    def _post(self, route: str, body: Mapping[str, Any]) -> Any:
        import httpx2

        try:
            answer = httpx2.post(self._url + route, json=dict(body), timeout=60)
            data = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise ModelConnectionError(f"{self._url}{route} cannot be asked: {error}") from None
        if answer.status_code != 200:
            raise RequestRefusedError(f"{self._url}{route} answered {answer.status_code}: {str(data)[:200]}")
        return data


class RowsPath:
    """Rows that a trainer made: JSONL with `messages`, `input_ids`, and `labels` (-100 where nothing is learned).

    Raises:
        DataError: the file cannot be read, or a row has other fields.
    """

    def __init__(self, file: FilePath) -> None:
        self.name = str(file)
        self.conversations: list[tuple[str, Messages]] = []
        self._rows: dict[str, Seen] = {}
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: {getattr(error, 'strerror', None) or error}") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._add(number, line)
        if not self._rows:
            raise DataError(f"{file} holds no rows")

    def _add(self, number: int, line: str) -> None:
        try:
            row = json.loads(line)
            ids, labels = [int(token) for token in row["input_ids"]], list(row.get("labels") or row["input_ids"])
            messages = row["messages"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.name}: row {number}: {error}; a row has messages, input_ids and labels") from None
        if len(ids) != len(labels):
            raise DataError(f"{self.name}: row {number}: {len(ids)} input_ids, but {len(labels)} labels")
        self._rows[_key(messages)] = Seen(ids, None, [label != -100 for label in labels])
        self.conversations.append((f"row {number}", messages))

    def prompt(self, messages: Messages) -> None:
        """Rows are for training."""

    def training(self, messages: Messages) -> Seen | None:
        """The row that was made of these messages."""
        return self._rows.get(_key(messages))


def _key(messages: Messages) -> str:
    return json.dumps([dict(message) for message in messages], sort_keys=True)


def check_parity(model: str, against: Sequence[str] = ()) -> Iterator[Finding]:
    """Hold every path to a model against its tokenizer.json (or GGUF) and template.

    Args:
        model: a folder, a hub id, a GGUF file, or `smollm2`.
        against: further paths: a folder or hub id, a GGUF file or `smollm2` (both its metadata and llama.cpp), the
            address of a running server, a JSONL file of rows that a trainer made, or `trl` (what its SFTTrainer makes
            of `messages` and of `prompt` and `completion`; `trl:messages` and `trl:completion` for one of them). Those
            of the model itself are added: transformers for a folder, llama.cpp for a GGUF.

    Raises:
        UsageError: the model has no chat template; or trl is asked for, which reads folders only, of a file.
        ModelFileError: it has no tokenizer.
        MissingPackageError: trl is asked for and not installed.
    """
    with ExitStack() as open_things:
        reference = load_tokenizer(model)
        if not reference.template:
            raise UsageError(f"{model} has no chat template: it is a base model, and there is nothing to compare")
        paths: list[Path] = [TokenizerPath(reference), *_own_paths(model, reference, open_things)]
        rows: list[tuple[str, Messages]] = []
        forms: list[Form] = []
        for other in against:
            if other.startswith(("http://", "https://")):
                paths.append(ServerPath(other))
            elif other.endswith(".jsonl"):
                made = RowsPath(FilePath(other).expanduser())
                rows += made.conversations
                paths.append(made)
            elif other in FORMS:
                forms += FORMS[other]
            else:
                tokenizer = load_tokenizer(other)
                paths += [TokenizerPath(tokenizer), *_own_paths(other, tokenizer, open_things)]
        conversations = [*CONVERSATIONS, *rows]
        paths += [TrlPath(_folder(model), form, [talk for _, talk in conversations]) for form in dict.fromkeys(forms)]
        yield from _pipelines([model, *(other for other in against if other not in FORMS)])
        control = frozenset(token.id for token in reference.added if token.special)
        facts = Facts(reference.spelling, reference.bos_id, _end_ids(reference), control)
        yield from check(paths, facts, conversations)


def _own_paths(source: str, tokenizer: Tokenizer, open_things: ExitStack) -> Iterator[Path]:
    """The other ways by which the same files are read."""
    if tokenizer.kind == "gguf":
        spec = source if source.startswith(_ENGINES) else f"gguf:{source}"
        model = load_model(spec)
        open_things.callback(model.close)
        if isinstance(model, PromptModel):
            yield EnginePath(spec, model, model.identity.engine)
    elif tokenizer.kind == "tokenizer.json" and importlib.util.find_spec("transformers") is not None:
        folder = folder_of(source)
        if folder is not None:
            yield TransformersPath(folder)


def _folder(model: str) -> FilePath:
    folder = folder_of(model)
    if folder is None:
        raise UsageError(f"trl reads a folder with tokenizer.json and template; {model} is none")
    return folder


def _pipelines(sources: Sequence[str]) -> Iterator[Finding]:
    if importlib.util.find_spec("transformers") is None:
        return
    for source in sources:
        folder = None if source.startswith(("http://", "https://")) else folder_of(source)
        if folder is not None and (folder / "tokenizer.json").is_file():
            found = autotokenizer_disagreement(folder)
            yield Finding("pipeline", "transformers", source, found is None, "" if found is None else str(found))


def _end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Tokens that end an answer: EOS, and what the template writes after one."""
    ends = {tokenizer.eos_id} if tokenizer.eos_id is not None else set()
    asked = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    chat = render_chat(tokenizer, asked)
    said = next((n for n, span in enumerate(chat.spans) if span.message == 1 and span.kind == "content"), None)
    if said is not None:
        after = [span for span in chat.spans[said + 1 :] if span.kind == "control"][:1]
        for span in after:
            ends.update(tokenizer.encode(chat.text[span.start : span.end], special=True).ids)
    return frozenset(ends)
