"""A model's Markdown in a terminal: rendered as it grows, never obeyed, and with nothing of it left out.

Rich renders the tokens. What it would do with them is changed where it would lose or run something: HTML is text,
links show where they lead instead of becoming terminal hyperlinks, single line ends stay, definitions of links stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.markdown import Markdown

from whetstone.cli.visible import visible


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return parser.disable(["reference", "html_block", "html_inline"])


@cache
def _block_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    return parser.disable(["reference", "html_block", "inline"])


class SafeMarkdown(Markdown):
    """Markdown that cannot control the terminal.

    Args:
        text: what the model wrote.
    """

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False)
        self.markup = visible(text)
        self.parsed = _parser().parse(self.markup)
        _make_safe(self.parsed)


def _make_safe(tokens: Sequence[Token]) -> None:
    for token in tokens:
        if token.type == "softbreak":
            token.type = "hardbreak"
        elif token.type == "image":
            token.type, token.tag = "text", ""
            token.content = f"[image: {token.content}] ({token.attrs.get('src', '')})"
            token.children = None
        # The parser has decoded entities and percent signs: `&#x202e;` and `<http://a/%1b[31m>` were harmless before.
        token.content = visible(token.content)
        token.info = visible(token.info)
        _make_safe(token.children or ())


def settled(text: str) -> int:
    """How many characters of a growing Markdown text make up blocks that later text cannot change.

    The last block may still grow. So may the last line, which counts only when it begins with a letter: a digit or a
    mark may yet become an item of the list above it, or a fence.
    """
    begun = text[text.rfind("\n") + 1 :]
    certain = text if begun.lstrip(" ")[:1].isalpha() else text[: len(text) - len(begun)]
    starts = [
        token.map[0]
        for token in _block_parser().parse(certain)
        if token.level == 0 and token.map is not None and token.nesting >= 0
    ]
    if len(starts) < 2:
        return 0
    return sum(len(line) + 1 for line in certain.split("\n")[: starts[-1]])
