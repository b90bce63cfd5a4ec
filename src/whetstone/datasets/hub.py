"""Datasets in the Hugging Face layouts: a hub id, a folder that `save_to_disk` wrote, or a folder as the hub has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from whetstone.datasets.cells import plain, stack
from whetstone.datasets.columnar import numbered
from whetstone.datasets.gathering import SAMPLE_ROWS, Choose
from whetstone.errors import DataError, MissingPackageError, UsageError, WhetstoneError

if TYPE_CHECKING:
    import datasets

# The split that is read where a dataset has several and none is asked for.
DEFAULT_SPLIT = "train"


def read_hub(
    reference: str, choose: Choose, *, split: str | None, config: str | None, notes: list[str]
) -> pl.DataFrame:
    """The chosen columns of one split; class labels by their names.

    Args:
        reference: a folder, or a hub id ("owner/name").
        choose: which columns to keep.
        split: which split; the only one, or else "train", when None (a note says so).
        config: which configuration, for datasets that have several.
        notes: takes remarks for the user.

    Raises:
        MissingPackageError: the package `datasets` is not installed.
        UsageError: no such split or configuration.
        DataError: it cannot be reached or read, or holds no rows.
    """
    if find_spec("datasets") is None:
        raise MissingPackageError(
            "datasets", f"Reading the dataset {reference}", "pip install 'whetstone-llm[datasets]'"
        )
    with _translated(reference):
        splits = _splits(reference, config)
        chosen = _one_split(splits, split, reference, notes)
        return _read(chosen, choose, reference)


def _splits(reference: str, config: str | None) -> dict[str, Any]:
    import datasets

    folder = Path(reference)
    if folder.is_dir() and any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        stored = datasets.load_from_disk(reference)
        return dict(stored) if isinstance(stored, datasets.DatasetDict) else {str(stored.split or "all"): stored}
    # A folder is streamed, which spares the copy that the library would make of it; what is downloaded is kept.
    return dict(datasets.load_dataset(reference, config, streaming=folder.is_dir()))


def _one_split(splits: dict[str, Any], asked: str | None, reference: str, notes: list[str]) -> Any:
    known = ", ".join(splits)
    if asked is not None:
        if asked in splits:
            return splits[asked]
        near = get_close_matches(asked, list(splits), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"{reference} has no split {asked!r}.{hint} It has: {known}")
    if len(splits) == 1:
        return next(iter(splits.values()))
    if DEFAULT_SPLIT not in splits:
        raise UsageError(f"{reference} has the splits {known}; say which one to read")
    notes.append(f"{reference}: read the split {DEFAULT_SPLIT} of {known}")
    return splits[DEFAULT_SPLIT]


def _read(dataset: datasets.Dataset | datasets.IterableDataset, choose: Choose, reference: str) -> pl.DataFrame:
    sample = next(_batches(dataset), None)
    if sample is None:
        raise DataError(f"{reference} holds no rows; it needs one row per case")
    names = choose(sample)
    return numbered(stack(list(_batches(dataset.select_columns(names)))).select(names), reference)


def _batches(dataset: Any) -> Iterator[pl.DataFrame]:
    labels = {
        name: dict(enumerate(feature.names))
        for name, feature in (dataset.features or {}).items()
        if hasattr(feature, "int2str")
    }
    for table in dataset.with_format("arrow").iter(batch_size=SAMPLE_ROWS):
        frame = pl.DataFrame(pl.from_arrow(table))
        yield plain(
            frame.with_columns(
                pl.col(name).replace_strict(names, default=None, return_dtype=pl.String)
                for name, names in labels.items()
                if name in frame.columns
            )
        )


@contextmanager
def _translated(reference: str) -> Iterator[None]:
    """The library raises whatever its many layers raise; here it all becomes one sentence."""
    try:
        yield
    except WhetstoneError:
        raise
    except ConnectionError as error:
        raise DataError(
            f"There is no file or folder {reference}, and the Hugging Face hub cannot be reached for a dataset of that "
            f"name ({_first_line(error)}); check the name, the connection and HF_HUB_OFFLINE"
        ) from error
    except Exception as error:
        if "BuilderConfig" in str(error) or "onfig name is missing" in str(error):
            raise UsageError(f"{reference}: {' '.join(str(error).split())}") from error
        raise DataError(
            f"The dataset {reference} cannot be read ({type(error).__name__}: {_first_line(error)}); "
            "check its files, or export it as Parquet"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else "no further word"
