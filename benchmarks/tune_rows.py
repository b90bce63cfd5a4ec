"""Rows for `tune.py`: made-up products with prices that follow from what they are, in texts of varied length."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator

_THINGS = {
    "lamp": 45, "armchair": 260, "kettle": 38, "rucksack": 70, "drill": 95, "clock": 32, "telescope": 210,
    "skillet": 41, "keyboard": 64, "tent": 150, "violin": 320, "blanket": 36, "bookcase": 130, "headset": 80,
    "mirror": 58, "fountain pen": 48, "saddle": 240, "toaster": 35, "microscope": 180, "vase": 27,
}  # fmt: skip
_STUFFS = {
    "plastic": 0.6, "pine": 0.8, "steel": 1.0, "cotton": 0.9, "oak": 1.4, "brass": 1.5, "leather": 1.8,
    "walnut": 1.9, "copper": 1.6, "carbon fibre": 2.6, "silver": 3.1, "wool": 1.2,
}  # fmt: skip
_SIZES = {"pocket-sized": 0.5, "small": 0.75, "medium": 1.0, "large": 1.5, "extra large": 2.1}
_MAKERS = ["Halden", "Norwick", "Tessaro", "Brightwater", "Ekdal", "Marlowe & Finch", "Ostrava Works", "Quillon"]
_REMARKS = [
    "Comes with a printed manual in {n} languages and a warranty of {m} months.",
    "Weighs {n}.{m} kg and fits through doors of {n}0 centimetres.",
    "Cleaned with a damp cloth; keep it away from open fire and from children under {n} years.",
    "Customers praise how little noise it makes, and that spare parts can be had after {m} years.",
    "The surface was treated {n} times by hand, which gives each piece a look of its own.",
    "Delivered in a box made of recycled paper, {m}{n} by {n}{m} centimetres, with all screws.",
    "Designed in the valley where the company was founded, and tested {m}00 times before it is sold.",
    "Colours: sand, slate, moss, rust and chalk; the picture shows model {m}{n}{m}.",
]
QUESTION = "How much does this cost to the nearest dollar?"


def products(count: int, seed: int) -> Iterator[tuple[str, int]]:
    """Texts of some 40 to 600 tokens (by the law that shop texts follow: log-normal), and prices in $."""
    drawn = random.Random(seed)
    for _ in range(count):
        thing, stuff, size = (drawn.choice(list(table)) for table in (_THINGS, _STUFFS, _SIZES))
        price = _THINGS[thing] * _STUFFS[stuff] * _SIZES[size] * math.exp(drawn.gauss(0, 0.15))
        text = f"{drawn.choice(_MAKERS)} {thing} made of {stuff}, {size}."
        for _ in range(min(24, int(drawn.lognormvariate(1.5, 0.7)))):
            text += " " + drawn.choice(_REMARKS).format(n=drawn.randint(2, 9), m=drawn.randint(10, 99))
        yield text, min(999, max(1, round(price)))


def write_rows(path: str, count: int, seed: int) -> None:
    """Prompt-completion rows as JSON lines, which both sides read."""
    with open(path, "w") as file:
        for text, price in products(count, seed):
            row = {"prompt": f"{QUESTION}\n\n{text}\n\nPrice is $", "completion": f"{price}.00"}
            file.write(json.dumps(row) + "\n")
