"""The Jinja in which chat templates run: transformers' filters and functions, in a sandbox, on tracked strings.

What makes strings out of strings is replaced by what keeps their origins, and what is written only where a template is
asked for a generation prompt is marked as that when it is compiled.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.utils import Namespace

from whetstone.tokens.sandbox import (
    SIZE_LIMIT,
    LimitedEnvironment,
    check_width,
    limited_filters,
    too_large,
)
from whetstone.tokens.spans import Source
from whetstone.tokens.tracked import TrackedStr, concat, tracked

_GENERATION = "_whetstone_generation"


class _TrackingCodeGenerator(CodeGenerator):
    """Makes the operators `~` and `+` join with functions of the environment, a whole chain of them at once."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self._call("concat(map(str, (", node.nodes, ")))", frame)

    def visit_Add(self, node: nodes.BinExpr, frame: Frame) -> None:
        chain: list[nodes.Expr] = []
        left: nodes.Expr = node
        while isinstance(left, nodes.Add):
            chain.append(left.right)
            left = left.left
        self._call("add((", [left, *reversed(chain)], "))", frame)

    def _call(self, start: str, parts: Sequence[nodes.Expr], end: str, frame: Frame) -> None:
        self.write(f"environment.{start}")
        for part in parts:
            self.visit(part, frame)
            self.write(", ")
        self.write(end)


def _joined(pieces: Iterable[str]) -> str:
    """All pieces in one string, unless that is too large."""
    texts = tuple(pieces)
    if sum(map(len, texts)) > SIZE_LIMIT:
        raise too_large()
    return concat(texts)


def _add(values: Sequence[Any]) -> Any:
    """What `+` makes of a chain of values, one after the other."""
    try:
        return _joined(values)
    except TypeError:  # not all of them are texts
        total = values[0]
    for value in values[1:]:
        total = total + value
    check_width(len(total) if isinstance(total, list | str) else 0)
    return total


class _GenerationBlocks(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}`: what a model is to be trained on, as transformers reads it."""

    tags = {"generation"}  # noqa: RUF012

    def __init__(self, environment: jinja2.Environment) -> None:
        self.met = False
        self._pieces: list[str] | None = None
        self._blocks: list[tuple[int, int]] = []

    def parse(self, parser: Any) -> nodes.Node:
        self.met = True
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_within"), [], [], body).set_lineno(line)

    def _within(self, caller: Any) -> str:
        text: str = caller()
        if self._pieces is not None:
            start = sum(map(len, self._pieces))
            self._blocks.append((start, start + len(text)))
        return text

    @contextmanager
    def activate(self, pieces: list[str], blocks: list[tuple[int, int]]) -> Any:
        """Note the blocks of one rendering, by what had been rendered before them."""
        self._pieces, self._blocks = pieces, blocks
        try:
            yield
        finally:
            self._pieces = None


def generation_tracker(environment: jinja2.Environment) -> Any:
    """The extension that notes the generation blocks of a rendering, with its `activate`."""
    return next(e for e in environment.extensions.values() if isinstance(e, _GenerationBlocks))


class _TemplateDict:
    """What `dict` is to a template: it makes dictionaries and nothing else."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _TemplateNamespace(Namespace):
    """A namespace without hidden attributes."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, given = args[0], args[1:]
        attributes = dict(*given, **kwargs)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"it stores the hidden attribute {name!r} in a namespace")


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    check_width(indent)
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    source = _first_source(value)
    return text if source is None else tracked(text, source)


def _first_source(value: Any) -> Source | None:
    if isinstance(value, TrackedStr):
        origin: Source | None = value._runs[0][1]
        return origin
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for item in inner if (found := _first_source(item)) is not None), None)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


@jinja2.pass_eval_context
def _join(context: Any, value: Any, d: str = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        value = map(jinja2.filters.make_attrgetter(context.environment, attribute), value)
    pieces: list[str] = []
    for number, item in enumerate(value):
        pieces += [str(d), str(item)] if number else [str(item)]
    return _joined(pieces)


@jinja2.pass_context  # not to be carried out at compile time, when a mark would be lost
def _mark_generation(context: Any, value: Any) -> str:
    return tracked(str.__str__(str(value)), Source("generation"))


def _environment() -> LimitedEnvironment:
    environment = LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, "jinja2.ext.loopcontrols"]
    )
    environment.code_generator_class = _TrackingCodeGenerator
    environment.concat = _joined  # type: ignore[method-assign]
    environment.extend(add=_add)
    environment.filters.update({"tojson": _to_json, "join": _join, _GENERATION: _mark_generation})
    environment.filters.update(limited_filters())
    environment.globals.update({"raise_exception": _raise_exception, "dict": _TemplateDict()})
    environment.globals["namespace"] = _TemplateNamespace
    return environment


@functools.lru_cache(maxsize=64)
def compile_template(source: str) -> tuple[jinja2.Template, bool]:
    """The compiled template, in an environment of its own, and whether it has generation blocks.

    Raises:
        jinja2.TemplateError: it is no template.
    """
    environment = _environment()
    tree = environment.parse(source)
    _mark_generation_prompt(tree, environment)
    return environment.from_string(tree), generation_tracker(environment).met


def _mark_generation_prompt(tree: nodes.Node, environment: jinja2.Environment) -> None:
    """Mark what is written only where `add_generation_prompt` is true."""
    for choice in tree.find_all(nodes.If):
        if _asks_for_generation(choice.test):
            for statement in choice.body:
                outputs = [statement] if isinstance(statement, nodes.Output) else []
                for output in [*outputs, *statement.find_all(nodes.Output)]:
                    output.nodes = [_marked(node, environment) for node in output.nodes]
    for expression in tree.find_all(nodes.CondExpr):
        if _asks_for_generation(expression.test):
            expression.expr1 = _marked(expression.expr1, environment)


def _asks_for_generation(test: nodes.Node) -> bool:
    names = [test] if isinstance(test, nodes.Name) else []
    asked = any(name.name == "add_generation_prompt" for name in [*names, *test.find_all(nodes.Name)])
    return asked and not isinstance(test, nodes.Not)


def _marked(node: nodes.Expr, environment: jinja2.Environment) -> nodes.Expr:
    value = nodes.Const(node.data) if isinstance(node, nodes.TemplateData) else node
    marked = nodes.Filter(value, _GENERATION, [], [], None, None, lineno=node.lineno)
    marked.set_environment(environment)
    return marked
