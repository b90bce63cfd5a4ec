"""Ctrl-C while a compiled library starts arrives as an ImportError with the interrupt behind it."""

import pytest

from whetstone.cli.interrupts import interrupts


def interrupted_import() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error


def test_an_import_that_ctrl_c_broke_is_an_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts():
        interrupted_import()


def test_any_other_failed_import_stays_what_it_is() -> None:
    with pytest.raises(ImportError, match="no such library"), interrupts():
        raise ImportError("no such library")
