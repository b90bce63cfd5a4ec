"""Prompt templates as plain files: a YAML head, then a Jinja body that becomes the user's message.

    ---
    name: number
    version: 1
    kind: number
    variables: [text, target]
    system: You estimate the {{ target }}. Answer with one number and nothing else.
    ---
    What is the {{ target }}?

    {{ text }}

Head and body are Jinja in a sandbox; what is filled in is never read as a template itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import jinja2
import jinja2.meta
import jinja2.sandbox
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from whetstone.errors import DataError, UsageError
from whetstone.registry import unknown_name
from whetstone.types import Message, TargetKind, assistant, system, user

_ENVIRONMENT = jinja2.sandbox.ImmutableSandboxedEnvironment(
    undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
)


class _Head(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int
    kind: TargetKind
    variables: tuple[str, ...]
    system: str = ""


class Template:
    """A prompt template.

    Args:
        source: the file's text.
        origin: what to call it in messages: its path.

    Attributes:
        name, version, kind, variables: as the head says.
        digest: 16 hex digits of the sha256 of the source; equal digests make equal prompts.

    Raises:
        DataError: the head or the body cannot be read, or a variable is used but not declared, or the reverse.
    """

    def __init__(self, source: str, origin: str) -> None:
        self._origin = origin
        source = source.replace("\r\n", "\n")
        head, body = self._split(source)
        self.name = head.name
        self.version = head.version
        self.kind: TargetKind = head.kind
        self.variables = head.variables
        self.digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._sources = {"system": head.system, "body": body}
        used: set[str] = set()
        for text in self._sources.values():
            try:
                used |= jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
            except jinja2.TemplateSyntaxError as error:
                raise DataError(f"{origin}: the template is not valid Jinja: {error.message}") from None
        for problem, names in (
            ("is used but not listed under variables", used - set(self.variables)),
            ("is listed under variables but not used", set(self.variables) - used),
        ):
            if names:
                raise DataError(f"{origin}: the variable {min(names)!r} {problem}")

    def _split(self, source: str) -> tuple[_Head, str]:
        if not source.startswith("---\n") or "\n---\n" not in source[3:]:
            raise DataError(f"{self._origin}: a template begins with a YAML head between two lines of ---")
        head, _, body = source[4:].partition("\n---\n")
        try:
            return _Head.model_validate(yaml.safe_load(head)), body.strip("\n")
        except yaml.YAMLError as error:
            raise DataError(f"{self._origin}: the head is not valid YAML: {' '.join(str(error).split())}") from None
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "head"
            raise DataError(f"{self._origin}: in the head, {field}: {first['msg']}") from None

    @cached_property
    def _compiled(self) -> dict[str, jinja2.Template]:
        return {part: _ENVIRONMENT.from_string(source) for part, source in self._sources.items()}

    def _render(self, part: str, values: Mapping[str, Any]) -> str:
        missing = [name for name in self.variables if name not in values]
        if missing:
            raise UsageError(f"{self._origin}: the template needs a value for {', '.join(map(repr, missing))}")
        try:
            return self._compiled[part].render({name: values[name] for name in self.variables}).strip("\n")
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise UsageError(f"{self._origin}: the template cannot be filled in: {error}") from error

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


def load_template(name: str) -> Template:
    """One of our own templates by name ("number", "label", "text"), or a template file by its path (ending in .md).

    Raises:
        UnknownNameError: none of ours has that name.
        DataError: the file cannot be read, or is no template.
    """
    if not name.endswith(".md"):
        if name not in get_args(TargetKind):
            raise unknown_name("prompt template", name, list(get_args(TargetKind)))
        packaged = files("whetstone.prompting") / "templates" / f"{name}.md"
        return Template(packaged.read_text("utf-8"), f"template {name}")
    try:
        return Template(Path(name).read_text("utf-8-sig"), name)
    except OSError as error:
        raise DataError(f"{name}: the template cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: the template is not UTF-8: byte {error.start} is wrong") from None
