"""`whet`: one module per command. Each command imports what it needs when it runs, so `whet --help` is instant."""

from __future__ import annotations

import os
import sys

import typer

from whetstone.cli import (
    chain,
    chat,
    chats,
    compare,
    data,
    diff,
    doctor,
    guess,
    kb,
    mcp,
    models,
    price,
    prompts,
    report,
    runs,
    serve,
    task,
    tokens,
    tune,
)
from whetstone.cli.interrupts import interrupts
from whetstone.cli.visible import visible
from whetstone.errors import WhetstoneError

_STOPPED = "stopped; what was finished is kept"
_INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="whet",
    help="Sharpen a language model on your problem, and measure the edge.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("chat")(chat.chat)
app.add_typer(chats.app, name="chats")
app.add_typer(tokens.app, name="tokens")
app.add_typer(data.app, name="data")
app.add_typer(kb.app, name="kb")
app.add_typer(tune.app, name="tune")
app.add_typer(prompts.app, name="prompts")
app.add_typer(chain.app, name="chain")
app.add_typer(task.app, name="task")
app.command("compare")(compare.compare)
app.command("price")(price.price)
app.command("guess")(guess.guess)
app.command("runs")(runs.runs)
app.command("serve")(serve.serve)
app.command("mcp")(mcp.mcp)
app.command("report")(report.report)
app.command("diff")(diff.diff)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"whet {version('whetstone-llm')}")
        raise typer.Exit


@app.callback()
def _top(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run() -> None:
    """The console entry point: the one place where errors become a sentence and an exit code."""
    # OpenMP's threads spin while they wait, so that one other busy process slows llama.cpp and LightGBM to a fifth. The
    # library that loads libgomp first settles it, so it is said before either is imported; it costs nothing when quiet.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        with interrupts():
            app()
    except WhetstoneError as error:
        _fail(str(error), error.exit_code)
    except SystemExit as stop:
        if stop.code != _INTERRUPTED:
            raise
        _fail(_STOPPED, 1)
    except KeyboardInterrupt:
        _fail(_STOPPED, 1)
    except BrokenPipeError:
        # The reader of our output has gone (`whet runs | head`); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}; what was finished is kept", 1)


def _fail(sentence: str, code: int) -> None:
    sys.stdout.flush()
    print(f"whet: {visible(sentence)}", file=sys.stderr)  # it may quote what somebody else's server said
    sys.exit(code)
