"""A server answers by OpenAI's protocol, or one line says why not; the key never shows; offline is offline."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from tiny_server import DROPPED, JSON, Reply, chat, in_turn, refusal, saying, tiny_server

from v2l.errors import V2LError
from v2l.llm import GenerationConfig
from v2l.llm.endpoint import SWITCHES, Endpoint, is_loopback
from v2l.llm.reasoning import split_thought
from v2l.llm.retries import LONGEST_RETRY_AFTER, parse_retry_after

CONFIG = GenerationConfig(max_new_tokens=9, temperature=0.5, seed=7, stop=("\n",))
TURNS = [{"role": "user", "content": "What is it?"}]
KEY = "sk-never-printed-0123456789"


def test_the_answer_comes_back_and_the_settings_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with tiny_server(saying("a boot\nand more")) as server:
        assert Endpoint(server.url, "mine").reply(TURNS, CONFIG) == "a boot"
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


def test_a_model_without_a_name_is_the_only_one_of_the_server() -> None:
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
        Endpoint(server.url).reply(TURNS, CONFIG)


def test_a_server_that_is_down_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(V2LError, match="cannot be reached"):
        Endpoint(url, "mine", retries=0).reply(TURNS, CONFIG)


def test_a_slow_server_is_one_line() -> None:
    with (
        tiny_server(saying("x"), delay=0.5) as server,
        pytest.raises(V2LError, match=r"did not answer within 0\.05 seconds"),
    ):
        Endpoint(server.url, "mine", timeout=0.05, retries=0).reply(TURNS, CONFIG)


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
        Endpoint(server.url, "mine", retries=0).reply(TURNS, CONFIG)


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
        Endpoint(server.url, "mine", retries=0).reply(TURNS, CONFIG)
    assert KEY not in str(raised.value)


def test_redirections_are_not_followed() -> None:
    with tiny_server(lambda _: (307, "text/plain", "")) as server, pytest.raises(V2LError):
        Endpoint(server.url, "mine", retries=0).reply(TURNS, CONFIG)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://localhost/v1", "http://", "", "http://[::1/v1", "http://localhost:abc/v1"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(V2LError, match="http or https"):
        Endpoint(url)


def test_offline_only_this_machine_is_reached() -> None:
    with pytest.raises(V2LError, match="offline"):
        Endpoint("https://llm.example.org/v1")
    assert Endpoint("http://[::1]:8000/v1").name == "http://[::1]:8000/v1"
    assert is_loopback("127.8.9.1")
    assert not is_loopback("localhost.example.org")


def test_a_password_in_the_address_is_not_shown() -> None:
    assert Endpoint("http://me:secret@localhost:1/v1").name == "http://localhost:1/v1"
    with pytest.raises(
        V2LError, match=r"^got the endpoint 'http://\[::1/v1'; allowed: an http or https address"
    ):
        Endpoint("http://me:secret@[::1/v1")


def test_a_timeout_is_positive() -> None:
    with pytest.raises(V2LError, match="more than 0"):
        Endpoint("http://localhost/v1", timeout=0)


class Patient:
    """Takes the waits and the notes of an endpoint in the place of a clock and of standard error."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.notes: list[str] = []

    def endpoint(self, url: str, **settings: Any) -> Endpoint:
        return Endpoint(url, "mine", note=self.notes.append, sleep=self.waits.append, **settings)


@pytest.fixture
def patient() -> Patient:
    return Patient()


def switched_off(request: dict[str, Any]) -> bool:
    """Whether a request switches the thinking off in a way that some server knows."""
    template = request.get("chat_template_kwargs", {})
    return template.get("enable_thinking") is False or request.get("reasoning_effort") == "none"


