"""Every task card's score, with no example and with some, as a Markdown table.

    uv run python benchmarks/card_scores.py [--model smollm2] [--shots 0,1,3] [--cards summarize,answer]

Each cell is the card's own metric over its test cases with its 95 % interval; a "≠" marks a number of examples whose
score can be told from that of no example (paired, corrected over the card's comparisons). Answers are kept below the
home folder: stopped and started again, it asks only for what is missing, and a second time for nothing.

`docs/cards.md` holds the table for the embedded model.
"""

from __future__ import annotations

import argparse
import sys

from whetstone.errors import UsageError, WhetstoneError
from whetstone.evaluation.harness import Unwatched
from whetstone.evaluation.metrics import METRICS
from whetstone.evaluation.report import Report, RunResult
from whetstone.evaluation.tables import interval_cell
from whetstone.tasks import Card, cards, load_card
from whetstone.types import Case, Prediction
from whetstone.workflows.shot_curve import DEFAULT_METHOD, read_shots
from whetstone.workflows.task_compare import compare_card


class Dots(Unwatched):
    """A dot for each answer, on standard error."""

    def start(self, label: str, total: int, already: int) -> None:
        print(f"{label} {already}/{total} ", end="", file=sys.stderr, flush=True)

    def item(self, case: Case, prediction: Prediction) -> None:
        print(".", end="", file=sys.stderr, flush=True)

    def finish(self) -> None:
        print(file=sys.stderr)


def row(card: Card, report: Report) -> list[str]:
    """A card's line: its name, its metric, its test cases, and a score for each number of examples."""
    metric = METRICS[report.problem.metric]
    plain = report.results[0].label
    told = {pair.b: pair.distinguishable for pair in report.pairs if pair.a == plain}

    def cell(result: RunResult) -> str:
        score = interval_cell(metric, result.scores.metrics[metric.name], "")
        return score + (" ≠" if told.get(result.label) else "")

    return [f"`{card.name}`", metric.title, str(len(report.problem.test)), *map(cell, report.results)]


def line(cells: list[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default="smollm2", help="a model spec")
    parser.add_argument("--shots", default="0,1,3", help="numbers of examples")
    parser.add_argument("--method", default=DEFAULT_METHOD, help="fixed, random, balanced or nearest")
    parser.add_argument("--cards", default="", help="some cards, by name, with commas; all by default")
    arguments = parser.parse_args()
    try:
        chosen = [load_card(name.strip()) for name in arguments.cards.split(",") if name.strip()] or list(cards())
        shots = read_shots(arguments.shots)
    except WhetstoneError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(line(["card", "metric", "test cases", *(f"{count}-shot" if count else "zero-shot" for count in shots)]))
    print(line(["---"] * (3 + len(shots))))
    for card in chosen:
        print(f"{card.name}: ", end="", file=sys.stderr)
        try:
            report = compare_card(card, shots=shots, method=arguments.method, models=[arguments.model], watcher=Dots())
        except UsageError as error:  # a card that does not suit the model, or has fewer training cases
            print(line([f"`{card.name}`", str(error), "", *[""] * len(shots)]), flush=True)
            continue
        print(line(row(card, report)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
