"""An export onto the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from whetstone.errors import LoginError, ModelConnectionError, UsageError, WhetstoneError
from whetstone.tokens.hub import hub_reason, hub_refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def check_name(name: str) -> None:
    """Refuse what cannot be a model's name on the hub, before the work is done.

    Raises:
        UsageError: it is none.
    """
    if not _NAME.fullmatch(name) or "--" in name or ".." in name or name.endswith((".git", "-", ".")):
        raise UsageError("On the hub a model is named owner/name, in letters, digits, dots, - and _")


def push(folder: Path, name: str, *, private: bool = True) -> str:
    """Upload an export as it is; its address.

    Args:
        folder: what `whet tune export` wrote.
        name: owner/name; made if there is none.
        private: whether a new one is seen by its owner only.

    Raises:
        UsageError: no name for a model.
        LoginError: the hub refuses the login.
        ModelConnectionError: it cannot be reached, or broke off.
    """
    from huggingface_hub import HfApi

    check_name(name)
    api = HfApi()
    try:
        address = api.create_repo(name, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            repo_type="model",
            folder_path=folder,
            commit_message="Upload a model exported with whet tune export",
        )
    except Exception as error:
        raise _sentence(error, folder, name) from error
    return str(address)


def _sentence(error: Exception, folder: Path, name: str) -> WhetstoneError:
    from huggingface_hub import errors

    kept = f"{folder} is complete, so push it again later"
    if isinstance(error, errors.LocalTokenNotFoundError) or hub_refused(error):
        return LoginError(f"{name}: the hub refused the login; set HF_TOKEN to a token that may write there; {kept}")
    return ModelConnectionError(f"{name} was not uploaded ({hub_reason(error)}); {kept}")
