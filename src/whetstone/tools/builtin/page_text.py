"""What a person would read on a web page, as text: without scripts, styles and what the page hides."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

_UNSEEN = {"script", "style", "template", "noscript", "svg", "math", "head", "iframe", "object", "select", "textarea"}
_CLOSED_BY_ITSELF = {"p", "li", "td", "th", "tr", "dd", "dt"}  # ends where the next one begins
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_INLINE = {
    *("a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd"),
    *("label", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var"),
    *("button", "img", "input", "wbr", "title", "meta", "link"),
}
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])|opacity\s*:\s*0(?![.\d])")


def page_text(html: str, url: str) -> tuple[str, str]:
    """The title and the text of a page. Links are written `[words](address)`.

    Args:
        html: the page.
        url: where it came from, for links that are relative to it.
    """
    page = _Page(url)
    page.feed(html)
    page.close()
    page.end_link()
    lines = (" ".join(line.split()) for line in "".join(page.text).splitlines())
    return " ".join(page.title.split()), re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Page(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.text: list[str] = []
        self._url = url
        self._unseen = ""  # the outermost tag whose content is left out
        self._depth = 0
        self._in_title = False
        self._link: tuple[int, str] | None = None  # where its words begin in `text`, and where it leads

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "title" and not self.title:
            self._in_title = True
        if tag == "body":
            self._in_title = False
        if (self._unseen == "head" and tag == "body") or (tag == self._unseen and tag in _CLOSED_BY_ITSELF):
            self._unseen = ""  # nobody closed it, and nobody had to
        if self._unseen:
            self._depth += tag == self._unseen
            return
        if tag not in _VOID and (tag in _UNSEEN or _is_hidden(named)):
            self._unseen, self._depth = tag, 1
        elif tag == "br":
            self.text.append("\n")
        elif tag == "li":
            self.text.append("\n- ")
        elif tag in ("td", "th"):
            self.text.append(" | ")
        elif tag == "img":
            self.text.append(f" {named.get('alt') or ''} ")
        elif tag == "a":
            self.end_link()
            self._link = (len(self.text), named.get("href") or "")
        elif tag not in _INLINE:
            self.text.append("\n\n" if tag in ("p", "h1", "h2", "h3", "h4", "table", "ul", "ol", "pre") else "\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if self._unseen:
            if tag == self._unseen:
                self._depth -= 1
                if not self._depth:
                    self._unseen = ""
        elif tag == "a":
            self.end_link()
        elif tag not in _INLINE and tag not in ("td", "th", "li"):
            self.text.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._unseen:
            self.text.append(data)

    def end_link(self) -> None:
        """Write the words of the link that is open as one."""
        if self._link is None:
            return
        begin, leads = self._link
        self._link = None
        words = " ".join("".join(self.text[begin:]).split())
        try:
            target = urljoin(self._url, leads.strip())
            useful = urlsplit(target).scheme in ("http", "https") and not leads.strip().startswith("#")
        except ValueError:
            useful = False
        if words and leads and useful:
            self.text[begin:] = [f"[{words}]({target})"]


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or _HIDDEN.search((attributes.get("style") or "").lower()) is not None
    )
