"""A model folder's tokenizer and chat template, as the files have them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from whetstone.errors import ModelFileError, RequestRefusedError
from whetstone.tokens.literal import MARK, Concealed, Spellings
from whetstone.types import Message


class FolderTokenizer:
    """Token ids and rendered prompts of one model folder.

    Ids come from tokenizer.json as it is: `AutoTokenizer` rebuilds some pipelines from the class named in
    tokenizer_config.json and loses parts of them (the single digits of SmolLM2). Only a folder without a tokenizer.json
    (a SentencePiece file alone) goes through `AutoTokenizer`, which converts it.

    Args:
        folder: the model folder.

    Raises:
        ModelFileError: there is no tokenizer in the folder, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        exact = (folder / "tokenizer.json").is_file()
        try:
            self._wrapper: Any = (PreTrainedTokenizerFast if exact else AutoTokenizer).from_pretrained(
                folder, local_files_only=True
            )
            self._tokenizer: Any = self._wrapper.backend_tokenizer
        except Exception as error:  # from three libraries, the tokenizers' own errors are bare Exceptions
            raise ModelFileError(
                f"{folder}: there is no tokenizer that can be read ({_first_line(error)}); the folder needs a "
                "tokenizer.json"
            ) from error
        # A tokenizer saved from a training run keeps its limits, which would silently cut prompts.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def template(self) -> str:
        """The chat template, or "" where the model has none."""
        template = self._wrapper.chat_template
        if isinstance(template, dict):
            template = self._wrapper.get_chat_template()
        return template or ""

    @property
    def end_id(self) -> int | None:
        """The id of the end-of-sequence token that the tokenizer names, if it names one."""
        found: int | None = self._wrapper.eos_token_id
        return found

    @property
    def pad_id(self) -> int:
        """An id to fill short rows with; what it is does not matter, it is masked."""
        return int(self._wrapper.pad_token_id or 0)

    @cached_property
    def _literal(self) -> Any:
        """A twin that reads the spelling of a control token as ordinary text."""
        from tokenizers import Tokenizer

        twin = Tokenizer.from_str(self._tokenizer.to_str())
        twin.encode_special_tokens = True
        return twin

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of `text` and nothing around it; with `special`, a control token's spelling becomes that token."""
        tokenizer = self._tokenizer if special else self._literal
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the prompt that messages become: control tokens are the template's alone.

        A chat template writes its own BOS; the plain contents of a model without a template get what the tokenizer puts
        around text (a BOS, or T5's closing tag).

        Added tokens that the tokenizer does not call special are read in any text. The ones that the chat template
        writes (`<think>`, `<tool_call>`) are kept out of messages like control tokens; see `Spellings` for exceptions.

        Raises:
            RequestRefusedError: see `render`.
        """
        if not self.template:
            return self.encode_plain(self.render(messages))
        concealed = self.spellings.conceal(messages)
        rendered = self._rendered(messages if concealed is None else concealed.messages)
        if concealed is None:
            return self.encode(rendered, special=True)
        if not concealed.certain and not self.spellings.crosses(rendered, concealed):
            return self.encode(concealed.restored(rendered), special=True)
        return self.marked_ids(rendered, concealed)

    def marked_ids(self, rendered: str, concealed: Concealed) -> list[int]:
        """The ids of a rendered text in which the template's spellings are control tokens, and what stand-ins stand for
        is not. The whole text goes through the tokenizer at once, so that nothing but that depends on it."""
        twin, names, ids = self._marked
        parts = (names[part] if control else part for part, control in self.spellings.split(rendered))
        encoded = twin.encode(concealed.restored("".join(parts)), add_special_tokens=False).ids
        return [ids.get(token, token) for token in encoded]

    @cached_property
    def spellings(self) -> Spellings:
        """Of the tokens that only the template may write."""
        return Spellings(self._reserved.values())

    @cached_property
    def _marks(self) -> frozenset[str]:
        """Of the added tokens that are read in any text, those that the template writes."""
        added = self._tokenizer.get_added_tokens_decoder().values()
        return frozenset(
            token.content
            for token in added
            if not token.special and MARK.fullmatch(token.content) and token.content in self.template
        )

    @cached_property
    def _reserved(self) -> dict[int, str]:
        """Control tokens and marks by id."""
        added = self._tokenizer.get_added_tokens_decoder()
        return {
            number: token.content for number, token in added.items() if token.special or token.content in self._marks
        }

    @cached_property
    def _marked(self) -> tuple[Any, dict[str, str], dict[int, int]]:
        """A twin that knows the reserved tokens by names that nobody can have written, and none by its spelling; these
        names by spelling, and the reserved tokens' ids by the twin's."""
        from tokenizers import AddedToken, Tokenizer

        description = json.loads(self._tokenizer.to_str())
        for entry in description["added_tokens"]:
            entry["special"] = entry["special"] or entry["content"] in self._marks
        twin = Tokenizer.from_str(json.dumps(description))
        twin.encode_special_tokens = True  # spelled, they are text
        secret = secrets.token_hex(16)
        added = self._tokenizer.get_added_tokens_decoder()
        names: dict[str, str] = {}
        ids: dict[int, int] = {}
        for number, spelling in self._reserved.items():
            name = names[spelling] = f"\U000f0000{secret}{number}\U000f0001"
            flags = {flag: getattr(added[number], flag) for flag in ("single_word", "lstrip", "rstrip")}
            twin.add_tokens([AddedToken(name, normalized=False, special=False, **flags)])
            alias = twin.token_to_id(name)
            assert alias is not None  # just added
            ids[alias] = number
        return twin, names, ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, without control tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text

    def spelling(self, token_id: int) -> str:
        """One token on its own, control tokens included; a part of a character shows as U+FFFD."""
        return self.spell([token_id])

    def spell(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens spelled out; bytes that are no character show as U+FFFD."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    @property
    def description(self) -> str:
        """The tokenizer, as a tokenizer.json has it."""
        text: str = self._tokenizer.to_str()
        return text

    @property
    def size(self) -> int:
        """Tokens of the vocabulary, added ones included."""
        return int(self._tokenizer.get_vocab_size())

    def encode_plain(self, text: str) -> list[int]:
        """Token ids of text for a model to continue: literal text, with what the tokenizer puts around any (a BOS)."""
        ids: list[int] = self._literal.encode(text).ids
        return ids

    def render(self, messages: Sequence[Message]) -> str:
        """The text that the model's chat template makes of messages.

        When the last message is the assistant's, the text ends inside that message, to be continued. A model without a
        template gets the contents of the messages, joined by blank lines. A control token that a message spells shows
        as itself, and is text to the model.

        Raises:
            RequestRefusedError: the template refuses these messages, or a message holds more than text.
        """
        if not self.template:
            _check_any(messages)
            texts = (_text_of(message) for message in messages)
            return "\n\n".join(text for text in texts if text)
        concealed = self.spellings.conceal(messages)  # as `prompt_ids` does: a template may test what it is given
        return self._rendered(messages) if concealed is None else concealed.restored(self._rendered(concealed.messages))

    def _rendered(self, messages: Sequence[Message]) -> str:
        import jinja2

        _check_any(messages)
        plain = [{**message, "content": _text_of(message)} for message in messages]
        continued = messages[-1]["role"] == "assistant"
        try:
            text: str = self._wrapper.apply_chat_template(
                plain, tokenize=False, add_generation_prompt=not continued, continue_final_message=continued
            )
        except (jinja2.TemplateError, ValueError, TypeError) as error:
            raise RequestRefusedError(
                f"the model's chat template refuses these messages: {_first_line(error)}"
            ) from error
        return text


def _check_any(messages: Sequence[Message]) -> None:
    if not messages:
        raise RequestRefusedError("there is no message to answer")


def _text_of(message: Message) -> str:
    """The message's text; its parts joined where it has several."""
    content = message["content"]
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for part in content:
        if part.get("type") != "text":
            raise RequestRefusedError(
                f"the transformers engine reads text only, and the {message['role']} message holds a part of type "
                f"{part.get('type')!r}; send it to a model that reads it"
            )
        texts.append(str(part.get("text", "")))
    return "".join(texts)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
