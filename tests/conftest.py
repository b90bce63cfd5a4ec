"""Every test has a home folder of its own and no key in its environment: nothing costs money or touches user data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The hub libraries look at this once, when they are first imported, which may be before any fixture runs.
os.environ["HF_HUB_OFFLINE"] = "1"

# A busy machine must not fail a test: no example is judged by how long it took.
settings.register_profile("whetstone", deadline=None)
settings.load_profile("whetstone")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path_factory.mktemp("home")))
    for name in list(os.environ):
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)


@pytest.fixture
def shared_data() -> Path:
    """Real data kept beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the shared data folder, which is not at {SHARED_DATA}")
    return SHARED_DATA
