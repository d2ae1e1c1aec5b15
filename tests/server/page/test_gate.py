"""What the page takes from a browser: its own requests and uploaded files, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

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
