"""A server answers by OpenAI's protocol, or one line says why not; the key never shows, and offline nothing leaves this machine."""

from __future__ import annotations

import socket

import pytest
from tiny_server import Reply, chat, saying, tiny_server

from v2l.errors import V2LError
from v2l.llm import GenerationConfig
from v2l.llm.endpoint import Endpoint, is_loopback

CONFIG = GenerationConfig(max_new_tokens=9, temperature=0.5, seed=7, stop=("\n",))
TURNS = [{"role": "user", "content": "What is it?"}]
KEY = "sk-never-printed-0123456789"


def test_the_answer_comes_back_and_the_settings_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with tiny_server(saying("a boot\nand more")) as server:
        assert Endpoint(server.url, "mine").answer(TURNS, CONFIG) == "a boot"
    expected = {
        "model": "mine",
        "messages": TURNS,
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 7,
        "stop": ["\n"],
    }
    assert server.requests == [expected]
    assert server.keys == [f"Bearer {KEY}"]


def test_an_unnamed_model_is_the_only_one_of_the_server() -> None:
    with tiny_server(saying("x"), models=("only",)) as server:
        assert Endpoint(server.url).describe() == {
            "llm": "only",
            "llm_fingerprint": None,
            "endpoint": server.url,
        }
    with (
        tiny_server(saying("x"), models=("a", "b")) as server,
        pytest.raises(V2LError, match="2 models; allowed: the name of one: a, b"),
    ):
        Endpoint(server.url).answer(TURNS, CONFIG)


def test_a_server_that_is_down_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(V2LError, match="cannot be reached"):
        Endpoint(url, "mine", retries=0).answer(TURNS, CONFIG)


def test_a_slow_server_is_one_line() -> None:
    with (
        tiny_server(saying("x"), delay=0.5) as server,
        pytest.raises(V2LError, match=r"did not answer within 0\.05 seconds"),
    ):
        Endpoint(server.url, "mine", timeout=0.05, retries=0).answer(TURNS, CONFIG)


@pytest.mark.parametrize(
    "reply",
    [
        lambda _: (200, "text/html", "<html>welcome</html>"),
        lambda _: (200, "application/json", "{"),
        lambda _: (200, "application/json", "[]"),
        lambda _: (200, "application/json", '{"choices": []}'),
        lambda _: (200, "application/json", '{"choices": [{"message": 5}]}'),
        lambda _: (200, "application/json", chat(None)),
        lambda _: (200, "application/json", chat("  ")),
        lambda _: (200, "application/json", chat(["parts"])),
    ],
)
def test_nonsense_is_one_line(reply: Reply) -> None:
    with tiny_server(reply) as server, pytest.raises(V2LError, match="answers nonsense"):
        Endpoint(server.url, "mine", retries=0).answer(TURNS, CONFIG)


@pytest.mark.parametrize(
    ("status", "part"), [(401, "does not take the key"), (404, "refused with 404"), (500, "refused with 500")]
)
def test_a_refusal_is_one_line_without_the_key(
    status: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    body = f'{{"error": {{"message": "no: {KEY}"}}}}'
    with (
        tiny_server(lambda _: (status, "application/json", body)) as server,
        pytest.raises(V2LError, match=part) as raised,
    ):
        Endpoint(server.url, "mine", retries=0).answer(TURNS, CONFIG)
    assert KEY not in str(raised.value)


def test_redirections_are_not_followed() -> None:
    with tiny_server(lambda _: (307, "text/plain", "")) as server, pytest.raises(V2LError):
        Endpoint(server.url, "mine", retries=0).answer(TURNS, CONFIG)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost/v1", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(V2LError, match="http or https"):
        Endpoint(url)


def test_offline_only_this_machine_is_asked() -> None:
    with pytest.raises(V2LError, match="offline"):
        Endpoint("https://llm.example.org/v1")
    assert Endpoint("http://[::1]:8000/v1").name == "http://[::1]:8000/v1"
    assert is_loopback("127.8.9.1")
    assert not is_loopback("localhost.example.org")


def test_a_password_in_the_address_is_not_shown() -> None:
    assert Endpoint("http://me:secret@localhost:1/v1").name == "http://localhost:1/v1"


def test_a_timeout_is_positive() -> None:
    with pytest.raises(V2LError, match="more than 0"):
        Endpoint("http://localhost/v1", timeout=0)
