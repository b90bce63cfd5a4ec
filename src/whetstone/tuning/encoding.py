"""Examples in a model's tokens, with what is learned of them, as the model meets them at work.

A decoder reads a prompt and goes on with the answer. An encoder-decoder reads the prompt, and its decoder writes the
answer. A model without a chat template is given the texts of messages with blank lines between, as `hf:` does it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whetstone.errors import RequestRefusedError
from whetstone.tokens.chat import RenderedChat, render_chat
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.training import training_row
from whetstone.tuning.formats import Example, Talk, Texts, Unusable
from whetstone.types import text_of


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example in tokens; the fields are those of `TuneRow`."""

    ids: list[int]
    learned: list[bool]
    labels: list[int] | None = None
    number_at: int | None = None
    cut: int = 0


@dataclass(frozen=True)
class Encoder:
    """From examples to tokens.

    Attributes:
        tokenizer: the model's.
        encoder_decoder: whether the model has an encoder.
        completion_only: whether answers alone are learned, and not what precedes them.
        max_length: most tokens of a row; of an encoder's input and of an answer each.
    """

    tokenizer: Tokenizer
    encoder_decoder: bool = False
    completion_only: bool = True
    max_length: int = 1024

    @property
    def renders(self) -> bool:
        """Whether messages go through a chat template."""
        return bool(self.tokenizer.template)

    def encode(self, examples: Sequence[Example]) -> list[Encoded | Unusable]:
        """Each example in tokens, or why it cannot be used."""
        found: dict[int, Encoded | Unusable] = {}
        plain: dict[int, Texts] = {}
        for place, example in enumerate(examples):
            try:
                texts = self.plainly(example)
                if texts is not None:
                    plain[place] = texts
                elif isinstance(example, Talk):
                    found[place] = self._talk(example)
            except Unusable as reason:
                found[place] = reason
            except RequestRefusedError as error:
                found[place] = Unusable("messages", str(error))
        found |= zip(plain, self._texts(list(plain.values())), strict=True)
        return [self._within_limit(found[place]) for place in range(len(examples))]

    def plainly(self, example: Example) -> Texts | None:
        """An example as a text and what follows it; None where a chat template writes it.

        Raises:
            Unusable: it cannot be written that way.
        """
        if isinstance(example, Texts):
            return example
        if self.renders and not self.encoder_decoder:
            return None
        if example.messages[-1]["role"] != "assistant":
            raise Unusable("messages", "the last message is not the assistant's, so there is no answer to learn")
        if self.renders:
            return None
        if example.tools:
            raise Unusable("tools", f"{self.tokenizer.name} has no chat template, so it cannot be told of tools")
        before = (text_of(message) for message in example.messages[:-1])
        return Texts("\n\n".join(text for text in before if text), text_of(example.messages[-1]))

    def shown(self, example: Example) -> RenderedChat:
        """An example as text, tokens and mask."""
        texts = self.plainly(example)
        if texts is not None:
            rendered = training_row(self.tokenizer, {"prompt": texts.prompt, "completion": texts.completion})
        else:
            talk = _talk_of(example)
            rendered = render_chat(self.tokenizer, talk.messages, tools=talk.tools, learn_from=talk.learn_from)
        if self.completion_only or self.encoder_decoder:
            return rendered
        return replace(rendered, trained=[True] * len(rendered.ids))

    def joined(self, prompt: Sequence[int], answer: Sequence[int]) -> Encoded:
        """A prompt and its answer, end included, as one row of the kind of model."""
        if self.encoder_decoder:
            return Encoded(list(prompt), [False] * len(prompt), list(answer))
        return Encoded([*prompt, *answer], [not self.completion_only] * len(prompt) + [True] * len(answer))

    @property
    def end(self) -> list[int]:
        """What ends an answer that no chat template writes."""
        return [] if self.tokenizer.eos_id is None else [self.tokenizer.eos_id]

    def _talk(self, talk: Talk) -> Encoded:
        if self.encoder_decoder:
            asked = render_chat(self.tokenizer, talk.messages[:-1], tools=talk.tools, add_generation_prompt=True)
            (answer,) = self.tokenizer.encode_ids_many([text_of(talk.messages[-1])])
            return self.joined(asked.ids, [*answer, *self.end])
        rendered = render_chat(self.tokenizer, talk.messages, tools=talk.tools, learn_from=talk.learn_from)
        return Encoded(rendered.ids, rendered.trained if self.completion_only else [True] * len(rendered.ids))

    def _texts(self, texts: Sequence[Texts]) -> list[Encoded]:
        """As `training_row` encodes them, many at once; an encoder reads the end of its text, too."""
        prompts = self.tokenizer.encode_ids_many([each.prompt for each in texts], add_special_tokens=True)
        if self.tokenizer.adds_eos and not self.encoder_decoder:
            prompts = [ids[:-1] if ids[-1:] == self.end else ids for ids in prompts]
        answers = self.tokenizer.encode_ids_many([each.completion for each in texts])
        return [self.joined(prompt, [*answer, *self.end]) for prompt, answer in zip(prompts, answers, strict=True)]

    def _within_limit(self, encoded: Encoded | Unusable) -> Encoded | Unusable:
        if isinstance(encoded, Encoded):
            for what, tokens in (("it", encoded.ids), ("its answer", encoded.labels or ())):
                if len(tokens) > self.max_length:
                    return Unusable("", f"{what} takes {len(tokens):,} tokens, and max_length is {self.max_length:,}")
        return encoded


def _talk_of(example: Example) -> Talk:
    assert isinstance(example, Talk)  # texts are never written by a chat template
    return example
