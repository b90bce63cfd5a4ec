"""A prompt while it is written: whether it can be used, what changed, and the version that it would be kept as."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from whetstone.errors import DataError, UsageError
from whetstone.prompting.library import PromptLibrary
from whetstone.prompting.prompt_file import PromptFile, Reference
from whetstone.prompting.template import Template, with_version
from whetstone.tasks import Card

_VERSION = re.compile(r"^version:.*$", re.MULTILINE)


@dataclass(frozen=True)
class Draft:
    """A prompt as it would be kept.

    Attributes:
        name: under which; "" where it has none yet.
        source: its text; the version in its head is the next free one where the text is new.
        template: the prompt; None where it is none yet.
        problem: why it is none, or cannot be kept under this name; "" where nothing is wrong.
        before: the newest version that is kept, or of a text that is kept already the version before it; None where
            there is none.
        kept: the version of this very text, None where the text is new.
        diff: what changed since `before`, in the unified form; "" where nothing did.
    """

    name: str
    source: str
    template: Template | None = None
    problem: str = ""
    before: PromptFile | None = None
    kept: PromptFile | None = None
    diff: str = ""

    @property
    def label(self) -> str:
        """What tables call it."""
        if self.kept is not None:
            return self.kept.reference
        return f"{self.name or 'unnamed'}@{self.template.version if self.template else 0} (draft)"


def draft(library: PromptLibrary, name: str, source: str) -> Draft:
    """What a text is as a prompt of this name. Nothing is kept.

    Raises:
        StorageError: the library cannot be read.
    """
    source = source.replace("\r\n", "\n")
    try:
        versions = _versions(library, name)
    except UsageError as error:
        return Draft(name, source, problem=str(error))
    kept = next((one for one in versions if _same(one, source)), None)
    if kept is not None:
        older = [one for one in versions if one.version < kept.version]
        before = older[0] if older else None
        return Draft(name, kept.template.source, kept.template, "", before, kept, _diff(before, kept.template.source))
    before = versions[0] if versions else None
    try:
        template = Template(source, name or "the prompt")
        newest = library.next_version(name) if versions else 1
        if template.version < newest:
            source = with_version(source, newest)
            template = Template(source, name)
    except DataError as error:
        return Draft(name, source, None, str(error), before, None, _diff(before, source))
    return Draft(name, source, template, "", before, None, _diff(before, source))


def _versions(library: PromptLibrary, name: str) -> list[PromptFile]:
    """The versions of a prompt that can be used, the newest first; none for a new name.

    Raises:
        UsageError: it is no name that a prompt may have.
    """
    if not name:
        return []
    reference = Reference.parse(name)
    if reference.version is not None:
        raise UsageError(f"{name}: a version is never changed; write {reference.stem}, and it is kept as the next one")
    if library.next_version(name) == 1:
        return []
    return [one for one in library.versions(name) if not one.problem]


def _same(prompt: PromptFile, source: str) -> bool:
    """Whether a text is that of a kept version, the number of the version aside."""
    return _unnumbered(prompt.template.source) == _unnumbered(source)


def _unnumbered(source: str) -> str:
    head, mark, body = source.rstrip("\n").partition("\n---\n")
    return _VERSION.sub("version:", head, count=1) + mark + body


def _diff(before: PromptFile | None, source: str) -> str:
    if before is None:
        return ""
    lines = difflib.unified_diff(
        before.template.source.splitlines(), source.splitlines(), before.reference, "this text", lineterm=""
    )
    return "\n".join(lines)


def misfit(card: Card, template: Template) -> str:
    """Why a card cannot be asked with a prompt, in a sentence; "" where it can."""
    known = [one.name for one in card.inputs]
    if strange := [name for name in template.variables if name not in known]:
        return (
            f"{template.name} needs {strange[0]!r}, and the card {card.name} has no such input; it has "
            f"{', '.join(known)}"
        )
    if card.file.main not in template.variables:
        return f"{template.name} does not use {card.file.main!r}, so that the card {card.name} would ask about nothing"
    return ""
