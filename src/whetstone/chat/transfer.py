"""Conversations to files and from files: `messages` and Markdown out; ChatGPT, ShareGPT and `messages` in."""

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from whetstone.chat import chatgpt, plain_messages
from whetstone.chat.imported import BadEntry, Draft, Imported, Rejected, UnknownForm
from whetstone.chat.json_stream import Broken, json_values
from whetstone.chat.markdown_export import to_markdown
from whetstone.chat.store import ConversationStore
from whetstone.errors import DataError
from whetstone.types import Conversation, Turn, opening

__all__ = [
    "ImportReport",
    "Imported",
    "Rejected",
    "import_conversations",
    "read_conversations",
    "to_jsonl",
    "to_markdown",
]

_FORMS = "ChatGPT's export (its zip, or conversations.json), ShareGPT, and messages as JSON or JSONL"
# A lone surrogate cannot be encoded, and some readers end a line at the others.
_ESCAPED = re.compile("[\ud800-\udfff\x85\u2028\u2029]")

_EXPORTED = re.compile(r"(^|/)conversations(-\d+)?\.json$")  # larger exports come in numbered parts
_MOST_UNPACKED = 100 << 20  # bytes that may come out of a zip whatever their ratio
_MOST_RATIO = 100  # JSON packs to a tenth; a bomb, to a thousandth


def to_jsonl(conversation: Conversation, path: Sequence[Turn]) -> str:
    """One line: `{"messages": [...]}` with the system prompt first, and `tools` if the conversation has some.

    The system prompt is the one that the last answer was asked with, which need not be the conversation's.
    Reasoning is the field `reasoning_content` of a message, which templates read that have a use for it. A turn that
    failed before anything was said is left out.

    Args:
        conversation: what is exported.
        path: the turns of one branch, from the first.
    """
    own = next((turn.origin.system for turn in reversed(path) if turn.origin), None)
    messages = opening(conversation.system if own is None else own)
    for turn in path:
        if turn.state == "failed" and not turn.message["content"]:
            continue
        messages.append({**turn.message, "reasoning_content": turn.reasoning} if turn.reasoning else turn.message)
    line: dict[str, Any] = {"messages": messages}
    if conversation.options.tools:
        line["tools"] = list(conversation.options.tools)
    text = json.dumps(line, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file.

    Attributes:
        added: ids of the conversations that were added.
        known: how many were there already, from an import before.
        rejected: entries that could not be read.
    """

    added: tuple[str, ...]
    known: int
    rejected: tuple[Rejected, ...]

    def __str__(self) -> str:
        said = [f"{len(self.added)} conversation{'' if len(self.added) == 1 else 's'} imported"]
        if self.known:
            said.append(f"{self.known} already there")
        if self.rejected:
            first = self.rejected[0]
            said.append(f"{len(self.rejected)} rejected (the first: entry {first.number}, {first.reason})")
        return "; ".join(said)


def import_conversations(
    store: ConversationStore, path: Path, model: str, progress: Callable[[int], None] | None = None
) -> ImportReport:
    """Import every conversation of a file that can be read.

    Args:
        store: where they go. A conversation from ChatGPT that was imported before is not added again.
        path: the file.
        model: spec of the model with which the conversations go on.
        progress: told how many entries of the file are done; how many there are is not known before the end.

    Raises:
        DataError: see `read_conversations`; what was read before stays imported.
    """
    added: list[str] = []
    rejected: list[Rejected] = []
    known = 0
    for entry in read_conversations(path):
        if isinstance(entry, Rejected):
            rejected.append(entry)
        elif store.insert(replace(entry.conversation, model=model), entry.turns):
            added.append(entry.conversation.id)
        else:
            known += 1
        if progress is not None:
            progress(entry.number)
    return ImportReport(tuple(added), known, tuple(rejected))


def read_conversations(path: Path) -> Iterator[Imported | Rejected]:
    """The conversations of a file, one at a time; an entry that cannot be read comes as Rejected, and the rest follows.

    Args:
        path: ChatGPT's export (the zip, or its conversations.json), ShareGPT (JSON or JSONL), or `messages` (JSON or
            JSONL). What is in it tells which.

    Raises:
        DataError: the file cannot be read, or is none of these.
    """
    with _explained(path):
        yield from _read(path)


def _read(path: Path) -> Iterator[Imported | Rejected]:
    numbers = itertools.count(1)
    found = False
    unknown = "it holds nothing"
    for text in _texts(path):
        is_array, values = json_values(text, str(path))
        for value in _whole(values) if is_array else values:
            number = next(numbers)
            try:
                yield _draft(value).imported(number)
                found = True
            except UnknownForm as error:
                unknown = f"entry {number}: {error}"
                yield Rejected(number, str(error))
            except BadEntry as error:
                found = True
                yield Rejected(number, str(error))
    if not found:
        raise DataError(f"{path} holds no conversations of a known form ({unknown}); readable are {_FORMS}")


def _texts(path: Path) -> Iterator[io.TextIOBase]:
    """The JSON files of an export: the file itself, or those in the zip."""
    if not zipfile.is_zipfile(path):
        with open(path, encoding="utf-8-sig", newline="\n") as text:
            yield text
        return
    with zipfile.ZipFile(path) as archive:
        members = sorted(
            (member for member in archive.infolist() if _EXPORTED.search(member.filename)), key=lambda one: one.filename
        )
        if not members:
            raise DataError(f"{path} holds no conversations.json: it is no export of ChatGPT")
        # Unpacking stops at the size that is declared, so checking that is enough.
        unpacked, packed = sum(one.file_size for one in members), sum(one.compress_size for one in members)
        if unpacked > max(_MOST_UNPACKED, _MOST_RATIO * packed):
            raise DataError(
                f"{path} would unpack to {unpacked / packed:.0f} times its size, which no conversations do: "
                "if you trust it, unpack it yourself and import its conversations.json"
            )
        for member in members:
            with archive.open(member) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="\n") as text:
                yield text


def _draft(value: Any) -> Draft:
    if isinstance(value, Broken):
        raise BadEntry(value.reason)
    if isinstance(value, list) and (not value or plain_messages.is_message(value[0])):
        return plain_messages.read_list(value)
    if not isinstance(value, dict):
        raise UnknownForm("it is no object with messages")
    if "mapping" in value:
        return chatgpt.read_conversation(value)
    if any(name in value for name in plain_messages.LISTS):
        return plain_messages.read_object(value)
    names = ", ".join(repr(name[:40]) for name in list(value)[:5])
    raise UnknownForm(f"it has neither 'messages', 'conversations' nor 'mapping' but {names or 'no fields'}")


def _whole(values: Iterator[Any | Broken]) -> Iterator[Any | Broken]:
    """The values of an array; those of one that holds messages itself are one conversation."""
    first = next(values, None)
    if first is None:
        return
    if plain_messages.is_message(first):
        messages = [first, *values]
        yield next((value for value in messages if isinstance(value, Broken)), messages)
    else:
        yield first
        yield from values


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise DataError(f"{path} is not text in UTF-8") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is a damaged zip file ({error})") from None
    except (RuntimeError, NotImplementedError) as error:  # a password, or a packing that Python does not know
        raise DataError(f"{path} cannot be unpacked: {error}") from None
