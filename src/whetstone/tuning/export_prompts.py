"""Prompts with which two engines are compared: our own writing, many kinds, always the same ones."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

from whetstone.types import Message, assistant, system, user

T = TypeVar("T")

_THINGS = (
    "a folding bicycle with a carbon belt", "an oak dining table for eight", "a cast-iron pan", "a red wool scarf",
    "a cordless drill with two batteries", "a telescope for beginners", "a pair of hiking boots", "a blue teapot",
    "an electric keyboard with 88 keys", "a garden hose of 30 metres", "a wrist watch", "a box of 48 coloured pencils",
    "a tent for four", "a used laptop with a cracked lid", "a chess set made of olive wood", "a rain jacket",
    "a desk lamp with three joints", "a coffee grinder", "a spare tyre for a van", "a child's wooden train",
)  # fmt: skip
# Each asks for another kind of answer: a number, a word, a list, a sentence, code, another language.
_CHATS = (
    "How much does {0} cost? Answer with the number only.",
    "Describe {0} in one sentence.",
    "List three things to check before buying {0}.",
    "Is {0} a good present for a friend? Answer yes or no.",
    "Translate into French: I would like to sell {0}.",
)
# Where a text goes on, without any chat: prices as they are asked for in tuning, stories, tables.
_TEXTS = (
    "How much does this cost to the nearest dollar?\n\n{0}\n\nPrice is $",
    "The neighbours had put {0} on the pavement, and when it began to rain,",
    "| item | price |\n| --- | --- |\n| {0} |",
    "def price_of(item):\n    # {0}\n    return",
)


def chat_prompts() -> list[list[Message]]:
    """A hundred and twenty conversations of one or several turns."""
    asked = [[user(form.format(thing))] for form, thing in itertools.product(_CHATS, _THINGS)]
    longer = [
        [
            system("You work in a shop. Keep answers short."),
            user(f"Do you sell things such as {thing}?"),
            assistant("We do, and we have it in stock."),
            user("What does it cost, and can I return it?"),
        ]
        for thing in _THINGS
    ]
    return _mixed([*asked, *longer])


def text_prompts() -> list[str]:
    """Eighty beginnings of texts."""
    return _mixed([form.format(thing) for form, thing in itertools.product(_TEXTS, _THINGS)])


def _mixed(listed: Sequence[T]) -> list[T]:
    """The same in an order whose every beginning holds all kinds; 37 shares no factor with the lengths."""
    return [listed[(37 * number) % len(listed)] for number in range(len(listed))]
