"""The front door: `curate` takes a source through the rules, splits what is left, and writes a data set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from whetstone.curation.assemble import (
    GROUP,
    REJECTS,
    SPLITS,
    Assembled,
    assemble,
    put_in_place,
    write_rejects,
    write_splits,
)
from whetstone.curation.balance import WEIGHT as SAMPLE_WEIGHT
from whetstone.curation.blocks import find_layout
from whetstone.curation.card import render_card
from whetstone.curation.engines import run_local
from whetstone.curation.html import render_html
from whetstone.curation.leaks import leaks_by_embedding
from whetstone.curation.listing import CATEGORY, ID, PRICE
from whetstone.curation.locate import source_files
from whetstone.curation.options import Options
from whetstone.curation.report import CategoryReport, CurationReport, Histograms, LeakReport, LookAlike, RuleReport
from whetstone.curation.rules.details import UNREADABLE
from whetstone.curation.rules.length import TOKENS
from whetstone.curation.rules.order import DUPLICATE, NEAR_DUPLICATE, all_rules
from whetstone.curation.rules.own_price import stating_rows
from whetstone.curation.rules.step import TEXT, VALUE
from whetstone.curation.tally import LENGTH_EDGES, PRICE_EDGES, TOKEN_STEPS, Tally, histogram
from whetstone.curation.work import FOLDER, Plan, WorkFolder
from whetstone.errors import UsageError
from whetstone.storage.files import write_atomically

EngineName = Literal["local", "ray"]
REPORT = "report.json"
_PLAN = "plan"
_MOST_CATEGORIES = 200

Progress = Callable[[str, int, int], None]
"""Told the name of a step, how much of it is done and how much there is."""


def curate(
    source: str,
    folder: Path,
    options: Options | None = None,
    *,
    categories: Sequence[str] = (),
    engine: EngineName = "local",
    overwrite: bool = False,
    progress: Progress = lambda step, done, of: None,
) -> CurationReport:
    """Curate a source into a folder; where it was stopped before, it goes on.

    Args:
        source: a file, a folder of files, or a hub id.
        folder: gets `data/` (train, validation, test), `messages/`, `README.md`, `rejects.parquet`, `report.json`,
            `report.html`.
        options: the choices.
        categories: of the Amazon reviews on the hub.
        engine: "local", or "ray" for a cluster or a Ray on this machine. Both write the same bytes.
        overwrite: replace another curated data set that is in the folder.
        progress: told how far it is.

    Raises:
        DataError: the source cannot be read, or no row is left.
        UsageError: the folder holds something else, or the options do not fit.
        StorageError: a file cannot be written, or another process works in the folder.
    """
    options = options or Options()
    files = source_files(source, categories)
    for path in files:
        find_layout(path, dict(options.mapping))
    plan = Plan.of(files, options)
    if (earlier := _earlier(folder, plan, overwrite)) is not None:
        return earlier
    work = WorkFolder(folder, plan)
    try:
        _clean_all(work, plan, engine, progress)
        progress("comparing rows", 0, 1)
        assembled = assemble(work, plan)
        out = work.path / "out"
        progress("writing", 0, 1)
        write_splits(work, plan, assembled, out)
        write_rejects(work, plan, assembled, out / REJECTS)
        report = _report(source, work, plan, assembled, out, progress)
        write_atomically(out / "README.md", render_card(report))
        write_atomically(out / "report.html", render_html(report))
        write_atomically(
            out / REPORT, json.dumps({**report.to_json(), _PLAN: plan.fingerprint}, ensure_ascii=False, indent=2)
        )
        put_in_place(out, folder)
        work.remove()
    finally:
        work.journal.close()
    return report


def _earlier(folder: Path, plan: Plan, overwrite: bool) -> CurationReport | None:
    """The report of a finished curation of the same plan; None where there is work to do.

    Raises:
        UsageError: the folder is taken.
    """
    note = folder / REPORT
    if note.is_file() and not (folder / FOLDER).exists():
        found = json.loads(note.read_text("utf-8"))
        if found.pop(_PLAN, None) == plan.fingerprint:
            return CurationReport.from_json(found)
        if not overwrite:
            raise UsageError(
                f"{folder} holds a data set that was curated from other files or with other options; name another "
                "folder, or say --overwrite"
            )
    elif folder.exists() and not note.is_file():
        if not folder.is_dir():
            raise UsageError(f"{folder} is a file; name a folder for the data set")
        others = sorted(each.name for each in folder.iterdir() if each.name != FOLDER)
        if others:
            raise UsageError(
                f"{folder} holds something else than a curated data set ({', '.join(others[:3])}); name another folder"
            )
    return None


def _clean_all(work: WorkFolder, plan: Plan, engine: EngineName, progress: Progress) -> None:
    if engine == "ray":
        from whetstone.curation.ray_engine import run_ray

        run = run_ray
    else:
        run = run_local
    rows = sum(tally.rows for tally in work.finished.values())
    progress("cleaning", rows, 0)
    for entry in run(work, plan):
        work.add(entry)
        rows += int(entry["tally"]["rows"])
        progress("cleaning", rows, 0)


def _report(
    source: str, work: WorkFolder, plan: Plan, assembled: Assembled, out: Path, progress: Progress
) -> CurationReport:
    whole = Tally()
    rows_of: Counter[int] = Counter()
    for (file, _), tally in sorted(work.finished.items()):
        whole.add(tally)
        rows_of[file] += tally.rows
    rejects = pl.scan_parquet(out / REJECTS)
    _count_repeats(whole, rejects, assembled)
    kept = assembled.rows.filter(pl.col("split").is_not_null())
    step = max(1, plan.options.max_tokens // TOKEN_STEPS)
    token_edges = tuple(range(0, plan.options.max_tokens + step, step))
    notes = list(assembled.notes)
    broken = int(whole.changed[UNREADABLE])
    if broken:
        notes.append(f"{broken:,} rows have details that are no JSON object; they were left out of their texts")
    return CurationReport(
        source=source,
        files=[{"name": Path(path).name, "rows": rows_of[file]} for file, path in enumerate(plan.files)],
        options=plan.options.to_json(),
        fingerprint=assembled.fingerprint,
        rows=whole.rows,
        kept=kept.height,
        splits={name: int((kept["split"] == name).sum()) for name in SPLITS},
        groups=kept[GROUP].n_unique(),
        rules=[
            RuleReport(
                name,
                sentence,
                whole.rejected[name],
                dict(sorted(whole.reasons.get(name, Counter()).items(), key=lambda item: (-item[1], item[0]))),
                whole.changed[name],
                [{**each, "file": Path(plan.files[each["file"]]).name} for each in whole.examples.get(name, ())],
            )
            for name, sentence in all_rules(plan.options)
        ],
        categories=_categories(whole, kept),
        histograms=Histograms(
            whole.prices,
            histogram(kept[VALUE], PRICE_EDGES),
            whole.characters,
            histogram(kept["characters"], LENGTH_EDGES),
            histogram(kept[TOKENS], token_edges),
            token_edges=token_edges,
        ),
        leaks=_leaks(assembled, out, plan.options, progress),
        notes=notes,
    )


def _count_repeats(whole: Tally, rejects: pl.LazyFrame, assembled: Assembled) -> None:
    """Add the rows that were refused as duplicates to the counts."""
    for rule in (DUPLICATE, NEAR_DUPLICATE):
        found = rejects.filter(pl.col("rule") == rule)
        reasons = found.select(
            pl.when(pl.col("reason").str.contains("at another price"))
            .then(pl.lit("at another price"))
            .otherwise(pl.lit("at the same price"))
        ).collect()
        if reasons.height:
            whole.refuse(rule, reasons.to_series())
        for row in found.head(3).collect().iter_rows(named=True):
            title = json.loads(row["content"])["title"] or ""
            # Examples are kept by the number of the file.
            whole.show(rule, {"file": 0, "row": row["row"], "reason": row["reason"], "before": title[:160]})


def _categories(whole: Tally, kept: pl.DataFrame) -> list[CategoryReport]:
    after = {
        name or "": (count, median, weight)
        for name, count, median, weight in kept.group_by(CATEGORY)
        .agg(
            pl.len(),
            pl.col(VALUE).median().round(2),
            pl.col(SAMPLE_WEIGHT).filter(pl.col("split") == "train").mean().round(3).alias("weight"),
        )
        .iter_rows()
    }
    names = sorted(
        whole.categories | Counter(dict.fromkeys(after, 0)), key=lambda name: (-whole.categories[name], name)
    )
    return [
        CategoryReport(name, whole.categories[name], *after.get(name, (0, None, None)))
        for name in names[:_MOST_CATEGORIES]
    ]


def _leaks(assembled: Assembled, out: Path, options: Options, progress: Progress) -> LeakReport:
    held_out = [path for split in SPLITS[1:] for path in sorted((out / "data").glob(f"{split}-*.parquet"))]
    stated = 0
    for path in held_out:
        frame = pl.read_parquet(path, columns=[TEXT, PRICE])
        stated += len(stating_rows(frame[TEXT], frame[PRICE]))
    compared, look_alikes = _look_alikes(out, options, progress)
    return LeakReport(len(assembled.groups.alike), assembled.straddling, stated, compared, look_alikes)


def _look_alikes(out: Path, options: Options, progress: Progress) -> tuple[int, tuple[LookAlike, ...]]:
    if not options.look_alikes:
        return 0, ()
    from whetstone.embeddings import load_embedder

    def read(split: str) -> pl.DataFrame:
        return pl.scan_parquet(out / "data" / f"{split}-*.parquet").select(ID, TEXT).collect()

    train, test = read("train"), read("test")
    chosen = train.sample(min(options.look_alikes, train.height), seed=options.seed)
    found = leaks_by_embedding(
        chosen[TEXT].to_list(),
        test[TEXT].to_list(),
        load_embedder(),
        lambda done, of: progress("comparing by embedding", done, of),
    )
    return chosen.height, tuple(
        LookAlike(chosen[TEXT][leak.train][:160], test[TEXT][leak.test][:160], round(leak.similarity, 4))
        for leak in found[:20]
    )
