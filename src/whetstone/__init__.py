"""Whetstone sharpens a language model on your problem, and measures the edge.

Layers, imports pointing down only (`make lint` checks it):

    cli                                     parse input, call one function below, show the result
    server | ui                             the OpenAI-compatible API | the web workbench
    workflows                               where the parts meet: compare, tune, price, cards on their cases
    evaluation | chat | retrieval           techniques, runs, statistics, reports | conversations | knowledge bases
    curation | tuning | tasks               data for training | runs, revisions, exports | task cards
    prompting | numeric | tools             templates, few-shot, chains | numbers as distributions | tools, MCP
    models | embeddings                     engines and endpoints | sentence vectors
    tokens | datasets | storage             prompts as ids | problems from files, frozen | journals, files, databases
    registry, settings | types, errors

Names are loaded when they are first used, so that `import whetstone` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from whetstone.chat.chat_fn import chat_fn as chat_fn
    from whetstone.datasets.build import build_problem as build_problem
    from whetstone.errors import WhetstoneError as WhetstoneError
    from whetstone.models import load_model as load_model
    from whetstone.models import reply as reply
    from whetstone.numeric.reading import read_number as read_number
    from whetstone.types import Case as Case
    from whetstone.types import Message as Message
    from whetstone.types import Options as Options
    from whetstone.types import Prediction as Prediction
    from whetstone.types import Problem as Problem
    from whetstone.types import Reading as Reading
    from whetstone.workflows.compare import compare as compare

_PUBLIC = {
    "Case": "whetstone.types",
    "Message": "whetstone.types",
    "Options": "whetstone.types",
    "Prediction": "whetstone.types",
    "Problem": "whetstone.types",
    "Reading": "whetstone.types",
    "WhetstoneError": "whetstone.errors",
    "build_problem": "whetstone.datasets.build",
    "chat_fn": "whetstone.chat.chat_fn",
    "compare": "whetstone.workflows.compare",
    "load_model": "whetstone.models",
    "read_number": "whetstone.numeric.reading",
    "reply": "whetstone.models",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("whetstone-llm")
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'whetstone' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
