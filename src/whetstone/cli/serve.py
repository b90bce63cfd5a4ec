"""`whet serve`: the OpenAI-compatible API and the web workbench, in one process."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whetstone.errors import MissingPackageError, UsageError

if TYPE_CHECKING:
    from whetstone.models.pool import ModelPool

TOKEN_VARIABLE = "WHETSTONE_TOKEN"

# Several people, or one with several windows: each conversation keeps its place in the prefix cache, and nobody waits
# for somebody else's answer to end. One slot, the default elsewhere, is for repeatable evaluations.
_DEFAULT = {"smollm2": "smollm2?slots=4"}
_NAMED = re.compile(r"([\w.\-/]+)=(.+)", re.DOTALL)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A model to offer: its spec, or NAME=SPEC to give it a name; repeat for several, the "
            "first is the default. Default: the embedded smollm2, with 4 slots.",
        ),
    ] = None,
    any_model: Annotated[
        bool,
        typer.Option(
            "--any-model",
            help="Also load any model spec that a client names, files and endpoints included: only for clients you "
            "trust like yourself.",
        ),
    ] = False,
    kb: Annotated[
        list[str] | None,
        typer.Option(
            "--kb",
            help="Also offer this knowledge base, as the model kb:NAME answered by the default model, and as "
            "kb:NAME@MODEL by each other one; repeat for several. Default: every one, unless a token lets others in.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help=f"Address to listen on. Beyond loopback a token is needed: {TOKEN_VARIABLE}.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help=f"File that holds the token which every request must bring. Default: {TOKEN_VARIABLE}."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin whose web pages may use the API, such as https://example.org; repeat for several."),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            min=1, help="Most requests worked on at once; some more wait, and further ones are told to come back."
        ),
    ] = None,
    max_body_mb: Annotated[float | None, typer.Option(min=0.001, help="Largest request, in megabytes.")] = None,
    run_code: Annotated[
        bool | None,
        typer.Option(
            help="Run code that a model wrote, contained, for whoever asks for it. Default: yes, unless a token lets "
            "others in."
        ),
    ] = None,
    card: Annotated[
        list[str] | None,
        typer.Option("--card", help="Also offer this task card of your own: its folder; repeat for several."),
    ] = None,
    workbench: Annotated[bool, typer.Option(help="Serve the web workbench at /, beside the API.")] = True,
) -> None:
    """Serve models: an OpenAI-compatible API under /v1, and the web workbench at /.

    Listens on this machine only, unless a token is set; then every request must bring it.
    """
    problem = missing_package()
    if problem is not None:
        raise problem
    from whetstone.models.pool import ModelPool
    from whetstone.server.app import create_app
    from whetstone.server.limits import Limits
    from whetstone.server.run import Server, bind, url_of
    from whetstone.tasks import CardShelf

    limits = Limits()
    if max_requests is not None:
        limits = dataclasses.replace(limits, concurrent=max_requests)
    if max_body_mb is not None:
        limits = dataclasses.replace(limits, body_bytes=int(max_body_mb * 1e6))
    token = read_token(token_file)
    cards = CardShelf(card or ())
    limits = dataclasses.replace(limits, run_code=token is None if run_code is None else run_code)
    pool = ModelPool(with_knowledge(offered(model or []), _knowledge(kb, token)), any_spec=any_model)
    app = create_app(pool, token=token, limits=limits, allowed_origins=allow_origin or (), cards=cards)
    listener = bind(app, host, port)  # before anything large is loaded
    with contextlib.ExitStack() as open_things:
        open_things.callback(pool.close)
        open_things.callback(listener.close)
        if workbench:
            from whetstone.chat.store import ConversationStore
            from whetstone.storage.database import open_database
            from whetstone.ui.workbench import mount_workbench

            database = open_database()
            open_things.callback(database.close)
            store = ConversationStore(database)
            mount_workbench(app, pool, store, own_user=token is None, run_code=limits.run_code, cards=cards)
        Server(app, listener, url_of(host, listener), lambda url: _announce(url, pool, workbench)).run()
    typer.echo("stopped", err=True)


def missing_package() -> MissingPackageError | None:
    """What `whet serve` needs and is not installed."""
    for module in ("fastapi", "uvicorn", "prometheus_client", "gradio"):
        if importlib.util.find_spec(module) is None:
            package = module.replace("_", "-")
            return MissingPackageError(package, "`whet serve`", "pip install 'whetstone-llm[serve]'")
    return None


def _announce(url: str, pool: ModelPool, workbench: bool) -> None:
    if workbench:
        typer.echo(f"workbench   {url}/")
    typer.echo(f"API         {url}/v1   models: {', '.join(pool.offered)}")
    typer.echo("Ctrl-C stops it.")
    sys.stdout.flush()


def read_token(file: Path | None) -> str | None:
    """The token that every request must bring, None for none."""
    if file is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        token = file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: {getattr(error, 'strerror', None) or 'no text'}; name the token's file") from None
    if not token:
        raise UsageError(f"{file} is empty; write the token into it")
    return token


def _knowledge(asked_for: list[str] | None, token: str | None) -> list[str]:
    """The knowledge bases to offer."""
    from whetstone.retrieval.library import names, open_knowledge

    if asked_for is None:
        return names() if token is None else []
    for name in asked_for:
        open_knowledge(name).close()  # a misspelt name is told now
    return asked_for


def with_knowledge(models: dict[str, str], names: list[str]) -> dict[str, str]:
    """What is offered and, behind it, knowledge bases answered by each of these models."""
    from whetstone.models.knowledge_spec import knowledge_offers

    return models | knowledge_offers(models, names) | models  # a name that is taken stays what it is


def offered(models: list[str]) -> dict[str, str]:
    """What is offered: name -> spec; a spec without a name is its own."""
    named = {}
    for text in models:
        match = _NAMED.fullmatch(text)
        name, spec = (match[1], match[2]) if match else (text, text)
        named[name] = spec
    return named or dict(_DEFAULT)
