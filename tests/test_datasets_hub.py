"""Datasets in the Hugging Face layouts, offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from whetstone.datasets.build import build_problem
from whetstone.errors import DataError, MissingPackageError, UsageError

datasets = pytest.importorskip("datasets", reason="needs the extra datasets")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def made(n: int = 20) -> datasets.Dataset:
    features = datasets.Features(
        {
            "review": datasets.Value("string"),
            "mood": datasets.ClassLabel(names=["bad", "good"]),
            "stars": datasets.Value("int32"),
            "tags": datasets.List(datasets.Value("string")),
        }
    )
    rows = {
        "review": [f"review {i}" for i in range(n)],
        "mood": [i % 2 for i in range(n)],
        "stars": [i % 5 for i in range(n)],
        "tags": [["a", "b"]] * n,
    }
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_folder_that_save_to_disk_wrote_is_read_with_labels_by_name(tmp_path: Path) -> None:
    made().save_to_disk(tmp_path / "saved")
    problem = build_problem(tmp_path / "saved", text=["review", "tags"], target="mood", test_all=True).problem
    assert problem.labels == ("bad", "good")
    assert [case.expected for case in problem.test[:3]] == ["bad", "good", "bad"]
    assert problem.test[0].text == "review 0\na\nb"
    assert dict(problem.test[3].fields) == {"stars": 3}
    assert problem.name == "saved"


def test_a_selection_of_rows_is_read_as_selected(tmp_path: Path) -> None:
    made().select(range(5, 15)).save_to_disk(tmp_path / "saved")
    problem = build_problem(tmp_path / "saved", text="review", target="stars", test_all=True).problem
    assert problem.test[0].text == "review 5"
    assert len(problem.test) == 10


def test_a_folder_in_the_layout_of_the_hub_is_read_split_by_split(tmp_path: Path) -> None:
    (tmp_path / "hub" / "data").mkdir(parents=True)
    made(12).to_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    made(8).to_parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet")
    read = build_problem(tmp_path / "hub", text="review", target="mood", kind="label", test_all=True)
    assert len(read.problem.test) == 12
    assert any("read the split train of" in note for note in read.notes)
    test = build_problem(tmp_path / "hub", text="review", target="mood", kind="label", test_all=True, split="test")
    assert len(test.problem.test) == 8
    assert not any("split" in note for note in test.notes)
    asked = f"{tmp_path / 'hub'}?split=test"
    both = build_problem(
        asked, text="review", target="stars", test_all=True, train_source=f"hf:{tmp_path / 'hub'}?split=train"
    )
    assert len(both.problem.test) == 8
    assert len(both.problem.train) + len(both.problem.validation) == 12 - 8
    with pytest.raises(UsageError, match=r"'spilt=test' cannot be read"):
        build_problem(f"{tmp_path / 'hub'}?spilt=test", text="review", target="mood")
    with pytest.raises(UsageError, match=r"no split 'tset'. Did you mean test\? It has: train, test"):
        build_problem(tmp_path / "hub", text="review", target="mood", split="tset")


def test_a_folder_of_json_lines_is_read(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    rows = [{"review": f"review {n}", "stars": n} for n in range(10)]
    (tmp_path / "hub" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problem = build_problem(tmp_path / "hub", text="review", target="stars", test_all=True).problem
    assert [case.expected for case in problem.test] == [float(n) for n in range(10)]


def test_configurations_are_chosen_by_name(tmp_path: Path) -> None:
    for config, size in (("en", 6), ("ko", 4)):
        (tmp_path / "hub" / config).mkdir(parents=True)
        made(size).to_parquet(tmp_path / "hub" / config / "train.parquet")
    (tmp_path / "hub" / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files: en/*.parquet\n"
        "- config_name: ko\n  data_files: ko/*.parquet\n---\n"
    )
    arguments = {"text": "review", "target": "stars", "test_all": True}
    assert len(build_problem(tmp_path / "hub", config="ko", **arguments).problem.test) == 4  # type: ignore[arg-type]
    for config in (None, "xx"):
        with pytest.raises(UsageError, match="ko"):
            build_problem(tmp_path / "hub", config=config, **arguments)  # type: ignore[arg-type]


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder nobody/nothing, and the Hugging Face hub cannot be reached"):
        build_problem("nobody/nothing", text="a", target="b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        build_problem(tmp_path / "empty", text="a", target="b")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="cannot be read"):
        build_problem(tmp_path / "broken", text="a", target="b")
    made().save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"has no column 'reviews'. Did you mean review"):
        build_problem(tmp_path / "saved", text="reviews", target="mood")
    next((tmp_path / "saved").glob("*.arrow")).unlink()
    with pytest.raises(DataError, match="cannot be read"):
        build_problem(tmp_path / "saved", text="review", target="mood")


def test_split_and_config_are_not_for_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="split and config are for Hugging Face datasets"):
        build_problem(tmp_path / "a.csv", text="a", target="b", split="train")


def test_without_the_package_the_install_line_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whetstone.datasets.hub.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'whetstone-llm\[datasets\]'"):
        build_problem(tmp_path, text="a", target="b")
