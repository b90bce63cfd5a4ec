"""One conversation as a model sees it: text, token ids, what every token is, and what it would be trained on.

The one place that builds prompt ids: for chats, for inspection, for training and for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from whetstone.errors import UsageError
from whetstone.tokens.spans import Rendered, Span, control_pattern
from whetstone.tokens.template import ChatTemplate
from whetstone.tokens.tokenizer import Tokenizer

_SAID = ("content", "reasoning", "tool_calls")
_OWN = ("control", "template", "unwritten", "generation")  # kinds that a template writes


@dataclass(frozen=True, slots=True)
class RenderedChat:
    """A conversation as a model sees it.

    Attributes:
        text: the rendered text.
        spans: what each character is; in order, without gaps.
        ids: token ids, shape (n,).
        offsets: the characters of each token, shape (n, 2); a token for a part of a character has the whole character.
        trained: whether each token would be learned in training on the assistant's turns, shape (n,).
        pasted: (start, end) of texts in messages that spell a control token, and were encoded as text.
    """

    text: str
    spans: tuple[Span, ...]
    ids: list[int]
    offsets: list[tuple[int, int]]
    trained: list[bool]
    pasted: tuple[tuple[int, int], ...] = ()

    def span_of(self, token: int) -> Span:
        """What a token is: the span of its first character."""
        start = self.offsets[token][0]
        low, high = 0, len(self.spans) - 1
        while low < high:
            middle = (low + high) // 2
            if self.spans[middle].end <= start:
                low = middle + 1
            else:
                high = middle
        return self.spans[low]


def template_of(tokenizer: Tokenizer) -> ChatTemplate:
    """The chat template of a tokenizer.

    Raises:
        UsageError: it has none, because its model is a base model.
        ModelFileError: it cannot be read.
    """
    if not tokenizer.template:
        raise UsageError(
            f"{tokenizer.name} has no chat template: it belongs to a base model, which continues texts and was not "
            "trained on conversations"
        )
    return _template(
        tokenizer.template, tuple(sorted(tokenizer.special_tokens.items())), tokenizer.control, tokenizer.name
    )


@lru_cache(maxsize=64)
def _template(source: str, special: tuple[tuple[str, str], ...], control: tuple[str, ...], name: str) -> ChatTemplate:
    return ChatTemplate(source, dict(special), control, name)


def render_chat(
    tokenizer: Tokenizer,
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    continue_final_message: bool = False,
    learn_from: int = 0,
    **variables: Any,
) -> RenderedChat:
    """A conversation through a model's own template and tokenizer; see `ChatTemplate.render` for the arguments.

    No token is added around it: a chat template writes its own BOS.

    Args:
        learn_from: index of the message from which on answers count as learned.

    Raises:
        UsageError: the tokenizer has no chat template.
        RequestRefusedError: the template refuses the messages.
    """
    template = template_of(tokenizer)
    rendered = template.render(
        messages,
        tools=tools,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
        **variables,
    )
    ids, offsets, pasted = encode_rendered(tokenizer, rendered)
    if template.marks_generation:
        begin = min((s.start for s in rendered.spans if (s.message or 0) >= learn_from > 0), default=0)
        regions = tuple(block for block in rendered.generation_blocks if block[0] >= begin)
    else:
        roles = ["" if n < learn_from else str(message.get("role")) for n, message in enumerate(messages)]
        regions = tuple(_learned(rendered, roles, _generation_prompt(template, messages, tools, variables)))
    trained = list(_within(offsets, regions))
    return RenderedChat(rendered.text, rendered.spans, ids, offsets, trained, pasted)


def encode_rendered(
    tokenizer: Tokenizer, rendered: Rendered
) -> tuple[list[int], list[tuple[int, int]], tuple[tuple[int, int], ...]]:
    """Token ids and character offsets of a rendered chat, and where messages spell control tokens.

    Control tokens come from the template alone: a message that spells one is encoded as the text that it is.
    """
    own, pasted = _control_tokens(rendered, tokenizer.control)
    if not pasted:
        encoding = tokenizer.encode(rendered.text, special=True)
        return encoding.ids, encoding.offsets, ()
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for start, end, control in _pieces(rendered.text, own, tokenizer):
        encoding = tokenizer.encode(rendered.text[start:end], special=control)
        ids += encoding.ids
        offsets += [(start + first, start + last) for first, last in encoding.offsets]
    return ids, offsets, tuple(pasted)


def _control_tokens(
    rendered: Rendered, control: tuple[str, ...]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Where control tokens are spelled: by the template, and with a part that a message wrote."""
    pattern = control_pattern(control)
    own: list[tuple[int, int]] = []
    pasted: list[tuple[int, int]] = []
    if pattern is None:
        return own, pasted
    foreign = [(span.start, span.end) for span in rendered.spans if span.kind not in _OWN]
    next_foreign, position = 0, 0
    while (match := pattern.search(rendered.text, position)) is not None:
        start, end = match.span()
        while next_foreign < len(foreign) and foreign[next_foreign][1] <= start:
            next_foreign += 1
        if next_foreign < len(foreign) and foreign[next_foreign][0] < end:
            pasted.append((start, end))
            position = start + 1  # the template's own token may begin inside this one
        else:
            own.append((start, end))
            position = end
    return own, pasted


