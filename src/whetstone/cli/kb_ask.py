"""`whet kb ask`: one question, answered from the documents of a knowledge base."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.cli import kb_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whetstone.retrieval.answering import Preparation
    from whetstone.types import Chunk, Reply


def ask(
    question: Annotated[str, typer.Argument(help="What the documents are asked.")],
    kb: kb_options.Kb = "default",
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model spec of who answers, see `whet models`.")
    ] = "smollm2",
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of the answer.")] = 512,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 always takes the likeliest token, so that an answer can be repeated.")
    ] = 0.0,
    json: Annotated[
        bool, typer.Option("--json", help="Print the answer, its citations and all passages as JSON.")
    ] = False,
) -> None:
    """Ask the documents. Every claim has the number of a passage; what they do not say is said not to be there.

    For a conversation: `whet chat --kb NAME`.
    """
    from whetstone.errors import UsageError
    from whetstone.models import load_model
    from whetstone.models.base import drain
    from whetstone.models.knowledge_spec import knowledge_spec
    from whetstone.retrieval.kb_model import KnowledgeModel
    from whetstone.types import Options, user

    if not question.strip():
        raise UsageError('the question is empty: write `whet kb ask "QUESTION"`')
    answering = load_model(knowledge_spec(kb, model))
    assert isinstance(answering, KnowledgeModel)
    try:
        asked, options = [user(question)], Options(temperature=temperature, max_tokens=max_tokens)
        prepared = answering.prepare(asked, options)
        stream = answering.stream(asked, options)
        reply = drain(stream if json else _shown(stream))
        identity = answering.identity
    finally:
        answering.close()
    if json:
        from whetstone.cli.output import as_json, write_result

        write_result("-", as_json(_as_dict(kb, identity.spec, prepared, reply)))
    else:
        from whetstone.cli.chat_once import notice

        notice(_figures(prepared, reply, model))


def _shown(stream: Iterator[Chunk]) -> Iterator[Chunk]:
    """The answer, written to standard output as it comes."""
    import sys

    if sys.stdout.isatty():
        from rich.console import Console

        from whetstone.cli.chat_display import AnswerDisplay

        with AnswerDisplay(Console()) as display:
            for chunk in stream:
                display.add(chunk)
                yield chunk
        return
    for chunk in stream:
        sys.stdout.write(chunk.text)
        sys.stdout.flush()
        yield chunk
    sys.stdout.write("\n")


def _figures(prepared: Preparation, reply: Reply, model: str) -> str:
    packed = prepared.packed
    if packed is None:
        return f"nothing that was found is near enough (certainty {prepared.confidence:.2f}); {model} was not asked"
    left_out = f", {len(packed.left_out)} left out for want of room" if packed.left_out else ""
    usage = reply.usage
    return (
        f"{model} · {len(packed.passages)} passages{left_out} · certainty {prepared.confidence:.2f} · "
        f"{usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens · {reply.seconds:.1f} s"
    )


def _as_dict(kb: str, spec: str, prepared: Preparation, reply: Reply) -> dict[str, Any]:
    from dataclasses import asdict

    from whetstone.retrieval.prompt import says_nothing
    from whetstone.retrieval.sources import without_list

    packed = prepared.packed
    return {
        "question": prepared.question,
        "searched_for": prepared.standalone,
        "answer": without_list(reply.text),
        "answered": packed is not None and not says_nothing(reply.text),
        "citations": [asdict(citation) for citation in reply.citations],
        "passages": [
            {
                "number": passage.number,
                "path": passage.path,
                "trail": passage.trail,
                "place": passage.place,
                "start": passage.start,
                "end": passage.end,
                "text": passage.text,
            }
            for passage in prepared.passages
        ],
        "left_out": len(packed.left_out) if packed else 0,
        "certainty": prepared.confidence,
        "kb": kb,
        "model": spec,
        "usage": asdict(reply.usage),
        "seconds": reply.seconds,
        "finish_reason": reply.finish_reason,
    }