THOUGHT = "The words say boot and leather, so"
ALWAYS_THINKING = {  # the reply of a model that thinks, with room and without
    "vllm": lambda answer: chat(answer, reasoning=THOUGHT),
    "older vllm, sglang, llama.cpp": lambda answer: chat(answer, reasoning_content=THOUGHT),
    "no reasoning parser": lambda answer: chat(
        f"<think>\n{THOUGHT}" + (f"\n</think>\n\n{answer}" if answer else "")
    ),
    "think opened by the template": lambda answer: chat(
        f"{THOUGHT}</think>{answer}" if answer else None, reasoning_content="" if answer else THOUGHT
    ),
    "magistral": lambda answer: chat(f"[THINK]{THOUGHT}" + (f"[/THINK]{answer}" if answer else "")),
    "mistral's parts": lambda answer: chat(
        [
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
            *([{"type": "text", "text": answer}] if answer else []),
        ]
    ),
    "a hidden thought": lambda answer: chat(answer),
}


@pytest.mark.parametrize("shape", ALWAYS_THINKING)
def test_thinking_is_switched_off_where_the_server_has_a_switch(shape: str) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, str, str]:
        return 200, JSON, chat("a boot") if switched_off(request) else ALWAYS_THINKING[shape]("")

    with tiny_server(reply) as server:
        endpoint = Endpoint(server.url, "mine")
        assert [endpoint.reply(TURNS, CONFIG) for _ in range(2)] == ["a boot"] * 2
    assert [switched_off(request) for request in server.requests] == [False, True, True]
    assert all(request["max_tokens"] == 9 for request in server.requests)


@pytest.mark.parametrize("shape", ALWAYS_THINKING)
def test_a_model_that_always_thinks_gets_room_and_its_thought_is_left_aside(shape: str) -> None:
    def reply(request: dict[str, Any]) -> tuple[int, str, str]:
        return 200, JSON, ALWAYS_THINKING[shape]("a boot\nand more" if request["max_tokens"] == 500 else "")

    with tiny_server(reply) as server:
        endpoint = Endpoint(server.url, "mine", max_tokens=500)
        assert [endpoint.reply(TURNS, CONFIG) for _ in range(2)] == ["a boot"] * 2
    assert [request["max_tokens"] for request in server.requests] == [9, 9, 500, 500]
    assert [request["stop"] for request in server.requests] == [["\n"], ["\n"], None, None], (
        "a stop text would end the thought"
    )


def test_when_the_room_runs_out_one_line_names_the_setting() -> None:
    with (
        tiny_server(lambda _: (200, JSON, chat("", finish="length", reasoning=THOUGHT))) as server,
        pytest.raises(V2LError, match=r"thinks for all of its 64 tokens; .*; try: --endpoint-max-tokens 256"),
    ):
        Endpoint(server.url, "mine", max_tokens=64).reply(TURNS, CONFIG)
    assert len(server.requests) == 3


def test_a_thought_without_an_answer_is_one_line() -> None:
    with (
        tiny_server(lambda _: (200, JSON, chat(f"<think>{THOUGHT}</think>"))) as server,
        pytest.raises(V2LError, match=r"gives a thought and no answer.*--endpoint-max-tokens"),
    ):
        Endpoint(server.url, "mine").reply(TURNS, CONFIG)


@pytest.mark.parametrize(
    "words",
    {
        "openai": "Unrecognized request argument supplied: {}",
        "pydantic": "[{{'type': 'extra_forbidden', 'loc': ('body', '{}')}}]",
        "no name": "Bad request",
    }.values(),
)
@pytest.mark.parametrize("known", [*SWITCHES, "nothing"])
def test_a_server_that_refuses_a_field_gets_the_request_without_it_once(words: str, known: str) -> None:
    def reply(request: dict[str, Any]) -> Any:
        unknown = next((name for name in SWITCHES if name in request and name != known), None)
        if unknown:
            return refusal(400, words.format(unknown))
        plain = request.get(known) == SWITCHES.get(known, 0) or request["max_tokens"] == 500
        return 200, JSON, chat("a boot") if plain else chat("", finish="length", reasoning_content=THOUGHT)

    with tiny_server(reply) as server:
        endpoint = Endpoint(server.url, "mine", max_tokens=500)
        assert [endpoint.reply(TURNS, CONFIG) for _ in range(3)] == ["a boot"] * 3
    assert len(server.requests) <= 6
    assert server.requests[-3].keys() & SWITCHES.keys() <= {known}, "the refusal is remembered"
    assert server.requests[-1] == server.requests[-2] == server.requests[-3]


