"""The Tester: an evaluation as it runs, one coloured line per answer, with the running mean of the error.

Answers may come by the ten thousand a second. Telling one costs a few microseconds; a thread of the view writes what
has come, ten times a second, so that a burst is not slowed down and the last answer before a pause is still shown.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table
from rich.text import Text

from whetstone.cli.report_view import print_report as print_report
from whetstone.evaluation.bands import UNREADABLE, Band
from whetstone.evaluation.excerpt import head
from whetstone.evaluation.judged import judge_of
from whetstone.evaluation.tally import Tally
from whetstone.evaluation.wording import with_unit
from whetstone.types import Case, Prediction, Problem

_REDRAW_SECONDS = 0.1
_QUIET_LINE_SECONDS = 15.0  # between two lines of progress where nothing else is written
_NARROWEST = 60
_AMOUNT = 11  # cells of a guess, a truth, an error: "$129,999.99"
_WORDS = 20  # cells of a label, a text

_Answer = tuple[Case, Prediction, Band, float | None]


class TesterView:
    """Shows an evaluation in a terminal, or as plain lines anywhere else.

    Args:
        problem: what is asked.
        console: where to.
        verbose: a line per answer; otherwise progress only.
        plain: no colours, control codes or live display; by default wherever the console is no terminal.
    """

    def __init__(self, problem: Problem, console: Console, verbose: bool = True, plain: bool | None = None) -> None:
        self._problem = problem
        self._console = console
        self._verbose = verbose
        self._plain = not console.is_terminal if plain is None else plain
        self._judge = judge_of(problem)
        self._number_of: dict[str, int] = {}
        self._earlier: Sequence[Prediction] = ()
        self._tally: Tally | None = None
        self._waiting: deque[_Answer] = deque()
        self._live: Live | None = None
        self._writer: threading.Thread | None = None
        self._finished = threading.Event()
        self._failure: OSError | None = None
        self._last_line = time.monotonic()
        self._building: Status | None = None

    def preparing(self, what: str, done: int, total: int) -> None:
        """A technique is being built, and has come so far."""
        if self._plain:
            if done < total and time.monotonic() - self._last_line >= _QUIET_LINE_SECONDS:
                self._last_line = time.monotonic()
                self._write(f"{what}: {done:,}/{total:,}\n")
            return
        if self._building is None:
            self._building = Status("", console=self._console)
            self._building.start()
        self._building.update(Text(f"{what}: {done:,}/{total:,}"))
        if done >= total:
            self._end_building()

    def _end_building(self) -> None:
        if self._building is not None:
            self._building.stop()
            self._building = None

    def planned(self, labels: Sequence[str]) -> None:
        """These techniques will answer."""

    def opened(self, run: str, answers: Sequence[Prediction]) -> None:
        """The technique that starts next has given these answers before; they count in its mean."""
        self._earlier = answers

    def start(self, label: str, total: int, already: int) -> None:
        """A technique begins; `already` of its `total` cases have answers from an earlier run."""
        self._end_building()
        if not self._number_of:
            self._number_of = {case.id: number for number, case in enumerate(self._problem.test, start=1)}
        self._say(f"{label}: {total:,} items" + (f", {already:,} answered before" if already else ""), "bold")
        self._tally = Tally(self._problem, label, total, already)
        self._last_line = time.monotonic()
        if already >= total:
            return
        cases = {case.id: case for case in self._problem.test}
        for answer in self._earlier:
            self._tally.add_earlier(*self._judge(cases[answer.case_id], answer))
        if not self._plain:
            self._live = Live(console=self._console, get_renderable=self._status, auto_refresh=False, transient=True)
            self._live.start()
        self._finished.clear()
        self._writer = threading.Thread(target=self._write_until_finished, name="whetstone-tester", daemon=True)
        self._writer.start()

    def item(self, case: Case, prediction: Prediction) -> None:
        """A new answer.

        Raises:
            OSError: what was told before could not be written.
        """
        if self._tally is None:
            return
        band, error = self._judge(case, prediction)
        self._tally.add(band, error, prediction.cost)
        if self._verbose:
            self._waiting.append((case, prediction, band, error))
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """The technique is through, or was stopped."""
        tally, self._tally = self._tally, None
        if tally is None:
            return
        self._finished.set()
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        tally.end()
        try:
            self._write_waiting()
        finally:
            if self._live is not None:
                self._live.stop()
                self._live = None
        if tally.done:
            self._say(f"{tally.label}: {tally.describe()}", "dim")

    def _write_until_finished(self) -> None:
        while not self._finished.wait(_REDRAW_SECONDS):
            try:
                self._write_waiting()
                self._write_progress()
            except OSError as error:  # the reader has gone; the thread that evaluates is told at its next answer
                self._failure = error
                return

    def _write_waiting(self) -> None:
        """Write the answers that have come. Others may be added meanwhile: they wait for the next time."""
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not waiting:
            return
        width = max(_NARROWEST, self._console.width - 1)
        if self._plain:
            self._write("".join(f"{self._line(answer, width)}\n" for answer in waiting))
            return
        lines = Text(end="")
        for answer in waiting:
            lines.append(f"{self._line(answer, width)}\n", answer[2].style)
        self._console.print(lines, end="", soft_wrap=True)

    def _write_progress(self) -> None:
        if self._live is not None:
            self._live.refresh()
        elif not self._verbose and time.monotonic() - self._last_line >= _QUIET_LINE_SECONDS:
            self._last_line = time.monotonic()
            if (tally := self._tally) is not None:
                self._write(f"{tally.already + tally.done:,}/{tally.total:,} · {tally.describe()}\n")

    def _write(self, lines: str) -> None:
        """Write plain lines at once, without rich, which takes a hundred times as long over them."""
        encoding = self._console.encoding
        if not encoding.lower().startswith("utf"):
            lines = lines.encode(encoding, "replace").decode(encoding)
        self._console.file.write(lines)
        self._console.file.flush()

    def _say(self, line: str, style: str) -> None:
        if self._plain:
            self._write(f"{line}\n")
        else:
            self._console.print(Text(line, style=style))

    def _line(self, answer: _Answer, width: int) -> str:
        """One answer: letter, number of the item, guess, truth, error, and the head of the item's text."""
        case, prediction, band, error = answer
        reading = prediction.reading
        number = f"{self._number_of.get(case.id, 0):>{len(f'{len(self._number_of):,}')},}"
        status = reading.status.replace("_", " ")
        if self._problem.kind == "number":
            unit = self._problem.unit
            truth = with_unit(float(case.expected), unit)
            guess = status if error is None else with_unit(float(reading.value or 0.0), unit)
            off = "" if error is None else with_unit(error, unit)
            columns = f"{guess:>{_AMOUNT}} {truth:>{_AMOUNT}} {off:>{_AMOUNT}}"
        else:
            guess = status if error is None else head(str(reading.value), 2 * _WORDS)
            columns = f"{_fit(guess, _WORDS)} {_fit(head(str(case.expected), 2 * _WORDS), _WORDS)}"
            if self._problem.kind == "text":
                columns += f" {'' if error is None else f'{1 - error:.2f}':>4}"
        start = f"{band.letter} {number} {columns}  "
        reason = f"[{head(reading.note, 40)}] " if band is UNREADABLE and reading.note else ""
        return start + _cut(reason + head(case.text), width - cell_len(start))

    def _status(self) -> RenderableType:
        """The two lines under the answers."""
        tally = self._tally
        if tally is None:
            return Text()
        done = tally.already + tally.done
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(no_wrap=True, ratio=2)
        row.add_column(ratio=3)
        row.add_column(no_wrap=True, justify="right")
        row.add_row(
            Text(tally.label, style="bold", overflow="ellipsis"),
            ProgressBar(total=tally.total, completed=done),
            Text(f"{done:,}/{tally.total:,}"),
        )
        return Group(row, Text(tally.describe(), style="dim", no_wrap=True, overflow="ellipsis"))


def _cut(text: str, width: int) -> str:
    """The text in at most `width` cells; a Korean letter or an emoji takes two."""
    if (len(text) if text.isascii() else cell_len(text)) <= width:
        return text
    return set_cell_size(text, max(1, width - 1)).rstrip() + "…"


def _fit(text: str, width: int) -> str:
    """The text in exactly `width` cells."""
    return set_cell_size(_cut(text, width), width)
