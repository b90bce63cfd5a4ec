"""The rules in the order in which they are applied, each with what it says in the report."""

from __future__ import annotations

from whetstone.curation.options import Options
from whetstone.curation.rules.details import details_to_lines
from whetstone.curation.rules.length import cut_to_budget, enough_content, scrub_part_numbers
from whetstone.curation.rules.markup import tidy_space, without_markup
from whetstone.curation.rules.measures import normalised_measures
from whetstone.curation.rules.own_price import MASK, stated_price
from whetstone.curation.rules.price import usable_price
from whetstone.curation.rules.step import Rule

READABLE = "readable"
DUPLICATE = "exact duplicate"
NEAR_DUPLICATE = "near duplicate"


def _own_price(options: Options) -> str:
    done = f"the amount becomes {MASK}" if options.own_price == "mask" else "the row is dropped"
    return f"texts that state the item's own price give the answer away: {done}"


# Before the text is put together.
ON_CELLS = (
    Rule(
        "usable price",
        lambda options: f"one plain number from ${options.min_price:,.2f} to ${options.max_price:,.2f}",
        usable_price,
    ),
    Rule(
        "measures", lambda _: "weights in grams and sizes in centimetres, as fields of their own", normalised_measures
    ),
    Rule(
        "noise fields", lambda _: "ranks, dates and numbers of catalogues are left out of the details", details_to_lines
    ),
)
# On the text.
ON_TEXT = (
    Rule("HTML", lambda _: "tags are taken off, entities written out", without_markup),
    Rule("white space", lambda _: "runs become one blank or line end, invisible characters go", tidy_space),
    Rule("own price", _own_price, stated_price),
    Rule(
        "part numbers",
        lambda _: "words of capitals and digits, seven characters or more, are taken out",
        scrub_part_numbers,
    ),
    Rule(
        "length budget",
        lambda options: f"texts are cut to {options.max_tokens} tokens of {options.tokenizer}, at the end of a word",
        cut_to_budget,
    ),
    Rule(
        "minimum content",
        lambda options: f"at least {options.min_characters} characters, and a word",
        enough_content,
    ),
)


def all_rules(options: Options) -> list[tuple[str, str]]:
    """Every rule by name with its sentence, in order; the first and the last two are not rules for one row."""
    return [
        (READABLE, "one JSON object or one line of cells"),
        *((rule.name, rule.sentence(options)) for rule in (*ON_CELLS, *ON_TEXT)),
        (DUPLICATE, "of rows with the same words in the same order, the first is kept"),
        (NEAR_DUPLICATE, "of rows with nearly the same words and the same price, the first is kept"),
    ]
