"""A curated data set onto the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from whetstone.curation.locate import hub_error
from whetstone.errors import DataError, UsageError

# What is shared: rows that were refused are not.
_SHARED = ["README.md", "data/*", "messages/*", "report.json", "report.html"]


def push(folder: Path, name: str, *, private: bool = True) -> str:
    """Upload a curated data set; its address.

    Args:
        folder: what a curation wrote.
        name: owner/name; made if there is none.
        private: whether a new one is seen by its owner only.

    Raises:
        UsageError: no curated data set in the folder, or no name for one.
        LoginError: the hub refuses the login.
        DataError: it cannot be reached.
    """
    from huggingface_hub import HfApi

    if not (folder / "README.md").is_file() or not (folder / "data").is_dir():
        raise UsageError(f"{folder} holds no curated data set; `whet data curate SOURCE -o {folder}` makes one")
    check_name(name)
    api = HfApi()
    try:
        address = api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=_SHARED,
            commit_message="Upload a data set curated with whet data curate",
        )
    except Exception as error:
        found = hub_error(error, name)
        if isinstance(found, DataError):
            raise DataError(
                f"{name} was not uploaded: {found}; {folder} is complete, so push it again later"
            ) from error
        raise found from error
    return str(address)


def check_name(name: str) -> None:
    """Refuse what cannot be a data set's name, before the work is done.

    Raises:
        UsageError: it is none.
    """
    if name.count("/") != 1 or not all(name.split("/")):
        raise UsageError(f"On the hub a data set is named owner/name, not {name!r}")
