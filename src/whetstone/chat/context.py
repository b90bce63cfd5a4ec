"""What a conversation takes of the model's context, part by part, and what to leave out when it does not fit.

Nothing is ever left out without being asked for: `fit` refuses by default, and says which turns it would drop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from whetstone.chat.summary import Summaries
from whetstone.errors import ContextTooLongError
from whetstone.models import ChatModel, ContextModel, TokenizingModel
from whetstone.types import Message, Options, text_of

Overflow = Literal["refuse", "drop_oldest", "summarise"]

RESERVED_REPLY = 512  # tokens kept for the reply when nobody says how long it may be; a quarter of a small context
SUMMARY_SHARE = 8  # a summary of what was dropped may take one part in so many of the context
_BYTES_PER_TOKEN = 4  # of a tokenizer that cannot be asked: the usual figure for English; Korean takes 1 to 3
_TOKENS_AROUND_MESSAGE = 4


@dataclass(frozen=True, slots=True)
class ContextUse:
    """How many tokens each part of a request takes.

    Attributes:
        system: the system prompt's text.
        history: the texts of the earlier turns.
        message: the text of the last message.
        template: what the chat template writes around them, tools and its own default system prompt included.
        reply: reserved for the reply.
        limit: what the model can hold; None when it is not known.
        exact: whether the model's own tokenizer counted; otherwise the figures are a guess from the length in bytes.
    """

    system: int
    history: int
    message: int
    template: int
    reply: int
    limit: int | None
    exact: bool

    @property
    def used(self) -> int:
        """Tokens of the prompt."""
        return self.system + self.history + self.message + self.template

    @property
    def total(self) -> int:
        """Tokens of the prompt, and of the reply that is reserved."""
        return self.used + self.reply

    @property
    def free(self) -> int | None:
        """Tokens that are left, at least 0; None when the limit is not known."""
        return None if self.limit is None else max(0, self.limit - self.total)

    @property
    def fits(self) -> bool:
        """Whether prompt and reserved reply fit, as far as anybody knows."""
        return self.limit is None or self.total <= self.limit


@dataclass(frozen=True, slots=True)
class Fitting:
    """What is sent.

    Attributes:
        messages: the request.
        dropped: indices, into the messages that were to be sent, of those that were left out.
        use: what the request takes.
        summary: what stands for the dropped messages; "" for nothing.
    """

    messages: tuple[Message, ...]
    dropped: tuple[int, ...]
    use: ContextUse
    summary: str = ""


class DoesNotFitError(ContextTooLongError):
    """The conversation does not fit, and nobody has said what to leave out.

    Args:
        sentence: what was found, and what to do.
        use: what it takes.
        would_drop: indices of the messages that dropping the oldest turns would leave out; empty when that would not
            help, because system prompt and message alone are too long.
    """

    def __init__(self, sentence: str, use: ContextUse, would_drop: tuple[int, ...]) -> None:
        super().__init__(sentence)
        self.use = use
        self.would_drop = would_drop


def measure(model: ChatModel, messages: Sequence[Message], options: Options = Options()) -> ContextUse:  # noqa: B008
    """What a request takes of the context, counted with the model's own tokenizer where it can be asked.

    Args:
        messages: the request; the last one counts as the new message, a leading system message as the system prompt.
        options: `max_tokens` is what is reserved for the reply; tools are counted with the template.

    Raises:
        RequestRefusedError: the model's chat template refuses these messages.
        ModelError: the model cannot be loaded.
    """
    instructions = 1 if messages and messages[0]["role"] in ("system", "developer") else 0
    exact = isinstance(model, ContextModel) and isinstance(model, TokenizingModel)
    sizes = [_size(model, text_of(message)) for message in messages]
    last = sizes[-1] if len(sizes) > instructions else 0
    around = len(messages) * _TOKENS_AROUND_MESSAGE
    limit = None
    if exact:
        assert isinstance(model, ContextModel)
        limit = model.context_length
        # Texts on their own and texts in place may be cut a little differently; the sum is what counts.
        around = max(0, model.count_tokens(messages, options) - sum(sizes))
    reserve = RESERVED_REPLY if limit is None else min(RESERVED_REPLY, limit // 4)
    return ContextUse(
        system=sum(sizes[:instructions]),
        history=sum(sizes[instructions:]) - last,
        message=last,
        template=around,
        reply=options.max_tokens or reserve,
        limit=limit,
        exact=exact,
    )


def _size(model: ChatModel, text: str) -> int:
    if isinstance(model, TokenizingModel) and isinstance(model, ContextModel):
        return len(model.encode(text)) if text else 0
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def fit(
    model: ChatModel,
    messages: Sequence[Message],
    options: Options = Options(),  # noqa: B008
    overflow: Overflow = "refuse",
    summaries: Summaries | None = None,
) -> Fitting:
    """The request as it will be sent.

    Args:
        overflow: what to do when it does not fit: refuse; drop the oldest turns, as few as will do; or drop them and
            put a summary, which the model writes, into the system prompt.
        summaries: summaries made before, which are continued.

    Raises:
        DoesNotFitError: it does not fit, and `overflow` is "refuse", or nothing that may be dropped would help.
        ModelError: the model refuses the messages, or fails while it summarises.
    """
    use = measure(model, messages, options)
    if use.fits:
        return Fitting(tuple(messages), (), use)
    assert use.limit is not None
    room = max(16, use.limit // SUMMARY_SHARE) if overflow == "summarise" else 0
    dropped = _oldest(model, messages, options, room)
    if not dropped or overflow == "refuse":
        raise DoesNotFitError(_sentence(use, messages, dropped), use, dropped)
    kept = [message for number, message in enumerate(messages) if number not in set(dropped)]
    summary = ""
    if overflow == "summarise":
        summary = (summaries or Summaries()).summarise(model, [messages[number] for number in dropped], room, use.limit)
        kept = _with_summary(kept, summary)
    return Fitting(tuple(kept), dropped, measure(model, kept, options), summary)


def _oldest(model: ChatModel, messages: Sequence[Message], options: Options, room: int) -> tuple[int, ...]:
    """The fewest oldest turns, in whole exchanges, without which the rest and `room` tokens more fit; () when none."""
    first = 1 if messages and messages[0]["role"] in ("system", "developer") else 0
    # An exchange begins with a user's message; what a tool said is never kept without the call that it answers.
    ends = [n for n in range(first + 1, len(messages)) if messages[n]["role"] == "user"]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        kept = [*messages[:first], *messages[ends[middle] :]]
        use = measure(model, kept, options)
        assert use.limit is not None
        if use.total + room <= use.limit:
            high = middle
        else:
            low = middle + 1
    return tuple(range(first, ends[low])) if low < len(ends) else ()


def _sentence(use: ContextUse, messages: Sequence[Message], dropped: Sequence[int]) -> str:
    parts = f"system {use.system}, history {use.history}, message {use.message}, template {use.template}"
    start = (
        f"the prompt has {use.used} tokens ({parts}) and {use.reply} are reserved for the reply, but the context holds "
        f"{use.limit}"
    )
    if not dropped:
        return f"{start}; dropping earlier turns would not help: shorten the message, or use a model with more context"
    first = " ".join(text_of(messages[dropped[0]]).split())
    return (
        f"{start}; dropping the oldest {len(dropped)} messages, from {first[:60]!r} on, would make it fit: choose to "
        "drop them, to have them summarised, or to shorten the message"
    )


def _with_summary(messages: Sequence[Message], summary: str) -> list[Message]:
    told = f"Summary of the earlier part of this conversation:\n{summary}"
    if messages and messages[0]["role"] in ("system", "developer"):
        head: Message = {**messages[0], "content": f"{text_of(messages[0])}\n\n{told}"}
        return [head, *messages[1:]]
    return [{"role": "system", "content": told}, *messages]