def test_an_llm_that_does_not_think_gets_no_switch() -> None:
    with tiny_server(saying("a boot")) as server:
        assert Endpoint(server.url, "mine").reply(TURNS, CONFIG) == "a boot"
    assert not server.requests[0].keys() & SWITCHES.keys()


def test_a_server_may_name_the_tokens_otherwise_and_lack_fields(patient: Patient) -> None:
    def reply(request: dict[str, Any]) -> Any:
        if "max_tokens" in request:
            return refusal(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        for name in ("temperature", "stop"):
            if name in request:
                return refusal(400, f"Unsupported value: '{name}' is not supported with this model.")
        return 200, JSON, chat("a boot\nand more")

    with tiny_server(reply) as server:
        endpoint = patient.endpoint(server.url)
        assert [endpoint.reply(TURNS, CONFIG) for _ in range(2)] == ["a boot"] * 2
    assert len(server.requests) == 5
    assert server.requests[-1]["max_completion_tokens"] == 9
    assert ["does not take temperature" in note for note in patient.notes] == [True, False]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a boot", ("", "a boot")),
        ("<think>hm</think>a boot", ("hm", "a boot")),
        ("  <THINK>hm</THINK>a boot", ("hm", "a boot")),
        ("hm</think>a boot", ("hm", "a boot")),
        ("<think>hm", ("hm", "")),
        ("a <think> boot", ("", "a <think> boot")),
        ("", ("", "")),
    ],
)
def test_a_thought_is_parted_from_its_answer(content: str, expected: tuple[str, str]) -> None:
    assert split_thought(content) == expected


STUMBLES = {
    "500": refusal(500, "CUDA error"),
    "502, a page": (502, "text/html", "<html>bad gateway</html>"),
    "503": refusal(503, "Loading model"),
    "429": refusal(429, "slow down"),
    "408": refusal(408, "too slow"),
    "a connection that is dropped half-way": (200, JSON, chat("a bo"), DROPPED),
    "a body that is no JSON": (200, JSON, "{"),
    "a page": (200, "text/html", "<html>welcome</html>"),
}


@pytest.mark.parametrize("stumble", STUMBLES)
def test_a_server_that_stumbles_is_tried_again_with_growing_waits(stumble: str, patient: Patient) -> None:
    failure = STUMBLES[stumble]
    with tiny_server(in_turn(failure, failure, failure, (200, JSON, chat("a boot")))) as server:
        assert patient.endpoint(server.url).reply(TURNS, CONFIG) == "a boot"
    assert patient.waits == [1, 2, 4]
    assert [note.split("; ")[-1] for note in patient.notes] == [
        "try 2 of 5 in 1 s",
        "try 3 of 5 in 2 s",
        "try 4 of 5 in 4 s",
    ]


def test_a_dropped_connection_is_called_so() -> None:
    with (
        tiny_server(in_turn(STUMBLES["a connection that is dropped half-way"])) as server,
        pytest.raises(V2LError, match="dropped the connection"),
    ):
        Endpoint(server.url, "mine", retries=0).reply(TURNS, CONFIG)


@pytest.mark.parametrize("stumble", STUMBLES)
def test_the_number_of_tries_is_bounded(stumble: str, patient: Patient) -> None:
    with (
        tiny_server(in_turn(STUMBLES[stumble])) as server,
        pytest.raises(V2LError, match=r", 3 times;") as raised,
    ):
        patient.endpoint(server.url, retries=2).reply(TURNS, CONFIG)
    assert len(server.requests) == 3
    assert "\n" not in str(raised.value)


