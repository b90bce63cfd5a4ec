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
    system,
    user,
)
from whetstone.types.prediction import Prediction, Reading, ReadingStatus
from whetstone.types.problem import Case, Problem, TargetKind

__all__ = [
    "Case",
    "Chunk",
    "Message",
    "ModelIdentity",
    "Options",
    "Prediction",
    "Problem",
    "Reading",
    "ReadingStatus",
    "Reply",
    "TargetKind",
    "TokenLogprob",
    "ToolCall",
    "Usage",
    "assistant",
    "system",
    "user",
]
