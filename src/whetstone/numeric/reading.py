"""The number that a reply gives as its answer, as a typed result.

Which one, where a reply mentions several:

1. `<think>…</think>` is passed over. A JSON object gives the value of its "answer", "price" or the like.
2. What follows the last "final answer", "\\boxed{", "####", "no wait" or the like is read before the rest, since chains
   of thought end with their answer; else what follows the first "the answer is".
3. There, numbers with a currency (or the unit asked for), or named as the answer ("price: 45"), come before bare ones,
   and those before numbers that clearly say something else: percentages, measures, counts, years. The latter are no
   answer at all when a unit was asked for.
4. Of equals, the first: a small model that has answered rambles on.

A range is its midpoint; "3 for $10" is the price of one; nothing is converted between currencies. A reply that declines
is refused, unless it names an amount all the same.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

from whetstone.numeric.mentions import Mention, Unit, find_mentions
from whetstone.numeric.notation import normalised
from whetstone.numeric.replies import answer_part, declines
from whetstone.types import Reading

_LAST_WORD = re.compile(
    r"\\boxed\s?\{|####|\bfinal (?:answer|price|estimate|guess|value|number|result)\b"
    r"|\b(?:no,? wait|wait,? no|scratch that|correction:|i meant?|let me correct)",
    re.IGNORECASE,
)
_ANSWER_IS = re.compile(r"\banswer\b(?: is\b|\s?[:=])", re.IGNORECASE)
# What names the number that follows as the answer.
_NAMED = re.compile(
    r"\b(?:price|costs?|value|answer|estimated?|total|amount|worth|guess|approximately|about|around|roughly|say)"
    r"\W{0,4}(?:(?:is|are|was|be|would|at|of|about|around|approximately|roughly|likely|probably|to|price|it)\W{1,4}){0,5}$",
    re.IGNORECASE,
)
_RANGE = re.compile(r"\s{0,3}(?:-|–|—|~|～|\.{2,3}|…|to|and|bis|or|à)\s{0,3}", re.IGNORECASE)
_TIGHT_RANGE = re.compile(r"[-–—~～]|\s{1,3}(?:to|bis|and|or|à)\s{1,3}", re.IGNORECASE)
_BETWEEN = re.compile(r"\b(?:between|zwischen|entre)\s{1,3}$", re.IGNORECASE)
_FOR = re.compile(r"\s?(?:pcs?|pieces?|items?|units?|packs?|of them)?\s?(?:for|für)\s?", re.IGNORECASE)
_FOR_COUNT = re.compile(r" for (\d{1,3})(?:\s(?:items?|pieces?|units?|of them))?\s{0,3}(?:[.!\n]|$)", re.IGNORECASE)
_EACH = re.compile(r"\s(?:each|apiece|per\b|a piece)", re.IGNORECASE)
_ENDS_CLAUSE = re.compile(r"\s{0,3}(?:[.,;!?)\n]|$|each\b|per\b|/)")
_OPENING = " \n\t*_\"'([{=:"
_FRACTION = re.compile(r"\s*(\d{1,6})\s?/\s?(\d{1,6})\s*\.?\s*")
_FREE = re.compile(
    r"\W*(?:(?:it|this|that|the (?:item|price|product))(?:\s?['’]?s| is| are)?\s)?(?:completely |absolutely |totally )?"
    r"(?:free(?: of (?:charge|cost))?|gratis|kostenlos|umsonst|gratuit|complimentary|무료|공짜|免费|無料)"
    r"\W*(?:입니다\W*)?",
    re.IGNORECASE,
)
_JSON_KEYS = (
    *(
        "finalanswer",
        "answer",
        "finalprice",
        "price",
        "estimatedprice",
        "predictedprice",
        "value",
        "result",
        "estimate",
    ),
    *("prediction", "cost", "amount", "total", "number"),
)


def read_number(reply: str, *, valid_range: tuple[float, float] | None = None, unit: str = "") -> Reading:
    """The number that a reply gives as its answer.

    Args:
        reply: the reply's text. Of a very long one, the first and the last 8,000 characters are read.
        valid_range: the smallest and the largest number that can be meant; outside it, the reading is "out_of_range".
        unit: what the answer is in: "$", "EUR", "%", "kg". It says which of several numbers is meant, and for a
            currency how "1.299" is read.

    Returns:
        A reading with status "value", "refused", "unparsable" or "out_of_range"; its note says what was matched.
    """
    text = normalised(answer_part(reply))
    reading = _from_json(text, Unit(unit)) or _from_text(text, Unit(unit))
    if valid_range is None or not isinstance(reading.value, float) or valid_range[0] <= reading.value <= valid_range[1]:
        return reading
    low, high = valid_range
    return Reading("out_of_range", reading.value, f"{reading.note}; not within {low:g} to {high:g}")


def _from_text(text: str, unit: Unit) -> Reading:
    if not text.strip():
        return Reading("unparsable", None, "empty reply")
    fraction = _FRACTION.fullmatch(text)
    if fraction and int(fraction.group(1)) < int(fraction.group(2)):  # not "24/7"
        return _value(int(fraction.group(1)) / int(fraction.group(2)), f"fraction {text.strip()}")
    mentions = _combined(text, list(find_mentions(text, unit)))
    declined = declines(text)
    chosen = _chosen(text, mentions, unit, declined)
    if chosen is not None:
        matched = " ".join(text[chosen.start : chosen.end].split())[:60]
        return _value(chosen.value, f"read {matched!r}" + (f", {chosen.note}" if chosen.note else ""))
    if _FREE.fullmatch(text):
        return _value(0.0, f"{text.strip()[:60]!r} is a price of 0")
    if declined:
        return Reading("refused", None, "the reply declines to answer")
    if mentions:
        return Reading("unparsable", None, "the only numbers in it are measures, counts, shares or dates")
    return Reading("unparsable", None, "no number in it")


def _value(value: float, note: str) -> Reading:
    if not math.isfinite(value):
        return Reading("unparsable", None, f"{note}, beyond what a number can hold")
    return Reading("value", float(value), note)


def _chosen(text: str, mentions: list[Mention], unit: Unit, declined: bool) -> Mention | None:
    """The mention that is the answer, by the rules at the top of this module."""
    ranked = [(mention, _rank(text, mention)) for mention in mentions]
    for start in (_region(text), 0):
        within = [(mention, rank) for mention, rank in ranked if mention.end > start]
        best = min((rank for _, rank in within), default=2)
        if best <= (0 if declined else 1):
            return next(mention for mention, rank in within if rank == best)
    return mentions[0] if mentions and unit.any and not declined else None


def _region(text: str) -> int:
    """Where the part of the text begins that is read first."""
    last_words = list(_LAST_WORD.finditer(text))
    begin = last_words[-1] if last_words else _ANSWER_IS.search(text)
    return begin.end() if begin else 0


def _rank(text: str, mention: Mention) -> int:
    """0 for an amount in the unit asked for, or named as the answer; 1 for a bare number; 2 for something else."""
    if mention.marked:
        return 0
    if mention.aside:
        return 2
    if _NAMED.search(text[max(0, mention.start - 60) : mention.start]):
        return 0
    # The prompt may have ended in the unit ("Price is $"), so that the reply begins with the amount.
    begins = mention.start < 20 and not text[: mention.start].strip(_OPENING)
    return 0 if begins and _ENDS_CLAUSE.match(text, mention.end) else 1


def _combined(text: str, mentions: list[Mention]) -> list[Mention]:
    """The mentions, with ranges and prices for several put together."""
    combined: list[Mention] = []
    for mention in mentions:
        joined = _join(text, combined[-1], mention) if combined else None
        if joined is not None:
            combined[-1] = joined
        else:
            combined.append(mention)
    return [_for_several(text, mention) for mention in combined]


def _join(text: str, first: Mention, second: Mention) -> Mention | None:
    """Two neighbours as one: "40 to 60" as their midpoint, "3 for $10" as the price of one, "$2 and 50 cents"."""
    if second.start - first.end > 12 or first.note.startswith("midpoint"):
        return None
    between = text[first.end : second.start]
    if first.marked and second.note == "cents" and between.strip().casefold() in ("", "and"):
        return replace(first, value=first.value + second.value, end=second.end)
    if not first.marked and second.before and _FOR.fullmatch(between) and first.value >= 2 and first.value % 1 == 0:
        note = f"{first.value:g} for {second.value:g}, the price of one"
        each = second.value if _EACH.match(text, second.end) else second.value / first.value
        return replace(second, value=each, start=first.start, note=note)
    announced = _BETWEEN.search(text[max(0, first.start - 12) : first.start]) is not None
    if not announced and between.strip().casefold() in ("and", "or"):
        return None
    alike = announced or first.marked == second.marked or first.before == second.before
    if not (_RANGE if alike else _TIGHT_RANGE).fullmatch(between):
        return None
    if first.aside or (second.before and not first.before):
        return None  # "pack of 2 - $5.99"
    if second.aside and first.marked:
        return None  # "$8 - 12 pack"
    low = first.value
    if 0 < second.power <= 12 and not first.power and low * 10**second.power < second.value:
        low *= 10**second.power
    if not low < second.value:
        return None
    marked = first.marked or second.marked
    note = f"midpoint of {low:g} to {second.value:g}"
    return Mention((low + second.value) / 2, first.start, second.end, marked, first.before, second.aside, note=note)


def _for_several(text: str, mention: Mention) -> Mention:
    """ "$10 for 3" as the price of one."""
    several = _FOR_COUNT.match(text, mention.end) if mention.before else None
    if several is None or int(several.group(1)) < 2:
        return mention
    count = int(several.group(1))
    note = f"{mention.value:g} for {count}, the price of one"
    return replace(mention, value=mention.value / count, end=several.end(1), note=note)


def _from_json(text: str, unit: Unit) -> Reading | None:
    """What a JSON object in the reply says; None where there is none, or none that names its answer."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        data, _ = json.JSONDecoder(parse_int=float).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    values = {re.sub(r"[\W_]", "", str(key)).casefold(): value for key, value in data.items()}
    named = next((key for key in _JSON_KEYS if key in values), None)
    if named is None:
        numbers = [key for key, value in values.items() if isinstance(value, float)]
        if len(numbers) != 1:
            return None
        named = numbers[0]
    value = values[named]
    if isinstance(value, float):
        return _value(value, f"JSON field {named}")
    if isinstance(value, str):
        return _from_text(value, unit)
    return Reading("unparsable", None, f"JSON field {named} holds no number")
