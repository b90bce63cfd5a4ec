"""An export onto the hub: against a small hub on this machine, which takes files as the real one does."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from whetstone.errors import UsageError
from whetstone.tuning.export_push import check_name

PUSH = (
    "import sys; from pathlib import Path; from whetstone.errors import WhetstoneError\n"
    "from whetstone.tuning.export_push import push\n"
    "try: print(push(Path(sys.argv[1]), sys.argv[2]))\n"
    "except WhetstoneError as error: sys.exit(f'{type(error).__name__}: {error}')\n"
)


class Hub:
    """What was uploaded, and how to be asked."""

    def __init__(self) -> None:
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.token = "Bearer hf_right"
        self.url = ""


@pytest.fixture
def hub() -> Iterator[Hub]:
    kept = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Authorization") != kept.token:
                self.answer(401, {"error": "Invalid credentials"})
            elif self.path == "/api/repos/create":
                kept.created = json.loads(body)
                self.answer(200, {"url": f"{kept.url}/me/prices", "name": "me/prices"})
            elif self.path == "/api/validate-yaml":  # of the card
                self.answer(200, {"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                asked = [file["path"] for file in json.loads(body)["files"]]
                mode = {True: "lfs", False: "regular"}
                files = [
                    {"path": p, "uploadMode": mode[p.endswith(".safetensors")], "shouldIgnore": False} for p in asked
                ]
                self.answer(200, {"files": files})
            elif self.path.endswith("/info/lfs/objects/batch"):
                objects = [
                    {**each, "actions": {"upload": {"href": f"{kept.url}/blob/{each['oid']}"}}}
                    for each in json.loads(body)["objects"]
                ]
                self.answer(200, {"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        kept.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                    elif entry["key"] == "lfsFile":
                        kept.files[entry["value"]["path"]] = kept.blobs[entry["value"]["oid"]]
                commit = {"commitUrl": f"{kept.url}/me/prices/commit/abc", "commitOid": "abc"}
                self.answer(200, commit)
            else:
                self.answer(404, {})

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            assert hashlib.sha256(body).hexdigest() == self.path.rpartition("/")[2]
            kept.blobs[self.path.rpartition("/")[2]] = body
            self.answer(200, {})

        def answer(self, status: int, value: Any) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "export"
    made.mkdir()
    (made / "README.md").write_text("---\nbase_model: a/b\n---\n")
    (made / "adapter_model.safetensors").write_bytes(os.urandom(100_000))
    return made


def pushed(folder: Path, endpoint: str, *, token: str = "hf_right", offline: bool = False) -> Any:
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder.parent / "hub"), "HF_TOKEN": token,
        "HF_HUB_OFFLINE": "1" if offline else "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", PUSH, str(folder), "me/prices"], capture_output=True, text=True, env=environment
    )


def test_every_file_arrives_as_it_is(hub: Hub, folder: Path) -> None:
    done = pushed(folder, hub.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/me/prices")
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.created.get("private") or hub.created.get("visibility") == "private"


@pytest.mark.parametrize("offline", [False, True])
def test_an_upload_that_is_refused_is_told_in_a_sentence(hub: Hub, folder: Path, offline: bool) -> None:
    done = pushed(folder, hub.url, token="hf_wrong", offline=offline)
    assert done.returncode == 1
    wanted = "ModelConnectionError: me/prices was not uploaded (HF_HUB_OFFLINE is set)" if offline else "LoginError: me"
    assert done.stderr.startswith(wanted), done.stderr
    assert "is complete, so push it again later" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["prices", "a/b/c", "/x", "a b/c", "me/", "me/-prices"])
def test_what_cannot_be_a_name_is_refused_before_the_work(name: str) -> None:
    with pytest.raises(UsageError, match="named owner/name"):
        check_name(name)
