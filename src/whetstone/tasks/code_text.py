"""Code in a reply: found in its fences, or where there are none, recognised."""

from __future__ import annotations

import ast
import re

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<tag>[\w+#.-]*)[^\n]*\n", re.MULTILINE)
_TAGS = {"python": {"python", "py", "python3"}, "sql": {"sql", "sqlite", "sqlite3"}}
_SQL = re.compile(r"\s*(?:--[^\n]*\n\s*)*(?:SELECT|WITH|INSERT|UPDATE|DELETE|CREATE|VALUES)\b", re.IGNORECASE)


def code_in(reply: str, language: str) -> str | None:
    """The code of a reply; None where there is none.

    Of several blocks it is the longest in the language, else the longest of no language. A block that was never closed
    (the reply was cut off) ends with the reply. Without a block, the whole reply counts if it is code.
    """
    blocks = _blocks(reply)
    for tags in (_TAGS[language], {""}):
        if fitting := [code for tag, code in blocks if tag in tags and code.strip()]:
            return max(fitting, key=len).strip("\n")
    if blocks:
        return None
    bare = reply.strip()
    if language == "python":
        return bare if bare and syntax_error(bare) is None and not _is_prose(bare) else None
    return bare if _SQL.match(bare) else None


def _blocks(reply: str) -> list[tuple[str, str]]:
    """(tag in lower case, code) of every fenced block."""
    found: list[tuple[str, str]] = []
    at = 0
    while (opening := _FENCE.search(reply, at)) is not None:
        fence, indent = opening["fence"], opening["indent"]
        closing = re.compile(rf"^[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$", re.MULTILINE)
        end = closing.search(reply, opening.end())
        code = reply[opening.end() : end.start() if end else len(reply)]
        if indent:
            code = "\n".join(line.removeprefix(indent) for line in code.split("\n"))
        found.append((opening["tag"].casefold(), code))
        at = end.end() if end else len(reply)
    return found


def _is_prose(text: str) -> bool:
    """Whether a text that Python can read says nothing to it: a single word or name."""
    body = ast.parse(text).body
    return all(isinstance(line, ast.Expr) and isinstance(line.value, (ast.Name, ast.Constant)) for line in body)


def syntax_error(code: str) -> str | None:
    """What Python says of code that it cannot read: "line 3: expected ':'"; None of code that it can."""
    try:
        ast.parse(code)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "it is nested too deeply"
    return None
