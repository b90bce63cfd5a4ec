"""A task card: a folder of plain files that says what a task takes, what it gives, and how a model is asked.

    summarize/
        card.yaml       what it takes and gives, its metric, its known failures
        prompt.md       the question to a model (a template, see `whetstone.prompting.template`)
        prompt.t5.md    the same for a family of models, where they want it put differently
        part.md …       further prompts, for texts beyond the context or for repairs
        cases.jsonl     cases with expected answers

Cards of the user's own are folders of the same form, named by a path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from whetstone.errors import DataError
from whetstone.prompting.template import Template, load_template
from whetstone.registry import unknown_name
from whetstone.tasks.cases import CaseSplit, TaskCase, read_cases
from whetstone.tasks.inputs import Input, checked
from whetstone.types import Options

OutputKind = Literal["text", "label", "entities", "code"]
Beyond = Literal["refuse", "reduce", "concatenate", "merge", "vote"]
ReplyLength = Literal["options", "words", "text"]

NAMES = ("summarize", "dialogue", "essay", "translate", "rewrite", "answer", "classify", "entities", "code")
_NEEDED: Mapping[Beyond, tuple[str, ...]] = {"reduce": ("part", "join")}


class CardFile(BaseModel):
    """What card.yaml says.

    Attributes:
        title: a few words.
        description: what the task is, in a sentence or two.
        main: the input that a file, standard input or the command line's text is.
        inputs: in the order of a form.
        output: "text"; "label" (one of the input `labels`); "entities" (of the input `types`, in the input `text`);
            "code" (in the input `language`).
        options: what a model is asked with unless the user says otherwise.
        beyond: what is done with a main input that does not fit the context: "refuse" it; "reduce" (sum up its parts
            with the prompt part.md, and the summaries with join.md); "concatenate" (the answers to its parts are the
            answer); "merge" (entities of the parts together); "vote" (the label of most parts, by their length).
        part_tokens: most tokens of such a part, however much the context holds; 0 for as much as fits.
        reply: how long a reply may get: as the options say; a few tokens for each of the input `words`; or a few tokens
            for each of the main input's.
        nothing: what a model is told to say of a text that does not hold what is wanted; "" where it is told nothing.
            Parts of which it is said are passed over.
        metric: what the card's cases are scored by, by its name in comparisons.
        not_encoder_decoder: why encoder-decoder models (T5) cannot do it; "" where they can.
        known_failures: what goes wrong, for people who decide whether to trust it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    description: str
    main: str
    inputs: tuple[Input, ...]
    output: OutputKind
    options: Options = Options()
    beyond: Beyond = "refuse"
    part_tokens: int = 0
    reply: ReplyLength = "options"
    nothing: str = ""
    metric: str
    not_encoder_decoder: str = ""
    known_failures: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [one.name for one in self.inputs]
        if len(set(names)) < len(names):
            raise ValueError("two inputs have the same name")
        types = {one.name: one.type for one in self.inputs}
        if types.get(self.main) != "text":
            raise ValueError(f"main names {self.main!r}, which is no input of type text")
        if self.reply == "words" and types.get("words") != "number":
            raise ValueError("a reply of so many words needs an input words of type number")
        for output, needed in (("label", "labels"), ("entities", "types")):
            if self.output == output and types.get(needed) != "list":
                raise ValueError(f"an output of kind {output} needs an input {needed} of type list")
        if self.output == "code" and types.get("language") != "choice":
            raise ValueError("an output of kind code needs an input language of type choice")
        return self


