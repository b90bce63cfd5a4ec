"""A conversation as models see it, as HTML: every character named, ids, refusals, and where two models differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import Any

from whetstone.errors import DataError, WhetstoneError
from whetstone.tokens.chat import RenderedChat, render_chat
from whetstone.tokens.conversation_json import read_conversation
from whetstone.tokens.pieces import visible_text
from whetstone.tokens.spans import MEANINGS
from whetstone.tokens.tokenizer import Encoding, Tokenizer
from whetstone.ui.tokens_pieces import Drawn, Facts, box, encoding_html

MOST_CHARACTERS = 200_000  # of the JSON of a conversation
DRAWN = 3_000  # token ids
PAINTED = 30_000  # characters of the rendered text
_NAMED_IDS = 24
_PASTED = 5


def conversation_of(text: str, tools: str = "") -> dict[str, Any]:
    """Messages and what goes with them, from the JSON that a person typed: as `read_conversation`, if not too long."""
    if len(text) + len(tools) > MOST_CHARACTERS:
        raise DataError(f"the conversation has over {MOST_CHARACTERS:,} characters: use `whet tokens chat FILE`")
    return read_conversation(text, tools=tools)


def render(tokenizer: Tokenizer, asked: Mapping[str, Any]) -> RenderedChat:
    """The conversation through a tokenizer's template.

    Raises:
        WhetstoneError: it has none, or refuses the messages.
    """
    variables = {key: value for key, value in asked.items() if key != "messages"}
    try:
        return render_chat(tokenizer, asked["messages"], **variables)
    except TypeError as error:  # a variable of the wrong kind, such as add_generation_prompt: []
        raise DataError(f"the conversation cannot be rendered: {error}") from None


def conversation_view(tokenizers: Mapping[str, Tokenizer], asked: Mapping[str, Any]) -> tuple[str, dict[str, Facts]]:
    """For each tokenizer the rendered conversation or the sentence with which it is refused; differences of the first
    two; and the facts of the pieces, by the names of their boxes."""
    html: list[str] = []
    facts: dict[str, Facts] = {}
    rendered: dict[str, RenderedChat] = {}
    for name, tokenizer in tokenizers.items():
        try:
            chat = render(tokenizer, asked)
        except WhetstoneError as error:
            html.append(
                f'<section data-name="{escape(name)}"><h3>{escape(name)}</h3>'
                f'<p class="wh-error" role="status">{escape(str(error))}</p></section>'
            )
            continue
        rendered[name] = chat
        text = painted(chat, asked["messages"], f"Rendered text of {name}")
        ids = encoding_html(name, tokenizer, Encoding(chat.ids, chat.offsets), DRAWN)
        facts[f"{name} text"], facts[f"{name} ids"] = text.facts, ids.facts
        html.append(
            f'<section data-name="{escape(name)}"><h3>{escape(name)}</h3>{_counts(chat)}'
            f'<div data-facts="{escape(name)} text">{text.html}</div>{_pasted(chat)}'
            f'<details data-keep="ids {escape(name)}"><summary>Token ids</summary>'
            f'<div data-facts="{escape(name)} ids" class="wh-tk-with-ids">{ids.html}</div></details></section>'
        )
    kinds = [kind for kind in MEANINGS if any(span.kind == kind for chat in rendered.values() for span in chat.spans)]
    learned = any(any(chat.trained) for chat in rendered.values())
    pasted = any(chat.pasted for chat in rendered.values())
    return legend(kinds, learned, pasted) + "".join(html) + _differences(rendered), facts


def legend(kinds: Sequence[str], learned: bool, pasted: bool = False) -> str:
    """What the colours mean."""
    if not kinds:
        return ""
    keys = "".join(f'<span class="wh-tk-key"><i class="k-{kind}">{MEANINGS[kind]}</i></span>' for kind in kinds)
    if learned:
        keys += '<span class="wh-tk-key"><i class="learned">learned in training</i></span>'
    if pasted:
        keys += '<span class="wh-tk-key"><i class="pasted">spells a control token, sent as text</i></span>'
    return f'<p class="wh-tk-legend">{keys}</p>'


def painted(chat: RenderedChat, messages: Sequence[Mapping[str, Any]], label: str) -> Drawn:
    """The rendered text in colours; the facts of a piece say what it is, of which message, and its tokens."""
    parts: list[str] = []
    facts: Facts = {}
    starts: dict[int, list[int]] = {}
    for token, (start, _) in zip(chat.ids, chat.offsets, strict=True):
        starts.setdefault(start, []).append(token)
    for number, (start, end, kind, message, learned, pasted) in enumerate(_runs(chat)):
        classes = f"k-{kind}{' learned' if learned else ''}{' pasted' if pasted else ''}"
        shown = _shown(chat.text[start:end])
        parts.append(f'<i class="{classes}" data-k="{number}">{escape(shown)}</i>')
        ids = [token for position in range(start, end) for token in starts.get(position, ())]
        told = " ".join(map(str, ids[:_NAMED_IDS])) + (f" … {len(ids):,} in all" if len(ids) > _NAMED_IDS else "")
        facts[str(number)] = [("what", MEANINGS[kind])]
        if message is not None and message < len(messages):
            facts[str(number)].append(("of", f"message {message + 1}, {messages[message].get('role')}"))
        facts[str(number)] += [
            ("characters", f"{start:,} to {end:,}"),
            ("ids", told or "those of the piece before"),
            ("in training", "learned" if learned else "read"),
        ]
        if pasted:
            facts[str(number)].append(("note", "spells a control token, and is sent as text"))
    cut = (
        f'<p class="wh-note">The first {PAINTED:,} of {len(chat.text):,} characters are shown.</p>'
        if len(chat.text) > PAINTED
        else ""
    )
    return Drawn(box(label, "".join(parts), "wh-tk-painted") + cut, facts)


def _runs(chat: RenderedChat) -> Iterator[tuple[int, int, str, int | None, bool, bool]]:
    """Stretches of the same kind, learned or not, pasted or not: `(start, end, kind, message, learned, pasted)`."""
    learned = bytearray(len(chat.text))
    for (start, end), on in zip(chat.offsets, chat.trained, strict=True):
        if on:
            learned[start:end] = b"\1" * (end - start)
    pasted = bytearray(len(chat.text))
    for start, end in chat.pasted:
        pasted[start:end] = b"\1" * (end - start)
    for span in chat.spans:
        stop = min(span.end, PAINTED)
        begin = span.start
        for position in range(span.start + 1, stop + 1):
            if position == stop or learned[position] != learned[begin] or pasted[position] != pasted[begin]:
                yield begin, position, span.kind, span.message, bool(learned[begin]), bool(pasted[begin])
                begin = position


def _shown(text: str) -> str:
    """Spaces and line breaks as they are, beside a mark; everything else that is invisible made visible."""
    return visible_text(text).replace("·", " ").replace("⏎", "⏎\n") if "·" not in text else _slowly(text)


def _slowly(text: str) -> str:
    shown = (" " if character == " " else visible_text(character) for character in text)
    return "".join(shown).replace("⏎", "⏎\n")


def _counts(chat: RenderedChat) -> str:
    control = sum(span.kind == "control" for span in chat.spans)
    return (
        f'<p class="wh-note"><b class="wh-tk-count">{len(chat.ids):,}</b> tokens for {len(chat.text):,} characters; '
        f"{control:,} control tokens by the template; {sum(chat.trained):,} tokens would be learned in training</p>"
    )


def _pasted(chat: RenderedChat) -> str:
    lines = "".join(
        f"<li>A message spells the control token <code>{escape(visible_text(chat.text[start:end]))}</code>: it is sent "
        "as text, not as the token.</li>"
        for start, end in chat.pasted[:_PASTED]
    )
    rest = len(chat.pasted) - _PASTED
    more = f"<li>and {rest:,} more times</li>" if rest > 0 else ""
    return f'<ul class="wh-tk-pasted-list">{lines}{more}</ul>' if lines else ""


def _differences(rendered: Mapping[str, RenderedChat]) -> str:
    if len(rendered) < 2:
        return ""
    (one, first), (two, second) = list(rendered.items())[:2]
    heading = f"<h3>{escape(one)} and {escape(two)}, line by line</h3>"
    if first.text == second.text:
        same = "The texts are the same" + (", and so are the ids." if first.ids == second.ids else "; the ids differ.")
        return f'<section class="wh-tk-diff">{heading}<p class="wh-note">{same}</p></section>'
    lines = diff_html(first.text, second.text, one, two)
    return f'<section class="wh-tk-diff">{heading}<pre tabindex="0">{lines}</pre></section>'


def diff_html(one: str, two: str, name_one: str, name_two: str) -> str:
    """Lines of either text alone, and those of both."""
    before, after = one[:PAINTED].split("\n"), two[:PAINTED].split("\n")
    rows: list[str] = []
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            rows += [f"<span>  {escape(_shown(line))}⏎</span>" for line in before[a:b]]
            continue
        rows += [f'<del title="only {escape(name_one)}">− {escape(_shown(line))}⏎</del>' for line in before[a:b]]
        rows += [f'<ins title="only {escape(name_two)}">+ {escape(_shown(line))}⏎</ins>' for line in after[c:d]]
    return "".join(rows)
