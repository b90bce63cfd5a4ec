"""`whet tune export`: a tuned model as PEFT folder, safetensors, GGUF, or for Ollama; checked before it appears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from whetstone.workflows.export_check import ExportReport
    from whetstone.workflows.export_compare import Told

_SHOWN = 5
_USE = {
    "peft": "{base}?adapter={out}",
    "merged": "hf:{out}",
    "gguf": "gguf:{model}",
    "gguf-lora": "{gguf}?lora={model}",
    "ollama": "ollama create NAME -f {out}/Modelfile",
}


def export(
    run: Annotated[
        str,
        typer.Argument(help="RUN, RUN@best, RUN@last, RUN@120 (a step), or the folder of a PEFT adapter."),
    ],
    to: Annotated[
        Literal["peft", "merged", "gguf", "gguf-lora", "ollama"],
        typer.Option(
            help="peft: the adapter with tokenizer and card. merged: safetensors. gguf: merged, for llama.cpp. "
            "gguf-lora: the adapter alone, for llama.cpp. ollama: gguf and a Modelfile."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder; for GGUF also a file that ends in .gguf.")
    ],
    quantize: Annotated[
        str | None,
        typer.Option(
            help="Precision of the weights: f32, f16 (what GGUF gets by default), bf16, q8_0, q5_1, q5_0, q4_1, q4_0."
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The base, as an hf: spec, where the adapter's folder does not say it.")
    ] = None,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts that both engines are asked.")] = 200,
    push_to: Annotated[
        str | None, typer.Option(help="Upload the folder to the hub as ORG/NAME (private, if that is new).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Export a tuned model. It is at its place only when it was shown to answer like the tuned model; else exits 1.

    The same prompts go through base and adapter in transformers and through the export in its own engine: the most
    probable next token, its log-probability and the chat template are compared.
    """
    import dataclasses

    from whetstone.cli.output import as_json, write_result
    from whetstone.tuning.export_push import check_name, push
    from whetstone.workflows.export_check import export_run

    if push_to is not None:
        check_name(push_to)
        if output.suffix.lower() == ".gguf":
            raise typer.BadParameter("a folder is uploaded, with its card; name one with -o", param_hint="--push-to")
    with _shown() as told:
        report = export_run(run, to, output, quantize=quantize, base=base, prompts=prompts, told=told)
    address = push(output, push_to) if push_to is not None and report.good else None
    if json:
        write_result("-", as_json({**dataclasses.asdict(report), "good": report.good, "pushed": address}))
    else:
        _show(report, output, address)
    if not report.good:
        raise typer.Exit(1)


@contextmanager
def _shown() -> Iterator[Told]:
    """Something to tell the progress to; it is drawn on standard error, and wiped away at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("loading", total=None)

        def told(what: str, done: int, of: int) -> None:
            bars.update(task, description=what, completed=done, total=of)

        yield told


def _show(report: ExportReport, output: Path, address: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from whetstone.cli.visible import visible

    console = Console(highlight=False, markup=False)
    answers = report.answers
    table = Table("checked against the tuned model", "", show_edge=False)
    ties = f", and {answers.ties} near ties" if answers.ties else ""
    table.add_row("same most probable next token", f"{answers.agreement:.1%} of {answers.prompts} prompts{ties}")
    table.add_row("change of its log-probability", f"median {answers.median:.4f}, largest {answers.largest:.3f} nats")
    if report.conversations or report.template:
        total = report.conversations + len(report.template)
        table.add_row("conversations alike", f"{report.conversations} of {total} comparisons")
    console.print(table)
    for one in answers.differing[:_SHOWN]:
        line = f"…{one.prompt[-50:]}: {one.exported!r} instead of {one.tuned!r}, preferred by {one.lead:.3f} nats"
        console.print(Text(visible(line), "dim"), soft_wrap=True)
    for remark in report.remarks:
        console.print(f"To know: {remark}", soft_wrap=True)
    if not report.good:
        for fault in report.faults:
            console.print(Text(visible(fault), "red"), soft_wrap=True)
        console.print(Text(f"Not exported: there is nothing at {output}.", "bold red"), soft_wrap=True)
        return
    model = output if output.is_file() else next(iter(sorted(output.glob("*.gguf"))), output)
    gguf = "smollm2" if report.base == "hf:smollm2" else "gguf:BASE.gguf"
    use = _USE[report.kind].format(out=output, model=model, base=report.base, gguf=gguf)
    console.print(Text(f"Exported to {output}; use it as {use}", "green"), soft_wrap=True)
    if address is not None:
        console.print(f"Uploaded: {address}", soft_wrap=True)
