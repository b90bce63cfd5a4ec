"""`whet mcp`: models, prices, documents and tokens for other programs, as an MCP server."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whetstone.errors import MissingPackageError, UsageError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

    from whetstone.workflows.offered import Offered


def mcp(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A model to offer: its spec, or NAME=SPEC to give it a name; repeat for several, the first is the "
            "default. Default: the embedded smollm2.",
        ),
    ] = None,
    kb: Annotated[
        list[str] | None,
        typer.Option("--kb", help="A knowledge base to search and ask; repeat for several. Default: every one."),
    ] = None,
    http: Annotated[
        bool, typer.Option("--http", help="Serve by HTTP on this machine, instead of standard input and output.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="With --http: the port; 0 takes a free one. Default: 8001.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="With --http: file that holds the token which every request must bring. Default: WHETSTONE_TOKEN, or "
            "one made for this run and shown."
        ),
    ] = None,
) -> None:
    """Offer the tools ask, price, search and tokenize to any program that speaks MCP.

    Such a program starts `whet mcp` itself, and talks to it through its standard input and output. With --http the
    server runs by itself, and programs on this machine reach it with the token.
    """
    if not http and (port is not None or token_file is not None):
        raise UsageError("--port and --token-file go with --http")
    if importlib.util.find_spec("mcp") is None:
        raise MissingPackageError("mcp", "`whet mcp`", "pip install 'whetstone-llm[tools]'")
    if http and importlib.util.find_spec("fastapi") is None:
        raise MissingPackageError("fastapi", "`whet mcp --http`", "pip install 'whetstone-llm[serve,tools]'")
    from whetstone.cli.serve import offered as named
    from whetstone.cli.serve import read_token, with_knowledge
    from whetstone.models.pool import ModelPool
    from whetstone.retrieval.library import names, open_knowledge
    from whetstone.server.mcp_server import create_mcp_server
    from whetstone.workflows.offered import Offered

    for name in kb or ():
        open_knowledge(name).close()  # a misspelt name is told now
    bases = names() if kb is None else kb
    token = read_token(token_file) if http else None
    with contextlib.closing(Offered(ModelPool(with_knowledge(named(model or []), bases)), bases)) as offered:
        server = create_mcp_server(offered)
        if http:
            _serve(server, offered, 8001 if port is None else port, token)
        else:
            if sys.stdin.isatty():
                typer.echo("this waits for a program that speaks MCP on its standard input; Ctrl-C stops it", err=True)
            server.run("stdio")


def _serve(server: MCPServer[Any], offered: Offered, port: int, token: str | None) -> None:
    import secrets

    from whetstone.server.mcp_http import serve_mcp

    own = token or secrets.token_hex(16)

    def announce(url: str) -> None:
        typer.echo(f"MCP server  {url}   models: {', '.join(offered.pool.offered)}")
        if token is None:
            typer.echo(f"token       {own}   (send it as: Authorization: Bearer TOKEN)")
        typer.echo("Ctrl-C stops it.")
        sys.stdout.flush()

    serve_mcp(server, offered, port, own, announce)
    typer.echo("stopped", err=True)
