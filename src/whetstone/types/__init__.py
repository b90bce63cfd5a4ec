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
from whetstone.types.prediction import (
    INTERVAL_LEVELS,
    QUANTILE_LEVELS,
    NumberSummary,
    Prediction,
    Reading,
    ReadingStatus,
)
from whetstone.types.problem import Case, Problem, TargetKind

__all__ = [
    "INTERVAL_LEVELS",
    "QUANTILE_LEVELS",
    "Case",
    "Chunk",
    "Citation",
    "Conversation",
    "Message",
    "ModelIdentity",
    "NumberSummary",
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