def test_a_slow_server_is_tried_again(patient: Patient) -> None:
    with (
        tiny_server(saying("x"), delay=0.4) as server,
        pytest.raises(
            V2LError, match=r"did not answer within 0\.05 seconds, 2 times; try: --endpoint-timeout"
        ),
    ):
        patient.endpoint(server.url, timeout=0.05, retries=1).reply(TURNS, CONFIG)
    assert patient.waits == [1]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 413, 422])
def test_other_refusals_are_never_tried_again(status: int, patient: Patient) -> None:
    with (
        tiny_server(in_turn(refusal(status, "no such thing", Retry_After="1"))) as server,
        pytest.raises(V2LError, match="no such thing"),
    ):
        patient.endpoint(server.url).reply(TURNS, CONFIG)
    assert (len(server.requests), patient.waits, patient.notes) == (1, [], [])


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "the GPU\\nis on fire"}}',
        '{"error": "the GPU is on fire"}',
        '{"object": "error", "message": "the GPU is on fire"}',
        '{"detail": "the GPU is on fire"}',
        "the GPU\nis on fire",
    ],
)
@pytest.mark.parametrize("status", [418, 500, 503])
def test_the_status_and_the_servers_own_words_are_said(status: int, body: str) -> None:
    with (
        tiny_server(lambda _: (status, JSON if body[0] == "{" else "text/plain", body)) as server,
        pytest.raises(V2LError, match=rf"refused with {status} \(the GPU is on fire\)"),
    ):
        Endpoint(server.url, "mine", retries=0).reply(TURNS, CONFIG)


def test_the_servers_words_are_cut_to_a_line() -> None:
    with (
        tiny_server(in_turn(refusal(500, "word\n" * 1000))) as server,
        pytest.raises(V2LError, match=r"word word .*…") as raised,
    ):
        Endpoint(server.url, "mine", retries=0).reply(TURNS, CONFIG)
    assert len(str(raised.value)) < 450


def test_retry_after_is_obeyed(patient: Patient) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    replies = [refusal(429, "slow", Retry_After=after) for after in ("7", "0", date, "soon")]
    with tiny_server(in_turn(*replies, (200, JSON, chat("a boot")))) as server:
        assert patient.endpoint(server.url).reply(TURNS, CONFIG) == "a boot"
    seven, zero, until, malformed = patient.waits
    assert (seven, zero, malformed) == (7, 0, 8)
    assert 0 < until <= 90


def test_a_server_that_asks_for_a_long_wait_ends_the_run(patient: Patient) -> None:
    with (
        tiny_server(in_turn(refusal(429, "quota", Retry_After="3600"))) as server,
        pytest.raises(
            V2LError, match=r"quota.* asks to wait 3,600 s; .*at most 120 s; try: the same command"
        ),
    ):
        patient.endpoint(server.url).reply(TURNS, CONFIG)
    assert (len(server.requests), patient.waits) == (1, [])


def test_both_kinds_of_retry_after_are_read() -> None:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert parse_retry_after("1.5") == 1.5
    assert parse_retry_after("Mon, 01 Jan 2024 00:01:00 GMT", now) == 60
    assert parse_retry_after("Sun, 31 Dec 2023 23:00:00 GMT", now) == parse_retry_after("-5") == 0
    assert parse_retry_after("nan") is parse_retry_after("inf") is parse_retry_after("soon") is None
    assert parse_retry_after(None) is None
    assert LONGEST_RETRY_AFTER == 120


def test_the_list_of_models_is_tried_again_too(patient: Patient) -> None:
    with tiny_server(saying("a boot")) as server:
        server.stumbles = [refusal(503, "Loading model")]
        endpoint = Endpoint(server.url, note=patient.notes.append, sleep=patient.waits.append)
        assert endpoint.model_name == "tiny-chat"
    assert patient.waits == [1]


@pytest.mark.parametrize("tokens", [0, -1])
def test_there_is_room_for_a_token(tokens: int) -> None:
    with pytest.raises(V2LError, match="1 and more; try: --endpoint-max-tokens"):
        Endpoint("http://localhost/v1", max_tokens=tokens)
