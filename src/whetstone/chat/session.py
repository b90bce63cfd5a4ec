"""One conversation that goes on: ask, retry, edit, branch, resume. Every front end works through this.

A model remembers nothing: each answer is asked for with the system prompt, the whole branch and the new message.
"""

from __future__ import annotations

from whetstone.chat.answer import Answer, Answering
from whetstone.chat.context import ContextUse, Fitting, Overflow, fit, measure
from whetstone.chat.store import ConversationStore
from whetstone.chat.summary import Summaries
from whetstone.chat.told import is_empty, say_on, say_turns
from whetstone.chat.tool_answer import ToolAnswer, ToolUse
from whetstone.chat.tree import latest_leaf, siblings
from whetstone.errors import UsageError
from whetstone.models import ChatModel
from whetstone.models.pool import ModelPool
from whetstone.tools.call_ids import with_own_ids
from whetstone.tools.tool_trace import as_seen
from whetstone.types import Conversation, Message, Options, Turn, assistant, opening, user


class ChatSession:
    """One conversation of a store, and the models that may answer in it. Safe to use from several threads.

    Args:
        store: where it is kept.
        pool: the models.
        conversation: which one.
    """

    def __init__(self, store: ConversationStore, pool: ModelPool, conversation: Conversation) -> None:
        self._store = store
        self._pool = pool
        self._id = conversation.id
        self._summaries = Summaries()

    @property
    def conversation(self) -> Conversation:
        """The conversation as it is kept now."""
        return self._store.get(self._id)

    def path(self) -> list[Turn]:
        """The turns of the open branch, the first one first."""
        return self._store.path(self._id)

    def siblings(self, turn: str) -> list[Turn]:
        """The versions of a turn, itself included, in order of creation."""
        return siblings(self._store.turns(self._id), turn)

    def messages(
        self, leaf: str | None = None, *, model: ChatModel | None = None, system: str | None = None
    ) -> list[Message]:
        """What is sent: the system prompt, and the turns down to `leaf` (None: of the open branch).

        `system` takes the place of the conversation's system prompt, "" for none at all.

        What a model thought before it answered is left out, except for a `model` whose template asks for it. So are
        answers that failed before their first word; what was said before and after one is joined, because many
        templates refuse two messages of the user's in a row.
        """
        return self._sent(leaf or self.conversation.head, model, system)

    def use(self, text: str = "", *, model: str | None = None) -> ContextUse:
        """What the next request would take of the context, if `text` were the message.

        Raises:
            ModelError: the model cannot be loaded, or its template refuses these messages.
        """
        answering = self._model(model)
        return measure(answering, [*self.messages(model=answering), user(text)], self.conversation.options)

    def ask(
        self,
        text: str,
        *,
        model: str | None = None,
        system: str | None = None,
        options: Options | None = None,
        overflow: Overflow = "refuse",
        tools: ToolUse | None = None,
    ) -> Answering:
        """Say something, and have it answered. Nothing is kept when this raises.

        Args:
            model: who answers; by default the conversation's model.
            system: the system prompt of this one answer, "" for none at all; by default the conversation's. The answer
                keeps it, also for when it is retried or resumed.
            options: by default the conversation's.
            overflow: what to do when it does not fit, see `whetstone.chat.context.fit`.
            tools: that the model may call on the way. Its calls and their results are kept as turns of their own.

        Raises:
            UsageError: the message is empty.
            DoesNotFitError: it does not fit; it tells which turns would be dropped.
            ModelError: the model cannot be loaded, or refuses the messages.
        """
        return self._say(self.conversation.head, text, model, system, options, overflow, tools)

    def edit(
        self,
        turn: str,
        text: str,
        *,
        model: str | None = None,
        options: Options | None = None,
        overflow: Overflow = "refuse",
        tools: ToolUse | None = None,
    ) -> Answering:
        """Say something else instead of what was said in a turn, which stays as another branch. Raises as `ask`."""
        edited = self._store.turn(turn)
        if edited.message["role"] != "user":
            raise UsageError("only what you said yourself can be edited; retry an answer instead")
        return self._say(edited.parent, text, model, None, options, overflow, tools)

    def answer(
        self,
        parent: str,
        *,
        model: str | None = None,
        system: str | None = None,
        options: Options | None = None,
        overflow: Overflow = "refuse",
        tools: ToolUse | None = None,
    ) -> Answering:
        """One more answer to a turn of the user's, or of a tool's. Arguments and errors as of `ask`."""
        answering = self._model(model)
        chosen = self._options(options)
        fitting = self._fit(answering, self._sent(parent, answering, system), chosen, overflow, tools)
        return self._answered(answering, parent, fitting, chosen, system, tools)

    def retry(
        self,
        turn: str | None = None,
        *,
        model: str | None = None,
        system: str | None = None,
        options: Options | None = None,
        overflow: Overflow = "refuse",
        tools: ToolUse | None = None,
    ) -> Answering:
        """Another answer beside an answer; by default beside the last one. Raises as `ask`.

        Without a `system`, one that the answer was given of its own holds again.
        """
        turn = turn or self.conversation.head
        if turn is None:
            raise UsageError("there is nothing to retry: nothing was said yet")
        retried = self._store.turn(turn)
        parent = retried.id if retried.message["role"] in ("user", "tool") else retried.parent
        if parent is None:
            raise UsageError("the conversation begins with this answer: there is no message to answer again")
        told = _own_prompt(retried) if system is None else system
        return self.answer(parent, model=model, system=told, options=options, overflow=overflow, tools=tools)

    def resume(
        self,
        turn: str,
        *,
        prefix: str | None = None,
        model: str | None = None,
        options: Options | None = None,
        overflow: Overflow = "refuse",
    ) -> Answering:
        """A new answer beside an answer that goes on where it was cut off, with the system prompt it was asked with.

        Args:
            prefix: go on from this text instead, for instance the answer up to a token, and another token.

        Raises:
            RequestRefusedError: the model cannot continue a text of its own.
            Otherwise as `ask`.
        """
        resumed = self._store.turn(turn)
        if resumed.message["role"] != "assistant" or resumed.parent is None:
            raise UsageError("only an answer can be gone on with")
        begun = prefix if prefix is not None else str(resumed.message["content"] or "")
        if not begun:
            return self.retry(turn, model=model, options=options, overflow=overflow)
        answering = self._model(model)
        chosen = self._options(options)
        told = _own_prompt(resumed)
        asked = [*self._sent(resumed.parent, answering, told), assistant(begun)]
        fitting = self._fit(answering, asked, chosen, overflow, None)
        return self._begin(answering, resumed.parent, fitting, chosen, told, begun)

    def branch(self, turn: str) -> None:
        """Go on from this very turn: the next message becomes another branch below it."""
        self._store.update(self._id, head=turn)

    def open(self, turn: str) -> None:
        """Show the branch that this turn is on, down to its latest turn."""
        self._store.update(self._id, head=latest_leaf(self._store.turns(self._id), turn).id)

    def _say(
        self,
        parent: str | None,
        text: str,
        model: str | None,
        system: str | None,
        options: Options | None,
        overflow: Overflow,
        tools: ToolUse | None,
    ) -> Answering:
        if not text.strip():
            raise UsageError("the message is empty: write something")
        answering = self._model(model)
        chosen = self._options(options)
        earlier = self._sent(parent, answering, system)
        say_on(earlier, user(text), parent is not None and is_empty(self._store.turn(parent)))
        fitting = self._fit(answering, earlier, chosen, overflow, tools)
        said = self._store.add(self._id, parent, user(text))
        return self._answered(answering, said.id, fitting, chosen, system, tools)

    def _sent(self, leaf: str | None, model: ChatModel | None, system: str | None) -> list[Message]:
        """What is sent down to `leaf`; None: before the first turn."""
        told = opening(self.conversation.system if system is None else system)
        thoughts = bool(getattr(model, "sends_reasoning_back", False))
        return say_turns(told, self._store.path(self._id, leaf) if leaf else (), thoughts)

    def _fit(
        self,
        model: ChatModel,
        messages: list[Message],
        options: Options,
        overflow: Overflow,
        tools: ToolUse | None,
    ) -> Fitting:
        asked = options if tools is None else tools.offered(options)
        return fit(model, messages, asked, overflow, self._summaries)

    def _answered(
        self,
        model: ChatModel,
        parent: str,
        fitting: Fitting,
        options: Options,
        system: str | None,
        tools: ToolUse | None,
    ) -> Answering:
        if tools is None:
            return self._begin(model, parent, fitting, options, system)

        def begin(after: str, sent: Fitting, asked: Options) -> Answer:
            return self._begin(model, after, sent, asked, system)

        def add(after: str, message: Message) -> str:
            return self._store.add(self._id, after, message).id

        return ToolAnswer(model, parent, fitting, options, tools, begin, add)

    def _begin(
        self,
        model: ChatModel,
        parent: str,
        fitting: Fitting,
        options: Options,
        system: str | None,
        prefix: str = "",
    ) -> Answer:
        prompt = as_seen(model, fitting.messages, options)
        writer = self._store.begin_answer(
            self._id, parent, model=model.identity, options=options, prompt=prompt, system=system
        )
        stream = model.stream(fitting.messages, options)
        return Answer(
            model, fitting, with_own_ids(stream, fitting.messages) if options.tools else stream, writer, prefix
        )

    def _model(self, name: str | None) -> ChatModel:
        return self._pool.get(name or self.conversation.model)

    def _options(self, options: Options | None) -> Options:
        return self.conversation.options if options is None else options


def _own_prompt(turn: Turn) -> str | None:
    """The system prompt that an answer was given in place of the conversation's."""
    return turn.origin.system if turn.origin else None
