"""HTML as blocks, by the parser of the standard library.

kreuzberg 4.10 was tried first: what it makes of the page's head (title, author) gets into the text as a heading.
"""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser

from whetstone.retrieval.document import Block, BlockKind
from whetstone.retrieval.reading.laying import part, table

_CHARSET = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w-]+)""", re.IGNORECASE)
_HEAD = 4096
_UNSEEN = {"script", "style", "template", "noscript", "svg", "math", "head"}
_INLINE = {
    *("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins"),
    *("kbd", "label", "mark", "q", "rp", "rt", "ruby", "s", "samp", "small", "span", "strike", "strong", "sub", "sup"),
    *("time", "tt", "u", "var", "wbr", "img", "br", "input", "button", "meta", "link", "title"),
}
_METADATA = {"author", "description", "keywords", "date"}


def charset(data: bytes) -> str:
    """The encoding that a page's head names; "" without one that is known."""
    match = _CHARSET.search(data[:_HEAD])
    if match is None:
        return ""
    try:
        return codecs.lookup(match[1].decode()).name
    except LookupError:
        return ""


def html(text: str) -> tuple[dict[str, str], list[Block]]:
    """What a page says of itself ("title", "author"...), and its parts: headings, paragraphs, lists, tables, code.

    Scripts, styles and pictures are left out; pictures leave the words that stand for them.
    """
    page = _Page()
    page.feed(text)
    page.close()
    page.end_block()
    return page.said, page.parts


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: dict[str, str] = {}
        self.parts: list[Block] = []
        self._text: list[str] = []
        self._unseen = ""  # the outermost tag whose content is left out
        self._unseen_depth = 0
        self._in_title = False
        self._level = 0
        self._preformatted = 0
        self._lists: list[int | None] = []  # number of the last item of each list that is open; None without numbers
        self._items: list[str] = []
        self._tables: list[list[list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "meta":
            name, content = (named.get("name") or "").lower(), (named.get("content") or "").strip()
            if name in _METADATA and content:
                self.said.setdefault(name, content)
        if tag == "title":
            self._in_title = True
        if tag == self._unseen:
            self._unseen_depth += 1
        elif not self._unseen and tag in _UNSEEN:
            self._unseen, self._unseen_depth = tag, 1
        elif self._unseen and tag == "body":  # a head that nobody closed
            self._unseen = ""
        if self._unseen:
            return
        if tag == "br":
            self._text.append("\n")
        elif tag == "img" and named.get("alt"):
            self._text.append(f" {named['alt']} ")
        elif tag not in _INLINE:
            self._begin(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if self._unseen:
            if tag == self._unseen:
                self._unseen_depth -= 1
                if not self._unseen_depth:
                    self._unseen = ""
        elif tag not in _INLINE:
            self._end(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.said["title"] = " ".join((self.said.get("title", "") + data).split())
        elif not self._unseen:
            self._text.append(data if self._preformatted else re.sub(r"\s+", " ", data))

    def _begin(self, tag: str) -> None:
        if self._tables:
            if tag == "table":
                self._tables.append([])
            elif tag == "tr":
                self._end_cell()
                self._tables[-1].append([])
            elif tag in ("td", "th"):
                self._end_cell()
                if not self._tables[-1]:
                    self._tables[-1].append([])
                self._tables[-1][-1].append("")
            else:
                self._text.append(" ")
            return
        if tag == "table":
            self.end_block()
            self._tables.append([])
            return
        self.end_block(within_list=tag in ("li", "ul", "ol", "p", "div"))
        if re.fullmatch("h[1-6]", tag):
            self._level = int(tag[1])
        elif tag == "pre":
            self._preformatted += 1
        elif tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            last = self._lists[-1] if self._lists else None
            if last is not None:
                self._lists[-1] = last + 1
            mark = "- " if last is None else f"{last + 1}. "
            self._items.append("  " * max(0, len(self._lists) - 1) + mark)

    def _end(self, tag: str) -> None:
        if self._tables:
            if tag == "table":
                self._end_cell()
                self._end_table()
            elif tag not in ("tr", "td", "th"):
                self._text.append(" ")
            return
        if tag in ("ul", "ol"):
            self.end_block(within_list=True)
            if self._lists:
                self._lists.pop()
            if not self._lists:
                self.end_block()
            return
        self.end_block(within_list=bool(self._lists))
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def end_block(self, within_list: bool = False) -> None:
        """Make a part of the words since the last one; those of a list wait for its end."""
        text = "".join(self._text)
        self._text = []
        if self._preformatted:
            self.parts.append(part("code", text))
        elif text.strip() and self._items and self._lists:
            self._items[-1] += (" " if self._items[-1][-1] not in " \n" else "") + _lines(text)
        elif text.strip():
            self._end_list()
            kind: BlockKind = "heading" if self._level else "text"
            shown = f"{'#' * self._level} {' '.join(text.split())}" if self._level else _lines(text)
            self.parts.append(part(kind, shown, self._level))
        self._level = 0
        if not within_list:
            self._end_list()

    def _end_list(self) -> None:
        if self._items:
            self.parts.append(part("list", "\n".join(item for item in self._items if item.strip(" -.0123456789"))))
            self._items = []

    def _end_cell(self) -> None:
        text = " ".join("".join(self._text).split())
        self._text = []
        rows = self._tables[-1]
        if rows and rows[-1]:
            rows[-1][-1] += text
        elif text:  # words outside of any cell, such as a caption
            rows.insert(0, [text])

    def _end_table(self) -> None:
        rows = [row for row in self._tables.pop() if any(row)]
        if self._tables:  # a table in a cell of another
            self._text.append(" ".join(cell for row in rows for cell in row))
        elif len(rows) == 1 or max(map(len, rows), default=0) == 1:  # laid out by a table, as pages once were
            self.parts += [part("text", cell) for row in rows for cell in row]
        else:
            self.parts.append(part("table", table(rows)))


def _lines(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.strip().split("\n"))
