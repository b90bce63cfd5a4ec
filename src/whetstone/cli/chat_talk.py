"""What `whet chat` talks about: one conversation, kept from its first message on, and what it was started with."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from whetstone.chat.session import ChatSession
from whetstone.chat.store import ConversationStore
from whetstone.cli.chat_tools import ChatTools
from whetstone.errors import DataError, UsageError
from whetstone.models.knowledge_spec import KNOWLEDGE, answering_spec, knowledge_name, knowledge_spec
from whetstone.models.pool import ModelPool
from whetstone.models.spec import parse_spec
from whetstone.storage.database import open_database
from whetstone.types import Conversation, Options

DEFAULT_MODEL = "smollm2"


class Talk:
    """A conversation that is created when something is first said.

    Args:
        store: where it is kept.
        pool: the models.
        model: spec of the model that answers.
        system: the system prompt, "" for none.
        options: sampling options.
        conversation: one to go on with.
        kept: whether the store outlives this program.
        tools: that the model may call; None for none.
    """

    def __init__(
        self,
        store: ConversationStore,
        pool: ModelPool,
        *,
        model: str,
        system: str = "",
        options: Options = Options(),  # noqa: B008
        conversation: Conversation | None = None,
        kept: bool = True,
        tools: ChatTools | None = None,
    ) -> None:
        self.kept = kept
        self.tools = tools
        self.store = store
        self.pool = pool
        self.model = model
        self.system = system
        self.options = options
        self.session: ChatSession | None = None
        if conversation is not None:
            self.session = ChatSession(store, pool, conversation)

    def begin(self) -> ChatSession:
        """The conversation, created if nothing was said yet."""
        if self.session is None:
            conversation = self.store.create(model=self.model, system=self.system, options=self.options)
            self.session = ChatSession(self.store, self.pool, conversation)
        return self.session

    def said(self) -> ChatSession:
        """The conversation.

        Raises:
            UsageError: nothing was said yet.
        """
        if self.session is None or self.session.conversation.head is None:
            raise UsageError("nothing was said yet")
        return self.session

    def change_model(self, spec: str) -> None:
        """Let another model answer from now on.

        Raises:
            WhetstoneError: it cannot be loaded.
        """
        self.pool.get(spec)
        self.model = spec
        if self.session is not None:
            self.store.update(self.session.conversation.id, model=spec)

    @property
    def knowledge(self) -> str:
        """The knowledge base that answers come from; "" for none."""
        spec = parse_spec(self.model)
        return knowledge_name(spec) if spec.provider == KNOWLEDGE else ""

    def change_knowledge(self, name: str) -> None:
        """Answer from the documents of a knowledge base from now on; "" for none.

        Raises:
            WhetstoneError: it cannot be opened.
        """
        plain = str(answering_spec(parse_spec(self.model)))
        self.change_model(knowledge_spec(name, plain) if name else plain)

    def change_system(self, text: str) -> None:
        """Set the system prompt from now on; "" for none."""
        self.system = text
        if self.session is not None:
            self.store.update(self.session.conversation.id, system=text)

    def forget_if_empty(self) -> None:
        """Delete a conversation whose first message could not be sent: it would be a blank line in every list."""
        if self.session is not None and (conversation := self.session.conversation).head is None:
            self.store.delete(conversation.id)
            self.session = None

    def leave(self) -> None:
        """Begin anew with the same model, system prompt and options; what was said is kept."""
        self.session = None


@contextlib.contextmanager
def open_talk(
    *,
    model: str | None,
    knowledge: str | None = None,
    system: str | None,
    options: Options,
    latest: bool = False,
    conversation: str | None = None,
    keep: bool = True,
    tools: ChatTools | None = None,
) -> Iterator[Talk]:
    """The conversation that the command line asks for.

    Args:
        model: spec; None for that of the conversation, or the default.
        knowledge: the knowledge base that it answers from; None for that of the model, if it has one.
        system: system prompt or @FILE; None for that of the conversation, or none.
        options: those that were given; the conversation's others stay.
        latest: go on with the latest conversation.
        conversation: go on with this one; the beginning of its id is enough.
        keep: keep what is said. Otherwise it lives in a folder that is removed at the end.
        tools: that the model may call; whoever opened them closes them.

    Raises:
        WhetstoneError: there is no such conversation, or the database cannot be opened.
    """
    if (latest or conversation) and not keep:
        raise UsageError("--no-save begins a conversation that is not kept; leave out --continue and --conversation")
    if latest and conversation:
        raise UsageError("give --continue or --conversation, not both")
    prompt = None if system is None else read_system(system)
    parse_spec(model if model is not None else DEFAULT_MODEL)
    with contextlib.ExitStack() as stack:
        url = None
        if not keep:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="whetstone-", ignore_cleanup_errors=True))
            url = f"sqlite:///{Path(folder) / 'chat.db'}"
        database = open_database(url)
        stack.callback(database.close)
        store = ConversationStore(database)
        found: Conversation | None = None
        if conversation:
            found = store.get(conversation)
        elif latest and (found := store.latest()) is None:
            raise UsageError("there is no conversation to continue yet: `whet chat` begins one")
        if knowledge:
            model = knowledge_spec(knowledge, model or (found.model if found else DEFAULT_MODEL))
        if found is not None:
            found = _changed(store, found, model, prompt, options)
        spec = model or (found.model if found else DEFAULT_MODEL)
        pool = ModelPool({spec: spec}, any_spec=True)
        stack.callback(pool.close)
        yield Talk(
            store,
            pool,
            model=spec,
            system=found.system if found else prompt or "",
            options=found.options if found else options,
            conversation=found,
            kept=keep,
            tools=tools,
        )


def _changed(
    store: ConversationStore, found: Conversation, model: str | None, system: str | None, options: Options
) -> Conversation:
    merged = Options.model_validate({**found.options.model_dump(), **options.model_dump(exclude_unset=True)})
    if merged == found.options and model in (None, found.model) and system in (None, found.system):
        return found
    return store.update(found.id, model=model, system=system, options=merged)


def read_system(text: str) -> str:
    """A system prompt: the text itself, or the content of a file for @FILE.

    Raises:
        DataError: the file cannot be read as text.
    """
    if not text.startswith("@"):
        return text
    path = Path(text[1:]).expanduser()
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\n")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; name a text file with the system prompt") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no UTF-8 text; name a text file with the system prompt") from None


@functools.cache
def usable_models() -> list[str]:
    """Specs of the models that are usable here."""
    from whetstone.workflows.inventory import list_models

    return [listing.spec for listing in list_models() if listing.usable]
