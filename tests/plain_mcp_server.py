"""An MCP server by hand, without any library, that behaves or misbehaves as its argument says. Run as a script.

It speaks the handshake of 2025-06-18 over its standard input and output.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_ADD = {
    "name": "numbers.add",
    "description": "Add two numbers.",
    "inputSchema": {
        "type": "object",
        "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}
_TREE = {"type": "object", "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}}}
_ODD: list[dict[str, Any]] = [
    {"name": "tree", "inputSchema": _TREE},
    {"name": "far", "inputSchema": {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema"}}}},
    {"name": "wrong", "inputSchema": {"type": "object", "properties": {"x": {"type": "nonsense"}}}},
    {"name": "wide", "inputSchema": {"type": "object", "properties": {"x": {"enum": ["y" * 60_000]}}}},
    {"name": "numbers_add", "inputSchema": {"type": "object"}},
    {"name": "talks", "description": "word " * 5_000, "inputSchema": {"type": "object"}},
]


def main() -> None:
    how = sys.argv[1]
    tools = [_ADD, *_ODD] if how == "odd" else [_ADD]
    if how == "silent":
        time.sleep(600)
    if how == "exits":
        print("no configuration found", file=sys.stderr)
        sys.exit(3)
    if how == "babbles":
        while True:
            print("Listening on port 8080", flush=True)
    if how == "endless-line":
        while True:
            sys.stdout.write("x" * 100_000)
    if how == "noisy":
        print('Starting up...\n\n{"not": "a message"}', flush=True)
        os.write(1, b"\xff\xfe broken text\n")
    if how == "children":
        # A child that would outlive it, and hold its pipes; the test is told its number.
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(sys.argv[2]).write_text(str(child.pid))
    for line in sys.stdin:
        message = json.loads(line)
        method, number = message.get("method"), message.get("id")
        if method == "initialize":
            server = {"name": "plain", "title": "A plain server", "version": "1"}
            abilities = {"tools": {"listChanged": True}}
            _answer(number, {"protocolVersion": "2025-06-18", "capabilities": abilities, "serverInfo": server})
        elif method == "tools/list":
            _answer(number, {"tools": tools})
        elif method == "tools/call":
            _call(how, number, message["params"], tools)
        elif number is not None:
            _send({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "Method not found"}})
    if how == "stubborn":
        time.sleep(600)


def _call(how: str, number: Any, asked: dict[str, Any], tools: list[dict[str, Any]]) -> None:
    given = asked.get("arguments", {})
    if how == "dies":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(7)
    if how == "hangs":
        return
    if how == "garbage-answer":
        print("Traceback (most recent call last): ...", flush=True)
        return
    if how == "huge":
        _answer(number, {"content": [{"type": "text", "text": "x" * (20 << 20)}]})
        return
    if how == "refuses":
        _send({"jsonrpc": "2.0", "id": number, "error": {"code": -32000 - 99, "message": "not today"}})
        return
    if how == "fails":
        _answer(number, {"content": [{"type": "text", "text": "the disk is full"}], "isError": True})
        return
    if how == "pictures":
        picture = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
        link = {"type": "resource_link", "uri": "file:///a.txt", "name": "a.txt"}
        held = {"type": "resource", "resource": {"uri": "file:///b.txt", "text": "what b says"}}
        _answer(number, {"content": [{"type": "text", "text": "see"}, picture, link, held]})
        return
    if how == "changes":
        tools[:] = [{**_ADD, "name": "sum"}]
        _send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    if how == "environment":
        _answer(number, {"content": [{"type": "text", "text": json.dumps(dict(os.environ))}]})
        return
    _answer(number, {"content": [{"type": "text", "text": str(given["a"] + given["b"])}]})


def _answer(number: Any, result: dict[str, Any]) -> None:
    _send({"jsonrpc": "2.0", "id": number, "result": result})


def _send(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
