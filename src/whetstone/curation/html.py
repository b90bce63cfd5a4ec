"""The report as one HTML file that opens offline: tables, examples and histograms, with plotly inside.

What the source wrote is text there and stays text: the template escapes it, figures hold numbers only, and a content
security policy lets the page run no script but its own two and load nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from whetstone.curation.report import CurationReport
from whetstone.curation.tally import Histogram

_TEMPLATES = Path(__file__).with_name("templates")


def render_html(report: CurationReport) -> str:
    """The whole page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    library = get_plotlyjs()
    script = (_TEMPLATES / "curation.js").read_text("utf-8")
    return environment.get_template("curation.html.j2").render(
        report=report,
        figures=Markup(_script_json(_figures(report))),
        styles=Markup((_TEMPLATES / "curation.css").read_text("utf-8")),
        library=Markup(library),
        script=Markup(script),
        allowed_scripts=f"{_source(library)} {_source(script)}",
    )


def _figures(report: CurationReport) -> dict[str, Any]:
    spread = report.histograms
    return {
        "prices": _figure(
            [
                _bars("before", spread.prices_before, spread.price_edges),
                _bars("after", spread.prices_after, spread.price_edges),
            ],
            {"title": {"text": "price (dollars)"}, "type": "log"},
        ),
        "characters": _figure(
            [
                _bars("before", spread.characters_before, spread.character_edges),
                _bars("after", spread.characters_after, spread.character_edges),
            ],
            {"title": {"text": "length of the text (characters)"}},
        ),
        "tokens": _figure(
            [_bars("after", spread.tokens_after, spread.token_edges)],
            {"title": {"text": "length of the text (tokens)"}},
        ),
    }


def _bars(name: str, counts: Histogram, edges: tuple[float, ...] | tuple[int, ...]) -> dict[str, Any]:
    """A stepped line over the bins between edges; what lies outside is in the table, not here."""
    return {"type": "scatter", "mode": "lines", "line": {"shape": "hv"}, "fill": "tozeroy", "name": name,
            "x": list(edges), "y": [*counts[1:-1], 0]}  # fmt: skip


def _figure(data: list[dict[str, Any]], xaxis: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": data,
        "layout": {
            "xaxis": xaxis,
            "yaxis": {"title": {"text": "rows"}, "rangemode": "tozero"},
            "margin": {"l": 60, "r": 10, "t": 10, "b": 50},
            "height": 320,
            "showlegend": len(data) > 1,
            "legend": {"orientation": "h", "y": 1.1},
        },
    }


def _source(script: str) -> str:
    """A script as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
