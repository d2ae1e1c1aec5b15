"""Who is let in."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from served import local_settings
from starlette.testclient import TestClient

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.server.app import create_app
from v2l.server.settings import ServerSettings

KEY = "sk-test"


@pytest.fixture(scope="module")
def locked(long_pipeline: Pipeline) -> Iterator[TestClient]:
    app = create_app(long_pipeline, local_settings(KEY))
    with TestClient(app, base_url="http://v2l.example") as client:
        yield client


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"me:{password}".encode()).decode()


@pytest.mark.parametrize("sent", [f"Bearer {KEY}", f"bearer {KEY}", basic(KEY)])
def test_the_key_opens_the_door(locked: TestClient, sent: str) -> None:
    assert locked.get("/v1/models", headers={"Authorization": sent}).status_code == 200


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", KEY, "Basic ????", basic("wrong"), "Bearer é"]
)
def test_without_the_key_every_path_but_health_is_closed(locked: TestClient, sent: str) -> None:
    headers = {"Authorization": sent.encode()} if sent else {}
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nothing", "/"):
        answer = locked.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert locked.get("/healthz").status_code == 200


def test_another_host_name_is_refused_without_a_key(client: TestClient) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "evil.example:8000"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 403
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_pages_of_another_origin_are_refused(client: TestClient, long_pipeline: Pipeline) -> None:
    evil, named = {"Origin": "https://evil.example"}, {"Origin": "https://good.example"}
    assert client.get("/v1/models", headers=evil).status_code == 403
    assert client.get("/v1/models", headers={"Origin": "null"}).status_code == 403
    assert client.get("/v1/models", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
    settings = ServerSettings(allow_origins=("https://good.example",))
    with TestClient(create_app(long_pipeline, settings), base_url="http://127.0.0.1:8000") as open_client:
        answer = open_client.get("/v1/models", headers=named)
        assert answer.headers["access-control-allow-origin"] == "https://good.example"
        asked = {**named, "Access-Control-Request-Method": "POST"}
        assert open_client.options("/v1/models", headers=asked).status_code == 200
        assert open_client.get("/v1/models", headers=evil).status_code == 403


def test_no_browser_header_is_sent_unless_an_origin_is_named(client: TestClient) -> None:
    assert "access-control-allow-origin" not in client.get("/v1/models").headers


@pytest.mark.parametrize(
    "bad",
    [
        {"host": "0.0.0.0"},
        {"host": "192.168.1.5"},
        {"api_key": "with space"},
        {"api_key": ""},
        {"allow_hosts": ("http://x",)},
        {"allow_origins": ("*",)},
    ],
)
def test_unsafe_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(V2LError):
        ServerSettings(**bad)  # type: ignore[arg-type]


def test_another_address_is_allowed_with_a_key_or_a_flag() -> None:
    assert not ServerSettings(host="0.0.0.0", api_key=KEY).is_local
    assert not ServerSettings(host="0.0.0.0", without_key=True).is_local
    assert KEY not in repr(ServerSettings(api_key=KEY))


def test_malformed_heads_are_no_fault(client: TestClient) -> None:
    for headers in ({"Origin": "http://["}, {"Origin": ""}, {"Host": "a@b:c:d"}, {"Origin": "x" * 5000}):
        assert client.get("/v1/models", headers=headers).status_code in (200, 403)
