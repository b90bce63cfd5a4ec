"""The task cards that a server offers: ours, and those that its owner put beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from whetstone.errors import DataError, UsageError
from whetstone.registry import unknown_name
from whetstone.tasks.card import Card, cards, load_card


class CardShelf:
    """Task cards by name, ours first. Whoever asks by name reaches these and no other folder.

    Args:
        own: folders of further cards, each offered under the name of its folder. They are read now.

    Raises:
        DataError: a folder is no card, or has cases that do not fit it.
        UsageError: two cards have the same name.
    """

    def __init__(self, own: Iterable[str] = ()) -> None:
        self._cards = {card.name: card for card in cards()}
        self._ours = frozenset(self._cards)
        for folder in own:
            card = load_card(str(Path(folder).expanduser().resolve()))
            _check_cases(card)
            if card.name in self._cards:
                raise UsageError(f"{folder}: there is a card {card.name} already; give the folder another name")
            self._cards[card.name] = card

    def __iter__(self) -> Iterator[Card]:
        return iter(self._cards.values())

    def find(self, name: str) -> Card:
        """A card by its name.

        Raises:
            UnknownNameError: none is offered under it.
        """
        if name not in self._cards:
            raise unknown_name("task card", name, list(self._cards))
        return self._cards[name]

    def source(self, card: Card) -> str:
        """How the command line names a card."""
        return card.name if card.name in self._ours else f"./{card.name}"


def _check_cases(card: Card) -> None:
    for case in card.cases():
        try:
            card.check(case.inputs)
        except UsageError as error:
            raise DataError(f"{card.folder / 'cases.jsonl'}: the case {case.id}: {error}") from None
