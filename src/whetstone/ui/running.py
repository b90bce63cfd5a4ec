"""Answers under way. They belong to the server, not to a page: a page that is reloaded or closed ends none of them."""

from __future__ import annotations

import threading

from whetstone.chat.answer import Answering
from whetstone.errors import ModelError, WhetstoneError
from whetstone.types import TokenLogprob, Turn

KEPT_PROBABILITIES = 200  # answers whose token probabilities are kept, the newest ones


class Running:
    """An answer that a thread of its own reads to the end.

    Attributes:
        text: what has arrived, the prefix included.
        reasoning: what the model thought so far.
        tokens: the tokens of the text with their probabilities, where they were asked for.
        prefix: text that the model was given to continue.
        failure: why it could not be kept; a failure of the model is kept with the turn.
        version: changes when anything has arrived.
    """

    def __init__(self, answer: Answering) -> None:
        self._answer = answer
        self.turn_id = answer.turn.id
        self.prefix = str(answer.turn.message["content"] or "")
        self.text = self.prefix
        self.reasoning = ""
        self.tokens: list[TokenLogprob] = []
        self.failure = ""
        self.version = 0
        self.done = threading.Event()

    @property
    def turn(self) -> Turn:
        """The answer as it is kept now."""
        return self._answer.turn

    def start(self) -> None:
        """Read the answer to its end."""
        threading.Thread(target=self._read, name=f"whetstone-answer-{self.turn_id}", daemon=True).start()

    def stop(self) -> None:
        """Stop the engine; what has arrived is kept."""
        self._answer.close()

    def _read(self) -> None:
        try:
            for chunk in self._answer:
                self.text += chunk.text
                self.reasoning += chunk.reasoning
                if chunk.logprobs and not (chunk.reasoning and not chunk.text):
                    self.tokens.extend(chunk.logprobs)
                self.version += 1
        except ModelError:
            pass  # kept with the turn, which shows it
        except WhetstoneError as error:
            self.failure = str(error)
        finally:
            self.done.set()
            self.version += 1


class RunningAnswers:
    """The answers under way of one server, by conversation. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Running, ...]] = {}
        self._pairs: dict[str, tuple[str, ...]] = {}
        self._tokens: dict[str, tuple[tuple[TokenLogprob, ...], str]] = {}

    def start(self, conversation: str, answers: tuple[Running, ...]) -> None:
        """Read these answers; two of them are a pair to choose from until `choose` is called."""
        with self._lock:
            self._running[conversation] = answers
            self._pairs.pop(conversation, None)
            if len(answers) > 1:
                self._pairs[conversation] = tuple(answer.turn_id for answer in answers)
        for answer in answers:
            answer.start()

    def of(self, conversation: str | None) -> tuple[Running, ...]:
        """The answers of a conversation while at least one of them is under way."""
        with self._lock:
            answers = self._running.get(conversation or "", ())
            if not answers or not all(answer.done.is_set() for answer in answers):
                return answers
            for answer in answers:
                if answer.tokens:
                    self._tokens[answer.turn_id] = (tuple(answer.tokens), answer.prefix)
            while len(self._tokens) > KEPT_PROBABILITIES:
                del self._tokens[next(iter(self._tokens))]
            del self._running[conversation or ""]
            return ()

    def stop(self, conversation: str | None) -> None:
        """Stop what is under way in a conversation."""
        for answer in self.of(conversation):
            answer.stop()

    def pair(self, conversation: str | None) -> tuple[str, ...]:
        """Ids of two answers between which nobody has chosen yet; () when there are none."""
        with self._lock:
            return self._pairs.get(conversation or "", ())

    def choose(self, conversation: str | None) -> None:
        """The choice between two answers is made."""
        with self._lock:
            self._pairs.pop(conversation or "", None)

    def tokens(self, turn: str) -> tuple[tuple[TokenLogprob, ...], str]:
        """The tokens of an answer, and the text before the first of them; none when they are not known."""
        with self._lock:
            return self._tokens.get(turn, ((), ""))
