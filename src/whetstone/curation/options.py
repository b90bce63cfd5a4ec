"""What a user can choose about a curation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from whetstone.datasets.split import Size
from whetstone.errors import UsageError

OwnPrice = Literal["mask", "drop"]


@dataclass(frozen=True)
class Options:
    """Choices; the defaults of price and length are those of the course.

    Attributes:
        min_price, max_price: prices outside are rejected, dollars.
        min_characters: cleaned texts that are shorter are rejected.
        max_tokens: longer texts are cut at the end of a word.
        tokenizer: whose tokens; anything that `whetstone.tokens.sources.load_tokenizer` takes.
        own_price: whether a text that states its own price loses the amount ("mask") or the row ("drop").
        test, validation: rows of a split, or below 1 the fraction.
        seed: of the split.
        mapping: what the user's columns are, for sources in no known layout.
        look_alikes: how many training rows are compared with the test rows by embedding; 0 for none.
    """

    min_price: float = 0.5
    max_price: float = 999.49
    min_characters: int = 50
    max_tokens: int = 180
    tokenizer: str = "smollm2"
    own_price: OwnPrice = "mask"
    test: Size | None = None
    validation: Size | None = None
    seed: int = 42
    mapping: Mapping[str, str] = field(default_factory=dict)
    look_alikes: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.min_price < self.max_price:
            raise UsageError(
                f"The smallest price {self.min_price:g} and the largest {self.max_price:g} leave no price between; "
                "the smallest must be 0 or more, and below the largest"
            )
        if self.max_tokens < 8:
            raise UsageError(f"{self.max_tokens} tokens are too few for a product; allow at least 8")
        if self.min_characters < 1:
            raise UsageError("A text of 0 characters says nothing; ask for at least 1")
        if self.own_price not in ("mask", "drop"):
            raise UsageError(f"A stated price can be masked or dropped (mask, drop), not {self.own_price!r}")

    def to_json(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)
