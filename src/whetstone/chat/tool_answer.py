"""An answer that calls tools on its way: each reply and each result is a turn of the conversation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from whetstone.chat.answer import Answer
from whetstone.chat.context import Fitting, measure
from whetstone.models import ChatModel
from whetstone.tools.calling import Consent
from whetstone.tools.events import Called, Ended, Returned, Said
from whetstone.tools.limits import ToolLimits
from whetstone.tools.loop import run_tools
from whetstone.tools.tool_box import ToolBox
from whetstone.types import Chunk, Message, Options, Turn

Watch = Callable[[Called | Returned], None]


@dataclass(frozen=True)
class ToolUse:
    """The tools of an answer.

    Attributes:
        box: the tools.
        allowed: names of those that may be called without asking.
        consent: asked for the others' calls, on the thread that reads the answer; None refuses them.
        limits: what the answer may spend.
        watch: told of each call and what became of it, on the thread that reads the answer.
    """

    box: ToolBox
    allowed: Collection[str] = ()
    consent: Consent | None = None
    limits: ToolLimits = field(default_factory=ToolLimits)
    watch: Watch = lambda event: None

    def offered(self, options: Options) -> Options:
        """The options of a request that offers these tools."""
        return options.model_copy(update={"tools": self.box.schemas()})


class ToolAnswer(Iterator[Chunk]):
    """The chunks of all replies of an answer, which are kept as they are read. See `Answer`.

    Args:
        model: who answers.
        parent: id of the turn that is answered.
        fitting: what is sent first.
        options: sampling options, without tools.
        use: the tools.
        begin: begins one reply after a turn.
        add: keeps a tool's message after a turn, and gives its id.

    Attributes:
        fitting: what was sent first, and what was left out.
        calls: what became of the calls so far.
        ended: how it ended, once it has; None also where the model failed.
    """

    def __init__(
        self,
        model: ChatModel,
        parent: str,
        fitting: Fitting,
        options: Options,
        use: ToolUse,
        begin: Callable[[str, Fitting, Options], Answer],
        add: Callable[[str, Message], str],
    ) -> None:
        self.fitting = fitting
        self.calls: list[Returned] = []
        self.ended: Ended | None = None
        self._model = model
        self._leaf = parent
        self._use = use
        self._begin = begin
        self._add = add
        self._run = run_tools(
            model,
            fitting.messages,
            use.box,
            options=options,
            limits=use.limits,
            consent=use.consent,
            allowed=use.allowed,
            ask=self._ask,
        )
        # Begun here, so that what cannot be asked for at all is said at once.
        self._current = begin(parent, fitting, use.offered(options))
        self._first: Answer | None = self._current

    @property
    def turn(self) -> Turn:
        """The last reply as it is kept now."""
        return self._current.turn

    def __next__(self) -> Chunk:
        for event in self._run:
            if isinstance(event, Said):
                return event.chunk
            if isinstance(event, Returned):
                self.calls.append(event)
                self._leaf = self._add(self._leaf, event.message)
            if isinstance(event, Called | Returned):
                self._use.watch(event)
            if isinstance(event, Ended):
                self.ended = event
        raise StopIteration

    def close(self) -> None:
        """Stop the model's work and wait for no tool, from any thread. Closing twice is harmless."""
        self._run.close()
        self._current.close()

    def _ask(self, messages: Sequence[Message], options: Options) -> Answer:
        if self._first is not None:
            self._current, self._first = self._first, None
        else:
            sent = Fitting(tuple(messages), (), measure(self._model, messages, options))
            self._current = self._begin(self._leaf, sent, options)
        self._leaf = self._current.turn.id
        return self._current
