"""The Hugging Face hub: a model's files in its cache, downloaded if need be, and its failures in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whetstone.errors import LoginError, MissingPackageError, ModelConnectionError, UnknownModelError


def hub_folder(name: str, revision: str, files: Sequence[str], *, asked: str, instead: str) -> Path:
    """The folder of a model's snapshot; its name is the commit.

    Args:
        name: organisation/name.
        revision: branch, tag or commit; "" for the default branch.
        files: patterns of the files that are wanted, and of no others.
        asked: what the user named, for messages.
        instead: what to do where there is no network, to complete "download it where there is a network, or …".

    Raises:
        UnknownModelError: the hub has no such model or revision.
        LoginError: the hub asks for a login.
        ModelConnectionError: it is not on this machine, and cannot be downloaded.
        MissingPackageError: huggingface-hub is not installed.
    """
    try:
        from huggingface_hub import errors, snapshot_download
    except ImportError:
        raise MissingPackageError("huggingface-hub", asked, "pip install huggingface-hub") from None

    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=list(files)))
    except errors.HFValidationError:
        raise UnknownModelError(
            f"{asked}: there is no such folder, and on the hub a model is named organisation/name"
        ) from None
    except errors.GatedRepoError:
        raise LoginError(
            f"{asked}: its owners ask for an agreement: sign it on https://huggingface.co/{name} and set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise UnknownModelError(f"{asked}: the model has no revision {revision}") from None
    except errors.RepositoryNotFoundError:
        raise UnknownModelError(
            f"{asked}: the hub has no such model, or it is private and HF_TOKEN is not set"
        ) from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, OSError) as error:
        reason = hub_reason(error)
        raise ModelConnectionError(
            f"{asked}: {name} is not in the hub's cache, and the hub cannot be reached ({reason}); download it where "
            f"there is a network, or {instead}"
        ) from error


def hub_refused(error: Exception) -> bool:
    """Whether the hub refused the login."""
    from huggingface_hub import errors

    return (
        isinstance(error, errors.HfHubHTTPError)
        and error.response is not None
        and error.response.status_code in (401, 403)
    )


def hub_reason(error: Exception) -> str:
    """Why the hub could not be reached, in one line."""
    from huggingface_hub import constants

    lines = str(error).strip().splitlines()
    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else lines[0] if lines else type(error).__name__
