"""What readers of numbers, labels and texts share: the part of a reply that is the answer, and replies that decline."""

from __future__ import annotations

import re

# A long reply is read at its ends: its answer stands at one of them, and reading stays quick.
_END = 8_000

_REASONING_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_REASONING_START = re.compile(r"\s*<(?:think|thinking|reasoning)>", re.IGNORECASE)

_DECLINES = re.compile(
    r"""
    \b(?:i|we)\ (?:\w+\ )?(?:can(?:not|\ not|['’]?t)|could(?:\ not|n['’]?t)|am\ (?:unable|not)|do(?:\ not|n['’]?t)
        |won['’]?t|will\ not|apologi[sz]e|decline|refuse)\b
    | \bi['’]m\ (?:sorry|unable|not\ able|afraid|not\ sure)\b | \bas\ an\ (?:ai|artificial|language\ model)\b
    | \b(?:can(?:not|\ not|['’]?t)|could(?:\ not|n['’]?t)|(?:unable|impossible|not\ possible|no\ way)\ to)
        \ (?:be\ )?(?:\w+ly\ )?(?:determin|provid|giv|estimat|said|say|tell|predict|answer|know|find|calculat|assess
        |specif|assist|help)
    | \b(?:does|is|are|was)(?:\ not|n['’]?t)\ (?:specif|provide|mention|given|state|listed|known|available|enough\ info)
    | \b(?:price|value|answer|number|information)\ (?:not\ |un)(?:available|known|specified|provided)\b
    | \b(?:insufficient|not\ enough)\ (?:information|data|details|context)\b | \bno\ idea\b
    | \b(?:kann|können)\ .{0,60}\ nicht\b | \bje\ ne\ (?:peux|sais)\b | \bno\ (?:puedo|sé)\b
    | 알\ ?수\ ?없 | 모르겠 | 죄송 | 할\ ?수\ ?없 | わかりません | 分かりません | 无法 | 無法 | 不知道
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NO_ANSWER = re.compile(r"\W*(?:n\s?/\s?a|unknown|none|null|not applicable|unsure|unclear)\W*", re.IGNORECASE)


def answer_part(reply: str) -> str:
    """The reply without the reasoning before it ("<think>…</think>"), cut to its two ends where it is very long.

    Reasoning that was never closed was cut off before the answer, so that nothing is left.
    """
    closings = list(_REASONING_END.finditer(reply))
    if closings:
        reply = reply[closings[-1].end() :]
    elif _REASONING_START.match(reply):
        return ""
    if len(reply) <= 2 * _END:
        return reply
    # What is cut must not leave half a number or half a word behind.
    head, tail = reply[:_END].rsplit(maxsplit=1), reply[-_END:].split(maxsplit=1)
    return f"{head[0] if len(head) == 2 else ''} … {tail[-1] if len(tail) == 2 else ''}"


def declines(reply: str) -> bool:
    """Whether the reply says that it cannot or will not answer. Whether it answers all the same is for the reader."""
    return _DECLINES.search(reply) is not None or _NO_ANSWER.fullmatch(reply) is not None
