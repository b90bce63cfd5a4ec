"""What llama.cpp is given for messages: themselves, or token ids where a message spells a control token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

from whetstone.errors import UsageError
from whetstone.models.llamacpp_server import LlamaServer
from whetstone.tokens.gguf_file import GgufHeader, read_array
from whetstone.tokens.literal import MARK, Concealed, Spellings
from whetstone.types import Message, Options

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4  # token types of the GGUF format


class Prompt(NamedTuple):
    """How to ask for a reply.

    Attributes:
        messages: to send as a chat.
        ids: to send instead, as a plain prompt; None where the messages can be sent.
        text: what the ids say; "" without ids.
    """

    messages: list[Message]
    ids: tuple[int, ...] | None = None
    text: str = ""


def native_tool_choice(options: Options) -> Options:
    """The options as llama.cpp knows them: instead of naming a tool, offer only that one, and require a call.

    Raises:
        UsageError: `tool_choice` names a tool that is not there.
    """
    choice = options.tool_choice
    if not options.tools or choice in (None, "auto", "none", "required"):
        return options
    named = tuple(tool for tool in options.tools if tool.get("function", {}).get("name") == choice)
    if not named:
        raise UsageError(f"tool_choice names the tool {choice}, which is not among the tools offered")
    return options.model_copy(update={"tools": named, "tool_choice": "required"})


class Prompts:
    """Makes prompts for one model on one server.

    Some tokens llama.cpp reads in any text, whatever it is told: those that the file calls user-defined, and some by
    name (`<|start|>` of gpt-oss). The ones that the chat template writes (`<start_of_turn>`, `<tool_call>`) are kept
    out of messages like control tokens; see `Spellings` for the assistant's. The others mean nothing to a chat (runs of
    spaces, HTML tags) and are how the model reads such text.

    Args:
        server: runs the model.
        header: of the model's file.
    """

    def __init__(self, server: LlamaServer, header: GgufHeader) -> None:
        self._server = server
        self._header = header

    def encode(self, text: str, *, special: bool = False, around: bool = False) -> list[int]:
        """Token ids of a text; with `around`, what the tokenizer puts around any text (a BOS) as well."""
        answer = self._server.post("/tokenize", {"content": text, "add_special": around, "parse_special": special})
        return [int(token) for token in answer["tokens"]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens spelled out."""
        return str(self._server.post("/detokenize", {"tokens": list(ids)})["content"])

    def prepare(self, messages: Sequence[Message], options: Options) -> Prompt:
        """How to ask for the reply to messages, so that no text of theirs becomes a control token.

        Only where one would are they rendered here and sent as ids: llama.cpp's own chat endpoint reads reasoning and
        calls of tools out of replies. So with tools, or where the vocabulary has no ids for our stand-ins, an invisible
        WORD JOINER is put into the spellings instead.
        """
        concealed = self.spellings.conceal(messages)
        if concealed is None:
            return Prompt(list(messages))
        rendered = self.apply_template(concealed.messages, options)
        if not concealed.certain and not self.spellings.crosses(rendered, concealed):
            return Prompt(list(messages))
        ids = None if options.tools else self.literal_ids(rendered, concealed)
        if ids is None:
            return Prompt(self.spellings.parted(messages))
        return Prompt(list(messages), ids, concealed.restored(rendered))

    def apply_template(self, messages: Sequence[Message], options: Options) -> str:
        """What the chat template makes of messages, with the BOS that the tokenizer adds."""
        body: dict[str, Any] = {"messages": list(messages)}
        if options.tools:
            body["tools"] = list(options.tools)
            if options.tool_choice is not None:
                body["tool_choice"] = options.tool_choice
        rendered = str(self._server.post("/apply-template", body)["prompt"])
        # llama.cpp takes the BOS token off what the template made, and puts it on again when it tokenizes.
        return rendered if rendered.startswith(self._bos) else self._bos + rendered

    def literal_ids(self, rendered: str, concealed: Concealed) -> tuple[int, ...] | None:
        """The ids of a rendered text in which the template's spellings are control tokens, and what stand-ins stand for
        is not; None where the vocabulary cannot write stand-ins."""
        ids: list[int] = []
        found = 0
        for control, run in groupby(self.encode(rendered, special=True), self._control.__contains__):
            tokens = list(run)
            text = "" if control else self.decode(tokens)
            if (count := concealed.count(text)) == 0:
                ids += tokens
                continue
            found += count
            written = next((form for form in _forms(text) if self.encode(form) == tokens), None)
            literal = None if written is None else self._encode_literally(concealed.restored(written))
            if literal is None:
                return None
            ids += literal
        return tuple(ids) if found == concealed.count(rendered) else None

    def _encode_literally(self, text: str) -> list[int] | None:
        """Ids of a text in which nothing is a control token; None where the vocabulary cannot."""
        if not any(mark in text for mark in self._marks):
            return self.encode(text)
        # What is read in any text is read in no two pieces of it.
        pieces = [""]
        for part, mark in Spellings(self._marks).split(text):
            pieces[-1] += part[:1] if mark else part
            pieces += [part[1:]] if mark else []
        ids = [token for piece in pieces for token in self.encode(piece)]
        whole = not self._control.intersection(ids) and self.decode(ids) == text
        return ids if whole else None

    @cached_property
    def spellings(self) -> Spellings:
        """Of the tokens that only the template may write."""
        return Spellings(self._spelled[0] | self._marks)

    @property
    def _marks(self) -> frozenset[str]:
        """Of the tokens that are read in any text, those that the template writes."""
        return self._spelled[1]

    @cached_property
    def _spelled(self) -> tuple[frozenset[str], frozenset[str]]:
        """Tokens that are read in a text only when llama.cpp is told to, and marks of the template that always are.

        llama.cpp is asked, not believed the file: it takes some tokens for control tokens, or for none, by name.
        """
        tokens = read_array(self._header, "tokenizer.ggml.tokens")
        types = read_array(self._header, "tokenizer.ggml.token_type") or [0] * len(tokens)
        kinds = (_UNKNOWN, _CONTROL, _USER_DEFINED)
        candidates = {
            number: str(token)
            for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind in kinds or MARK.fullmatch(str(token))
        }
        text = "\n".join(candidates.values())
        read, always = set(self.encode(text, special=True)), set(self.encode(text))
        template = self._header.chat_template
        return (
            frozenset(spelling for number, spelling in candidates.items() if number in read - always),
            frozenset(
                spelling
                for number, spelling in candidates.items()
                if number in always and MARK.fullmatch(spelling) and spelling in template
            ),
        )

    @cached_property
    def _control(self) -> frozenset[int]:
        numbers = {str(token): number for number, token in enumerate(read_array(self._header, "tokenizer.ggml.tokens"))}
        return frozenset(numbers[spelling] for spelling in self.spellings.all)

    @cached_property
    def _bos(self) -> str:
        """The spelling of the token that llama.cpp puts before every prompt; "" where it puts none."""
        bos = self._header.metadata.get("tokenizer.ggml.bos_token_id")
        added = self.encode("", around=True)[:1] == [bos]
        return str(self._server.get("/props")["bos_token"]) if added else ""


def _forms(text: str) -> Iterator[str]:
    """What a run of tokens may have been written as: some vocabularies put a space before the first word."""
    yield text
    if text.startswith(" "):
        yield text[1:]
