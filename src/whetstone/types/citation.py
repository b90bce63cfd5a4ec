"""Where a claim of an answer stands in a document."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that an answer rests on, with all it takes to open it.

    Attributes:
        number: how the answer refers to it: 1 for "[1]".
        base: the knowledge base.
        path: of the document, relative to the knowledge base's folder, with "/" between its parts.
        title: of the document.
        trail: the headings above the passage: "Title > H2 > H3".
        place: what a person calls the spot, where the file knows one: "page 3"; otherwise "".
        start, end: where the passage stands in the document's text, in characters.
        text: the passage as the document has it.
        spans: the parts of the answer's text, in characters, that refer to it: its markers "[1]"; of an attributed
            citation, the sentences that it belongs to.
        attributed: the model did not write it: it was found afterwards, by comparing the sentence with the passages.
    """

    number: int
    base: str
    path: str
    title: str
    trail: str
    place: str
    start: int
    end: int
    text: str
    spans: tuple[tuple[int, int], ...] = ()
    attributed: bool = False

    @property
    def where(self) -> str:
        """The path, the heading and the place, as far as there are any: what a list of sources shows."""
        heading = self.trail.rpartition(" > ")[2]
        return ", ".join(filter(None, (self.path, "" if heading == self.title else heading, self.place)))
