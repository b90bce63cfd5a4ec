"""`import whetstone` and `whet --help` are instant because they load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "torch", "transformers", "gradio", "lancedb", "openai", "fastapi", "numpy", "polars", "pandas", "sklearn", "scipy",
    "lightgbm", "onnxruntime", "plotly", "tokenizers", "xllamacpp", "datasets", "jinja2", "rouge_score",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import whetstone; whetstone.__version__") & HEAVY == set()
    assert "pydantic" not in loaded_by("import whetstone")  # typer loads it for its own use


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        f"sys.argv = ['whet', *{arguments!r}]\n"
        "from whetstone.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )
    assert loaded_by(code) & HEAVY == set()


def test_every_public_name_exists_and_is_listed_once() -> None:
    import whetstone

    for name in whetstone.__all__:
        assert getattr(whetstone, name) is not None
    assert len(set(whetstone.__all__)) == len(whetstone.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = whetstone.no_such_name
