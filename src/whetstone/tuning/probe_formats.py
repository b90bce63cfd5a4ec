"""Instructions whose form code can check: what a reply says does not matter, only whether it is written as asked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Enough for every reply that is in the form; a reply that is still going on then is not.
REPLY_TOKENS = 32


@dataclass(frozen=True)
class FormatTask:
    """An instruction and its check.

    Attributes:
        name: short and unique.
        instruction: what is asked.
        follows: whether a reply is in the form.
        whole: whether the form says where a reply ends, so that one that was cut off has not followed it.
    """

    name: str
    instruction: str
    follows: Callable[[str], bool]
    whole: bool = True


def format_tasks() -> list[FormatTask]:
    """All instructions, in a fixed order."""
    return [
        FormatTask("yes", "Reply with only the word YES and nothing else.", lambda r: _bare(r) == "YES"),
        FormatTask(
            "repeat colours",
            "Repeat these words exactly, and write nothing else: red green blue",
            _only("red green blue"),
        ),
        FormatTask("repeat", "Repeat this word exactly, and write nothing else: lantern", _only("lantern")),
        FormatTask(
            "repeat sentence",
            "Repeat this sentence exactly, and write nothing else: The cat sleeps on the roof.",
            _only("the cat sleeps on the roof"),
        ),
        FormatTask(
            "json answer",
            'Which animal says moo? Answer with JSON of the form {"answer": "..."}.',
            _json_keys("answer"),
        ),
        FormatTask(
            "json two keys",
            'Answer with a JSON object that has the keys "city" and "country", for Paris.',
            _json_keys("city", "country"),
        ),
        FormatTask("json list", 'Answer with a JSON list of three colours, like ["a", "b", "c"].', _json_list(3)),
        FormatTask("three lines", "Write the names of three fruits on exactly three lines.", _lines(3)),
        FormatTask("two lines", "Write exactly two lines: one about day, one about night.", _lines(2)),
        FormatTask(
            "bullets",
            'List three animals. Begin every line with "- ".',
            lambda r: len(_rows(r)) == 3 and all(row.startswith("- ") for row in _rows(r)),
        ),
        FormatTask(
            "numbered",
            'List three cities. Number the lines "1.", "2." and "3.".',
            lambda r: [row[:2] for row in _rows(r)] == ["1.", "2.", "3."],
        ),
        FormatTask(
            "commas",
            "Name three colours, separated by commas, on one line. Write nothing else.",
            lambda r: len(_rows(r)) == 1 and re.fullmatch(r"\w+, ?\w+,? ?(and )?\w+", _bare(r)) is not None,
        ),
        FormatTask("one word", "Describe the sea with exactly one word.", lambda r: len(_bare(r).split()) == 1),
        FormatTask(
            "capitals",
            "WRITE THE NAME OF ONE COUNTRY IN CAPITAL LETTERS ONLY.",
            lambda r: bool(re.search("[A-Z]", r)) and r == r.upper(),
        ),
        FormatTask(
            "lower case",
            "Write one short sentence about dogs in lower case letters only.",
            lambda r: bool(re.search("[a-z]", r)) and r == r.lower(),
        ),
        FormatTask(
            "one sentence",
            "Explain in exactly one short sentence what a bicycle is.",
            lambda r: len(re.findall(r"[.!?](?=\s|$)", r.strip())) == 1 and r.strip()[-1] in ".!?",
        ),
        FormatTask(
            "question",
            "Ask me one question about music. Your reply must end with a question mark.",
            lambda r: r.strip().endswith("?"),
        ),
        FormatTask(
            "begin",
            'Say something about winter. Begin your reply with the word "Once".',
            lambda r: r.lstrip('"* ').startswith("Once"),
            whole=False,
        ),
        FormatTask(
            "end",
            'Say good night in one short sentence that ends with the word "done".',
            lambda r: _bare(r).lower().endswith("done"),
        ),
        FormatTask(
            "quotes",
            "Write one short greeting inside double quotation marks, and nothing outside them.",
            lambda r: re.fullmatch(r'["“][^"“”]+["”]', r.strip()) is not None,
        ),
        FormatTask("digit", "Pick a number from 1 to 9. Reply with that one digit only.", _matches(r"[1-9]")),
        FormatTask("letter", "Which is better, A or B? Reply with one letter only.", _matches("[AB]")),
        FormatTask(
            "title",
            'Write a Markdown heading for a page about gardens. It begins with "# ".',
            lambda r: r.strip().startswith("# ") and len(_rows(r)) == 1,
        ),
        FormatTask(
            "code",
            "Write a Python line that prints hello. Put it into a code block with three backticks.",
            lambda r: "```" in r and "print(" in r,
            whole=False,
        ),
        FormatTask("tag", "Write the word river between the tags <b> and </b>.", lambda r: "<b>river</b>" in r.lower()),
        FormatTask(
            "numbered fruits",
            'List three fruits. Number the lines "1.", "2." and "3.".',
            lambda r: [row[:2] for row in _rows(r)] == ["1.", "2.", "3."],
        ),
        FormatTask(
            "repeat date", "Repeat this date exactly, and write nothing else: 2021-03-04", _matches(r"2021-03-04")
        ),
        FormatTask(
            "json dog",
            'Answer with a JSON object that has the keys "name" and "age", for a dog.',
            _json_keys("name", "age"),
        ),
    ]


def _bare(reply: str) -> str:
    """The reply without the marks that people put around a word."""
    return reply.strip().strip("\"'`*“”").rstrip(".!").strip()


def _rows(reply: str) -> list[str]:
    return [line.strip() for line in reply.strip().splitlines() if line.strip()]


def _only(text: str) -> Callable[[str], bool]:
    return lambda reply: _bare(reply).lower() == text


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda reply: re.fullmatch(pattern, _bare(reply)) is not None


def _lines(count: int) -> Callable[[str], bool]:
    return lambda reply: len(_rows(reply)) == count


def _json_keys(*keys: str) -> Callable[[str], bool]:
    def follows(reply: str) -> bool:
        value = _json(reply)
        return isinstance(value, dict) and set(keys) <= set(value)

    return follows


def _json_list(length: int) -> Callable[[str], bool]:
    def follows(reply: str) -> bool:
        value = _json(reply)
        return isinstance(value, list) and len(value) == length

    return follows


def _json(reply: str) -> Any:
    """The reply as JSON, a code block around it allowed; None where it is none."""
    found = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", reply.strip(), re.DOTALL)
    try:
        return json.loads(found[1] if found else reply)
    except (ValueError, RecursionError):
        return None
