"""Who is let in: the token on every route, browsers, websockets; and without a token, this machine alone."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from whetstone.errors import UsageError
from whetstone.models.pool import ModelPool
from whetstone.server.app import create_app

TOKEN = "correct horse battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BROWSER = {"Accept": "text/html,application/xhtml+xml"}


def app_with(token: str | None = TOKEN, **arguments: Any) -> FastAPI:
    app = create_app(ModelPool({"echo": "scripted:echo"}), token=token, **arguments)
    workbench = FastAPI()

    @workbench.get("/")
    async def page() -> PlainTextResponse:
        return PlainTextResponse("workbench")

    @workbench.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    app.mount("/", workbench)  # as the web workbench is: after everything else
    return app


def client_of(app: FastAPI, url: str = "http://127.0.0.1:8000") -> TestClient:
    return TestClient(app, base_url=url, follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture
def guarded() -> TestClient:
    return client_of(app_with())


ROUTES = [
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/health"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/echo"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/estimate"),
    ("GET", "/v1/tasks"),
    ("GET", "/v1/tasks/{name}"),
    ("POST", "/v1/tasks/{name}"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/apply-template"),
    ("GET", "/nothing/here"),
    ("OPTIONS", "/v1/models"),
]


def test_the_list_of_routes_here_is_complete() -> None:
    paths = {path.replace("{model}", "echo") for path in app_with().openapi()["paths"]}
    assert paths <= {path for _, path in ROUTES}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {b"Authorization": "Bearer 안녕".encode()},
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"whetstone={TOKEN}"},
        {"Cookie": "\x00;;==,"},
    ],
)
def test_no_route_answers_without_the_token(guarded: TestClient, method: str, path: str, headers: Any) -> None:
    answer = guarded.request(method, path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert TOKEN not in answer.text


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_answers_with_the_token(guarded: TestClient, method: str, path: str) -> None:
    assert guarded.request(method, path, headers=BEARER).status_code not in (401, 403)


def test_a_websocket_needs_the_token(guarded: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), guarded.websocket_connect("/live"):
        pass
    with guarded.websocket_connect("/live", headers=BEARER) as socket:
        assert socket.receive_text() == "hello"


# Browsers


def test_a_link_with_the_token_lets_a_browser_in_and_the_token_leaves_the_address(guarded: TestClient) -> None:
    answer = guarded.get("/", params={"token": TOKEN, "view": "chat"}, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?view=chat")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert "correct" not in cookie
    assert guarded.get("/").text == "workbench"  # the client keeps the cookie
    with guarded.websocket_connect("ws://127.0.0.1:8000/live") as socket:
        assert socket.receive_text() == "hello"


def test_a_link_with_a_wrong_token_lets_nobody_in(guarded: TestClient) -> None:
    answer = guarded.get("/?token=wrong", headers=BROWSER)
    assert answer.headers["location"].startswith("/login")
    assert "set-cookie" not in answer.headers


def test_a_browser_without_a_token_is_asked_for_it(guarded: TestClient) -> None:
    answer = guarded.get("/openapi.json", headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fopenapi.json")
    page = guarded.get(answer.headers["location"])
    assert page.status_code == 200
    assert 'value="/openapi.json"' in page.text
    assert "<script" not in page.text
    assert "width=device-width" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    wrong = guarded.post("/login", data={"token": "wrong", "next": "/openapi.json"})
    assert (wrong.status_code, "not the token" in wrong.text) == (401, True)
    right = guarded.post("/login", data={"token": TOKEN, "next": "/openapi.json"})
    assert (right.status_code, right.headers["location"]) == (303, "/openapi.json")
    assert guarded.get("/openapi.json", headers=BROWSER).status_code == 200


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", ""])
def test_the_login_leads_to_no_other_site(guarded: TestClient, target: str) -> None:
    assert guarded.post("/login", data={"token": TOKEN, "next": target}).headers["location"] == "/"


def test_what_is_put_into_the_login_page_stays_text(guarded: TestClient) -> None:
    assert "<script" not in guarded.get("/login", params={"next": '/"><script>alert(1)</script>'}).text


def test_another_sites_page_cannot_use_the_cookie(guarded: TestClient) -> None:
    guarded.post("/login", data={"token": TOKEN})
    assert guarded.get("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403
    assert guarded.get("/v1/models", headers={"Origin": "null"}).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        guarded.websocket_connect("ws://127.0.0.1:8000/live", headers={"Origin": "https://evil.example"}),
    ):
        pass
    assert guarded.get("/v1/models", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200


def test_a_cookie_of_another_token_is_worth_nothing(guarded: TestClient) -> None:
    other = client_of(app_with("another long token"))
    other.post("/login", data={"token": "another long token"})
    cookies = "; ".join(f"{name}={value}" for name, value in other.cookies.items())
    assert guarded.get("/v1/models", headers={"Cookie": cookies}).status_code == 401


@pytest.mark.parametrize("token", ["", "short", "일이삼사오육칠팔", "with\nnewline"])
def test_a_token_that_protects_nothing_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="at least 8"):
        app_with(token)


# Without a token


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "localhost:80", "[::1]:8000", "127.8.9.1"])
def test_this_machine_is_served_without_a_token(host: str) -> None:
    assert client_of(app_with(None)).get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "10.0.0.5", "", "[::1"]
)
def test_a_name_that_was_pointed_at_this_machine_is_not_served(host: str) -> None:
    answer = client_of(app_with(None)).get("/v1/models", headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"


def test_what_came_over_the_network_is_not_served_without_a_token() -> None:
    answer = client_of(app_with(None), "http://10.0.0.5:8000").get("/v1/models", headers={"Host": "localhost"})
    assert answer.status_code == 403
    assert "token" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/v1/models", "/health"])
def test_a_foreign_page_is_not_served(path: str) -> None:
    client = client_of(app_with(None))
    assert client.get(path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.get(path, headers={"Origin": "http://127.0.0.1:9000"}).status_code == 403
    assert client.get(path, headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200


# CORS


def test_no_cross_origin_headers_unless_asked_for() -> None:
    answer = client_of(app_with(None)).get("/v1/models", headers={"Origin": "http://127.0.0.1:8000"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_named_origin_may_call_and_no_other() -> None:
    client = client_of(app_with(TOKEN, allowed_origins=["https://chat.example"]))
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = client.options("/v1/chat/completions", headers={"Origin": "https://chat.example", **asked})
    assert preflight.headers["access-control-allow-origin"] == "https://chat.example"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    answer = client.get("/v1/models", headers={"Origin": "https://chat.example", **BEARER})
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    other = client.options("/v1/chat/completions", headers={"Origin": "https://evil.example", **asked})
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("origin", ["*", "chat.example", "https://chat.example/", "ftp://chat.example", "null"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(UsageError, match="origin"):
        app_with(TOKEN, allowed_origins=[origin])
