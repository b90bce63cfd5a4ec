"""A typed Python function as a tool: its schema comes from its signature and docstring, its arguments are checked."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError, create_model
from pydantic_core import to_json

from whetstone.errors import UsageError
from whetstone.tools.docstring import read_docstring
from whetstone.tools.schema import plain_schema
from whetstone.tools.tool import ToolResult

_ERRORS_TOLD = 5


class FunctionTool:
    """A function that a model may call.

        @tool
        def price(product: str, pieces: int = 1) -> float:
            \"\"\"What a product costs, in dollars.

            Args:
                product: its name as on the shelf.
                pieces: how many of it.
            \"\"\"

    Every parameter needs a type. What the function returns becomes text: a text as it is, anything else as JSON. A
    coroutine function is run to its end. The tool can still be called like the function.

    Args:
        function: what is called, from a thread of its own, perhaps several times at once.
        name: by default the function's.
        description: by default what its docstring says.

    Raises:
        UsageError: a parameter has no type, or one that has no JSON Schema, or the function takes *args or **kwargs.
    """

    def __init__(self, function: Callable[..., Any], *, name: str = "", description: str = "") -> None:
        self._function = function
        self._name = name or getattr(function, "__name__", type(function).__name__)
        said, self._said_of = read_docstring(inspect.getdoc(function))
        self._description = description or said
        self._signature = self._read_signature()
        self._arguments = self._arguments_model()

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def description(self) -> str:
        """What it does, in words for the model."""
        return self._description

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON Schema of its arguments."""
        return self._schema

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function itself."""
        return self._function(*args, **kwargs)

    def call(self, arguments: dict[str, Any]) -> ToolResult:
        """Check the arguments, and call the function with them; what it raises is raised."""
        try:
            checked = self._arguments.model_validate(arguments)
        except ValidationError as error:
            return ToolResult(self._wrong(error), failed=True)
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for number, parameter in enumerate(self._signature.parameters.values()):
            value = getattr(checked, _field(number))
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[parameter.name] = value
        result = self._function(*positional, **named)
        if inspect.iscoroutine(result):
            result = asyncio.run(_finished(result))
        return as_result(result)

    def _read_signature(self) -> inspect.Signature:
        try:
            signature = inspect.signature(self._function)
        except (TypeError, ValueError):
            raise UsageError(f"{self._name} is no function whose parameters can be read: wrap it in one") from None
        for parameter in signature.parameters.values():
            if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                raise UsageError(
                    f"the tool {self._name} takes {parameter}: a model has to be told every argument by name"
                )
        return signature

    def _arguments_model(self) -> type[BaseModel]:
        function = inspect.unwrap(self._function)
        hinted = function if inspect.isroutine(function) else type(function).__call__
        try:
            hints = get_type_hints(hinted, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            raise UsageError(f"the tool {self._name}: its types cannot be read: {error}") from None
        fields: dict[str, Any] = {}
        for number, parameter in enumerate(self._signature.parameters.values()):
            if parameter.name not in hints:
                raise UsageError(
                    f"the tool {self._name}: its parameter {parameter.name} has no type; write {parameter.name}: str, "
                    "or whatever it takes"
                )
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            # Under a name of our own: "copy" or "schema" would hide a method of pydantic's.
            said = self._said_of.get(parameter.name)
            fields[_field(number)] = (hints[parameter.name], Field(default, alias=parameter.name, description=said))
        try:
            model = create_model(self._name, __config__=ConfigDict(extra="forbid"), **fields)
            with warnings.catch_warnings():  # of defaults that have no JSON: they are left out of the schema
                warnings.simplefilter("ignore")
                self._schema = plain_schema(model.model_json_schema(), self._name)
        except (PydanticUserError, NameError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(f"the tool {self._name}: a parameter's type cannot be told to a model: {reason}") from None
        return model

    def _wrong(self, error: ValidationError) -> str:
        told = [
            f"{'.'.join(map(str, one['loc'])) or 'the arguments'}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        more = f"; and {len(told) - _ERRORS_TOLD} more" if len(told) > _ERRORS_TOLD else ""
        return f"the arguments do not fit: {'; '.join(told[:_ERRORS_TOLD])}{more}"


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...
@overload
def tool(*, name: str = "", description: str = "") -> Callable[[Callable[..., Any]], FunctionTool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, *, name: str = "", description: str = ""
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a tool of a function: `@tool`, or `@tool(name="…", description="…")`. See `FunctionTool`."""
    if function is not None:
        return FunctionTool(function)
    return lambda wrapped: FunctionTool(wrapped, name=name, description=description)


def as_result(value: Any) -> ToolResult:
    """What a function returned, as a result for the model."""
    if isinstance(value, ToolResult):
        return value
    if value is None:
        return ToolResult("done; there is nothing to tell")
    if isinstance(value, str):
        return ToolResult(value)
    return ToolResult(to_json(value, fallback=repr, bytes_mode="base64", inf_nan_mode="strings").decode())


async def _finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


def _field(number: int) -> str:
    return f"argument_{number}"
