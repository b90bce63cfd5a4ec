"""Searching and reading the text files of one folder."""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Sequence
from fnmatch import fnmatch

from whetstone.errors import UsageError
from whetstone.tools.builtin.folder import Folder
from whetstone.tools.function_tool import FunctionTool
from whetstone.tools.tool import Tool, ToolResult

_MOST_LINES = 30  # that a search gives
_MOST_CHARACTERS = 300  # of one of them
_SECONDS = 10.0
_LINES_READ = 200


class FileSearch:
    """The tools `file_search` and `read_file` of one folder.

    Args:
        folder: the only one they read.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @property
    def tools(self) -> Sequence[Tool]:
        """Both."""
        return (FunctionTool(self.file_search), FunctionTool(self.read_file))

    def close(self) -> None:
        """Nothing is held."""

    def file_search(self, query: str, files: str = "*") -> ToolResult:
        """Finds lines in the files of a folder. Gives "file:line: text", the lines with most of the words first.

        Args:
            query: words to look for, whatever their case. An empty text lists the files.
            files: which files: a pattern such as *.md or notes/*.
        """
        names = [name for name in self._folder.names() if fnmatch(name, files) or fnmatch(name, f"*/{files}")]
        words = list(dict.fromkeys(re.findall(r"\w+", query.casefold())))
        if not words:
            return _listed(names)
        deadline = time.monotonic() + _SECONDS
        found: list[tuple[int, int, str]] = []
        passed_over = 0
        for number, name in enumerate(names):
            if time.monotonic() > deadline:
                passed_over += len(names) - number
                break
            try:
                text = self._folder.read(name)
            except UsageError:  # no text, too large, or gone meanwhile
                passed_over += 1
                continue
            _keep(found, name, text, words, query.strip().casefold(), number)
        lines = [line for _, _, line in sorted(found, key=lambda one: (-one[0], -one[1]))]
        over = f"\n[{passed_over:,} files were not searched]" if passed_over else ""
        if not lines:
            return ToolResult(f"none of the {len(names):,} files holds any of these words{over}", note="nothing found")
        return ToolResult("\n".join(lines) + over, note=f"{len(lines)} lines of {len(names):,} files")

    def read_file(self, file: str, line: int = 1) -> ToolResult:
        """Reads lines of a text file, with their numbers.

        Args:
            file: its path as file_search gives it.
            line: number of the line to begin at.
        """
        lines = self._folder.read(file).splitlines()
        if lines and line > len(lines):
            raise UsageError(f"{file} has {len(lines):,} lines")
        first = max(1, line)
        part = lines[first - 1 : first - 1 + _LINES_READ]
        shown = "\n".join(f"{number}: {text}" for number, text in enumerate(part, start=first))
        last = first + len(part) - 1
        more = f"\n[{len(lines) - last:,} more lines: read on at line {last + 1}]" if last < len(lines) else ""
        return ToolResult(
            f"{shown}{more}" if part else "the file is empty", note=f"{len(part)} of {len(lines):,} lines"
        )


def files_tool(argument: str) -> FileSearch:
    """The tools `files:FOLDER`.

    Raises:
        UsageError: there is no such folder.
    """
    return FileSearch(Folder(argument))


def _keep(
    found: list[tuple[int, int, str]], name: str, text: str, words: Sequence[str], phrase: str, order: int
) -> None:
    """Keep the lines of a file that are among the best so far. A line with the whole query counts one word more."""
    for number, line in enumerate(text.splitlines(), start=1):
        folded = line.casefold()
        score = sum(word in folded for word in words)
        if not score:
            continue
        score += phrase in folded
        shown = " ".join(line.split())
        shown = shown if len(shown) <= _MOST_CHARACTERS else f"{shown[:_MOST_CHARACTERS]}…"
        entry = (score, -(order * 10_000_000 + number), f"{name}:{number}: {shown}")
        if len(found) < _MOST_LINES:
            heapq.heappush(found, entry)
        else:
            heapq.heappushpop(found, entry)


def _listed(names: Sequence[str]) -> ToolResult:
    if not names:
        return ToolResult("there are no such files", note="nothing found")
    more = f"\n[{len(names) - 200:,} more]" if len(names) > 200 else ""
    return ToolResult("\n".join(names[:200]) + more, note=f"{len(names):,} files")
