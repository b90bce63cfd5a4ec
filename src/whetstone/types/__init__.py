"""Plain values that travel between the parts. They compare by content and know nothing of where they are kept."""

from whetstone.types.chat import (
    Chunk,
    Message,
    ModelIdentity,
    Options,
    Reply,
    TokenLogprob,
    ToolCall,
    Usage,
    assistant,
    opening,
    system,
    text_of,
    user,
)
from whetstone.types.citation import Citation
from whetstone.types.conversation import Conversation, Origin, Turn, TurnState
from whetstone.types.prediction import Prediction, Reading, ReadingStatus
from whetstone.types.problem import Case, Problem, TargetKind

__all__ = [
    "Case",
    "Chunk",
    "Citation",
    "Conversation",
    "Message",
    "ModelIdentity",
    "Options",
    "Origin",
    "Prediction",
    "Problem",
    "Reading",
    "ReadingStatus",
    "Reply",
    "TargetKind",
    "TokenLogprob",
    "ToolCall",
    "Turn",
    "TurnState",
    "Usage",
    "assistant",
    "opening",
    "system",
    "text_of",
    "user",
]
