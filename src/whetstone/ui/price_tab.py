"""The Price tab: what items cost by a model, one or many, and by the person in front of the page.

The fields are plain HTML (`price_form`); `price_page.js` sends what they hold to the functions of `PriceServer`, each
of which takes one JSON object and gives one. A refusal comes as a sentence under "error".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from whetstone.chat.store import ConversationStore
from whetstone.errors import DataError, UsageError
from whetstone.models.pool import ModelPool
from whetstone.ui.asked import Answered, Asked, text_of_file, told
from whetstone.ui.price_correction import Corrections
from whetstone.ui.price_files import Kept, sent_file
from whetstone.ui.price_form import form_html
from whetstone.ui.price_guess import GuessPages
from whetstone.ui.price_view import price_html, row_html
from whetstone.ui.tabs import Workbench
from whetstone.ui.tokens_jobs import Jobs
from whetstone.workflows.known_items import ItemRow, KnownItems, read_items
from whetstone.workflows.price import ESTIMATE_NAMES, EstimateName, Unpriced
from whetstone.workflows.price_file import price_rows
from whetstone.workflows.pricers import Pricers

MOST_ROWS = 2_000
_MOST_CHARACTERS = 100_000


def build_price(page: Workbench, pool: ModelPool, store: ConversationStore) -> None:
    """Build the tab where it is called."""
    server = PriceServer(pool)
    gr.HTML(
        value=f"<style>{text_of_file('price_style.css')}</style>{form_html(server.models())}",
        js_on_load=text_of_file("price_page.js"),
        apply_default_css=False,
        elem_id="wh-price",
        server_functions=server.functions(),
    )


class PriceServer:
    """What the page asks for. One instance serves all browser tabs."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._pricers = Pricers()
        self._jobs = Jobs()
        self._known: Kept[KnownItems] = Kept("known items")
        self._corrections = Corrections(pool, self._pricers)
        self._guesses = GuessPages()

    def models(self) -> list[str]:
        """Names of the models that may price: all but those that answer from documents."""
        return self._pool.answering_alone()

    def functions(self) -> list[Callable[[Any], Answered]]:
        """The functions, under the names by which the page calls them."""
        return [
            told(self.price_one),
            told(self.price_many),
            told(self.price_known),
            told(self.price_correct),
            told(self.price_found),
            told(self.price_stop),
            told(self.price_guess_open),
            told(self.price_guess_give),
            told(self.price_guess_back),
        ]

    def price_one(self, asked: Asked) -> Answered:
        """Begin to price a text."""
        text = str(asked.get("text", ""))
        if not text.strip():
            raise UsageError("there is nothing to price: describe an item")
        if len(text) > _MOST_CHARACTERS:
            raise UsageError(f"the text has more than {_MOST_CHARACTERS:,} characters: shorten it")
        name, grid, level, estimate = self._settings(asked)
        known = self._known.get(str(asked["known"])) if asked.get("known") else None

        def work() -> Iterator[dict[str, Any]]:
            pricer = self._corrections.pricer(asked, name, grid)
            (found,) = pricer.price([text], level=level, estimate=estimate)
            if isinstance(found, Unpriced):
                raise DataError(found.reason)
            if known is not None:
                found = replace(found, nearest=known.nearest([text])[0])
            yield {"html": price_html(found, name)}

        return {"job": self._jobs.start(work)}

    def price_many(self, asked: Asked) -> Answered:
        """Begin to price the items of a file."""
        name, grid, level, estimate = self._settings(asked)
        with sent_file(asked) as path:
            rows = read_items(path)
        if not rows:
            raise DataError("the file holds no items")
        if len(rows) > MOST_ROWS:
            raise UsageError(
                f"the file has {len(rows):,} rows, more than {MOST_ROWS:,}: use `whet price --file` for it"
            )

        def work() -> Iterator[dict[str, Any]]:
            pricer = self._corrections.pricer(asked, name, grid)
            yield from _rows(rows, price_rows(pricer, rows, level=level, estimate=estimate))

        return {"job": self._jobs.start(work), "total": len(rows)}

    def price_known(self, asked: Asked) -> Answered:
        """Begin to read known items."""
        with sent_file(asked) as path:
            rows = read_items(path, priced=True)
        good, bad = [row for row in rows if not row.reason], [row for row in rows if row.reason]
        if not good:
            raise DataError("no row has a text and a price" + (f"; the first: {bad[0].reason}" if bad else ""))
        left = f"; {len(bad):,} rows left out, the first: {bad[0].reason}" if bad else ""

        def work() -> Iterator[dict[str, Any]]:
            known = KnownItems(good)
            yield {"known": self._known.keep(known), "words": f"{len(known):,} known items{left}"}

        return {"job": self._jobs.start(work)}

    def price_correct(self, asked: Asked) -> Answered:
        """Begin to learn a correction from items with known prices."""
        name, grid, _, _ = self._settings(asked)
        steps = self._corrections.learn(asked, name, grid)
        return {"job": self._jobs.start(lambda: steps)}

    def price_found(self, asked: Asked) -> Answered:
        """What a job has found since the page last asked: it has seen `seen` of it."""
        job = self._jobs.get(str(asked.get("job")))
        done, found, seen = job.done, list(job.results), max(0, int(asked.get("seen", 0)))
        return {"found": found[seen:], "seen": len(found), "done": done, "error": job.error}

    def price_stop(self, asked: Asked) -> Answered:
        """End a job."""
        self._jobs.get(str(asked.get("job"))).stop()
        return {}

    def price_guess_open(self, asked: Asked) -> Answered:
        """Begin to guess."""
        return self._guesses.open(asked)

    def price_guess_give(self, asked: Asked) -> Answered:
        """Take a guess."""
        return self._guesses.give(asked)

    def price_guess_back(self, asked: Asked) -> Answered:
        """Take the last guess back."""
        return self._guesses.back(asked)

    def _settings(self, asked: Asked) -> tuple[str, str, float, EstimateName]:
        """Model, grid, level and estimate."""
        name = str(asked.get("model", ""))
        self._pool.spec(name)
        estimate = next((one for one in ESTIMATE_NAMES if one == asked.get("estimate", "auto")), None)
        if estimate is None:
            raise UsageError(f"there is no estimate named {asked.get('estimate')!r}")
        try:
            level = float(asked.get("level", 0.8))
        except (TypeError, ValueError):
            raise UsageError("the level is a number between 0 and 1") from None
        return name, str(asked.get("grid", "0..999")), level, estimate


def _rows(rows: Sequence[ItemRow], lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row, line in zip(rows, lines, strict=True):
        yield {"html": row_html(line, row.text), "line": json.dumps(line, ensure_ascii=True)}
