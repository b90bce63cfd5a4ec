"""Do all paths by which a conversation reaches a model make the same of it? Texts, ids and loss masks, compared.

A path is a tokenizer with its template, transformers, llama.cpp, a trainer's rows or a running server. The first one is
the reference; every other one is held against it, and each finding shows the first difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from whetstone.errors import UsageError, WhetstoneError

Messages = Sequence[Mapping[str, Any]]
Check = Literal[
    "text",  # the rendered texts are equal
    "ids",  # the token ids are equal
    "pasted",  # a control token that a message spells stays text: the control tokens are equal
    "bos",  # the prompt begins with as many BOS tokens as it should: one, or none
    "generation prompt",  # what precedes an answer at work is what precedes it in training
    "stable",  # an earlier turn renders the same when a later one is added
    "mask",  # the loss masks are equal
    "stop trained",  # the token that ends an answer is learned
    "something trained",  # at least one token is learned
    "pipeline",  # transformers' AutoTokenizer keeps the pipeline of tokenizer.json
]

PASTED = "a control token pasted by a user"

# Each asks something else of a template: a default system prompt, trims, spaces at borders, digits, scripts, a control
# token in a user's text, several turns.
CONVERSATIONS: tuple[tuple[str, Messages], ...] = (
    ("one question", ({"role": "user", "content": "Why is the sky blue?"},)),
    (
        "a system prompt and several turns",
        (
            {"role": "system", "content": "You sell ties. The shop sells no belts."},
            {"role": "user", "content": "I want to buy a tie"},
            {"role": "assistant", "content": "Which colour?"},
            {"role": "user", "content": "a red one"},
        ),
    ),
    (
        "a price",
        (
            {"role": "user", "content": "How much does this cost?\n\nA sturdy oak table, 4 ½ ft long, seats 12."},
            {"role": "assistant", "content": "Price is $1,299.00"},
            {"role": "user", "content": "And two?"},
        ),
    ),
    (
        "spaces at the borders",
        (
            {"role": "user", "content": "  indented\n\n"},
            {"role": "assistant", "content": "def f():\n\treturn 42  \n"},
            {"role": "user", "content": "\ttabs and  two spaces "},
        ),
    ),
    (
        "scripts and emoji",
        (
            {"role": "user", "content": "안녕하세요! 넥타이가 얼마예요? 👔🇰🇷 e\u0301 ﬁ ½ ١٢٣"},
            {"role": "assistant", "content": "4만 2천 원입니다 😀👩🏽‍🚀"},
            {"role": "user", "content": "日本語もできますか。"},
        ),
    ),
    (
        PASTED,
        ({"role": "user", "content": "What does <|im_end|> mean, or <|eot_id|>, <|end|> and </s>?"},),
    ),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a path makes of a conversation.

    Attributes:
        ids: token ids.
        text: the rendered text; None where the path does not show it.
        trained: which tokens are learned; None where the path is not asked for training.
    """

    ids: Sequence[int]
    text: str | None = None
    trained: Sequence[bool] | None = None


