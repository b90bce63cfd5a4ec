"""A training run in the terminal while it runs: step, loss, speed, time left, validations."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

if TYPE_CHECKING:
    from whetstone.tuning.plan import Plan

_SMOOTH = 0.9  # of the running means of loss and speed
_QUIET_SECONDS = 30  # between lines where nothing can be drawn


class LiveTraining:
    """Draws what a run's journal says as it is written.

    Args:
        console: where to draw; on one that is no terminal a line is written now and then.
        plan: of the run.
    """

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console, self._plan = console, plan
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("loading", total=plan.steps, said="")
        self._loss: float | None = None
        self._speed: float | None = None
        self._pace: float | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stopped(self) -> bool:
        """Never: the training itself listens to Ctrl-C."""
        return False

    def stop_heard(self) -> None:
        """Ctrl-C came."""
        self._say("stopping behind this step, with a revision of what was learned; Ctrl-C again stops at once")

    def waiting(self, what: str, done: int, total: int) -> None:
        """Something else than training is under way."""
        share = f" {done:,}/{total:,}" if total else f" {done:,}" if done else ""
        self._progress.update(self._task, said=f"{what}{share}")

    def told(self, event: Mapping[str, Any]) -> None:
        """A line of the run's journal."""
        match event.get("kind"):
            case "step":
                self._step(event)
            case "validation":
                self._say(validation_sentence(event))
            case "probe":
                self._say(probe_sentence(event))
            case "note":
                self._say(str(event.get("text") or event.get("note") or ""))

    def _step(self, event: Mapping[str, Any]) -> None:
        step, seconds = int(event["step"]), float(event.get("seconds") or 0)
        self._loss = _running(self._loss, float(event["loss"]))
        if seconds > 0:
            self._speed = _running(self._speed, float(event.get("tokens") or 0) / seconds)
            self._pace = _running(self._pace, seconds)
        left = (self._plan.steps - step) * (self._pace or 0) / 60
        said = f"loss {self._loss:.3f}   {self._speed or 0:,.0f} tokens/s   {left:,.1f} min left"
        self._progress.update(self._task, description="training", completed=step, said=said)
        if not self._console.is_terminal and time.monotonic() - self._last_line >= _QUIET_SECONDS:
            self._say(f"step {step:,}/{self._plan.steps:,}   {said}")

    def _say(self, line: str) -> None:
        if line:
            self._last_line = time.monotonic()
            self._console.print(line, markup=False, highlight=False)


def validation_sentence(event: Mapping[str, Any]) -> str:
    """A validation in words."""
    parts = [f"step {int(event['step']):,}: validation loss {float(event['loss']):.4f}"]
    if event.get("metric") is not None:
        interval = ""
        if event.get("low") is not None and event.get("high") is not None:
            interval = f" ({float(event['low']):.4g} to {float(event['high']):.4g})"
        parts.append(f"{event.get('metric_name') or 'error'} {float(event['metric']):.4g}{interval}")
    return ", ".join(parts)


def probe_sentence(event: Mapping[str, Any]) -> str:
    """What a probe found, in words: how far the model went from its base on neutral texts."""
    from whetstone.tuning.probe_result import ProbeResult

    found = ProbeResult.from_json(event)
    shares = ", ".join(
        f"{name} {share.share:.0%} (base {share.base_share:.0%})" for name, share in found.shares.items()
    )
    return (
        f"step {int(event['step']):,}: drift {found.drift.value:.4f} nats a token, perplexity {found.perplexity:.2f} "
        f"(base {found.base_perplexity:.2f}); {shares}"
    )


def _running(mean: float | None, value: float) -> float:
    return value if mean is None else _SMOOTH * mean + (1 - _SMOOTH) * value
