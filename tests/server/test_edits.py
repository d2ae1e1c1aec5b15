"""Edits: a photograph and a mask become a painted photograph."""

from __future__ import annotations

import base64
from pathlib import Path

import torch
from starlette.testclient import TestClient
from torch import Tensor

import v2l
from v2l.images import decode_image, encode_image, load_image
from v2l.pipeline.pipeline import Pipeline

URL = "/v1/images/edits"


def hole(image: Tensor) -> Tensor:
    mask = torch.zeros(image.shape[1:], dtype=torch.bool)
    mask[90:140, 90:140] = True
    return mask


def with_alpha(image: Tensor, transparent: Tensor) -> bytes:
    """A PNG with four channels."""
    from io import BytesIO

    from PIL import Image

    picture = Image.open(BytesIO(encode_image(image, format="PNG"))).convert("RGBA")
    picture.putalpha(Image.fromarray(((~transparent).numpy() * 255).astype("uint8")))
    out = BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_a_white_and_a_transparent_mask_give_what_v2l_inpaint_gives(
    client: TestClient, long_pipeline: Pipeline, samples: Path
) -> None:
    image = load_image(samples / "hat" / "straw.jpg")
    mask = hole(image)
    expected = v2l.inpaint(image, mask, pipeline=long_pipeline).image
    photograph = encode_image(image, format="PNG")
    white = encode_image(mask.float().expand(3, -1, -1), format="PNG")
    requests = [
        {"image": photograph, "mask": white},
        {"image": photograph, "mask": with_alpha(image, mask)},
        {"image": with_alpha(image, mask)},
    ]
    for files in requests[:2]:
        answer = client.post(URL, files=files, data={"prompt": "not read"})
        assert answer.status_code == 200, answer.text
        painted = decode_image(base64.b64decode(answer.json()["data"][0]["b64_json"]))
        assert torch.allclose(painted, expected, atol=1 / 255)
        assert answer.json()["v2l"]["prompt_read"] is False
    assert client.post(URL, files=requests[2]).status_code == 200


def test_what_cannot_be_painted_is_refused(client: TestClient, samples: Path) -> None:
    photograph = (samples / "hat" / "straw.jpg").read_bytes()
    other = (samples / "hat" / "plaid.jpg").read_bytes()
    assert client.post(URL, files={"image": photograph}).status_code == 400
    assert client.post(URL, files={"image": b"no image", "mask": other}).status_code == 400
    assert client.post(URL, files={"image": photograph, "mask": other}).status_code == 400
    assert client.post(URL, files={"image": photograph}, data={"n": "3"}).status_code == 400
    assert client.post(URL, data={"prompt": "a cat"}).status_code == 400