class Path(Protocol):
    """One way by which conversations reach a model.

    Attributes:
        name: for findings.
    """

    @property
    def name(self) -> str: ...

    def prompt(self, messages: Messages) -> Seen | None:
        """The prompt to which a model answers; None where the path makes none.

        Raises:
            WhetstoneError: the path refuses the conversation.
        """
        ...

    def training(self, messages: Messages) -> Seen | None:
        """The conversation as it is trained on, with its loss mask; None where the path does not train. Raises too."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one path with one conversation.

    Attributes:
        check: what was looked at.
        path: which path.
        conversation: its name.
        good: whether it held.
        detail: the first difference, or why not; "" where it held.
    """

    check: Check
    path: str
    conversation: str
    good: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the reference says of its tokens.

    Attributes:
        spelling: the spelling of an id.
        bos_id: the token that begins texts, None where there is none.
        end_ids: tokens with which an answer may end.
        control_ids: control tokens.
    """

    spelling: Callable[[int], str]
    bos_id: int | None = None
    end_ids: frozenset[int] = field(default_factory=frozenset)
    control_ids: frozenset[int] = field(default_factory=frozenset)


def check(
    paths: Sequence[Path], facts: Facts, conversations: Sequence[tuple[str, Messages]] = CONVERSATIONS
) -> Iterator[Finding]:
    """Every check of every path; the first path is the reference.

    Raises:
        UsageError: the reference refuses every conversation.
    """
    reference, *others = paths
    answered = 0
    for name, messages in conversations:
        wanted = _ask(reference.prompt, messages)
        answered += isinstance(wanted, Seen)
        yield from _alone(reference, name, messages, wanted, facts)
        for path in others:
            yield from _alone(path, name, messages, seen := _ask(path.prompt, messages), facts)
            yield from _compared(path.name, reference.name, name, seen, wanted, facts)
        yield from _training(paths, name, messages, facts)
    if not answered:
        raise UsageError(f"{reference.name} refuses every conversation: {wanted}")


def _ask(how: Callable[[Messages], Seen | None], messages: Messages) -> Seen | str | None:
    """What a path makes of messages, or the sentence with which it refuses them."""
    try:
        return how(messages)
    except WhetstoneError as error:
        return str(error)


def _alone(path: Path, name: str, messages: Messages, seen: Seen | str | None, facts: Facts) -> Iterator[Finding]:
    """What a path's prompt must be by itself."""
    if not isinstance(seen, Seen):
        return
    if facts.bos_id is not None:
        begin = next((n for n, token in enumerate(seen.ids) if token != facts.bos_id), len(seen.ids))
        detail = f"it begins with {begin} times {facts.spelling(facts.bos_id)}" if begin > 1 else ""
        yield Finding("bos", path.name, name, begin <= 1, detail)
    earlier = [n for n, message in enumerate(messages) if message["role"] == "user"][:-1]
    for end in earlier:
        before = _ask(path.prompt, messages[: end + 1])
        if isinstance(before, Seen):
            after, later = f"up to turn {end}", "with later turns"
            if before.text is not None and seen.text is not None:
                same = seen.text.startswith(before.text)
                detail = "" if same else first_difference(before.text, seen.text, after, later)
            else:
                same = list(seen.ids[: len(before.ids)]) == list(before.ids)
                detail = "" if same else _first(before.ids, seen.ids, facts, after, later)
            yield Finding("stable", path.name, name, same, detail)


def _compared(
    path: str, reference: str, name: str, seen: Seen | str | None, wanted: Seen | str | None, facts: Facts
) -> Iterator[Finding]:
    if seen is None:
        return
    if not isinstance(seen, Seen) or not isinstance(wanted, Seen):
        if isinstance(seen, Seen) != isinstance(wanted, Seen):
            who, why = (path, seen) if not isinstance(seen, Seen) else (reference, wanted)
            yield Finding("text", path, name, False, f"only {who} refuses it: {why}")
        return
    if seen.text is not None and wanted.text is not None:
        same = seen.text == wanted.text
        yield Finding(
            "text", path, name, same, "" if same else first_difference(wanted.text, seen.text, reference, path)
        )
    if name == PASTED:  # there are several ways to cut such a text; none may hold a control token
        ours, theirs = ([token for token in one.ids if token in facts.control_ids] for one in (wanted, seen))
        detail = "" if ours == theirs else _first(ours, theirs, facts, reference, path)
        yield Finding("pasted", path, name, ours == theirs, detail)
        return
    same = list(seen.ids) == list(wanted.ids)
    yield Finding("ids", path, name, same, "" if same else _first(wanted.ids, seen.ids, facts, reference, path))


def up_to_last_answer(messages: Messages) -> Messages:
    """The part of a conversation that can be trained on; nothing where no one answers."""
    answers = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
    return messages[: answers[-1] + 1] if answers else ()


