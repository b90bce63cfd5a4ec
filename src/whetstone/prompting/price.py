"""The prompt of the price predictor: the question, a blank line, the item, a blank line, "Price is $".

It is the form of the LLM Engineering course, character by character, so that models tuned on one answer the other:
in training the completion "129.00" follows the dollar sign, in testing nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from whetstone.errors import RequestRefusedError, UsageError
from whetstone.models.base import ChatModel, PromptModel, VocabularyModel
from whetstone.types import Message, assistant, user

QUESTION = "How much does this cost to the nearest dollar?"
LABEL = "Price is $"

Form = Literal["plain", "chat"]


@dataclass(frozen=True, slots=True)
class PromptIds:
    """A prompt as token ids.

    Attributes:
        ids: token ids, what the tokenizer puts before any text included.
        cut: characters of the item's text that were left out at its end, to stay within the limit.
    """

    ids: list[int]
    cut: int = 0


@dataclass(frozen=True)
class PricePrompt:
    """How an item's price is asked for.

    Attributes:
        form: "plain" text for the model to continue, or a "chat" whose reply has begun with the label.
        question: the first line.
        label: what the number follows; its end decides how a tokenizer cuts the number.
        places: decimals of the answers in examples and in training; None for the course's whole dollars with ".00".
    """

    form: Form = "plain"
    question: str = QUESTION
    label: str = LABEL
    places: int | None = None

    def text(self, item: str) -> str:
        """The plain prompt, up to where the price follows."""
        return f"{self.question}\n\n{item}\n\n{self.label}"

    def completion(self, price: float) -> str:
        """What follows the prompt in training, to the nearest dollar: "129.00"."""
        return f"{round(price)}.00" if self.places is None else f"{price:.{self.places}f}"

    def messages(self, item: str, examples: Sequence[tuple[str, float]] = ()) -> list[Message]:
        """The chat, whose last message is the beginning of the reply.

        Args:
            examples: items with known prices, shown as earlier turns.
        """
        told: list[Message] = []
        for other, price in examples:
            told += [user(f"{self.question}\n\n{other}"), assistant(self.label + self.completion(price))]
        return [*told, user(f"{self.question}\n\n{item}"), assistant(self.label)]

    def written(self, item: str, examples: Sequence[tuple[str, float]] = ()) -> str:
        """The plain prompt after examples, each with its price, a blank line between them."""
        shown = [self.text(other) + self.completion(price) for other, price in examples]
        return "\n\n".join([*shown, self.text(item)])

    def ids(
        self, model: ChatModel, item: str, limit: int | None = None, examples: Sequence[tuple[str, float]] = ()
    ) -> PromptIds:
        """The prompt in a model's tokens. What does not fit is cut from the item's text, never from the rest.

        Args:
            limit: most tokens.
            examples: items with known prices, shown whole.

        Raises:
            UsageError: question, label and examples alone are longer than the limit, or the model has no tokenizer at
                hand.
            RequestRefusedError: the model's template does not leave the prompt's end as it is.
        """
        if not isinstance(model, VocabularyModel):
            raise UsageError(f"{model.identity.spec} does not show its tokens: take a local model (gguf:, hf:)")
        encode = self._encoder(model, examples)
        whole = encode(item)
        if limit is None or len(whole) <= limit:
            return PromptIds(whole)
        room = limit - len(encode(""))
        if room < 0:
            raise UsageError(
                f"question, label and examples take {len(encode('')):,} tokens alone, and the limit is {limit:,}"
            )
        offsets = model.vocabulary.encode(item).offsets
        for kept in range(min(room, len(offsets)), -1, -1):  # a cut word may take a token more than it had
            end = offsets[kept - 1][1] if kept else 0
            shorter = item[:end].rstrip()
            found = encode(shorter)
            if len(found) <= limit:
                return PromptIds(found, len(item) - len(shorter))
        raise UsageError(f"nothing of the item fits {limit:,} tokens")

    def _encoder(self, model: VocabularyModel, examples: Sequence[tuple[str, float]]) -> Callable[[str], list[int]]:
        """A function from an item to the prompt's token ids."""
        if self.form == "plain":
            tokenizer = model.vocabulary
            behind = len(tokenizer.suffix_ids)

            def plain(item: str) -> list[int]:
                ids = tokenizer.encode(self.written(item, examples), add_special_tokens=True).ids
                return ids[: len(ids) - behind]

            return plain
        if not isinstance(model, PromptModel):
            raise UsageError("this model does not show what its chat template makes of messages: ask it plainly")

        def chat(item: str) -> list[int]:
            messages = self.messages(item, examples)
            if not model.render(messages).endswith(self.label):
                raise RequestRefusedError(
                    f"the model's chat template does not leave {self.label!r} at the prompt's end, where the number "
                    "has to follow: ask it plainly"
                )
            return model.prompt_ids(messages)

        return chat
