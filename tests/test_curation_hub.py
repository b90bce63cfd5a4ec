"""Sources on the Hugging Face hub, and data sets onto it: against a small hub on this machine, and without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest

_COMMIT = "a" * 40
_WHET = [sys.executable, "-c", "from whetstone.cli.main import run; run()", "data", "curate"]
_AMAZON = "McAuley-Lab/Amazon-Reviews-2023"


def products() -> list[dict[str, object]]:
    return [
        {
            "main_category": "Home", "title": f"Oak chair number {n}", "features": [], "price": f"{5 + n}.00",
            "description": [f"A sturdy chair of oak, {n * 7} cm wide, with wool of {n * n} sheep."], "details": "{}",
            "parent_asin": f"B{n}",
        }
        for n in range(60)
    ]  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    pl.DataFrame(products()).write_parquet(tmp_path / "table.parquet")
    files = {
        "raw/meta_categories/meta_Chairs.jsonl": "".join(json.dumps(each) + "\n" for each in products()).encode(),
        "raw_meta_Tables/full-00000-of-00001.parquet": (tmp_path / "table.parquet").read_bytes(),
    }

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            name = next((name for name in files if path.endswith(name)), None)
            if name is not None:
                self.answer(200, files[name], **{"ETag": f'"{abs(hash(name))}"', "X-Repo-Commit": _COMMIT})
            elif "/tree/" in path:
                tree = [{"type": "file", "path": name, "size": len(files[name]), "oid": _COMMIT} for name in files]
                self.answer(200, json.dumps(tree).encode())
            elif path.startswith("/api/datasets/"):
                siblings = [{"rfilename": name} for name in files]
                self.answer(200, json.dumps({"id": _AMAZON, "sha": _COMMIT, "siblings": siblings}).encode())
            else:
                self.answer(404, b"{}")

        do_HEAD = do_GET

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(401, b'{"error": "Invalid credentials"}')

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def curated(folder: Path, endpoint: str, *arguments: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hub"), "HF_TOKEN": "hf_wrong",
        "HF_HUB_OFFLINE": "1" if offline else "0",
    }  # fmt: skip
    return subprocess.run(
        [*_WHET, *arguments], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.mark.parametrize("category", ["Chairs", "Tables"])
def test_a_category_is_read_in_either_of_the_hubs_layouts(tmp_path: Path, hub: str, category: str) -> None:
    done = curated(tmp_path, hub, _AMAZON, "--category", category, "-o", "out", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 60
    assert "No files matched" not in done.stderr


def test_a_category_that_is_not_there_and_none_at_all_are_said_in_a_sentence(tmp_path: Path, hub: str) -> None:
    wrong = curated(tmp_path, hub, _AMAZON, "--category", "Stools", "-o", "out")
    assert wrong.returncode == 2
    assert "has no category 'Stools'" in wrong.stderr
    none = curated(tmp_path, hub, _AMAZON, "-o", "out")
    assert none.returncode == 2
    assert "name those that you want" in none.stderr
    assert not (tmp_path / "out").exists()


def test_without_a_hub_a_source_there_is_refused_in_a_sentence(tmp_path: Path) -> None:
    done = curated(tmp_path, "http://127.0.0.1:9", "some/thing", "-o", "out", offline=True)
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("offline", [False, True])
def test_an_upload_that_is_refused_leaves_the_data_set_complete(tmp_path: Path, hub: str, offline: bool) -> None:
    (tmp_path / "chairs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in products()), "utf-8")
    done = curated(tmp_path, hub, "chairs.jsonl", "-o", "out", "--push", "me/chairs", offline=offline)
    assert done.returncode == 2
    reason = "HF_HUB_OFFLINE is set" if offline else "the hub refused the login"
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "README.md").read_text("utf-8").startswith("---\npretty_name:")