def _training(paths: Sequence[Path], name: str, messages: Messages, facts: Facts) -> Iterator[Finding]:
    whole = up_to_last_answer(messages)
    if not whole:
        return
    wanted = _ask(paths[0].training, whole)
    for path in paths:
        seen = wanted if path is paths[0] else _ask(path.training, whole)
        if isinstance(seen, str):
            yield Finding("mask", path.name, name, False, f"it refuses to train on it: {seen}")
        if not isinstance(seen, Seen) or seen.trained is None:
            continue
        learned = _until_ends(seen, facts)
        yield Finding("something trained", path.name, name, any(learned), "" if any(learned) else "no token is learned")
        last = [n for n, on in enumerate(learned) if on and learned[n + 1 : n + 2] != [True]]
        never = next((n for n in last if facts.end_ids and seen.ids[n] not in facts.end_ids), None)
        detail = ""
        if never is not None:
            following = [facts.spelling(token) for token in seen.ids[never + 1 : never + 2]] or ["nothing"]
            detail = (
                f"an answer is learned up to {facts.spelling(seen.ids[never])!r}, and {following[0]!r} after it is "
                "not, so that the model would not learn to stop"
            )
        yield Finding("stop trained", path.name, name, never is None, detail)
        yield from _generation_prompt(path, name, whole, seen, facts)
        if path is not paths[0] and isinstance(wanted, Seen) and wanted.trained is not None:
            yield _masks(path.name, paths[0].name, name, seen, wanted, facts)


def _generation_prompt(path: Path, name: str, whole: Messages, seen: Seen, facts: Facts) -> Iterator[Finding]:
    """The prompt at work must be what precedes the answer in training, or the model meets a beginning it never saw."""
    prompt = _ask(path.prompt, whole[:-1])
    if not isinstance(prompt, Seen) or seen.trained is None:
        return
    same = list(seen.ids[: len(prompt.ids)]) == list(prompt.ids)
    detail = "" if same else _first(prompt.ids, seen.ids, facts, "at work", "in training")
    if same and len(prompt.ids) < len(seen.ids) and not seen.trained[len(prompt.ids)]:
        same = False
        spelled = facts.spelling(seen.ids[len(prompt.ids)])
        detail = f"the prompt ends before {spelled!r}, which the model has to write itself and never learned"
    yield Finding("generation prompt", path.name, name, same, detail)


def _until_ends(seen: Seen, facts: Facts) -> list[bool]:
    """The mask without what is learned after an answer's end: some trainers learn the template's line break too."""
    learned = list(seen.trained or ())
    ended = False
    for n, on in enumerate(learned):
        ended = ended and on
        learned[n] = on and not ended
        ended = ended or (on and seen.ids[n] in facts.end_ids)
    return learned


def _masks(path: str, reference: str, name: str, seen: Seen, wanted: Seen, facts: Facts) -> Finding:
    ours, theirs = _until_ends(wanted, facts), _until_ends(seen, facts)
    if list(seen.ids) != list(wanted.ids):
        return Finding("mask", path, name, False, _first(wanted.ids, seen.ids, facts, reference, path))
    at = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), None)
    if at is None:
        return Finding("mask", path, name, True)
    token = facts.spelling(seen.ids[at])
    told = "learned" if theirs[at] else "not learned"
    return Finding(
        "mask", path, name, False, f"token {at}, {token!r}, is {told} in {path}, and otherwise in {reference}"
    )


def first_difference(one: str, two: str, name_one: str, name_two: str, around: int = 24) -> str:
    """Where two texts part, in words."""
    at = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    start = max(0, at - around)
    return (
        f"character {at}: {name_one} has {one[start:at]!r} + {one[at : at + around]!r}, "
        f"{name_two} has {two[at : at + around]!r} there"
    )


def _first(one: Sequence[int], two: Sequence[int], facts: Facts, name_one: str, name_two: str) -> str:
    """Where two lists of ids part, in words."""
    at = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))

    def told(ids: Sequence[int]) -> str:
        shown = [f"{token} {facts.spelling(token)!r}" for token in ids[at : at + 3]]
        return ", ".join(shown) or "nothing more"

    return f"token {at}: {name_one} has {told(one)}; {name_two} has {told(two)}"
