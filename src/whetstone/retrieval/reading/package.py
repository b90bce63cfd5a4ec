"""The parts of an office file, which is a zip archive of XML, without trusting it."""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from xml.etree import ElementTree

from whetstone.errors import DataError

MOST_UNPACKED = 512 << 20
"""Bytes that all parts of an office file may have together; more is taken for a zip bomb."""
_MOST_PARTS = 20_000
_MOST_IN_ONE = 128 << 20  # bytes of one part of XML
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_LINKS = "{http://schemas.openxmlformats.org/package/2006/relationships}Relationship"
_ELSEWHERE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_CORE = {
    "{http://purl.org/dc/elements/1.1/}title": "title",
    "{http://purl.org/dc/elements/1.1/}creator": "author",
    "{http://purl.org/dc/elements/1.1/}subject": "subject",
    "{http://schemas.openxmlformats.org/package/2006/metadata/core-properties}keywords": "keywords",
}


class Package:
    """An office file.

    Its declared sizes are checked at once; unpacking a part stops where its declared size ends, so nothing can lie.

    Args:
        data: the file.
        path: what messages call it.

    Raises:
        DataError: it is no such file, is damaged, locked by a password, or unpacks to too much.
    """

    def __init__(self, data: bytes, path: str) -> None:
        self._path = path
        if data.startswith(_OLD_OFFICE):
            raise DataError(f"{path} is password-protected, or in the format from before 2007; save it anew without")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            entries = self._archive.infolist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise DataError(f"{path} is damaged, or no office document at all ({error})") from error
        total = sum(entry.file_size for entry in entries)
        if total > MOST_UNPACKED or len(entries) > _MOST_PARTS:
            raise DataError(
                f"{path} would unpack to {total / 1e6:,.0f} MB in {len(entries):,} parts, which is more than is "
                f"unpacked ({MOST_UNPACKED / 1e6:,.0f} MB in {_MOST_PARTS:,}); a zip bomb, or to be divided"
            )
        self._names = {entry.filename.lower(): entry for entry in entries}

    def has(self, name: str) -> bool:
        """Whether there is such a part."""
        return name.lower() in self._names

    def xml(self, name: str) -> ElementTree.Element:
        """A part, parsed; what is there twice for old programs is left out.

        Raises:
            DataError: no such part, too large, or damaged.
        """
        entry = self._names.get(name.lower())
        if entry is None:
            raise DataError(f"{self._path} lacks its part {name}; save it anew")
        if entry.file_size > _MOST_IN_ONE:
            raise DataError(f"{self._path}: its part {name} has {entry.file_size / 1e6:,.0f} MB; divide the document")
        try:
            root = ElementTree.fromstring(self._archive.read(entry))
        except (ElementTree.ParseError, zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise DataError(f"{self._path} is damaged: its part {name} cannot be read ({error})") from error
        except (RuntimeError, NotImplementedError) as error:
            raise DataError(f"{self._path} is packed with a password or in an unknown way ({error})") from error
        for element in root.iter():
            for inner in [inner for inner in element if inner.tag == _ELSEWHERE]:
                element.remove(inner)
        return root

    def links(self, name: str) -> dict[str, tuple[str, str]]:
        """Where a part points to within the package: id -> (last word of the kind, name of the other part)."""
        folder, base = posixpath.split(name)
        listed = posixpath.join(folder, "_rels", f"{base}.rels")
        if not self.has(listed):
            return {}
        found: dict[str, tuple[str, str]] = {}
        for link in self.xml(listed).iter(_LINKS):
            if link.get("TargetMode") != "External":
                target = posixpath.normpath(posixpath.join("/", folder, link.get("Target", ""))).lstrip("/")
                found[link.get("Id", "")] = (link.get("Type", "").rpartition("/")[2], target)
        return found

    def main(self, default: str) -> str:
        """The name of the part with the document itself."""
        return next((to for kind, to in self.links("").values() if kind == "officeDocument"), default)

    def said(self) -> dict[str, str]:
        """Title, author, subject and keywords, where the document has them."""
        name = "docProps/core.xml"
        texts = ((_CORE.get(element.tag), element.text) for element in (self.xml(name) if self.has(name) else ()))
        return {key: text.strip() for key, text in texts if key and text and text.strip()}
