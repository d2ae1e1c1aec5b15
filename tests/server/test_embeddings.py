"""Embeddings: vectors of images and texts in one space."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
import torch
from served import chat, image_part, text_part
from starlette.testclient import TestClient
from tiny_pipeline import tiny_pipeline
from tiny_words_tokenizer import QuarterTokenizer

from v2l.images import load_image
from v2l.pipeline.pipeline import Pipeline
from v2l.server.app import create_app

URL = "/v1/embeddings"


def test_images_and_texts_have_the_joint_encoders_vectors(
    client: TestClient, long_pipeline: Pipeline, straw: str, samples: Path
) -> None:
    inputs = ["a hat", straw, image_part(straw), text_part("boots")]
    answer = client.post(URL, json={"model": "colours", "input": inputs}).json()
    vectors = torch.tensor([entry["embedding"] for entry in answer["data"]])
    encoder = long_pipeline.joint_encoder
    image = encoder.encode_images(load_image(samples / "hat" / "straw.jpg")[None])[0]
    texts = encoder.encode_texts(["a hat", "boots"])
    assert torch.allclose(vectors, torch.stack([texts[0], image, image, texts[1]]), atol=1e-6)
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == sum(map(len, encoder.tokenize_texts(["a hat", "boots"])))


def test_base64_holds_the_same_numbers(client: TestClient) -> None:
    request = {"model": "v2l", "input": "a hat"}
    plain = client.post(URL, json=request).json()["data"][0]["embedding"]
    encoded = client.post(URL, json={**request, "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(encoded), "<f4").tolist() == pytest.approx(plain)


@pytest.mark.parametrize(
    "bad",
    [{"input": ""}, {"input": "a" * 1001}, {"input": []}, {"input": "a", "dimensions": 3}, {"input": [[1]]}],
)
def test_what_is_malformed_is_refused(client: TestClient, bad: dict[str, object]) -> None:
    assert client.post(URL, json={"model": "v2l", **bad}).status_code == 400


def test_a_tokenizer_without_a_joint_space_embeds_nothing(straw: str) -> None:
    pipeline = Pipeline(QuarterTokenizer(), tiny_pipeline(context=256).llm)
    with TestClient(create_app(pipeline), base_url="http://127.0.0.1") as client:
        for given in ("a hat", straw):
            assert client.post(URL, json={"model": "v2l", "input": given}).status_code == 404
        body = chat(image_part(straw), text_part("go on"), max_tokens=1)
        assert client.post("/v1/chat/completions", json=body).status_code == 200
