"""Chat templates: a model's own Jinja, rendered as `transformers` renders it, with the origin of every character.

The text equals `tokenizer.apply_chat_template(..., tokenize=False)` of transformers 5 (`utils/chat_template_utils.py`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.utils import Namespace

from whetstone.errors import ModelFileError, RequestRefusedError
from whetstone.tokens.sandbox import (
    SIZE_LIMIT,
    TIME_LIMIT,
    WATCHDOG,
    LimitedEnvironment,
    TemplateTimeout,
    check_width,
    too_large,
)
from whetstone.tokens.spans import Kind, Rendered, Source, label
from whetstone.tokens.tracked import TrackedStr, concat, tracked

_CONTINUE_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
_REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
_KINDS: Mapping[str, Kind] = {
    "role": "role",
    "tool_calls": "tool_calls",
    **dict.fromkeys(_REASONING_FIELDS, "reasoning"),
}
_GENERATION = "_whetstone_generation"


class ChatTemplate:
    """A chat template, compiled once.

    Args:
        source: its Jinja text.
        special_tokens: what it may name: `bos_token`, `eos_token`, ... -> spelling.
        control: spellings of all control tokens of the vocabulary, by which the result is labelled.
        name: whose template it is, for messages.

    Raises:
        ModelFileError: it is no template.
    """

    def __init__(
        self, source: str, special_tokens: Mapping[str, str] | None = None, control: Sequence[str] = (), name: str = ""
    ) -> None:
        self.source = source
        self.special_tokens = dict(special_tokens or {})
        self.control = tuple(control)
        self.name = name
        try:
            self._compiled, self._generation_blocks = _compile(source)
        except (jinja2.TemplateError, RecursionError, ValueError) as error:
            where = f"{name}: " if name else ""
            raise ModelFileError(f"{where}the chat template cannot be read: {error}") from None

    @property
    def marks_generation(self) -> bool:
        """Whether it says itself, with `{% generation %}` blocks, what a model is to be trained on."""
        return self._generation_blocks

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        now: datetime | None = None,
        **variables: Any,
    ) -> Rendered:
        """The text that it makes of messages, every character labelled.

        Args:
            messages: role, content and whatever else the template reads.
            tools: JSON schemas of functions.
            documents: with title and text.
            add_generation_prompt: end with what begins an answer of the assistant's.
            continue_final_message: end inside the last message, without what closes it.
            now: what `strftime_now` tells; by default the time it is.
            **variables: further variables of the template, such as `enable_thinking`.

        Raises:
            RequestRefusedError: the template refuses the messages, or the sandbox stopped it; the sentence says why.
        """
        if not messages:
            raise self._refusal("there is no message")
        if continue_final_message and add_generation_prompt:
            raise self._refusal("a message cannot be continued and a new one begun at once")
        chat = [_tracked_message(number, message) for number, message in enumerate(messages)]
        final = _tag_final(chat, self) if continue_final_message else ""
        blocks: list[tuple[int, int]] = []
        told = {
            **self.special_tokens,
            **variables,
            "messages": chat,
            "tools": _told(list(tools), Source("tools")) if tools is not None else None,
            "documents": _told(list(documents), Source("documents")) if documents is not None else None,
            "add_generation_prompt": add_generation_prompt,
            "strftime_now": lambda form: (now or datetime.now()).strftime(form),
        }
        text = self._run(told, blocks)
        if continue_final_message:
            text = self._cut_at_tag(text, final)
        return Rendered(str.__str__(text), label(text, self.control), tuple(blocks))

    def _run(self, variables: dict[str, Any], blocks: list[tuple[int, int]]) -> str:
        try:
            with WATCHDOG.limit(TIME_LIMIT):
                pieces: list[str] = []
                with _tracker(self._compiled.environment).activate(pieces, blocks):
                    size = 0
                    context = self._compiled.new_context(variables)
                    for piece in self._compiled.root_render_func(context):
                        pieces.append(piece)
                        size += len(piece)
                        check_width(size)
                return concat(pieces)
        except TemplateTimeout:
            raise self._refusal(f"it was stopped after {TIME_LIMIT:g} seconds") from None
        except jinja2.exceptions.SecurityError as error:
            raise self._refusal(f"the sandbox stopped it: {error}") from None
        except jinja2.TemplateError as error:
            raise self._refusal(str(error.message or error)) from None
        except (RecursionError, MemoryError) as error:
            raise self._refusal(f"the sandbox stopped it: {type(error).__name__}") from None
        except Exception as error:  # a template is a program, which can fail in every way
            raise self._refusal(f"{type(error).__name__}: {error}") from None

    def _cut_at_tag(self, text: str, final: str) -> str:
        tag = _CONTINUE_TAG.strip()
        if final.strip() not in text or tag not in text:
            raise self._refusal("it changes the last message, so that it cannot be continued")
        at = text.rindex(tag)
        kept = text[:at]
        return kept if text[at : at + len(_CONTINUE_TAG)] == _CONTINUE_TAG else kept.rstrip()

    def _refusal(self, why: str) -> RequestRefusedError:
        whose = f"{self.name}: " if self.name else ""
        return RequestRefusedError(f"{whose}the chat template refuses these messages: {why}")


def _told(value: Any, source: Source) -> Any:
    """A copy made of plain JSON values, whose texts say where they came from."""
    if type(value) is str:
        return tracked(value, source)
    if isinstance(value, str):
        return tracked(str.__str__(value), source)
    if isinstance(value, Mapping):
        return {str(key): _told(item, source) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_told(item, source) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return f"<{type(value).__name__}>"


def _tracked_message(number: int, message: Mapping[str, Any]) -> dict[str, Any]:
    if type(message) is not dict and not isinstance(message, Mapping):
        raise RequestRefusedError(f"message {number} is {type(message).__name__}, where role and content were expected")
    made: dict[str, Any] = {}
    for key, value in message.items():
        if value is not None:
            made[key] = _told(value, Source(_KINDS.get(key, "content"), number))
    if not any(key in made for key in _REASONING_FIELDS):
        return made
    thought = next(made[key] for key in _REASONING_FIELDS if key in made)
    return {"thinking": thought, **made, "reasoning_content": thought}


def _tag_final(chat: list[dict[str, Any]], template: ChatTemplate) -> str:
    """Mark the end of the last message's text; that text."""
    content = chat[-1].get("content")
    if isinstance(content, list):
        for part in reversed(content):
            if isinstance(part, dict) and "text" in part:
                text: str = part["text"]
                part["text"] = text + _CONTINUE_TAG
                return text
        content = None
    if content is None or "content" not in template.source:
        raise template._refusal("the last message has no text to continue")
    chat[-1]["content"] = content + _CONTINUE_TAG
    return str(content)


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


def _tracker(environment: jinja2.Environment) -> Any:
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


def _limited(name: str) -> Any:
    original = jinja2.filters.FILTERS[name]

    @functools.wraps(original)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_width(*args, *kwargs.values())
        return original(*args, **kwargs)

    return checked


def _environment() -> LimitedEnvironment:
    environment = LimitedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, "jinja2.ext.loopcontrols"]
    )
    environment.code_generator_class = _TrackingCodeGenerator
    environment.concat = _joined  # type: ignore[method-assign]
    environment.extend(add=_add)
    environment.filters.update({"tojson": _to_json, "join": _join, _GENERATION: _mark_generation})
    environment.filters.update({name: _limited(name) for name in ("center", "indent", "wordwrap", "batch", "slice")})
    environment.globals.update({"raise_exception": _raise_exception, "dict": _TemplateDict()})
    environment.globals["namespace"] = _TemplateNamespace
    return environment


@functools.lru_cache(maxsize=64)
def _compile(source: str) -> tuple[jinja2.Template, bool]:
    """The compiled template, in an environment of its own, and whether it has generation blocks."""
    environment = _environment()
    tree = environment.parse(source)
    _mark_generation_prompt(tree, environment)
    return environment.from_string(tree), _tracker(environment).met


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