def _pieces(text: str, control: Sequence[tuple[int, int]], tokenizer: Tokenizer) -> Iterator[tuple[int, int, bool]]:
    """`(start, end, whether it is a control token)`; what a control token swallows around itself is left out."""
    greedy = {token.text: token for token in tokenizer.added if token.lstrip or token.rstrip}
    position = 0
    for start, end in control:
        token = greedy.get(text[start:end])
        before = start
        if token is not None and token.lstrip:
            before = position + len(text[position:start].rstrip())
        if before > position:
            yield position, before, False
        yield start, end, True
        position = end
        if token is not None and token.rstrip:
            position += len(text[end:]) - len(text[end:].lstrip())
    if position < len(text):
        yield position, len(text), False


def _generation_prompt(
    template: ChatTemplate,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    variables: Mapping[str, Any],
) -> str:
    """What the template writes before an answer; "" where it writes nothing of the kind."""
    first = next((n for n, message in enumerate(messages) if message.get("role") == "assistant"), len(messages))
    if first == 0:
        return ""
    asked = messages[:first]
    with_prompt = template.render(asked, tools=tools, add_generation_prompt=True, **variables).text
    without = template.render(asked, tools=tools, **variables).text
    same = next((n for n, (a, b) in enumerate(zip(with_prompt, without, strict=False)) if a != b), len(without))
    return with_prompt[min(same, len(with_prompt)) :]


def _learned(rendered: Rendered, roles: Sequence[str], generation_prompt: str) -> Iterator[tuple[int, int]]:
    """What the assistant says, and the control token with which it ends its turn: what a model has to write itself."""
    spans = rendered.spans
    said: dict[int, list[int]] = {}
    for index, span in enumerate(spans):
        if span.message is not None and span.kind in _SAID:
            said.setdefault(span.message, []).append(index)
    for number, role in enumerate(roles):
        if role != "assistant" or number not in said:
            continue
        first, last = said[number][0], said[number][-1]
        start, end = spans[first].start, spans[last].end
        # The template may write more between the generation prompt and the text: an empty thought, for instance.
        before = first
        while before > 0 and _is_header(spans[before - 1], number):
            before -= 1
        header = rendered.text[spans[before].start : start]
        if generation_prompt and (at := header.rfind(generation_prompt)) >= 0:
            start = spans[before].start + at + len(generation_prompt)
        for span in spans[last + 1 :]:
            if span.kind == "control":
                end = span.end
                break
            if span.kind not in ("template", "unwritten"):
                break
        yield start, end


def _is_header(span: Span, number: int) -> bool:
    return span.kind in _OWN or (span.kind == "role" and span.message in (None, number))


def _within(offsets: Sequence[tuple[int, int]], regions: Sequence[tuple[int, int]]) -> Iterator[bool]:
    """Whether each token begins inside one of the regions, which are in order."""
    waiting = iter(regions)
    region = next(waiting, None)
    for start, end in offsets:
        while region is not None and region[1] <= start and end > start:
            region = next(waiting, None)
        yield region is not None and region[0] <= start < region[1]
