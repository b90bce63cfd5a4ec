"""The Modelfile with which Ollama serves an exported GGUF file.

Ollama reads chat templates in Go's template language, and takes a GGUF file's own Jinja template only where it knows
that very template. So the template is written in Go where it can be proven equal: where it is nothing but a beginning,
an end and a fixed text around each turn, which is found out by rendering, and checked on every conversation of
`tokens.parity`. Anything beyond that is left to Ollama, and said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whetstone.errors import RequestRefusedError
from whetstone.tokens.chat import template_of
from whetstone.tokens.parity import CONVERSATIONS
from whetstone.tokens.tokenizer import Tokenizer
from whetstone.tokens.tokenizer_folder import read_folder, read_object

_ROLES = ("system", "user", "assistant")
_MARKS = {"system": "SYSTEM-SAID-7", "user": "USER-SAID-7", "assistant": "ASSISTANT-SAID-7"}
# Options of transformers' generation_config.json that Ollama has under the same meaning.
_PARAMETERS = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "repetition_penalty": "repeat_penalty"}

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Turns:
    """A chat template that writes fixed texts around turns.

    Attributes:
        begin: what precedes everything: the BOS, or nothing.
        around: what precedes and follows the words of each role.
        default_system: the system prompt that is put in where a conversation has none; None for no such thing.
    """

    begin: str
    around: Mapping[str, tuple[str, str]]
    default_system: str | None

    def render(self, messages: Messages) -> str:
        """The prompt for the next answer of the assistant's."""
        said = list(messages)
        if self.default_system is not None and said[0]["role"] != "system":
            said.insert(0, {"role": "system", "content": self.default_system})
        turns = [str(message["content"]).join(self.around[message["role"]]) for message in said]
        return self.begin + "".join(turns) + self.around["assistant"][0]

    def in_go(self) -> str:
        """The same as a Go template over Ollama's .Messages, without the BOS, which Ollama puts before every prompt.

        The default system prompt is not in it: the Modelfile names it, and Ollama puts it before the conversation.
        """
        cases = [
            f'{{{{ {"else if" if number else "if"} eq .Role "{role}" }}}}{self.around[role][0]}{{{{ .Content }}}}'
            f"{self.around[role][1]}"
            for number, role in enumerate(_ROLES)
        ]
        return f"{{{{ range .Messages }}}}{''.join(cases)}{{{{ end }}}}{{{{ end }}}}{self.around['assistant'][0]}"


def turns_of(tokenizer: Tokenizer) -> Turns | None:
    """What a tokenizer's chat template is made of; None where it is more than fixed texts around turns."""
    template = template_of(tokenizer)

    end = tokenizer.special_tokens.get("eos_token", "")

    def rendered(messages: Messages, prompt: bool = False) -> str:
        text = template.render(messages, add_generation_prompt=prompt).text
        # Phi-3's writes the end of all text where no answer is to follow.
        return text if prompt or not closes else text.removesuffix(end)

    closes = False

    try:
        asked = [{"role": "user", "content": "a"}]
        closes = bool(end) and not rendered(asked, True).startswith(rendered(asked))
        found = _taken_apart(rendered, tokenizer)
        if found is None:
            return None
        for _, messages in CONVERSATIONS:
            if found.render(messages) != rendered(messages, True):
                return None
    except RequestRefusedError:  # a template that refuses a role or an order does more than writing around turns
        return None
    spelled = "".join((found.begin, *(text for pair in found.around.values() for text in pair)))
    return None if "{{" in spelled or '"""' in spelled + (found.default_system or "") else found


def _taken_apart(rendered: Any, tokenizer: Tokenizer) -> Turns | None:
    said = {role: {"role": role, "content": _MARKS[role]} for role in _ROLES}
    system, user, answer = (said[role] for role in _ROLES)
    long = rendered([system, user, answer, user])
    pieces = [long]
    for message in (system, user, answer, user):
        head, mark, tail = pieces.pop().partition(message["content"])
        if not mark:
            return None
        pieces += [head, tail]
    before_system, after_system, after_user, after_answer, end = pieces
    ended = rendered([system, user, answer])
    close_answer = ended[ended.rindex(_MARKS["assistant"]) + len(_MARKS["assistant"]) :]
    if not after_answer.startswith(close_answer) or not after_user.startswith(end):
        return None
    open_user, open_answer = after_answer[len(close_answer) :], after_user[len(end) :]
    if not after_system.endswith(open_user) or rendered([user], True) != rendered([user]) + open_answer:
        return None
    close_system = after_system[: len(after_system) - len(open_user)]
    bos = tokenizer.special_tokens.get("bos_token", "") if tokenizer.bos_id is not None else ""
    begin = bos if bos and tokenizer.adds_bos and before_system.startswith(bos) else ""
    around = {
        "system": (before_system.removeprefix(begin), close_system),
        "user": (open_user, end),
        "assistant": (open_answer, close_answer),
    }
    alone = rendered([user]).partition(_MARKS["user"])[0]
    if alone == begin + open_user:
        return Turns(begin, around, None)
    head, tail = begin + around["system"][0], close_system + open_user
    if not alone.startswith(head) or not alone.endswith(tail) or len(alone) < len(head) + len(tail):
        return None
    return Turns(begin, around, alone[len(head) : len(alone) - len(tail)])


def modelfile(gguf: str, tokenizer: Tokenizer, folder: Path, context: int) -> tuple[str, list[str]]:
    """A Modelfile, and remarks on it.

    Args:
        gguf: the name of the file beside it.
        tokenizer: with the template.
        folder: the base's, for its generation_config.json.
        context: tokens that the model was trained to see at once.
    """
    lines, remarks = [f"FROM ./{gguf}", ""], []
    turns = turns_of(tokenizer) if tokenizer.template else None
    if turns is not None:
        lines += [f'TEMPLATE """{turns.in_go()}"""', ""]
        if "tools" in (tokenizer.template or ""):
            remarks.append("the Modelfile's TEMPLATE has no place for tools, which the model's own template has")
        if turns.default_system:
            lines += [f'SYSTEM """{turns.default_system}"""', ""]
    elif tokenizer.template:
        remark = (
            "the chat template does more than writing fixed texts around turns, so that no Go form of it can be proven "
            f"equal; Ollama reads the template that {gguf} holds where it knows it: look at `ollama show --template`"
        )
        lines += [f"# TEMPLATE is left out: {remark}.", ""]
        remarks.append(remark)
    else:
        lines += ['TEMPLATE """{{ .Prompt }}"""', ""]
    settings = read_object(folder / "generation_config.json")
    sampled = settings.get("do_sample", False)
    values = {name: settings[key] for key, name in _PARAMETERS.items() if sampled and settings.get(key) is not None}
    if not sampled:
        values["temperature"] = 0
    lines += [f"PARAMETER {name} {value}" for name, value in values.items()]
    lines += [f"PARAMETER num_ctx {min(context, 4096)}"]
    lines += [f'PARAMETER stop "{end}"' for end in _ends(tokenizer, folder) if '"' not in end]
    return "\n".join(lines) + "\n", remarks


def _ends(tokenizer: Tokenizer, folder: Path) -> list[str]:
    """Spellings of the tokens that end an answer."""
    ids = [tokenizer.eos_id, *read_folder(folder).ids.get("eos_token_id", ())]
    return [tokenizer.spelling(number) for number in dict.fromkeys(ids) if number is not None]
