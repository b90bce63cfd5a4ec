"""Chains as plain files: typed inputs, steps that ask models or work something out, typed outputs.

    name: triage
    inputs:
      letter: text
    steps:
      - name: kind
        prompt: "Is this a complaint or a question? {{ letter }}"
        output: {label: [complaint, question]}
      - name: reply
        when: kind == "complaint"
        file: apologise.md
        output: text
    outputs:
      answer: reply or "no answer is needed"

Conditions and values are Jinja expressions in the sandbox of prompts. Everything is checked before anything runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from whetstone.errors import DataError, UsageError, WhetstoneError
from whetstone.prompting.chain_types import Input, Output
from whetstone.prompting.library import PromptLibrary
from whetstone.prompting.template import read_text_file
from whetstone.types import Options

OutputKind = Literal["text", "number", "label", "schema"]

_LIBRARY = "library:"  # in front of the name of a template that is no file of the chain's
MOST_ITEMS, MOST_ROUNDS, MOST_SAMPLES, MOST_STEPS = 10_000, 100, 100, 200


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Answer(_Part):
    """What a step's reply is read as."""

    kind: OutputKind = "text"
    labels: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    json_schema: dict[str, Any] | None = None

    @classmethod
    def parse(cls, written: Any) -> Answer:
        """From `text`, `number`, `{number: {min, max, unit}}`, `{label: [a, b]}` or `{schema: {…}}`.

        Raises:
            ValueError: it is none of them.
        """
        if written in ("text", "number"):
            return cls(kind=written)
        if isinstance(written, dict) and len(written) == 1:
            (kind, details), *_ = written.items()
            if kind == "label" and isinstance(details, list) and all(isinstance(one, str) for one in details):
                if len(set(details)) < 2 or len(set(details)) < len(details):
                    raise ValueError("a label is one of two or more that differ")
                return cls(kind="label", labels=tuple(details))
            if kind == "number" and isinstance(details, dict) and not set(details) - {"min", "max", "unit"}:
                return cls(
                    kind="number",
                    minimum=details.get("min"),
                    maximum=details.get("max"),
                    unit=str(details.get("unit", "")),
                )
            if kind == "schema" and isinstance(details, dict):
                return cls(kind="schema", json_schema=details)
        raise ValueError("write text, number, {number: {min: 0, max: 10}}, {label: [a, b]} or {schema: {…}}")


class Repeat(_Part):
    """A step done again until something holds."""

    until: str = Field(description="an expression; the step's own name is what it came to last")
    most: int = Field(ge=1, le=MOST_ROUNDS, description="rounds at most")


class Voting(_Part):
    """A step asked several times, whose answers vote."""

    samples: int = Field(ge=2, le=MOST_SAMPLES)
    how: Literal["majority", "median"] = "majority"


class Step(_Part):
    """One step: a prompt for a model, or a value that is worked out."""

    name: str
    prompt: str | None = Field(None, description="the user's message, as Jinja")
    file: str | None = Field(None, description="a template file (see `whetstone.prompting.template`) instead")
    library: str | None = Field(None, description="a prompt of the library instead, such as reply or reply@2")
    system: str = Field("", description="the system message, as Jinja; of a prompt that stands here")
    values: dict[str, str] = Field({}, alias="with", description="expressions for variables of the prompt")
    value: str | None = Field(None, description="an expression, instead of asking a model")
    model: str | None = Field(None, description="model spec; by default the chain's")
    options: Options = Options()
    output: Answer = Answer()
    when: str | None = Field(None, description="an expression; where it does not hold, the step is left out")
    for_each: str | None = Field(None, description="an expression for a list; the step is done for every item of it")
    item: str = Field("item", alias="as", description="what an item is called")
    most: int | None = Field(None, ge=1, le=MOST_ITEMS, description="items at most")
    repeat: Repeat | None = None
    vote: Voting | None = None

    @field_validator("output", mode="before")
    @classmethod
    def _output_in_short(cls, written: Any) -> Any:
        return Answer.parse(written)

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if [self.prompt, self.file, self.library, self.value].count(None) != 3:
            raise ValueError("a step has one of prompt, file, library and value")
        if self.value is not None:
            for name in ("system", "values", "model", "options", "output", "repeat", "vote"):
                if name in self.model_fields_set:
                    raise ValueError(f"a step with a value asks no model, so {name} says nothing to it")
        if self.template is not None and self.system:
            raise ValueError("the system message of a prompt file stands in the file")
        if self.for_each is not None and self.most is None:
            raise ValueError("for_each needs a limit: write most: and how many items at most")
        if self.for_each is None and self.model_fields_set & {"most", "item"}:
            raise ValueError("most and as go with for_each")
        if self.for_each is not None and self.repeat is not None:
            raise ValueError("a step has for_each or repeat, not both: split it in two")
        if self.options.json_schema is not None or self.options.tools:
            raise ValueError("a step's options hold no json_schema and no tools; write output: {schema: …}")
        if self.vote is not None and self.vote.how == "median" and self.output.kind != "number":
            raise ValueError("a median is of numbers: write output: number, or how: majority")
        return self

    @property
    def template(self) -> str | None:
        """The name of its template among a chain's files; None where its prompt stands in the chain, or it has none."""
        return self.file if self.library is None else f"{_LIBRARY}{self.library}"


