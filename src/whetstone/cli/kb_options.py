"""Options that several `whet kb` commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Kb = Annotated[str, typer.Option("--kb", metavar="NAME", help="The knowledge base.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Who computes vectors: this process, or Ray Data over processes and machines (RAY_ADDRESS)."),
]
Wait = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="How long to wait for another sync of the same knowledge base.")
]
