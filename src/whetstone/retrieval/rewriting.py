"""A question as it reads without the conversation before it, so that a search understands it.

Only questions that lean on what was said are touched: "What is her salary?", "And in 2023?", "그건 언제야?". The model
is asked to rewrite one, and its rewriting is taken if it holds the question's own words and adds none that nobody has
said. Otherwise, or without a model, the names that the conversation was about are put behind the question: no sentence,
but a search finds by it.

Measured on 20 follow-up questions (3 in Korean) over 18 documents, the right document in the first place: 16 times
without any of this, 18 times with names carried over. The embedded SmolLM2 rewrote 18 of them in 2.4 seconds each, not
one so that it could be taken; taken all the same, 9. So it is not asked. Stronger models were not at hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from whetstone.errors import ModelError
from whetstone.models import ChatModel
from whetstone.models.base import reply
from whetstone.numeric.replies import answer_part
from whetstone.retrieval.stop_words import ENGLISH, KOREAN, KOREAN_ASKING
from whetstone.retrieval.terms import index_terms, query_terms
from whetstone.types import Message, Options, text_of, user

__all__ = ["carried_over", "leans_on_history", "standalone_question"]

_TURNS = 3  # exchanges of a conversation that are looked at
_CUT = 600  # characters of each message that are looked at
_MOST_NAMES = 4
_MOST_CARRIED = 12  # words or names put behind a question
_TOO_WEAK = ("smollm2",)  # not asked, see above
_FEW_WORDS = 2  # words of its own with which a question is no whole one
_LONGEST = 400  # characters of a rewritten question
_OPTIONS = Options(temperature=0, max_tokens=96)

_POINTING = re.compile(
    r"\b(?:he|she|it|they|him|her|hers|his|its|them|their|theirs|this|these|those|then|same|former|latter)\b"
    r"|(?<!is )(?<!are )(?<!was )(?<!were )\bthere\b|\bones?\b(?=\W*$)|\b(?:which|other|first|last) one\b"
    r"|\b(?:of|about|for|in|with|from|to|is|was|does|did|than|like|after|before) that\b|^\W*that\b",
    re.IGNORECASE,
)
_GOING_ON = re.compile(
    r"^\W*(?:and|or|but|so|also|then|what about|how about|what if|why|why not|how so)\b", re.IGNORECASE
)
_POINTING_KOREAN = re.compile(
    r"(?:^|\s)(?:그|이|저)(?:것|거|건|게|걸|분|사람|회사|제품|곳|때|녀)|(?:^|\s)(?:그|그의|거기|그럼|그러면|그리고|그래서|또)(?:\s|$)"
    r"|(?:은|는|도)요\W*$"
)
# Words of one name: capitalised, or with digits or capitals within (AB-1234, iPhone); joined by initials and "of".
_NAME_WORD = r"(?:[A-Z][\w'’&.-]*\w|[A-Z]\.?|\w*\d[\w.,-]*|[a-z]+[A-Z]\w*)"
_NAME = re.compile(rf"{_NAME_WORD}(?: (?:of |the |de |van |von )?{_NAME_WORD})*")
_WORD = re.compile(r"\w[\w'’&-]*")
_PARTICLE = re.compile("(?<=[가-힣]{2})(?:에서|에게|으로|까지|부터|이라는|라는|은|는|이|가|을|를|의|에|와|과|도|로)$")
_SENTENCE_START = re.compile(r"(?:^|[.!?:\n]\s*)\W*$")


def standalone_question(model: ChatModel | None, history: Sequence[Message], question: str) -> str:
    """The question in words that need no conversation; unchanged where it needs none, and then no model is asked.

    Args:
        model: who rewrites; None for names carried over only.
        history: the messages before the question, of user and assistant, oldest first.
        question: as it was asked.

    Returns:
        What to search for. A model that fails or rewrites badly is not an error: names are carried over then.
    """
    recent = [message for message in history if text_of(message).strip()][-2 * _TURNS :]
    if not recent or not question.strip() or not leans_on_history(question):
        return question
    if model is not None and not _too_weak(model) and (rewritten := _rewritten(model, recent, question)):
        return rewritten
    return carried_over(recent, question)


def leans_on_history(question: str) -> bool:
    """Whether a question points at what it does not name, goes on from another, or is hardly one by itself."""
    if _POINTING.search(question) or _GOING_ON.search(question) or _POINTING_KOREAN.search(question):
        return True
    return len(_content(question)) <= _FEW_WORDS and not _names(question)


def carried_over(history: Sequence[Message], question: str) -> str:
    """The question with what the conversation was about put behind it.

    One that points ("her", "it") gets the names that were said last. One that goes on from the question before ("And in
    2023?") gets that question's words, but for those that it replaces: its names by other names, its numbers by others.
    """
    before = next((_head(message) for message in reversed(history) if message["role"] == "user"), "")
    names = list(_last_names(history))
    if _POINTING.search(question) or _POINTING_KOREAN.search(question):
        carried = names or [*_short_answer(history), *_content(before)]
    else:
        own = _names(question)
        replaced = {
            word for name in _names(before) if _is_number(name) in map(_is_number, own) for word in _words(name)
        }
        rest = [word for word in _content(before) if word.casefold() not in replaced]
        carried = [*rest, *(name for name in names if not own and not set(_words(name)) & {*map(str.casefold, rest)})]
    known = set(_words(question))
    new = [words for words in dict.fromkeys(carried) if not set(_words(words)) <= known]
    return f"{question.rstrip()} ({', '.join(new[:_MOST_CARRIED])})" if new else question


def _last_names(history: Sequence[Message]) -> Iterator[str]:
    """The names of the last exchange that has any: the answer's first, since it says what was asked for."""
    for end in range(len(history), 0, -2):
        exchange = history[max(0, end - 2) : end]
        found = [name for message in reversed(exchange) for name in _names(_head(message)) if not _is_number(name)]
        if found:
            yield from list(dict.fromkeys(found))[:_MOST_NAMES]
            return


def _short_answer(history: Sequence[Message]) -> list[str]:
    """What the last answer is about, where it says no more than a name or two (in scripts that have no capitals)."""
    words = _content(_head(history[-1])) if history[-1]["role"] == "assistant" else []
    return words if len(words) <= _MOST_NAMES else []


def _too_weak(model: ChatModel) -> bool:
    return model.identity.spec.partition("?")[0] in _TOO_WEAK


def _rewritten(model: ChatModel, history: Sequence[Message], question: str) -> str:
    """The model's rewriting; "" where it fails or cannot be trusted."""
    told = "\n".join(f"{message['role'].capitalize()}: {_head(message)}" for message in history)
    request = (
        f"Conversation:\n{told}\n\nLast question: {question}\n\nWrite the last question again so that it can be "
        "understood without the conversation: put names in the place of words such as it, she or that. Change nothing "
        "else, do not answer it, and reply with the question alone, in its own language."
    )
    try:
        said = answer_part(reply(model, [user(request)], _OPTIONS).text)
    except ModelError:
        return ""
    lines = [line.strip().strip('"“”') for line in said.splitlines() if line.strip()]
    rewritten = lines[0] if lines else ""
    return rewritten if _trustworthy(rewritten, f"{told}\n{question}", question) else ""


def _trustworthy(rewritten: str, told: str, question: str) -> bool:
    """Whether a rewriting says what was asked, names something more, and holds no word that nobody has said."""
    if not 0 < len(rewritten) <= _LONGEST + len(question):
        return False
    terms, own = set(query_terms(rewritten)), set(query_terms(question))
    kept = {term for term in own if term in terms or _POINTING.fullmatch(term)}
    return kept == own and bool(terms - own) and terms <= set(index_terms(told))


def _head(message: Message) -> str:
    """The beginning of a message, on one line."""
    return " ".join(text_of(message)[:_CUT].split())


def _content(text: str) -> list[str]:
    """The words of a text that say what it is about, as they stand there; Korean ones without their particle."""
    words = [_PARTICLE.sub("", word) for word in _WORD.findall(text)]
    return [
        word
        for word in words
        if word.casefold().removesuffix("'s").removesuffix("’s") not in ENGLISH
        and word not in KOREAN
        and not word.startswith(KOREAN_ASKING)
    ]


def _names(text: str) -> list[str]:
    """Names, codes and numbers in a text. A capital at the beginning of a sentence makes no name by itself."""
    found = []
    for match in _NAME.finditer(text):
        name = match.group().rstrip(".,").removesuffix("'s").removesuffix("’s")
        if _SENTENCE_START.search(text[: match.start()]):
            first, _, rest = name.partition(" ")
            alone = (not rest or _is_number(rest)) and first[1:].islower() and text.count(first) == 1
            if first.casefold() in ENGLISH or alone:
                name = rest
        if name and name.casefold() not in ENGLISH:
            found.append(name)
    return list(dict.fromkeys(found))


def _is_number(name: str) -> bool:
    return name[:1].isdigit() or (name[:1] in "QH" and name[1:].isdigit())


def _words(text: str) -> list[str]:
    return [word.casefold().removesuffix("'s").removesuffix("’s") for word in _WORD.findall(text)]
