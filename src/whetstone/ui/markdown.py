"""Markdown as HTML that a page may show: whatever a model writes stays text, and nothing in it loads or runs."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

_SCHEMES = {"http", "https", "mailto"}


def to_html(text: str) -> str:
    """HTML of a text in CommonMark with tables.

    Tags in the text are shown as they were written. Links open beside the page, and only to http, https and mailto
    addresses; another link stays text. An image is shown as a link: loading it would tell its server that the answer
    was read, and when.
    """
    return str(_PARSER.render(text))


class _Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Whether an address may become a link; the parser asks."""
        try:
            return urlsplit(url.strip()).scheme.lower() in _SCHEMES
        except ValueError:
            return False


def _parser() -> MarkdownIt:
    parser = _Parser("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link)
    return parser


def _image(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    image = tokens[index]
    words = self.renderInlineAsText(image.children or [], options, env) or "image"
    address = str(image.attrs.get("src", ""))
    return f'<a href="{escape(address)}" {_BESIDE}>[{escape(words)}]</a>'


def _link(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: MutableMapping[str, Any]
) -> str:
    address = str(tokens[index].attrs.get("href", ""))
    return f'<a href="{escape(address)}" {_BESIDE}>'


_BESIDE = 'target="_blank" rel="noopener noreferrer nofollow"'
_PARSER = _parser()
