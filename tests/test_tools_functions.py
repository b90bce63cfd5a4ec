"""Typed functions as tools: their schemas, their arguments, and the box that holds them."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from whetstone.errors import UnknownNameError, UsageError
from whetstone.tools.docstring import read_docstring
from whetstone.tools.function_tool import FunctionTool, tool
from whetstone.tools.opening import open_tools
from whetstone.tools.schema import plain_schema
from whetstone.tools.tool import Tool, ToolResult
from whetstone.tools.tool_box import ToolBox


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Part(BaseModel):
    name: str
    parts: list[Part] = []


@tool
def price(product: str, pieces: Annotated[int, Field(ge=1)] = 1, size: Size = Size.SMALL, copy: bool = False) -> float:
    """What a product costs, in dollars.

    Args:
        product: its name,
            as on the shelf.
        pieces (int): how many: at least one.

    Returns:
        The price of all of them.

    Examples:
        >>> price("kettle")
    """
    return pieces * (2.5 if size is Size.SMALL else 4.0)


def test_the_schema_comes_from_the_signature_and_the_docstring() -> None:
    assert isinstance(price, Tool)
    assert price.name == "price"
    assert price.description == "What a product costs, in dollars.\n\nReturns:\n    The price of all of them."
    assert price.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["product"],
        "properties": {
            "product": {"type": "string", "description": "its name, as on the shelf."},
            "pieces": {"type": "integer", "minimum": 1, "default": 1, "description": "how many: at least one."},
            "size": {"type": "string", "enum": ["small", "large"], "default": "small"},
            "copy": {"type": "boolean", "default": False},
        },
    }


def test_arguments_are_checked_and_given_as_the_types_that_the_function_asks_for() -> None:
    assert price.call({"product": "kettle", "pieces": "2", "size": "large"}) == ToolResult("8.0")
    assert price("kettle", 4) == 10.0
    wrong = price.call({"pieces": 0, "colour": "red"})
    assert wrong.failed
    for part in ("product: Field required", "pieces: Input should be greater than or equal to 1", "colour: Extra"):
        assert part in wrong.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "done; there is nothing to tell"),
        ({"서울": [1, 2.5, None]}, '{"서울":[1,2.5,null]}'),
        (Part(name="a"), '{"name":"a","parts":[]}'),
        (float("inf"), '"Infinity"'),
        ({1, 2} - {2}, "[1]"),
        (ToolResult("no", failed=True), "no"),
    ],
)
def test_what_a_function_returns_becomes_text(value: Any, text: str) -> None:
    def give() -> Any:
        return value

    assert FunctionTool(give).call({}).text == text


def test_a_coroutine_function_is_run_to_its_end() -> None:
    async def later(number: int) -> int:
        return number + 1

    assert FunctionTool(later).call({"number": 1}).text == "2"


def test_methods_and_positional_parameters_can_be_tools() -> None:
    class Shop:
        def stock(self, product: str, /, shelf: int) -> str:
            return f"{product} on {shelf}"

    stock = FunctionTool(Shop().stock, name="in_stock", description="Where it is.")
    assert (stock.name, stock.description) == ("in_stock", "Where it is.")
    assert stock.call({"product": "kettle", "shelf": 3}).text == "kettle on 3"


def untyped(x):  # type: ignore[no-untyped-def]
    return x


def many(*values: int) -> int:
    return sum(values)


def strange(x: threading_lock) -> str:  # type: ignore[name-defined]  # noqa: F821
    return "x"


def foreign(x: Callable[[int], Sequence[int]], y: ToolBox) -> str:
    return "x"


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (untyped, "its parameter x has no type"),
        (many, "told every argument by name"),
        (strange, "threading_lock"),
        (foreign, "a parameter's type cannot be told to a model"),
    ],
)
def test_a_function_that_cannot_be_told_to_a_model_is_refused(function: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        FunctionTool(function)


def test_a_type_that_holds_itself_is_followed_a_few_times() -> None:
    def build(root: Part, kind: Literal["toy", "tool"] = "toy") -> str:
        return root.parts[0].parts[0].parts[0].parts[0].name

    built = FunctionTool(build)
    text = json.dumps(built.parameters)
    assert "$ref" not in text
    assert "$defs" not in text
    deep: dict[str, Any] = {"name": "e"}
    for name in "dcba":
        deep = {"name": name, "parts": [deep]}
    assert built.call({"root": deep}).text == "e"
    assert built.call({"root": {"name": "a", "parts": [{"nam": "b"}]}}).failed


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/x.json"}}}, "lies outside it"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "has no such part"),
        ({"type": "string"}, "must be an object"),
        ({"type": "object", "properties": {"a": 3}}, "must be an object"),
    ],
)
def test_a_schema_that_cannot_be_shown_is_refused(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        plain_schema(schema, "t")


def test_a_schema_with_many_cycles_ends() -> None:
    properties = {f"p{n}": {"$ref": "#"} for n in range(30)}
    with pytest.raises(UsageError, match="too large or too deep"):
        plain_schema({"type": "object", "properties": properties}, "t")
    only = plain_schema({"type": "object", "properties": {"title": {"title": "T", "$ref": "#"}}}, "t")
    assert list(only["properties"]) == ["title"]  # the property stays, the annotation goes


def test_a_docstring_may_be_empty_or_of_another_style() -> None:
    assert read_docstring(None) == ("", {})
    assert read_docstring("Adds.\n\n:param a: one") == ("Adds.\n\n:param a: one", {})
    assert read_docstring("Adds.\n\nArgs:\n    a: one\n    b:\n        the\n        other\n") == (
        "Adds.",
        {"a": "one", "b": "the other"},
    )


def test_a_box_gives_the_tools_in_the_form_of_requests() -> None:
    box = ToolBox([price, lambda_free])
    assert box.names == ("price", "lambda_free")
    assert [schema["type"] for schema in box.schemas()] == ["function", "function"]
    assert box.schemas()[0]["function"]["parameters"] == price.parameters
    with pytest.raises(UnknownNameError, match="Did you mean price"):
        box.get("prise")


def lambda_free() -> str:
    """Gives a word."""
    return "free"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([price, price], "two tools are named price"),
        ([FunctionTool(lambda_free, name="no spaces")], "cannot be the name of a tool"),
        (["calculator"], "is no tool"),
    ],
)
def test_a_box_refuses_what_cannot_be_offered(tools: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ToolBox(tools)


class Source:
    """Tools that come and go."""

    def __init__(self) -> None:
        self.tools: list[Tool] = [price]
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_source_may_change_its_tools_and_is_closed_with_the_box() -> None:
    source = Source()
    with ToolBox([source]) as box:
        source.tools.append(FunctionTool(lambda_free))
        assert box.names == ("price", "lambda_free")
    assert source.closed == 1


def test_specs_open_tools() -> None:
    with open_tools(["calculator", " date "]) as box:
        assert box.names == ("calculator", "current_date")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("calculater", "Did you mean calculator"),
        ("calculator:1", "takes nothing behind its name"),
        ("files:/nowhere/at/all", "is no folder"),
        ("sql:", "write sql:FILE.db"),
        ("web", "name the hosts"),
        ("mcp", "write mcp:COMMAND"),
        ("python:x.py:f", "on the command line only"),
    ],
)
def test_a_spec_that_names_nothing_says_what_to_write(spec: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_tools([spec])


def test_a_function_of_a_file_is_a_tool_where_the_person_asks_for_it(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def double(number: int) -> int:\n    return number * 2\n\nlimit = 3\n")
    with open_tools([f"python:{file}:double"], own_code=True) as box:
        assert box.get("double").call({"number": 4}).text == "8"
    with pytest.raises(UsageError, match="has no triple; it has double"):
        open_tools([f"python:{file}:triple"], own_code=True)
    file.write_text("import nowhere_at_all")
    with pytest.raises(UsageError, match="ModuleNotFoundError"):
        open_tools([f"python:{file}:double"], own_code=True)
