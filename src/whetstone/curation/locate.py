"""What a source names: a file, a folder of files, or a data set on the Hugging Face hub."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from whetstone.datasets.opening import FORMATS
from whetstone.datasets.readers import is_hub_reference
from whetstone.errors import DataError, LoginError, UsageError, WhetstoneError
from whetstone.tokens.hub import hub_reason, hub_refused

AMAZON_REVIEWS = "McAuley-Lab/Amazon-Reviews-2023"
_READABLE = tuple(FORMATS)


def source_files(source: str, categories: Sequence[str] = ()) -> list[Path]:
    """The files of a source, in an order that does not depend on the disk.

    Args:
        source: a file, a folder, or a hub id ("owner/name", with or without "hf:" before it).
        categories: of the Amazon reviews; that data set is too large to be fetched as a whole.

    Raises:
        DataError: there is nothing to read.
        UsageError: no category was named, or one where there are none.
        LoginError: the hub asks for a login.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if _is_data(each, path))
        if not files:
            raise DataError(f"{source} holds no file to read; readable are {', '.join(FORMATS)}, each also with .gz")
        _refuse_categories(categories, source)
        return files
    if not is_hub_reference(source):
        if not path.exists():
            raise DataError(f"There is no file {source}; check the name and the folder")
        _refuse_categories(categories, source)
        return [path]
    return _from_hub(source.removeprefix("hf:"), categories)


def _is_data(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    name = path.name.removesuffix(".gz")
    return path.is_file() and name.endswith(_READABLE) and not any(part.startswith(".") for part in parts)


def _refuse_categories(categories: Sequence[str], source: str) -> None:
    if categories:
        raise UsageError(f"{source} is on this machine; --category is for {AMAZON_REVIEWS} on the hub: leave it out")


def _from_hub(name: str, categories: Sequence[str]) -> list[Path]:
    if name == AMAZON_REVIEWS:
        if not categories:
            raise UsageError(
                f"{name} has 34 categories of up to 4 million products each; name those that you want, as in "
                "--category Appliances --category Musical_Instruments"
            )
        return [path for category in categories for path in _category(name, category)]
    _refuse_categories(categories, name)
    return _fetched(name, [f"*{suffix}" for suffix in _READABLE] + [f"*{suffix}.gz" for suffix in _READABLE])


def _category(name: str, category: str) -> list[Path]:
    """The files of one category: Parquet where the hub has it, else JSON Lines."""
    word = category.removeprefix("raw_meta_")
    for pattern in (f"raw_meta_{word}/*.parquet", f"raw/meta_categories/meta_{word}.jsonl*"):
        files = _fetched(name, [pattern], may_be_missing=True)
        if files:
            return files
    raise DataError(
        f"{name} has no category {category!r}; they are spelt as in Musical_Instruments, Tools_and_Home_Improvement "
        f"(see https://huggingface.co/datasets/{name})"
    )


def _fetched(name: str, patterns: Sequence[str], may_be_missing: bool = False) -> list[Path]:
    """Files of a data set in the hub's cache, downloaded if need be."""
    from huggingface_hub import snapshot_download

    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns where a pattern matches nothing, which is tried on purpose
    try:
        folder = Path(snapshot_download(name, repo_type="dataset", allow_patterns=list(patterns)))
    except Exception as error:
        raise hub_error(error, name) from error
    finally:
        log.setLevel(level)
    files = sorted(path for path in folder.rglob("*") if any(path.relative_to(folder).match(each) for each in patterns))
    if not files and not may_be_missing:
        raise DataError(f"The data set {name} holds no file to read; readable are {', '.join(FORMATS)}")
    return files


def hub_error(error: Exception, name: str) -> WhetstoneError:
    """The sentence for what the hub's library raised."""
    from huggingface_hub import errors

    if isinstance(error, errors.HFValidationError):
        return DataError(f"There is no file or folder {name}, and on the hub a data set is named owner/name")
    if isinstance(error, errors.GatedRepoError):
        return LoginError(f"{name}: its owners ask for an agreement: sign it on the hub and set HF_TOKEN")
    if isinstance(error, errors.RepositoryNotFoundError):
        return DataError(
            f"There is no file or folder {name}, nor a data set of that name on the hub; or it is private and HF_TOKEN "
            "is not set"
        )
    if hub_refused(error):
        return LoginError(f"{name}: the hub refused the login; set HF_TOKEN to a token that may write there")
    return DataError(
        f"{name} is not on this machine, and the Hugging Face hub cannot be reached ({hub_reason(error)}); check the "
        "connection"
    )
