"""Knowledge bases as models: `kb:NAME@MODEL` answers from the documents of a knowledge base, with citations.

So chats, the workbench and the API get it like any other model.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from whetstone.errors import UsageError, WhetstoneError
from whetstone.models import (
    ChatModel,
    ContextModel,
    Listing,
    ModelSpec,
    RenderingModel,
    TokenizingModel,
    load_model,
)
from whetstone.models.base import ReplyStream
from whetstone.models.knowledge_spec import answering_spec, knowledge_name
from whetstone.retrieval import library
from whetstone.retrieval.answering import Preparation, prepare, stream_answer
from whetstone.retrieval.confidence import Confidence
from whetstone.retrieval.library import Knowledge
from whetstone.retrieval.search import Search
from whetstone.types import Message, ModelIdentity, Options

_KEPT = 8  # preparations: what is rendered for inspection is asked for a moment later


class KnowledgeModel:
    """A model that answers from a knowledge base. It owns both, and closes both.

    Args:
        spec: of this model.
        knowledge: the knowledge base.
        model: who answers.
    """

    def __init__(self, spec: ModelSpec, knowledge: Knowledge, model: ChatModel) -> None:
        self.knowledge = knowledge
        self.model = model
        self._spec = spec
        self._search = Search(knowledge.store, lambda: knowledge.embedder)
        self._sure = Confidence(knowledge.store, lambda: knowledge.embedder)
        self._lock = threading.Lock()
        self._prepared: OrderedDict[str, Preparation] = OrderedDict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._spec)!r})"

    @property
    def identity(self) -> ModelIdentity:
        """The answering model's, with the state of the knowledge base in its revision."""
        inner = self.model.identity
        revision = " ".join(filter(None, (inner.revision, f"state {self.knowledge.header.state}")))
        return replace(inner, spec=str(self._spec), revision=revision)

    @property
    def concurrency(self) -> int:
        """That of the answering model."""
        return self.model.concurrency

    @property
    def sends_reasoning_back(self) -> bool:
        """Whether earlier thoughts are sent again."""
        return bool(getattr(self.model, "sends_reasoning_back", False))

    def stream(self, messages: Sequence[Message], options: Options = Options()) -> ReplyStream:  # noqa: B008
        """The answer to the last message of the user's, see `answering.stream_answer`."""
        asked = list(messages)
        return stream_answer(
            self.model,
            lambda: self.prepare(asked, options),
            self.knowledge.name,
            lambda: self.knowledge.embedder,
            options,
        )

    def prepare(self, messages: Sequence[Message], options: Options = Options()) -> Preparation:  # noqa: B008
        """What comes before the answer: the question as it was searched for, what was found, the request."""
        state = self.knowledge.header.state
        key = json.dumps([list(messages), options.model_dump(mode="json"), state])
        with self._lock:
            if (known := self._prepared.get(key)) is not None:
                return known
        made = prepare(self._search, self._sure, self.model, messages, options)
        with self._lock:
            self._prepared[key] = made
            while len(self._prepared) > _KEPT:
                self._prepared.popitem(last=False)
        return made

    def close(self) -> None:
        """Close the model and the knowledge base. Closing twice is harmless."""
        self.model.close()
        self.knowledge.close()


class OpenKnowledgeModel(KnowledgeModel):
    """A knowledge base with a model of our own engines, whose prompts and tokens can be seen.

    Half of the model's context is kept for passages: `context_length` is the other half, and `count_tokens` counts the
    conversation without them. So a long conversation is dealt with before it crowds out what was found.
    """

    model: _OwnModel

    @property
    def context_length(self) -> int:
        """Tokens for the conversation and the reply."""
        return self.model.context_length // 2

    def count_tokens(self, messages: Sequence[Message], options: Options = Options()) -> int:  # noqa: B008
        """Tokens of the conversation, without passages."""
        return self.model.count_tokens(messages, options)

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of a text, see `TokenizingModel`."""
        return self.model.encode(text, special=special)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, see `TokenizingModel`."""
        return self.model.decode(ids)

    def render(self, messages: Sequence[Message], options: Options = Options()) -> str:  # noqa: B008
        """The prompt with its passages, as the answering model sees it; the conversation's where it is not asked."""
        packed = self.prepare(messages, options).packed
        return self.model.render(packed.messages if packed else messages, options)


class _OwnModel(ChatModel, ContextModel, RenderingModel, TokenizingModel):
    """What our own engines can do."""


class KnowledgeProvider:
    """Loads `kb:NAME@MODEL`; MODEL is any model spec, by default smollm2.

    Args:
        name: the provider's name in specs.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: ModelSpec) -> KnowledgeModel:
        """The model.

        Raises:
            UsageError: the spec names no knowledge base, or one inside another.
            UnknownNameError: there is no such knowledge base.
            StorageError: it cannot be read.
            Otherwise as `load_model`.
        """
        base = knowledge_name(spec)
        if not base:
            raise UsageError(f"{spec}: name the knowledge base, for example {self.name}:handbook")
        answering = answering_spec(spec)
        if answering.provider == self.name:
            raise UsageError(f"{spec}: one knowledge base cannot answer for another; name a model behind the @")
        knowledge = library.open_knowledge(base)
        try:
            return with_knowledge(spec, knowledge, load_model(answering))
        except BaseException:
            knowledge.close()
            raise

    def listing(self) -> Iterator[Listing]:
        """The knowledge bases that there are, each with the default model."""
        try:
            names = library.names()
        except WhetstoneError as error:
            yield Listing(f"{self.name}:NAME@MODEL", False, str(error))
            return
        for name in names:
            yield Listing(f"{self.name}:{name}", True, f"answers from the documents of {name}; @MODEL says who")
        if not names:
            yield Listing(f"{self.name}:NAME@MODEL", False, "there is no knowledge base yet: run `whet kb sync FOLDER`")


def with_knowledge(spec: ModelSpec, knowledge: Knowledge, model: ChatModel) -> KnowledgeModel:
    """A model that answers from a knowledge base, able to show prompts and tokens if that model is."""
    own = isinstance(model, ContextModel) and isinstance(model, RenderingModel) and isinstance(model, TokenizingModel)
    return (OpenKnowledgeModel if own else KnowledgeModel)(spec, knowledge, model)