@dataclass(frozen=True)
class Card:
    """A task card.

    Attributes:
        name: of its folder.
        folder: where its files are.
        file: what its card.yaml says.
    """

    name: str
    folder: Path
    file: CardFile = field(repr=False)

    @property
    def title(self) -> str:
        """A few words."""
        return self.file.title

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it asks its user for."""
        return self.file.inputs

    @property
    def output(self) -> OutputKind:
        """What it gives."""
        return self.file.output

    def input(self, name: str) -> Input:
        """One of the inputs.

        Raises:
            UnknownNameError: there is none of that name.
        """
        for one in self.inputs:
            if one.name == name:
                return one
        raise unknown_name(f"input of the card {self.name}", name, [one.name for one in self.inputs])

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for every input: those given, checked, and the others' defaults.

        Raises:
            UsageError: an input is unknown, missing, or has a value that it cannot have.
        """
        return checked(self.inputs, given, f"the card {self.name}")

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the inputs."""
        return {
            "type": "object",
            "properties": {one.name: one.json_schema() for one in self.inputs},
            "required": [one.name for one in self.inputs if one.required],
            "additionalProperties": False,
        }

    def to_json(self) -> dict[str, Any]:
        """What it is, for programs: JSON-ready values."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.file.description,
            "main": self.file.main,
            "inputs": self.json_schema(),
            "output": self.output,
            "metric": self.file.metric,
            "beyond": self.file.beyond,
            "families": list(self.families),
            "not_encoder_decoder": self.file.not_encoder_decoder,
            "known_failures": list(self.file.known_failures),
        }

    @cached_property
    def _prompts(self) -> dict[str, Template]:
        """Every prompt, by its file's name without .md."""
        return {path.stem: load_template(str(path)) for path in sorted(self.folder.glob("*.md"))}

    @property
    def prompts(self) -> Mapping[str, Template]:
        """Every prompt, by its file's name without .md: "prompt", "prompt.t5", "part".

        Raises:
            DataError: one cannot be read, or asks for a variable that it does not declare.
        """
        return self._prompts

    @property
    def families(self) -> tuple[str, ...]:
        """Families of models that have prompts of their own."""
        return tuple(sorted({stem.partition(".")[2] for stem in self.prompts} - {""}))

    def prompt(self, name: str = "prompt", family: str = "") -> Template:
        """One of its prompts: the one for a family of models where there is one, else the one for all.

        Raises:
            DataError: it has no prompt of that name.
        """
        found = self.prompts.get(f"{name}.{family}") or self.prompts.get(name)
        if found is None:
            raise DataError(f"{self.folder}: the card has no {name}.md")
        return found

    def cases(self, split: CaseSplit | None = None) -> tuple[TaskCase, ...]:
        """Its cases, of one split or all.

        Raises:
            DataError: the file cannot be read.
        """
        found = read_cases(self.folder / "cases.jsonl")
        return tuple(case for case in found if split in (None, case.split))


def load_card(name: str) -> Card:
    """One of our cards by name, or a card of the user's own by the path of its folder (with a slash in it).

    Raises:
        UnknownNameError: none of ours has that name.
        DataError: the folder is no card.
    """
    if "/" in name or "\\" in name:
        return _read(Path(name))
    if name not in NAMES:
        raise unknown_name("task card", name, list(NAMES))
    return _ours(name)


def cards() -> tuple[Card, ...]:
    """All of our cards, in the order in which they are listed."""
    return tuple(_ours(name) for name in NAMES)


@cache
def _ours(name: str) -> Card:
    # Installed packages are folders; from a zip archive, the files would last as long as this block.
    with as_file(files("whetstone.tasks") / "cards" / name) as folder:
        return _read(folder)


def _read(folder: Path) -> Card:
    path = folder / "card.yaml"
    try:
        said = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: the card cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    try:
        file = CardFile.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the card"
        raise DataError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    card = Card(folder.name, folder, file)
    for needed in ("prompt", *_NEEDED.get(file.beyond, ()), *(["repair"] if file.output == "code" else [])):
        card.prompt(needed)
    known = {one.name for one in file.inputs}
    for name, prompt in card.prompts.items():
        if strange := set(prompt.variables) - known - _GIVEN.get(name.partition(".")[0], frozenset()):
            raise DataError(f"{folder / name}.md: the card has no input {min(strange)!r}")
    return card


# What a prompt gets besides the inputs.
_GIVEN: Mapping[str, frozenset[str]] = {
    "prompt": frozenset({"type"}),  # of the entities that are asked for, by models that are asked type by type
    "part": frozenset({"number", "count"}),
    "join": frozenset({"summaries"}),
    "repair": frozenset({"code", "error"}),
}
