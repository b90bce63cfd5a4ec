"""Made-up product rows in the layout of Amazon Reviews 2023 (`raw_meta`), with the kinds of dirt that real ones have.

Words are drawn by Zipf's law, so that a few are everywhere and most are rare, as in a real catalogue. The common ones
are given (words that a tokenizer has as single tokens, so that texts have about as many tokens as real ones); behind
them come made-up ones. About 10 % of the rows have no usable price, 8 % too little text, 3 % repeat another row and 3 %
nearly do, 2 % state their own price; 15 % hold HTML, a third part numbers, 1 % details that are no JSON.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

_SYLLABLES = """
ba be bo bra ca cer co cu da del di dro en er fa fi flo for ga gen gra ha in ka ki la le li lo lu ma men mi mo na ne no
nu or pa per pi plo qua ra re ri ro sa se shi so sta ta te ti to tra tu va ve vi wo za zi
"""
_CATEGORIES = ["Appliances", "Software", "Toys_and_Games", "Automotive", "Electronics", "Office_Products", None]
_UNUSABLE = ["", "None", "$1,299.99", "from 12.99", "12.99 - 19.99", "0", "-5", "1000000000000", "call"]
_RARE = 60_000  # made-up words


def lines(count: int, common: Sequence[str], seed: int = 0) -> Iterator[str]:
    """So many rows, a JSON line each; the same ones for the same words and seed.

    Args:
        common: words, the commonest first.
    """
    draw = random.Random(seed)
    words = _Words(draw, common)
    earlier: list[dict[str, Any]] = []
    for number in range(count):
        kind = draw.random()
        if earlier and kind < 0.06:
            row = dict(draw.choice(earlier), parent_asin=f"B{number:09d}")
            if kind < 0.03:  # one that nearly repeats another
                row["description"] = [f"{part} {words.some(1)}" for part in row["description"]]
        else:
            row = _row(number, draw, words)
            earlier.append(row)
        yield json.dumps(row) + "\n"


class _Words:
    def __init__(self, draw: random.Random, common: Sequence[str]) -> None:
        syllables = _SYLLABLES.split()
        made = {"".join(draw.choices(syllables, k=draw.randint(2, 4))) for _ in range(_RARE)}
        rare = [word.title() if draw.random() < 0.2 else word for word in sorted(made)]
        draw.shuffle(rare)
        self._words = [*common, *rare]
        self._weights = list(accumulate(1 / rank for rank in range(3, len(self._words) + 3)))
        self._draw = draw

    def some(self, count: int) -> str:
        return " ".join(self._draw.choices(self._words, cum_weights=self._weights, k=count))


def _row(number: int, draw: random.Random, words: _Words) -> dict[str, Any]:
    length = draw.randint(2, 15) if draw.random() < 0.08 else draw.randint(60, 160)
    body = words.some(length)
    price = f"{draw.lognormvariate(3.5, 1.3):.2f}"
    if draw.random() < 0.02:
        body += f" Now only ${price}!"
    if draw.random() < 0.33:
        body += f" Replaces part {draw.choice('ABCW')}{draw.randint(10**6, 10**8)}-{draw.randint(10, 99)}X."
    if draw.random() < 0.15:
        body = f"<p>{body}</p><ul><li>{words.some(6)}</li><li>{words.some(5)} &amp; {words.some(3)}</li></ul>"
    return {
        "main_category": draw.choice(_CATEGORIES),
        "title": words.some(draw.randint(5, 18)).title(),
        "average_rating": None,
        "rating_number": None,
        "features": [words.some(draw.randint(5, 20)) for _ in range(draw.choice([0, 0, 0, 3, 5]))],
        "description": [body],
        "price": draw.choice(_UNUSABLE) if draw.random() < 0.1 else price,
        "store": None,
        "categories": [],
        "details": _details(number, draw, words),
        "parent_asin": f"B{number:09d}",
    }


def _details(number: int, draw: random.Random, words: _Words) -> str:
    if draw.random() < 0.01:
        return "{'no': json"
    size = " x ".join(f"{draw.uniform(1, 40):.1f}" for _ in range(3))
    return json.dumps(
        {
            "Manufacturer": words.some(2),
            "Part Number": f"{draw.choice('ABC')}{draw.randint(1000, 99999)}",
            "Item Weight": f"{draw.uniform(0.1, 60):.1f} {draw.choice(['pounds', 'ounces'])}",
            "Product Dimensions": f"{size} inches",
            "Item model number": f"M-{number}",
            "Best Sellers Rank": {words.some(2): draw.randint(1, 10**6)},
            "Is Discontinued By Manufacturer": draw.choice(["No", "Yes"]),
            "Date First Available": "March 3, 2018",
            "Included": words.some(12),
        }
    )
