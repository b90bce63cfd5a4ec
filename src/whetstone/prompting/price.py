"""The prompt of the price predictor: the question, a blank line, the item, a blank line, "Price is $".

It is the form of the LLM Engineering course, character by character, so that models tuned on one answer the other:
in training the completion "129.00" follows the dollar sign, in testing nothing does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from whetstone.errors import RequestRefusedError, UsageError
from whetstone.models.base import ChatModel, PromptModel, VocabularyModel, answers_apart
from whetstone.prompting.fitting import PromptIds, fitted
from whetstone.tokens.chat import render_chat
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.types import Message, assistant, user

QUESTION = "How much does this cost to the nearest dollar?"
LABEL = "Price is $"
ONLY_THE_NUMBER = "Answer with the number only."

Form = Literal["plain", "chat"]


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

    def conversation(self, item: str, examples: Sequence[tuple[str, float]] = ()) -> list[Message]:
        """A chat whose whole reply is to be the number: for endpoints, which do not go on with a reply.

        Args:
            examples: items with known prices, shown as earlier turns.
        """
        said: list[Message] = []
        for other, price in examples:
            said += [user(self._request(other)), assistant(self.completion(price))]
        return [*said, user(self._request(item))]

    def _request(self, item: str) -> str:
        return f"{self.question}\n\n{item}\n\n{ONLY_THE_NUMBER}"

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
        return fitted(self._encoder(model, examples), model.vocabulary, item, limit)

    def _encoder(self, model: VocabularyModel, examples: Sequence[tuple[str, float]]) -> Callable[[str], list[int]]:
        """A function from an item to the prompt's token ids."""
        if self.form == "plain":
            return self.encoder(model.vocabulary, examples, encoder_decoder=answers_apart(model))
        if not isinstance(model, PromptModel):
            raise UsageError("this model does not show what its chat template makes of messages: ask it plainly")

        def chat(item: str) -> list[int]:
            messages = self.messages(item, examples)
            self._check_end(model.render(messages))
            return model.prompt_ids(messages)

        return chat

    def encoder(
        self, tokenizer: Tokenizer, examples: Sequence[tuple[str, float]] = (), *, encoder_decoder: bool = False
    ) -> Callable[[str], list[int]]:
        """A function from an item to the prompt's token ids, by a tokenizer alone: what `ids` gives for its model.

        Args:
            encoder_decoder: whether the prompt, label included, is an encoder's whole input, which ends as texts end in
                the tokenizer (T5's closing tag); the number then begins the decoder's text. A decoder's prompt has no
                end, because the number follows.

        Raises:
            UsageError: a chat is asked for, and the tokenizer has no chat template.
            RequestRefusedError: its template refuses the messages, or does not leave the prompt's end as it is.
        """
        if self.form == "plain":
            behind = 0 if encoder_decoder else len(tokenizer.suffix_ids)

            def plain(item: str) -> list[int]:
                ids = tokenizer.encode(self.written(item, examples), add_special_tokens=True).ids
                return ids[: len(ids) - behind]

            return plain

        def chat(item: str) -> list[int]:
            rendered = render_chat(tokenizer, self.messages(item, examples), continue_final_message=True)
            self._check_end(rendered.text)
            return rendered.ids

        return chat

    def _check_end(self, rendered: str) -> None:
        if not rendered.endswith(self.label):
            raise RequestRefusedError(
                f"the model's chat template does not leave {self.label!r} at the prompt's end, where the number has to "
                "follow: ask it plainly"
            )
