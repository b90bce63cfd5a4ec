"""The report on stored runs at an address of its own, which names the runs: it can be opened, kept and passed on."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from whetstone.errors import UsageError, WhetstoneError
from whetstone.evaluation.report import Report
from whetstone.ui.compare_earlier import REPORT_PATH, SeenRuns
from whetstone.workflows.stored import report_on_runs

_TYPES = {"html": "text/html", "csv": "text/csv", "json": "application/json"}
# What a model or a file wrote stands in the report as text; should it not, it is at least on no page of ours.
_ALONE = {"Content-Security-Policy": "sandbox allow-scripts allow-downloads allow-popups", "Cache-Control": "no-store"}


def report_routes(runs: SeenRuns) -> APIRouter:
    """The route of the report."""
    router = APIRouter()

    @router.get(f"/{REPORT_PATH}", include_in_schema=False)
    def report(
        names: Annotated[str, Query(alias="runs")] = "", seed: int = 42, form: str = "html", save: str = ""
    ) -> Response:
        try:
            return _answer(runs, [name for name in names.split(",") if name], seed, form, save=bool(save))
        except WhetstoneError as error:
            return HTMLResponse(_refusal(str(error)), 404, _ALONE)

    return router


def _answer(seen: SeenRuns, names: list[str], seed: int, form: str, *, save: bool) -> Response:
    if form not in _TYPES:
        raise UsageError(f"there is no report as {form!r}: html, csv or json")
    report = report_on_runs(seen.require(names), seed=seed)
    headers = dict(_ALONE)
    if save or form == "csv":
        name = re.sub(r"[^A-Za-z0-9.]+", "-", report.problem.name).strip("-.") or "problem"
        headers["Content-Disposition"] = f'attachment; filename="{name}-report.{form}"'
    return Response(_written(report, form), headers=headers, media_type=f"{_TYPES[form]}; charset=utf-8")


def _written(report: Report, form: str) -> str:
    if form == "json":
        return json.dumps(report.to_json(), ensure_ascii=False, indent=1)
    if form == "csv":
        return report.to_csv()
    from whetstone.evaluation.html import render_html

    return render_html(report)


def _refusal(words: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Whetstone</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<style>:root { color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif } "
        "body { max-width: 40rem; margin: 20vh auto; padding: 0 1rem }</style>"
        f"<h1>There is no such report</h1><p>{escape(words)}</p></html>"
    )
