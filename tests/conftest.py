"""Every test has a home folder of its own and no key in its environment: nothing costs money or touches user data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from whetstone import settings as whetstone_settings

# The hub libraries look at this once, when they are first imported, which may be before any fixture runs.
os.environ["HF_HUB_OFFLINE"] = "1"

# As `whet` does: threads of OpenMP that wait must not spin away the cores that other workers need.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

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


@pytest.fixture(scope="session")
def converted_smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as a folder of transformers', converted once for all tests; that takes some 20 seconds."""
    from whetstone.models.hf_convert import converted_folder
    from whetstone.tokens.embedded import embedded_weights

    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # this is one worker's part of it
        place = place.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHETSTONE_HOME", str(place / "smollm2"))
        return converted_folder(embedded_weights())


@pytest.fixture
def hf_smollm2(converted_smollm2: Path) -> str:
    """The spec of the embedded model on transformers, whose weights are converted already."""
    cache = whetstone_settings.home() / "cache" / "gguf-to-hf"
    cache.mkdir(parents=True)
    (cache / converted_smollm2.name).symlink_to(converted_smollm2)
    return "hf:smollm2"


@pytest.fixture
def shared_data() -> Path:
    """Real data kept beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the shared data folder, which is not at {SHARED_DATA}")
    return SHARED_DATA
