"""A prompt of the library as a file, and the names by which prompts are asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from whetstone.errors import DataError, UsageError
from whetstone.prompting.template import Template
from whetstone.types import TargetKind

_PART = r"[^\W_][\w-]*"
STEM = re.compile(rf"(?P<name>{_PART}(?:/{_PART})*)(?:\.(?P<family>{_PART}))?(?:@(?P<version>[1-9]\d*))?")
"""What the path of a prompt's file is in its folder, without the ending: NAME, NAME.FAMILY, NAME@VERSION."""


@dataclass(frozen=True, slots=True)
class PromptFolder:
    """A folder of prompts.

    Attributes:
        path: where; it need not exist.
        source: what to call it: "packaged", "user", "project".
        writable: whether prompts are saved here.
    """

    path: Path
    source: str
    writable: bool = True


@dataclass(frozen=True)
class PromptFile:
    """A prompt as it stands in a folder.

    Attributes:
        name: by which it is found: its path in the folder without the ending: "number", "mail/reply".
        family: of the models it is for, "" for all others.
        path: of the file.
        source: of its folder.
        problem: why it cannot be used; "" where it can. What its head would say is empty where there is one.
        parsed: the prompt itself; None where there is a problem.
    """

    name: str
    family: str
    path: Path
    source: str
    problem: str = ""
    parsed: Template | None = None

    @property
    def template(self) -> Template:
        """The prompt itself.

        Raises:
            DataError: it cannot be used.
        """
        if self.parsed is None:
            raise DataError(self.problem)
        return self.parsed

    @property
    def version(self) -> int:
        """As its head says; 0 where it cannot be read."""
        return self.parsed.version if self.parsed else 0

    @property
    def digest(self) -> str:
        """Of its text: equal digests make equal prompts."""
        return self.parsed.digest if self.parsed else ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of the values it needs."""
        return self.parsed.variables if self.parsed else ()

    @property
    def kind(self) -> TargetKind:
        """What an answer to it is."""
        return self.parsed.kind if self.parsed else "text"

    @property
    def description(self) -> str:
        """What it is for, as its head says."""
        return self.parsed.description if self.parsed else ""

    @property
    def notes(self) -> str:
        """What its author noted, as its head says."""
        return self.parsed.notes if self.parsed else ""

    @property
    def stem(self) -> str:
        """How to ask for it, whatever the version: "number", "summary.t5"."""
        return Reference(self.name, self.family).stem

    @property
    def reference(self) -> str:
        """How to ask for just this: "number@2", "summary.t5@1"."""
        return str(Reference(self.name, self.family, self.version))


@dataclass(frozen=True, slots=True)
class Reference:
    """A name taken apart: NAME, NAME.FAMILY, NAME@VERSION, NAME.FAMILY@VERSION."""

    name: str
    family: str = ""
    version: int | None = None

    @property
    def stem(self) -> str:
        return f"{self.name}.{self.family}" if self.family else self.name

    def __str__(self) -> str:
        return self.stem if self.version is None else f"{self.stem}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises UsageError: it is no name of a prompt."""
        if text.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:[\\/]", text) or ".." in re.split(r"[\\/]", text):
            raise UsageError(f"{text}: a prompt is asked for by its name, and stands in one of the library's folders")
        found = STEM.fullmatch(text.removesuffix(".md").removeprefix("./"))
        if found is None:
            raise UsageError(
                f"{text!r} is no name of a prompt: write letters, digits, - and _ (mail/reply; reply@2 for a version, "
                "reply.t5 for a family of models)"
            )
        version = found["version"]
        return cls(found["name"], found["family"] or "", None if version is None else int(version))
