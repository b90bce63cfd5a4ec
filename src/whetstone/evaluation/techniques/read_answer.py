"""A raw answer read as the kind of answer that a problem asks for."""

from __future__ import annotations

import re

from whetstone.evaluation.labels import read_label
from whetstone.numeric.reading import read_number
from whetstone.numeric.replies import answer_part
from whetstone.types import Problem, Reading

_NUMBER_AT_THE_END = re.compile(r"(?<![\d.,'\u00a0\u202f])[\d.,'\u00a0\u202f]*\d[.,]?$")


def read_answer(text: str, problem: Problem, *, cut_off: bool = False) -> Reading:
    """The answer in a text.

    Args:
        cut_off: the text ends because it reached its limit of tokens. A number at its very end is then not read: of
            "$1,299" only "$1,2" may have come.
    """
    if problem.kind == "label":
        return read_label(text, problem.labels)
    if problem.kind == "text":
        stripped = answer_part(text).strip()
        return Reading("value", stripped) if stripped else Reading("unparsable", note="the answer is empty")
    if cut_off and (torn := _NUMBER_AT_THE_END.search(text)) is not None:
        rest = read_number(text[: torn.start()], valid_range=problem.valid_range, unit=problem.unit)
        if rest.status in ("value", "out_of_range"):
            return rest
        return Reading("unparsable", note=f"the reply reached its limit of tokens inside the number {torn.group()!r}")
    return read_number(text, valid_range=problem.valid_range, unit=problem.unit)