class ChainHead(_Part):
    """A chain as its file says it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,60}$")
    version: int = Field(1, ge=1)
    description: str = ""
    model: str | None = Field(None, description="model spec of the steps that name none")
    requests: int = Field(1000, ge=1, le=1_000_000, description="requests of a run at most")
    inputs: dict[str, Input] = {}
    steps: tuple[Step, ...] = Field(min_length=1, max_length=MOST_STEPS)
    outputs: dict[str, Output] = Field(min_length=1)

    @field_validator("inputs", mode="before")
    @classmethod
    def _inputs_in_short(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        return {name: {"type": one} if isinstance(one, str) else one for name, one in written.items()}

    @field_validator("outputs", mode="before")
    @classmethod
    def _outputs_in_short(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        return {name: {"value": one} if isinstance(one, str) else one for name, one in written.items()}


class ChainFile:
    """A chain's file, with the files that it names.

    Args:
        source: its text.
        origin: what to call it in messages: its path.
        files: the texts of the templates that its steps name, see `Step.template`.

    Attributes:
        head: what it says.
        digest: 16 hex digits over the text and those files; equal digests make equal chains.

    Raises:
        DataError: it cannot be read; the sentence names the place.
    """

    def __init__(self, source: str, origin: str, files: Mapping[str, str]) -> None:
        self.source = source.replace("\r\n", "\n")
        self.origin = origin
        self.files = dict(files)
        self.head = _head(_loaded(self.source, origin), origin)
        content = json.dumps([self.source, sorted(self.files.items())])
        self.digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_chain_file(path: Path) -> ChainFile:
    """The chain of a file. The files that it names must stand in its folder, or below; prompts of the library anywhere.

    Raises:
        DataError: it cannot be read, or is no chain.
    """
    origin = str(path)
    source = read_text_file(path, origin, "chain")
    data = _loaded(source, origin)
    named = {}
    steps = data.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if not isinstance(step, dict):
            continue
        file, prompt = step.get("file"), step.get("library")
        if isinstance(file, str) and file not in named:
            named[file] = read_text_file(_inside(path.parent, file, origin), f"{origin}: {file}", "prompt")
        if isinstance(prompt, str) and (name := f"{_LIBRARY}{prompt}") not in named:
            named[name] = _of_library(prompt, origin)
    return ChainFile(source, origin, named)


def _of_library(name: str, origin: str) -> str:
    """The text of a prompt of the library, as it is now."""
    try:
        return PromptLibrary().find(name).template.source
    except UsageError as error:
        raise DataError(f"{origin}: {error}") from None


def _inside(folder: Path, name: str, origin: str) -> Path:
    """The path of a file that a chain names, wherever links lead."""
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{origin}: the prompt file {name!r} cannot be looked for: {error}") from None
    if not inside:
        raise DataError(f"{origin}: the prompt file {name!r} is outside the chain's folder; put it beside the chain")
    return path


def _loaded(source: str, origin: str) -> dict[str, Any]:
    try:
        # A few lines of anchors and aliases can stand for more than any memory holds.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(source, Loader=yaml.SafeLoader)):
            raise DataError(f"{origin}: a chain holds no YAML aliases (*name); write it out")
        data = yaml.safe_load(source)
    except (yaml.YAMLError, RecursionError) as error:
        why = " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else "it is nested too deeply"
        raise DataError(f"{origin}: no YAML: {why}") from None
    except ValueError as error:  # a date or a number that Python does not know
        raise DataError(f"{origin}: no YAML: {error}") from None
    if not isinstance(data, dict):
        raise DataError(f"{origin}: a chain is a mapping with name, steps and outputs")
    return data


def _head(data: dict[str, Any], origin: str) -> ChainHead:
    try:
        return ChainHead.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = _place(first["loc"], data)
        message = str(first["msg"]).removeprefix("Value error, ")
        raise DataError(f"{origin}: {where}{message}") from None
    except WhetstoneError as error:
        raise DataError(f"{origin}: {error}") from None


def _place(location: tuple[str | int, ...], data: dict[str, Any]) -> str:
    """Where in the file something stands, a step by its name."""
    parts = [str(part) for part in location]
    if len(location) > 1 and location[0] == "steps" and isinstance(location[1], int):
        step = data["steps"][location[1]]
        name = step.get("name") if isinstance(step, dict) else None
        parts[:2] = [f"step {name or location[1] + 1}"]
    return f"{', '.join(parts)}: " if parts else ""
