"""What the page takes from a browser: its own requests and uploaded files, nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from v2l.server.page.files import SHOWN, make_room, private_folder

PHOTOGRAPH, EDITOR = "photograph", "editor"
FILE = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def config(client: TestClient) -> dict[str, Any]:
    """What the page consists of."""
    return client.get("/config").json()


def component(config: dict[str, Any], name: str) -> int:
    """The number of a component by its name."""
    return next(one["id"] for one in config["components"] if one["props"].get("elem_id") == name)


def event(config: dict[str, Any], inputs: list[str], outputs: list[str]) -> int:
    """The number of the event that reads and fills these components."""
    wanted = [[component(config, name) for name in names] for names in (inputs, outputs)]
    return next(one["id"] for one in config["dependencies"] if [one["inputs"], one["outputs"]] == wanted)


def run(client: TestClient, number: int, *data: Any) -> str:
    """Run an event of the page: everything that the server says about it."""
    body = {"fn_index": number, "session_hash": "visitor", "data": data}
    joined = client.post("/gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return joined.text
    return client.get("/gradio_api/queue/data?session_hash=visitor").text


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of this machine that nobody uploaded."""
    (tmp_path / "secret.txt").write_text("the secret")
    return tmp_path / "secret.txt"


def test_a_file_of_the_machine_is_no_photograph(
    client: TestClient, config: dict[str, Any], secret: Path
) -> None:
    said = run(client, event(config, [PHOTOGRAPH], [EDITOR]), {"path": str(secret), **FILE})
    assert "secret.txt" not in said
    assert '"success":true' not in said
    assert client.get(f"/gradio_api/file={secret}").status_code >= 400


def test_nothing_runs_beside_the_queue(client: TestClient, config: dict[str, Any]) -> None:
    body = {"fn_index": event(config, [PHOTOGRAPH], [EDITOR]), "session_hash": "s", "data": [None]}
    assert client.post("/gradio_api/run/editor_value", json=body).status_code == 404


def uploaded(client: TestClient, content: bytes, name: str = "hat.jpg") -> str:
    """The path that the page gives to a file."""
    answer = client.post("/gradio_api/upload", files={"files": (name, content)})
    assert answer.status_code == 200
    return json.loads(answer.text)[0]


def test_an_uploaded_file_is_one(client: TestClient, config: dict[str, Any], samples: Path) -> None:
    content = (samples / "hat" / "straw.jpg").read_bytes()
    path = uploaded(client, content)
    said = run(client, event(config, [PHOTOGRAPH], [EDITOR]), {"path": path, **FILE})
    assert path in said
    assert client.get(f"/gradio_api/file={path}").content == content


def test_no_answer_names_a_path_of_the_machine(client: TestClient, samples: Path) -> None:
    folder = str(private_folder())
    path = uploaded(client, (samples / "hat" / "straw.jpg").read_bytes())
    assert path.startswith(SHOWN)
    for url in ("/", "/config", "/gradio_api/info", "/theme.css"):
        answer = client.get(url)
        assert answer.status_code == 200
        assert folder not in answer.text
        assert str(samples) not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=https://example.org/a.png",
        "/gradio_api/file=/page-files/../../etc/hostname",
        "/gradio_api/file=/page-files/%00",
        "/gradio_api/file=/page-files/" + "a" * 5000,
        "/gradio_api/file/etc/hostname",
        "/gradio_api/proxy=https://example.org/",
        "/gradio_api/custom_component/a/client/b/c%0Ainjected",
        "/gradio_api/openapi.json",
        "/gradio_api/dev/reload",
        "/gradio_api/heartbeat/" + "a" * 100,
        "/monitoring/summary",
        "/docs",
    ],
)
def test_routes_that_the_page_does_not_need_are_not_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["process_recording", "call/run", "vibe-edit", "stream/x", "queue/status"])
def test_nothing_else_can_be_sent(client: TestClient, path: str) -> None:
    assert client.post(f"/gradio_api/{path}", json={}).status_code == 404


@pytest.mark.parametrize(
    "path", ["https://example.org/a.png", "/page-files/../x", "/page-files", "\x00", 7, ["/page-files/a"]]
)
def test_only_uploaded_files_are_read(client: TestClient, config: dict[str, Any], path: Any) -> None:
    body = {"fn_index": event(config, [PHOTOGRAPH], [EDITOR]), "session_hash": "s"}
    for sent in ({"path": path, **FILE}, {"path": path}, [{"image": {"path": path, **FILE}}]):
        answer = client.post("/gradio_api/queue/join", json={**body, "data": [sent]})
        assert answer.status_code == 400
        assert answer.json()["error"]["message"] == "there is no such file"


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "{",
        '{"data": [], "session_hash": "' + "s" * 99 + '"}',
        "[" * 9_999,
        '{"data": [], "session_hash": "\\ud800"}',
    ],
)
def test_malformed_events_are_refused_without_their_text(client: TestClient, body: str) -> None:
    for path in ("queue/join", "cancel", "run/ask"):
        answer = client.post(
            f"/gradio_api/{path}", content=body, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400
        assert len(answer.text) < 200


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    files = [tmp_path / name / "hat.jpg" for name in ("sample", "old", "new")]
    for age, file in enumerate(files):
        file.parent.mkdir()
        file.write_bytes(b"")
        os.utime(file, (age, age))
    make_room(tmp_path, files[:1], limit=2**16)
    assert [file.exists() for file in files] == [True, False, True]
    assert not files[1].parent.exists()


def test_what_fails_is_one_line_without_what_was_sent(
    client: TestClient,
    config: dict[str, Any],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    filled = [component(config, "words")]
    number = next(one["id"] for one in config["dependencies"] if one["outputs"] == filled)
    assert '"success":false' in run(client, number, *[{"typed": "by a visitor"}] * 3)
    assert "by a visitor" not in "".join(capfd.readouterr()) + caplog.text
    assert "the page failed: " in caplog.text
