"""What a card asks its user for: typed inputs, read from words of a command line or from JSON, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from whetstone.errors import UsageError
from whetstone.registry import unknown_name
from whetstone.tasks.languages import LANGUAGES, find_language

InputType = Literal["text", "number", "choice", "language", "list", "glossary"]

MOST_ENTRIES = 200  # of a list or a glossary; more would leave no room for the text in most contexts
MOST_CHARACTERS = 20_000_000  # of a text: some ten thousand pages


class Input(BaseModel):
    """One input of a card.

    Attributes:
        name: what prompts, the command line and the API call it.
        type: "text"; "number" (a whole one); "choice" (one of `choices`); "language" (by name or ISO 639-1 code; its
            value is the English name); "list" (texts); "glossary" (terms and their translations).
        title: a label for forms; the name where it is "".
        required: whether it must be given.
        default: its value when it is not; None gives "", 0, () or {} by type, which cards read as "not said".
        choices: of a choice.
        least, most: of a number, or of the entries of a list.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern="^[a-z][a-z_]*$")
    type: InputType
    description: str
    title: str = ""
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if bool(self.choices) != (self.type == "choice"):
            raise ValueError(f"{self.name}: a choice has choices, and nothing else has")
        if self.required and self.default is not None:
            raise ValueError(f"{self.name}: what is required has no default")
        return self

    @property
    def label(self) -> str:
        """What a form calls it."""
        return self.title or self.name.replace("_", " ").capitalize()

    def read(self, said: str) -> Any:
        """The value that somebody wrote: numbers as digits, lists as "a, b", glossaries as "term=translation, …".

        Raises:
            UsageError: it cannot be read as this type.
        """
        if self.type == "number":
            if not re.fullmatch(r"\s*[+-]?\d{1,9}\s*", said):
                raise UsageError(f"{self.name} is a whole number, not {said[:40]!r}")
            return self.check(int(said))
        if self.type == "list":
            return self.check([part.strip() for part in re.split(r"[,\n]", said) if part.strip()])
        if self.type == "glossary":
            return self.check(_read_glossary(self.name, said))
        return self.check(said)

    def check(self, value: Any) -> Any:
        """A value of this type, in the form in which prompts get it.

        Raises:
            UsageError: it is none; the sentence says what one is.
        """
        match self.type:
            case "text":
                return self._text(value)
            case "number":
                return self._number(value)
            case "choice":
                if value not in self.choices:
                    raise unknown_name(self.name, str(value)[:80], list(self.choices))
                return value
            case "language":
                if not isinstance(value, str):
                    raise UsageError(f"{self.name} is the name of a language, not {value!r:.80}")
                return find_language(value).name
            case "list":
                return self._list(value)
            case "glossary":
                return self._glossary(value)

    @property
    def unsaid(self) -> Any:
        """The value when it is not given."""
        if self.default is not None:
            return self.check(self.default)
        return {"number": 0, "list": (), "glossary": {}}.get(self.type, "")

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of its values."""
        found: dict[str, Any] = {"title": self.label, "description": self.description}
        match self.type:
            case "text":
                found |= {"type": "string"}
            case "number":
                found |= {"type": "integer"}
                found |= {key: bound for key, bound in (("minimum", self.least), ("maximum", self.most)) if bound}
            case "choice":
                found |= {"type": "string", "enum": list(self.choices)}
            case "language":
                found |= {"type": "string", "examples": [language.name for language in LANGUAGES[:6]]}
            case "list":
                found |= {"type": "array", "items": {"type": "string"}, "maxItems": self.most or MOST_ENTRIES}
                found |= {"minItems": self.least} if self.least else {}
            case "glossary":
                found |= {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": MOST_ENTRIES}
        if self.default is not None:
            found["default"] = self.default
        return found

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise UsageError(f"{self.name} is a text, not {value!r:.80}")
        if len(value) > MOST_CHARACTERS:
            raise UsageError(f"{self.name} has {len(value):,} characters; the most is {MOST_CHARACTERS:,}")
        if "\0" in value:
            raise UsageError(f"{self.name} holds a NUL character, so it is binary data and no text")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{self.name} holds half a character (a lone surrogate), which no model can read"
            ) from None
        if self.required and not value.strip():
            raise UsageError(f"{self.name} is empty: {self.description}")
        return value

    def _number(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"{self.name} is a whole number, not {value!r:.80}")
        if self.least is not None and value < self.least:
            raise UsageError(f"{self.name} is at least {self.least:,}, not {value:,}")
        if self.most is not None and value > self.most:
            raise UsageError(f"{self.name} is at most {self.most:,}, not {value:,}")
        return value

    def _list(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(v, str) for v in value):
            raise UsageError(f"{self.name} is a list of texts, not {value!r:.80}")
        entries = tuple(dict.fromkeys(" ".join(entry.split()) for entry in value if entry.strip()))
        least, most = self.least or 0, self.most or MOST_ENTRIES
        if len(entries) < least:
            raise UsageError(f"{self.name} needs at least {least} different entries, not {len(entries)}")
        if len(entries) > most:
            raise UsageError(f"{self.name} takes at most {most} entries, not {len(entries)}")
        return entries

    def _glossary(self, value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for pair in value.items() for v in pair):
            raise UsageError(f"{self.name} is a mapping of terms to translations, not {value!r:.80}")
        if len(value) > MOST_ENTRIES:
            raise UsageError(f"{self.name} takes at most {MOST_ENTRIES} terms, not {len(value)}")
        pairs = {" ".join(term.split()): " ".join(said.split()) for term, said in value.items()}
        if empty := [term for term, said in pairs.items() if not term or not said]:
            raise UsageError(f"{self.name}: the term {empty[0]!r} has no translation")
        return pairs


def _read_glossary(name: str, said: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in re.split(r"[,\n]", said):
        if not part.strip():
            continue
        term, equals, translation = part.partition("=")
        if not equals:
            raise UsageError(f"{name}: write each term as TERM=TRANSLATION, not {part.strip()[:60]!r}")
        pairs[term.strip()] = translation.strip()
    return pairs


def checked(inputs: Sequence[Input], given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """A value for each input, in their order.

    Args:
        owner: what has the inputs, for messages: "the card summarize".

    Raises:
        UsageError: an input is not known, is missing, or has a value that it cannot have.
    """
    known = [one.name for one in inputs]
    for name in given:
        if name not in known:
            raise unknown_name(f"input of {owner}", str(name)[:80], known)
    values: dict[str, Any] = {}
    for one in inputs:
        value = given.get(one.name)
        if value is None and one.required:
            raise UsageError(f"{owner} needs {one.name}: {one.description}")
        values[one.name] = one.unsaid if value is None or (value == "" and not one.required) else one.check(value)
    return values
