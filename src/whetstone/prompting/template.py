"""Prompt templates as plain files: a YAML head, then a Jinja body that becomes the user's message.

    ---
    name: number
    version: 1
    kind: number
    variables: [text, target]
    description: Asks for a number.
    system: You estimate the {{ target }}. Answer with one number and nothing else.
    ---
    What is the {{ target }}?

    {{ text }}

Head and body are Jinja in a sandbox; what is filled in is never read as a template itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import jinja2
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whetstone.errors import DataError, UsageError
from whetstone.prompting.jinja import FillingError, compiled, filled
from whetstone.registry import unknown_name
from whetstone.types import Message, TargetKind, assistant, system, user

MOST_BYTES = 1_000_000  # a prompt is written by hand; what is larger is another file
_VERSION_LINE = re.compile(r"^version:.*$", re.MULTILINE)
_NAME_LINE = re.compile(r"^name:.*$", re.MULTILINE)


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int = Field(ge=1)
    kind: TargetKind = "text"
    variables: tuple[str, ...] = ()
    system: str = ""
    description: str = ""
    notes: str = ""


class Template:
    """A prompt template.

    Args:
        source: the file's text.
        origin: what to call it in messages: its path.

    Attributes:
        name, version, kind, variables, description, notes: as the head says; the kind of answer it asks for is a text
            where the head does not say.
        source: the text, with the line ends of Unix.
        origin: see above.
        digest: 16 hex digits of the sha256 of the source; equal digests make equal prompts.

    Raises:
        DataError: the head or the body cannot be read, or a variable is used but not declared, or the reverse.
    """

    def __init__(self, source: str, origin: str) -> None:
        self.origin = origin
        self.source = source = source.replace("\r\n", "\n")
        head, body = self._split(source)
        self.name = head.name
        self.version = head.version
        self.kind: TargetKind = head.kind
        self.variables = head.variables
        self.description = head.description
        self.notes = head.notes
        self.digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._compiled: dict[str, jinja2.Template] = {}
        used: set[str] = set()
        for part, text in (("system", head.system), ("body", body)):
            try:
                self._compiled[part], names = compiled(text)
            except ValueError as error:
                raise DataError(f"{origin}: the template is not valid Jinja: {error}") from None
            used |= names
        for problem, missing in (
            ("is used but not listed under variables", used - set(self.variables)),
            ("is listed under variables but not used", set(self.variables) - used),
        ):
            if missing:
                raise DataError(f"{origin}: the variable {min(missing)!r} {problem}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and (self.source, self.origin) == (other.source, other.origin)

    def __hash__(self) -> int:
        return hash((self.source, self.origin))

    def _split(self, source: str) -> tuple[_Head, str]:
        if not source.startswith("---\n") or "\n---\n" not in source[3:]:
            raise DataError(f"{self.origin}: a template begins with a YAML head between two lines of ---")
        head, _, body = source[4:].partition("\n---\n")
        try:
            return _Head.model_validate(yaml.safe_load(head)), body.strip("\n")
        except (yaml.YAMLError, RecursionError) as error:
            why = " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else "it is nested too deeply"
            raise DataError(f"{self.origin}: the head is not valid YAML: {why}") from None
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "head"
            raise DataError(f"{self.origin}: in the head, {field}: {first['msg']}") from None

    def _render(self, part: str, values: Mapping[str, Any]) -> str:
        missing = [name for name in self.variables if name not in values]
        if missing:
            raise UsageError(f"{self.origin}: the template needs a value for {', '.join(map(repr, missing))}")
        try:
            return filled(self._compiled[part], {name: values[name] for name in self.variables}).strip("\n")
        except FillingError as error:
            raise UsageError(f"{self.origin}: the template cannot be filled in: {error}") from error

    def check_names(self, names: Collection[str]) -> None:
        """See to it that every one of these is a variable of the template's.

        Raises:
            UsageError: one is not; near matches are offered.
        """
        for name in names:
            if name not in self.variables:
                if not self.variables:
                    raise UsageError(f"{self.origin}: the template has no variables, so {name!r} says nothing to it")
                raise unknown_name(f"variable of {self.origin}", name, list(self.variables))

    def messages(self, values: Mapping[str, Any], shots: Sequence[tuple[Mapping[str, Any], str]] = ()) -> list[Message]:
        """The conversation that asks once, after examples as earlier turns.

        Args:
            values: a value for each variable; others are passed over.
            shots: values and answer of each example, in the order in which the model sees them.

        Raises:
            UsageError: a variable has no value, or the template fails on a value.
        """
        conversation: list[Message] = []
        if preface := self._render("system", values):
            conversation.append(system(preface))
        for shot, answer in shots:
            conversation += [user(self._render("body", shot)), assistant(answer)]
        return [*conversation, user(self._render("body", values))]


def with_version(source: str, version: int, name: str | None = None) -> str:
    """A template's text with another version in its head.

    Args:
        name: to stand in its head too; None for the one that does.

    Raises:
        DataError: its head has no line that says a version.
    """
    head, mark, body = source.replace("\r\n", "\n").partition("\n---\n")
    changed, count = _VERSION_LINE.subn(f"version: {version}", head, count=1)
    if not count or not mark:
        raise DataError(f"the template's head has no line `version: {version}`; add one")
    if name is not None:
        changed = _NAME_LINE.sub(lambda _: f"name: {name}", changed, count=1)
    return changed + mark + body


def load_template(name: str) -> Template:
    """One of our own templates by name ("number", "label", "text"), or a template file by its path (ending in .md).

    Prompts of the user's own have names too: see `whetstone.prompting.library`.

    Raises:
        UnknownNameError: none of ours has that name.
        DataError: the file cannot be read, or is no template.
    """
    if not name.endswith(".md"):
        if name not in get_args(TargetKind):
            raise unknown_name("prompt template", name, list(get_args(TargetKind)))
        packaged = files("whetstone.prompting") / "templates" / f"{name}.md"
        return Template(packaged.read_text("utf-8"), f"template {name}")
    return read_template(Path(name), name)


def read_template(path: Path, origin: str = "") -> Template:
    """The template of a file.

    Args:
        origin: what to call it in messages; its path by default.

    Raises:
        DataError: the file cannot be read, is too large, is no text, or is no template.
    """
    origin = origin or str(path)
    return Template(read_text_file(path, origin, "template"), origin)


def read_text_file(path: Path, origin: str, what: str) -> str:
    """The text of a small file.

    Args:
        origin: what to call the file in messages.
        what: what it is to be, in words.

    Raises:
        DataError: it cannot be read, is too large for what it is to be, or is no text.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{origin}: not a file, so there is no {what} in it")
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{origin}: the {what} cannot be read: {error.strerror or error}") from None
    return decoded(data, origin, what)


def decoded(data: bytes, origin: str, what: str) -> str:
    """Bytes as the text of a small file; see `read_text_file`.

    Raises:
        DataError: they are too many, or no text.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"{origin}: the {what} is larger than {MOST_BYTES // 1_000_000} MB: name a smaller file")
    if b"\0" in data:
        raise DataError(f"{origin}: the {what} is no text: it holds bytes that are 0")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{origin}: the {what} is not UTF-8: byte {error.start} is wrong") from None
