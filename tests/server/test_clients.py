"""Other people's clients, as their own documentation uses them, against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from served import image_part, text_part

QUESTION = "What is in this image?"


@pytest.fixture(scope="module")
def expected(address: str, straw: str) -> str:
    """The answer to the question, as plain JSON over HTTP has it."""
    import httpx

    body = {"model": "v2l", "messages": messages(straw)}
    answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=30).json()
    return answer["choices"][0]["message"]["content"]


def messages(url: str) -> list[dict[str, Any]]:
    """The vision example of OpenAI's documentation."""
    return [{"role": "user", "content": [text_part(QUESTION), image_part(url)]}]


def test_openai(address: str, straw: str, expected: str) -> None:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
    answer = client.chat.completions.create(model="v2l", messages=messages(straw))  # type: ignore[call-overload]
    assert answer.choices[0].message.content == expected
    assert answer.usage.total_tokens > 0
    assert len(answer.model_extra["v2l"]["images"][0]["words"]) == 5
    stream = client.chat.completions.create(model="v2l", messages=messages(straw), stream=True)  # type: ignore[call-overload]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == expected
    vectors = client.embeddings.create(model="v2l", input=["a hat", straw]).data
    assert [len(entry.embedding) for entry in vectors] == [16, 16]
    assert [model.id for model in client.models.list()] == ["tiny", "colours", "v2l"]
    assert client.completions.create(model="v2l", prompt="a", max_tokens=2).usage.completion_tokens == 2  # type: ignore[union-attr]
    with pytest.raises(openai.BadRequestError, match="n is not supported"):
        client.chat.completions.create(model="v2l", messages=messages(straw), n=2)  # type: ignore[call-overload]


def test_openai_edits_an_image(address: str, samples: Path) -> None:
    import torch

    from v2l.images import encode_image, load_image

    image = load_image(samples / "hat" / "straw.jpg")
    mask = torch.zeros_like(image)
    mask[:, 90:130, 90:130] = 1
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
    files = [(name, encode_image(part, format="PNG")) for name, part in (("a.png", image), ("m.png", mask))]
    answer = client.images.edit(model="v2l", image=files[0], mask=files[1], prompt="fill it")
    assert answer.data
    assert answer.data[0].b64_json


def test_openai_async(address: str, straw: str, expected: str) -> None:
    async def ask() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
            whole = await client.chat.completions.create(model="v2l", messages=messages(straw))  # type: ignore[call-overload]
            stream = await client.chat.completions.create(  # type: ignore[call-overload]
                model="v2l", messages=messages(straw), stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return [whole.choices[0].message.content, "".join(pieces)]

    assert asyncio.run(ask()) == [expected, expected]


def test_litellm(address: str, straw: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # otherwise it fetches a list at import
    import litellm

    options = {"model": "openai/v2l", "api_base": f"{address}/v1", "api_key": "none"}
    answer = litellm.completion(messages=messages(straw), **options)
    assert answer.choices[0].message.content == expected
    stream = litellm.completion(messages=messages(straw), stream=True, **options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == expected


def test_langchain(address: str, straw: str, expected: str) -> None:
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="v2l", base_url=f"{address}/v1", api_key="none")  # type: ignore[arg-type]
    message = HumanMessage(content=messages(straw)[0]["content"])
    assert model.invoke([message]).content == expected
    assert "".join(str(chunk.content) for chunk in model.stream([message])) == expected


def test_llm_with_an_extra_endpoint(address: str, samples: Path, tmp_path: Path, expected: str) -> None:
    endpoint = {"model_id": "v2l", "model_name": "v2l", "api_base": f"{address}/v1", "vision": True}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([endpoint]))
    # The weights of SmolLM2 come in a plugin of llm that needs llama.cpp: it is left out.
    own = {"LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": "", "OPENAI_API_KEY": "none"}
    answer = subprocess.run(
        [sys.executable, "-m", "llm", "-m", "v2l", QUESTION, "-a", str(samples / "hat" / "straw.jpg")],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.stdout.strip() == expected.strip(), answer.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(address: str, straw: str, expected: str) -> None:
    body = json.dumps({"model": "v2l", "messages": messages(straw)})
    headers = ["-H", "Content-Type: application/json", "-H", "Authorization: Bearer none"]
    command = ["curl", "-sS", f"{address}/v1/chat/completions", *headers, "-d", "@-"]
    answer = subprocess.run(command, input=body, capture_output=True, text=True, timeout=30)
    assert json.loads(answer.stdout)["choices"][0]["message"]["content"] == expected
