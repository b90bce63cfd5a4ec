"""Every error that Whetstone raises on purpose.

WhetstoneError                 one clear sentence; front ends print it without a traceback
├── UsageError                 what was asked for cannot be done as asked
│   ├── UnknownNameError       no such name in a registry; near matches are offered
│   ├── MissingPackageError    an optional package is needed; its install line is given
│   └── ContainmentError       code that a model wrote cannot be run safely here
├── DataError                  a file, row or field cannot be used
├── StorageError               a file of ours cannot be written or read (disk full, read-only, locked)
├── ToolServerError            a server of tools could not be started or reached, or broke off
├── FingerprintError           runs on different frozen items were about to be compared
└── ModelError                 a model could not answer
    ├── ModelFileError         a model file is missing, truncated, or not what it claims to be
    ├── LoginError             the key is missing or was refused
    ├── QuotaError             the account has no credit left
    ├── RateLimitError         too many requests, and retrying did not help
    ├── UnknownModelError      the provider has no such model
    ├── ContextTooLongError    prompt and reply do not fit the context window   (concerns one item)
    ├── ModelTimeoutError      no answer in time
    ├── ModelConnectionError   the endpoint cannot be reached, or broke off
    ├── BadReplyError          the endpoint answered something that is no reply  (concerns one item)
    │   └── MisfitError        no reply fit the schema that was asked for        (concerns one item)
    └── RequestRefusedError    the endpoint refused this one request             (concerns one item)
"""

from __future__ import annotations

from typing import ClassVar


class WhetstoneWarning(UserWarning):
    """Something worth knowing that does not stop the work."""


class WhetstoneError(Exception):
    """One clear sentence: what was found, where, and what to do.

    `exit_code` is what `whet` exits with when this error reaches the top.
    """

    exit_code: ClassVar[int] = 2


class UsageError(WhetstoneError):
    """What was asked for cannot be done as asked."""


class UnknownNameError(UsageError):
    """No such name in a registry."""


class MissingPackageError(UsageError):
    """An optional package is needed.

    Args:
        package: the distribution that is missing.
        purpose: what it is needed for, to complete "… needs".
        install: the command that installs it.
    """

    def __init__(self, package: str, purpose: str, install: str) -> None:
        self.package = package
        self.install = install
        super().__init__(f"{purpose} needs the package {package}, which is not installed: run `{install}`")


class ContainmentError(UsageError):
    """Code that a model wrote cannot be run safely here; nothing was run."""


class DataError(WhetstoneError):
    """A file, row or field cannot be used."""


class StorageError(WhetstoneError):
    """A file of ours cannot be written or read."""

    exit_code = 1


class ToolServerError(WhetstoneError):
    """A server of tools could not be started or reached, or broke off."""

    exit_code = 1


class FingerprintError(UsageError):
    """Runs on different frozen items were about to be compared."""


class ModelError(WhetstoneError):
    """A model could not answer.

    `concerns_one_item` tells an evaluation whether to note the failure and go on with the next item (a prompt that is
    too long), or to stop and keep what it has (a key that was refused).
    """

    exit_code = 1
    concerns_one_item: ClassVar[bool] = False


class ModelFileError(ModelError):
    """A model file is missing, truncated, or not what it claims to be."""

    exit_code = 2


class LoginError(ModelError):
    """The key is missing or was refused."""

    exit_code = 2


class QuotaError(ModelError):
    """The account has no credit left."""


class RateLimitError(ModelError):
    """Too many requests, and retrying did not help."""


class UnknownModelError(ModelError):
    """The provider has no such model."""

    exit_code = 2


class ContextTooLongError(ModelError):
    """Prompt and reply do not fit the context window."""

    concerns_one_item = True


class ModelTimeoutError(ModelError):
    """No answer in time."""


class ModelConnectionError(ModelError):
    """The endpoint cannot be reached, or broke off."""


class BadReplyError(ModelError):
    """The endpoint answered something that is no reply."""

    concerns_one_item = True


class MisfitError(BadReplyError):
    """No reply fit the schema that was asked for, however often the model was told what was wrong.

    Args:
        sentence: what was asked of whom, and what was wrong at last.
        raw: the last reply's text.
        errors: what was wrong with each reply, in order.
    """

    def __init__(self, sentence: str, raw: str = "", errors: tuple[str, ...] = ()) -> None:
        self.raw = raw
        self.errors = errors
        super().__init__(sentence)


class RequestRefusedError(ModelError):
    """The endpoint refused this one request."""

    concerns_one_item = True
