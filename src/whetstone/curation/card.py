"""The dataset card: README.md as the Hugging Face hub reads it, with its settings in a YAML head."""

from __future__ import annotations

from typing import Any

from whetstone.curation.report import CurationReport
from whetstone.prompting.price import LABEL, QUESTION

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


def render_card(report: CurationReport) -> str:
    """The whole file."""
    import yaml

    head = yaml.safe_dump(_head(report), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n\n{_body(report)}"


def _head(report: CurationReport) -> dict[str, Any]:
    size = next((name for most, name in _SIZES if report.kept < most), "n>10M")
    return {
        "pretty_name": "Products and their prices",
        "language": ["en"],
        "task_categories": ["text-generation", "tabular-regression"],
        "tags": ["price-prediction", "whetstone"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if default else {}),
                "data_files": [
                    {"split": split, "path": f"{folder}/{split}-*.parquet"}
                    for split, rows in report.splits.items()
                    if rows
                ],
            }
            for name, folder, default in (("default", "data", True), ("messages", "messages", False))
        ],
    }


def _body(report: CurationReport) -> str:
    splits = ", ".join(f"{rows:,} {split}" for split, rows in report.splits.items())
    rules = "\n".join(
        f"| {rule.name} | {_cell(rule.sentence)} | {rule.rejected:,} | {rule.changed:,} |" for rule in report.rules
    )
    options = "\n".join(f"- {name}: `{value}`" for name, value in report.options.items())
    files = ", ".join(f"{each['name']} ({each['rows']:,} rows)" for each in report.files[:20])
    return f"""# Products and their prices

{report.kept:,} of {report.rows:,} rows, curated with `whet data curate`: {splits}, in {report.groups:,} product groups,
none of which is in two splits.

- source: {_cell(report.source)}: {files}
- fingerprint: `{report.fingerprint}` (of what the rows say and of their splits)

The texts are those of the source and carry its licence, whatever that is.

## Columns

The configuration `default` has `prompt` and `completion`, the question in the form below and the price in whole
dollars, beside `text`, `price` and the fields that were found (`weight_g`, `length_cm`, `width_cm`, `height_cm`).
`tokens` is the length of the text. `sample_weight` balances categories and price ranges; draw rows by it, or multiply
losses with it.
Rows of one `group` are the same product or variants of it. The configuration `messages` has the same as conversations.

```
{QUESTION}

TEXT

{LABEL}
```

## Rules

| rule | what it does | rows rejected | rows changed |
| --- | --- | ---: | ---: |
{rules}

Choices:

{options}
"""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
