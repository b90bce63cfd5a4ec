"""The specs of scripted models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from whetstone.errors import UsageError
from whetstone.models.scripted import DEFAULT_CONTEXT, Saying, ScriptedModel, conversation_key, last_user_message
from whetstone.models.scripted_plan import Fault, Planned, read_plan
from whetstone.models.spec import Listing, ModelSpec
from whetstone.types import Message


def a_number(messages: Sequence[Message]) -> str:
    """A price between $0.01 and $999.99 that depends on nothing but the conversation."""
    cents = 1 + int(conversation_key(messages), 16) % 99_999
    return f"${cents // 100}.{cents % 100:02d}"


SAYINGS: Mapping[str, Saying] = {"echo": last_user_message, "number": a_number}


class ScriptedOptions(BaseModel):
    """Options of a `scripted` spec."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str | None = Field(None, description="what scripted:reply says")
    log: Path | None = Field(None, description="file to which every request appends one line of JSON")
    chunk: int | None = Field(None, ge=1, description="characters of one streamed piece")
    delay: float | None = Field(None, ge=0, description="seconds before each piece")
    context_length: int | None = Field(None, ge=1, description="tokens of prompt and reply together, 4096 by default")
    concurrency: int = Field(1, ge=1, le=256, description="most streams worth having open at once")


class ScriptedProvider:
    """Loads `scripted:echo`, `scripted:number`, `scripted:reply?text=...` and `scripted:PLAN.yaml`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self, spec: ModelSpec) -> ScriptedModel:
        """The model.

        Raises:
            UsageError: the spec names nothing that can be played.
            DataError: the plan's file cannot be read.
        """
        options = spec.read_options(ScriptedOptions)
        name = f"{spec.name}@{spec.revision}" if spec.revision else spec.name
        if (options.text is not None) != (name == "reply"):
            raise UsageError(f"{spec}: the option text belongs to {self.name}:reply?text=..., and to nothing else")
        # Only what decides the replies: a run must stay the same run when the model answers more slowly.
        decisive = {"text": options.text, "context_length": options.context_length}
        identity = ModelSpec(self.name, name, options={k: str(v) for k, v in decisive.items() if v is not None})
        replies: Sequence[str | Planned] | Saying
        faults: Mapping[int, Fault] = {}
        chunk, delay, revision = 8, 0.0, None
        if options.text is not None:
            text = options.text
            replies, revision = lambda _: text, ""
        elif name in SAYINGS:
            replies = SAYINGS[name]
        elif name.endswith((".yaml", ".yml")):
            plan = read_plan(Path(name).expanduser())
            replies, faults, chunk, delay = plan.replies, plan.faults, plan.chunk, plan.delay
        else:
            raise UsageError(
                f"{spec}: write {self.name}:echo, {self.name}:number, {self.name}:reply?text=..., "
                f"or {self.name}:PLAN.yaml for a file of planned replies"
            )
        return ScriptedModel(
            replies,
            faults=faults,
            chunk=options.chunk or chunk,
            delay=delay if options.delay is None else options.delay,
            concurrency=options.concurrency,
            context_length=options.context_length or DEFAULT_CONTEXT,
            log=options.log,
            spec=str(identity),
            revision=revision,
        )

    def listing(self) -> Iterator[Listing]:
        """What needs no file."""
        yield Listing(f"{self.name}:echo", True, "repeats the last user message")
        yield Listing(f"{self.name}:number", True, "answers a price that depends on the conversation alone")
        yield Listing(f"{self.name}:reply?text=TEXT", True, "always says TEXT")
        yield Listing(f"{self.name}:PLAN.yaml", True, "says what a file plans")
