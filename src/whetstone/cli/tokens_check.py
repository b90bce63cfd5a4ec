"""`whet tokens check`: do all paths to a model make the same of a conversation?"""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from whetstone.tokens.parity import Finding


def check(
    model: Annotated[str, typer.Argument(help="A folder with tokenizer and template, a hub id, a GGUF file, smollm2.")],
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A further path; repeat. A folder, a GGUF file, the address of a running server, a JSONL file of rows "
            "that a trainer made (messages, input_ids, labels), or trl: what its SFTTrainer makes of messages and of "
            "prompt and completion (trl:messages, trl:completion for one of the two)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
) -> None:
    """Hold every path from messages to token ids against the tokenizer and its template. Exits 1 when one departs.

    A folder is also read by transformers, a GGUF also by llama.cpp. Texts, ids, BOS tokens, loss masks and the
    stability of earlier turns are compared, on conversations that try what goes wrong most.
    """
    from whetstone.workflows.parity import check_parity

    findings = list(check_parity(model, against or ()))
    if as_json:
        from whetstone.cli.output import as_json as written

        sys.stdout.write(written([dataclasses.asdict(finding) for finding in findings]))
    else:
        _show(findings)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.visible import visible

    console = Console(highlight=False)
    table = Table("path", "check", "")
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.path, finding.check), []).append(finding)
    for (path, name), group in sorted(groups.items()):
        bad = [finding for finding in group if not finding.good]
        told = (
            Text(f"fails in {len(bad)} of {len(group)}", "bold red") if bad else Text(f"holds in {len(group)}", "green")
        )
        table.add_row(Text(path), name, told)
    console.print(table)
    for finding in findings:
        if not finding.good:
            console.print(
                Text.assemble(
                    (f"{finding.check}", "bold red"),
                    visible(f", {finding.path}, {finding.conversation}: {finding.detail}"),
                ),
                soft_wrap=True,
            )
    good = all(finding.good for finding in findings)
    console.print(Text("every path makes the same of it", "green") if good else Text("the paths depart", "bold red"))
