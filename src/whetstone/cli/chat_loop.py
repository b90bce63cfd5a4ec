"""The interactive session of `whet chat`: read, answer, obey commands, until the person leaves."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from whetstone.chat.context import DoesNotFitError, Overflow, measure
from whetstone.cli.chat_answering import Question, answer, ask, edit, explain, resume, retry
from whetstone.cli.chat_commands import COMMANDS, Command, read_input
from whetstone.cli.chat_ending import ending, left_out, spent
from whetstone.cli.chat_input import PromptInput
from whetstone.cli.chat_show import say, show_path, show_stats, show_turns, show_use
from whetstone.cli.chat_talk import Talk, read_system
from whetstone.cli.chat_tools_show import show_tools
from whetstone.cli.chat_writing import write_conversation
from whetstone.cli.visible import one_line, visible
from whetstone.errors import UsageError, WhetstoneError
from whetstone.types import ToolCall, Turn, opening, text_of, user

_SHOWN_AGAIN = 2  # turns of a conversation that is gone on with


class Interactive:
    """A session at a terminal.

    Args:
        talk: the conversation.
        console: the terminal.
        keys: where the person types.
        overflow: what to do when a conversation does not fit; None asks each time.
    """

    def __init__(self, talk: Talk, console: Console, keys: PromptInput, overflow: Overflow | None) -> None:
        self._talk = talk
        self._console = console
        self._keys = keys
        self._overflow = overflow
        self._actions: dict[str, Callable[[str], None]] = {
            "system": self._system,
            "model": self._model,
            "kb": self._kb,
            "tools": self._tools,
            "retry": self._retry,
            "resume": self._resume,
            "edit": self._edit,
            "branch": self._branch,
            "save": self._save,
            "tokens": self._tokens,
            "stats": self._stats,
            "prompt": self._prompt,
            "reasoning": self._reasoning,
            "history": self._history,
            "title": self._title,
            "new": self._new,
            "help": self._help,
        }

    def run(self) -> None:
        """Until the person leaves."""
        self._welcome()
        while True:
            try:
                typed = read_input(self._keys.message())
                if isinstance(typed, Command):
                    if typed.name == "quit":
                        return
                    if typed.argument and not COMMANDS[typed.name][0]:
                        raise UsageError(f"/{typed.name} takes nothing behind it")
                    self._actions[typed.name](typed.argument)
                else:
                    self._say(typed)
            except EOFError:
                return
            except KeyboardInterrupt:
                self._note("stopped")
            except WhetstoneError as error:
                say(self._console, str(error), "red")

    def _say(self, text: str) -> None:
        session = self._talk.begin()
        try:
            head = self._head()
            if head is not None and head.state == "streaming":
                raise UsageError("another process is writing the last answer: wait for it, or begin anew with /new")
            if head is not None and head.message["role"] == "user":
                self._note("your message before this one has no answer; this one takes its place, it stays as a branch")
                self._answer(edit(session, head, text, self._talk.tools))
            else:
                self._answer(ask(session, text, self._talk.tools))
        finally:
            self._talk.forget_if_empty()

    def _answer(self, question: Question) -> None:
        """Have a question answered, asking what to leave out if need be."""
        self._console.print()
        try:
            feed = answer(self._console, question, self._overflow or "refuse", self._consent)
        except DoesNotFitError as error:
            explain(self._console, error, question, self._talk.pool, self._talk.model)
            if self._overflow is not None or not error.would_drop:
                return
            overflow = self._choose_overflow()
            if overflow == "refuse":
                self._note("nothing was sent; shorten the message, or choose a /model with more context")
                return
            feed = answer(self._console, question, overflow, self._consent)
        if feed.answer is None:
            self._note("stopped before the model was asked")
            return
        given = feed.answer
        for note in (left_out(given.fitting), ending(given.turn, interactive=True), spent(given)):
            if note:
                self._note(note)
        self._console.print()

    def _choose_overflow(self) -> Overflow:
        choices = {"d": "drop the oldest", "s": "summarise them", "r": "refuse, send nothing"}
        meaning: dict[str, Overflow] = {"d": "drop_oldest", "s": "summarise", "r": "refuse"}
        return meaning[self._keys.choose("What now?", choices)]

    def _consent(self, call: ToolCall) -> bool:
        choices = {"y": "yes, this once", "a": f"always {call.name}, until I leave", "n": "no"}
        chosen = self._keys.choose(f"Call {call.name}?", choices)
        if chosen == "a" and self._talk.tools is not None:
            self._talk.tools.allow(call.name)
        return chosen != "n"

    def _welcome(self) -> None:
        talk = self._talk
        say(self._console, f"{talk.model} · /help lists the commands, Ctrl-D leaves", "dim")
        if talk.session is None:
            return
        conversation, path = talk.session.conversation, talk.session.path()
        title = one_line(conversation.title, 60) or "no title"
        say(self._console, f"{title} · {conversation.id} · {len(path)} turns, /history shows all", "dim")
        self._console.print()
        show_path(self._console, path[-_SHOWN_AGAIN:])
        if path and path[-1].message["role"] == "user":
            self._note("your last message has no answer yet: /retry asks for one")
        elif path and path[-1].message["role"] == "tool":
            self._note("the last answer ended at a tool's result: /retry has it go on")
        elif path and path[-1].state == "partial":
            self._note("the last answer was cut off: /retry asks again, /resume goes on where it ended")
        elif path and path[-1].state == "failed":
            self._note("the last answer failed: /retry asks again")

    def _note(self, text: str) -> None:
        say(self._console, text, "yellow")

    def _head(self) -> Turn | None:
        path = self._talk.session.path() if self._talk.session is not None else []
        return path[-1] if path else None

    def _last_answer(self) -> Turn:
        answers = [turn for turn in self._talk.said().path() if turn.message["role"] == "assistant"]
        if not answers:
            raise UsageError("nothing was answered yet")
        return answers[-1]

    def _numbered(self, argument: str) -> Turn:
        turns = self._talk.store.turns(self._talk.said().conversation.id)
        if not argument.isdecimal() or not 1 <= int(argument) <= len(turns):
            raise UsageError(
                f"{one_line(argument, 40)!r} is no turn: give a number from 1 to {len(turns)}, see /branch"
            )
        return turns[int(argument) - 1]

    def _system(self, argument: str) -> None:
        if not argument:
            say(self._console, self._talk.system or "there is no system prompt; /system TEXT sets one")
            return
        self._talk.change_system("" if argument == "-" else read_system(argument))
        self._note("the system prompt holds from the next message on" if self._talk.system else "no system prompt now")

    def _model(self, argument: str) -> None:
        if argument:
            self._talk.change_model(argument)
            self._note(f"{argument} answers from now on")
            return
        from whetstone.workflows.inventory import list_models

        say(self._console, f"{self._talk.model} answers; usable here, each for /model:")
        for listing in list_models():
            if listing.usable:
                say(self._console, f"  {listing.spec}  {one_line(listing.note, 60)}")

    def _kb(self, argument: str) -> None:
        if argument:
            self._talk.change_knowledge("" if argument == "-" else argument)
            self._note(f"{self._talk.model} answers from now on")
            return
        from whetstone.retrieval.library import names

        known = names()
        if not known:
            raise UsageError("there is no knowledge base yet: `whet kb sync FOLDER` makes one")
        using = self._talk.knowledge
        for name in known:
            say(self._console, f"  {name}{'  (answers come from it)' if name == using else ''}")

    def _tools(self, argument: str) -> None:
        if self._talk.tools is None:
            raise UsageError("there are no tools: begin with `whet chat --tool calculator`, for example")
        told = self._talk.session.messages() if self._talk.session is not None else opening(self._talk.system)
        show_tools(self._console, self._talk.tools, self._talk.pool.get(self._talk.model), told, self._talk.options)

    def _retry(self, argument: str) -> None:
        self._answer(retry(self._talk.said(), self._talk.said().path()[-1], self._talk.tools))

    def _resume(self, argument: str) -> None:
        self._answer(resume(self._talk.said(), self._last_answer()))

    def _edit(self, argument: str) -> None:
        session = self._talk.said()
        if argument:
            turn = self._numbered(argument)
            if turn.message["role"] != "user":
                raise UsageError(f"turn {argument} is an answer: only what you said yourself can be edited")
        else:
            turn = next(turn for turn in reversed(session.path()) if turn.message["role"] == "user")
        try:
            text = self._keys.edited(text_of(turn.message))
        except (KeyboardInterrupt, EOFError):
            self._note("not changed")
            return
        self._answer(edit(session, turn, text, self._talk.tools))

    def _branch(self, argument: str) -> None:
        session = self._talk.said()
        if argument:
            turn = self._numbered(argument)
            if turn.message["role"] == "user":  # a message of one's own is followed by its answer
                session.open(turn.id)
            else:
                session.branch(turn.id)
            show_path(self._console, session.path()[-_SHOWN_AGAIN:])
            self._note("your next message follows this")
        else:
            show_turns(self._console, self._talk.store.turns(session.conversation.id), session.path())

    def _save(self, argument: str) -> None:
        if not argument:
            raise UsageError("write /save FILE.md or /save FILE.jsonl")
        conversation = self._talk.said().conversation

        def overwrite(name: str) -> bool:
            return self._keys.choose(f"{name} exists.", {"o": "overwrite it", "k": "keep it"}) == "o"

        written = write_conversation(self._talk.store, conversation, argument, overwrite)
        self._note(f"written to {written}" if written else "not written")

    def _tokens(self, argument: str) -> None:
        talk = self._talk
        if talk.session is not None:
            use = talk.session.use()
        else:
            use = measure(talk.pool.get(talk.model), [*opening(talk.system), user("")], talk.options)
        show_use(self._console, use, talk.model)

    def _stats(self, argument: str) -> None:
        session = self._talk.said()
        show_stats(self._console, self._last_answer(), self._talk.store.turns(session.conversation.id))

    def _prompt(self, argument: str) -> None:
        origin = self._last_answer().origin
        if origin is None or not origin.prompt_hash:
            raise UsageError("the prompt of the last answer is not known: it was imported")
        self._console.print(Text(visible(self._talk.store.prompt(origin.prompt_hash))))
        say(self._console, f"sha256 {origin.prompt_hash}, {origin.usage.prompt_tokens:,} tokens", "dim")

    def _reasoning(self, argument: str) -> None:
        say(self._console, self._last_answer().reasoning.strip() or "the last answer came without reasoning", "italic")

    def _history(self, argument: str) -> None:
        show_path(self._console, self._talk.said().path())

    def _title(self, argument: str) -> None:
        conversation = self._talk.said().conversation
        if argument:
            conversation = self._talk.store.update(conversation.id, title=one_line(argument))
        say(self._console, one_line(conversation.title) or "no title")

    def _new(self, argument: str) -> None:
        self._talk.leave()
        self._note("a new conversation; the last one is kept" if self._talk.kept else "a new conversation")

    def _help(self, argument: str) -> None:
        for name, (takes, does) in COMMANDS.items():
            say(self._console, f"  {f'/{name} {takes}'.strip():<24} {does}")
        say(
            self._console, "  Enter sends; Alt+Enter or Ctrl-J begins a new line; pasted lines stay one message.", "dim"
        )
        say(self._console, "  Ctrl-C stops an answer or empties the prompt. // begins a message with a slash.", "dim")
