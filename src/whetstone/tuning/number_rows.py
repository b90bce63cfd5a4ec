"""Items with a number in a model's tokens: the prompt that asks for it, the number, and the end of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from whetstone.errors import UsageError
from whetstone.prompting.fitting import fitted
from whetstone.prompting.price import PricePrompt
from whetstone.tokens.chat import RenderedChat, render_chat
from whetstone.tokens.spans import Span
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tuning.encoding import Encoded, Encoder
from whetstone.tuning.formats import Unusable
from whetstone.types import assistant


@dataclass(frozen=True)
class NumberEncoder:
    """From items with a number to tokens; a text that is too long is cut at its end, question and number never.

    Attributes:
        encoder: what knows the model and the limit.
        form: how the number is asked for.
        reserved: tokens that every row leaves for its number, those of the longest one: if each text were cut to leave
            room for its own number, its length would tell how many digits that has.
    """

    encoder: Encoder
    form: PricePrompt
    reserved: int = 0

    def with_room_for(self, numbers: Iterable[float]) -> NumberEncoder:
        """The same, with room for each of these numbers."""
        written = sorted({self.form.completion(number) for number in numbers})
        return replace(self, reserved=max(map(len, self._answers(written)), default=0))

    def encode(self, items: Sequence[tuple[str, float]]) -> list[Encoded | Unusable]:
        """Each item in tokens, or why it cannot be used."""
        answers = self._answers([self.form.completion(number) for _, number in items])
        prompts = self._prompts([text for text, _ in items])
        found: list[Encoded | Unusable] = []
        for (text, _), prompt, answer in zip(items, prompts, answers, strict=True):
            reserved = 0 if self.encoder.encoder_decoder else max(self.reserved, len(answer))
            room = self.encoder.max_length - reserved
            cut = 0
            if len(prompt) > room:
                try:
                    shorter = fitted(self._encode, self._tokenizer, text, room)
                except UsageError as error:
                    found.append(Unusable("", str(error)))
                    continue
                prompt, cut = shorter.ids, shorter.cut
            row = self.encoder.joined(prompt, answer)
            found.append(replace(row, number_at=None if self.encoder.encoder_decoder else len(prompt), cut=cut))
        return found

    def shown(self, text: str, number: float, cut: int = 0) -> RenderedChat:
        """An item as text, tokens and mask.

        Args:
            cut: characters to leave out at the text's end.
        """
        item = text[: len(text) - cut].rstrip() if cut else text
        asked = self._asked(item)
        written = self.form.completion(number)
        said, over = len(asked.text), len(asked.text) + len(written)
        ids, offsets = self._written(written)
        spelled = "".join(self._tokenizer.spelling(token) for token in self._end)
        whole = [*asked.ids, *ids, *self._end]
        trained = [not self.encoder.completion_only] * len(asked.ids) + [True] * (len(whole) - len(asked.ids))
        spans = [*asked.spans, Span(said, over, "content", 1)]
        if spelled:
            spans.append(Span(over, over + len(spelled), "control"))
        places = [*asked.offsets, *((said + a, said + b) for a, b in offsets)]
        for token in self._end:
            over, before = over + len(self._tokenizer.spelling(token)), over
            places.append((before, over))
        return RenderedChat(asked.text + written + spelled, tuple(spans), whole, places, trained, asked.pasted)

    @property
    def _tokenizer(self) -> Tokenizer:
        return self.encoder.tokenizer

    @cached_property
    def _encode(self) -> Callable[[str], list[int]]:
        return self.form.encoder(self._tokenizer, encoder_decoder=self.encoder.encoder_decoder)

    @property
    def _behind(self) -> int:
        """Tokens that the tokenizer puts behind a text, which are no part of a prompt that a number follows."""
        return 0 if self.encoder.encoder_decoder else len(self._tokenizer.suffix_ids)

    def _prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """What `PricePrompt.encoder` gives, many at once."""
        if self.form.form == "chat":
            return list(map(self._encode, texts))
        encoded = self._tokenizer.encode_ids_many([self.form.text(text) for text in texts], add_special_tokens=True)
        return [ids[: len(ids) - self._behind] for ids in encoded] if self._behind else encoded

    def _answers(self, written: Sequence[str]) -> list[list[int]]:
        """The tokens of numbers, end included; a decoder's are those behind the label, which may be others."""
        before = "" if self.encoder.encoder_decoder else self.form.label
        lead, *encoded = self._tokenizer.encode_ids_many([before, *(before + each for each in written)])
        for each, ids in zip(written, encoded, strict=True):
            if ids[: len(lead)] != lead:
                raise UsageError(
                    f"{self._tokenizer.name} cannot spell {each!r} behind {before!r}: its tokens run over where the "
                    "number begins"
                )
        return [[*ids[len(lead) :], *self._end] for ids in encoded]

    @cached_property
    def _end(self) -> list[int]:
        """What ends an answer: the end of a text, or what the chat template writes after the assistant's."""
        if self.form.form == "plain" or self.encoder.encoder_decoder:
            return self.encoder.end
        messages = [*self.form.messages("")[:-1], assistant(self.form.label + self.form.completion(1))]
        rendered = render_chat(self._tokenizer, messages)
        said = max(span.end for span in rendered.spans if span.kind == "content")
        learned = zip(rendered.ids, rendered.offsets, rendered.trained, strict=True)
        return [token for token, (start, _), trained in learned if trained and start >= said]

    def _asked(self, item: str) -> RenderedChat:
        if self.form.form == "chat":
            return render_chat(self._tokenizer, self.form.messages(item), continue_final_message=True)
        text = self.form.text(item)
        found = self._tokenizer.encode(text, add_special_tokens=True)
        end = len(found.ids) - self._behind
        spans = (Span(0, len(text), "content", 0),)
        return RenderedChat(text, spans, found.ids[:end], found.offsets[:end], [False] * end)

    def _written(self, number: str) -> tuple[list[int], list[tuple[int, int]]]:
        """A number's tokens and the characters of each."""
        before = "" if self.encoder.encoder_decoder else self.form.label
        lead = len(self._tokenizer.encode(before).ids)
        found = self._tokenizer.encode(before + number)
        return found.ids[lead:], [(a - len(before), b - len(before)) for a, b in found.offsets[lead:]]
