"""Tools by spec: `calculator`, `date`, `web:example.com`, `files:./notes`, `sql:./shop.db`, `mcp:COMMAND`, `python:…`.

Other packages add kinds through the entry-point group `whetstone.tools`: each names a function that takes what stands
behind the kind's name ("" for nothing) and gives a tool or a source of tools.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from whetstone.errors import UsageError, WhetstoneWarning
from whetstone.registry import Registry
from whetstone.tools.function_tool import FunctionTool
from whetstone.tools.tool import Tool, ToolSource
from whetstone.tools.tool_box import ToolBox

Opener = Callable[[str], Tool | ToolSource]

_CODE = "python"  # runs a file of the person's: never because an entry point or a request names it

TOOLS = Registry(
    "tool",
    {
        "calculator": "whetstone.tools.builtin.calculator:calculator",
        "date": "whetstone.tools.builtin.current_date:date_tool",
        "web": "whetstone.tools.builtin.web_fetch:web_tool",
        "files": "whetstone.tools.builtin.file_search:files_tool",
        "sql": "whetstone.tools.builtin.sql:sql_tool",
        "mcp": "whetstone.tools.opening:mcp_tools",
        _CODE: "whetstone.tools.opening:python_tool",
    },
    "whetstone.tools",
)


def open_tools(specs: Iterable[str], *, own_code: bool = False) -> ToolBox:
    """The tools that specs name. Close the box, or leave it as a context manager, to end what they need.

    Args:
        specs: `NAME` or `NAME:ARGUMENT`.
        own_code: whether `python:FILE.py:FUNCTION` may be among them, which runs that file. Only for specs that the
            person typed.

    Raises:
        WhetstoneError: one of them cannot be opened; those before it are closed again.
    """
    opened: list[Tool | ToolSource] = []
    try:
        for spec in specs:
            name, _, argument = spec.strip().partition(":")
            opener: Opener = TOOLS.resolve(name)
            if name == _CODE and not own_code:
                raise UsageError(f"{spec}: tools from a Python file are opened on the command line only")
            opened.append(opener(argument.strip()))
        return ToolBox(opened)
    except BaseException:
        for part in reversed(opened):
            if isinstance(part, ToolSource):
                part.close()
        raise


def mcp_tools(argument: str) -> ToolSource:
    """The tools of the MCP server `mcp:COMMAND ARGUMENTS` or `mcp:https://…`.

    Warns of those that no model can be offered.

    Raises:
        WhetstoneError: there is none, or it cannot be started or reached.
    """
    if not argument:
        raise UsageError("mcp: write mcp:COMMAND ARGUMENTS, or mcp:https://… for a server that runs")
    from whetstone.tools.mcp_client import McpTools

    server = McpTools.open(argument)
    for sentence in server.left_out:
        warnings.warn(sentence, WhetstoneWarning, stacklevel=2)
    return server


def python_tool(argument: str) -> FunctionTool:
    """The tool `python:FILE.py:FUNCTION`: runs the file, and takes the function.

    Raises:
        UsageError: there is no such file or function, the file fails, or the function cannot be a tool.
    """
    file, _, name = argument.rpartition(":")
    path = Path(file).expanduser()
    if not file or not name.isidentifier():
        raise UsageError(f"python:{argument}: write python:FILE.py:FUNCTION")
    if not path.is_file():
        raise UsageError(f"python:{argument}: there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"python:{argument}: {path} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        said = " ".join(str(error).split())
        raise UsageError(f"python:{argument}: {path} fails: {type(error).__name__}: {said}") from error
    found: Any = getattr(module, name, None)
    if found is None:
        functions = sorted(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise UsageError(f"python:{argument}: {path} has no {name}; it has {', '.join(functions) or 'no functions'}")
    return found if isinstance(found, FunctionTool) else FunctionTool(found)
