"""The values that a prompt is filled in with, as they are written on the command line or in a file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.errors import DataError, UsageError

if TYPE_CHECKING:
    from whetstone.prompting.template import Template

Variables = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        help="A value: name=text, name=@FILE for a file's text (@@ for a text that begins with @), or name:=JSON. "
        "Repeat for several.",
    ),
]


def written_values(written: Sequence[str], option: str = "--var") -> dict[str, Any]:
    """The values of `--var`, or of another option that takes them in the same forms.

    Raises:
        UsageError: one is not of any of the forms, or a name is given twice.
        DataError: a file cannot be read.
    """
    from whetstone.prompting.template import read_text_file

    values: dict[str, Any] = {}
    for pair in written:
        name, equals, value = pair.partition("=")
        if not equals or not name.rstrip(":"):
            raise UsageError(f"{option} {pair}: write name=value, name=@FILE or name:=JSON")
        plain = name.removesuffix(":")
        if plain in values:
            raise UsageError(f"{option} {plain} is given twice")
        if name != plain:
            try:
                values[plain] = json.loads(value)
            except ValueError as error:
                raise UsageError(f"{option} {plain}: the value after := is no JSON: {error}") from None
        elif value.startswith("@@"):
            values[plain] = value[1:]
        elif value.startswith("@"):
            values[plain] = read_text_file(Path(value[1:]).expanduser(), value[1:], f"value of {plain}").rstrip("\n")
        else:
            values[plain] = value
    return values


def rows_of(file: str | None, written: Sequence[str], template: Template) -> tuple[list[dict[str, Any]], bool]:
    """The values of each time that a prompt is to be run, those of `--var` in all of them; and whether it is a list.

    Args:
        file: JSON or YAML with a mapping or a list of mappings, JSONL with a mapping per line; of any other file, or of
            standard input (`-`), the text is the value of the prompt's one variable that `--var` leaves open.

    Raises:
        UsageError: a name is none of the prompt's variables, or it is open which variable a text is for.
        DataError: the file cannot be read.
    """
    common = written_values(written)
    if file is None:
        rows: list[dict[str, Any]] = [{}]
        several = False
    else:
        rows, several = _read(file, [name for name in template.variables if name not in common], template)
    for number, row in enumerate(rows, 1):
        try:
            template.check_names([*common, *row])
        except UsageError as error:
            raise UsageError(f"{file}, row {number}: {error}" if several else str(error)) from None
    return [{**row, **common} for row in rows], several


def _read(file: str, open_names: Sequence[str], template: Template) -> tuple[list[dict[str, Any]], bool]:
    from whetstone.prompting.template import decoded, read_text_file

    data = (
        decoded(sys.stdin.buffer.read(), "standard input", "text")
        if file == "-"
        else read_text_file(Path(file).expanduser(), file, "file of values")
    )
    ending = Path(file).suffix.lower()
    if ending == ".jsonl":
        lines = [(number, line) for number, line in enumerate(data.split("\n"), 1) if line.strip()]
        return [_mapping(_json(line, f"{file}, line {n}"), f"{file}, line {n}") for n, line in lines], True
    if ending in (".json", ".yaml", ".yml"):
        found = _json(data, file) if ending == ".json" else _yaml(data, file)
        if isinstance(found, list):
            return [_mapping(row, f"{file}, row {number}") for number, row in enumerate(found, 1)], True
        return [_mapping(found, file)], False
    chosen = "text" if "text" in open_names else open_names[0] if len(open_names) == 1 else None
    if chosen is None:
        names = ", ".join(open_names) or "none"
        raise UsageError(
            f"{file}: it is open which variable of {template.origin} the text is for ({names}): write --var "
            f"NAME=@{file}"
        )
    return [{chosen: data.rstrip("\n")}], False


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: no JSON: {error}") from None


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{where}: no YAML: {' '.join(str(error).split())}") from None


def _mapping(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise DataError(f'{where}: there must be names with their values, as in {{"text": "..."}}')
    return dict(found)
