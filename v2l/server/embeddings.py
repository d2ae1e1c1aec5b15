"""POST /v1/embeddings: texts and images ──► unit vectors in the joint space of the tokenizer's encoder."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response
from torch import Tensor

from v2l.server.errors import ApiError
from v2l.server.messages import EmbeddingRequest, ImagePart, ImageUrl, TextPart
from v2l.server.responses import AsciiJson
from v2l.server.service import Service, ServiceOf

router = APIRouter()
DATA = "data:image/"


@router.post("/v1/embeddings")
async def embeddings(request: EmbeddingRequest, service: ServiceOf) -> Response:
    """Embed texts and images, so that the cosine of an image and a text says how well they fit.

    An input is a text, a `data:image/…` URL, or a part as in a chat.
    """
    service.check_model(request.model, service.embedding_model)
    items = [image_or_text(item) for item in request.items]
    check_size(items, service)
    images = [item for item in items if isinstance(item, ImageUrl)]
    texts = [item for item in items if isinstance(item, str)]
    words, encoded = await asyncio.gather(
        service.images.read(images), asyncio.gather(*(service.images.text_vector(text) for text in texts))
    )
    of_images, of_texts = iter([image.vector for image in words]), iter([vector for vector, _ in encoded])
    vectors = [next(of_images if isinstance(item, ImageUrl) else of_texts) for item in items]
    if request.dimensions not in (None, len(vectors[0])):
        raise ApiError(400, f"the vectors have {len(vectors[0])} dimensions", "dimensions")
    tokens = sum(count for _, count in encoded)
    data = [
        {"object": "embedding", "index": index, "embedding": written(vector, request.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return AsciiJson({"object": "list", "data": data, "model": service.embedding_model, "usage": usage})


def image_or_text(item: str | TextPart | ImagePart) -> ImageUrl | str:
    """An input as what it is: a text that is a `data:` URL of an image is that image."""
    if isinstance(item, ImagePart):
        return item.image_url
    text = item.text if isinstance(item, TextPart) else item
    return ImageUrl(url=text) if text.startswith(DATA) else text


def check_size(items: list[ImageUrl | str], service: Service) -> None:
    """Refuse empty texts, and too many or too long ones.

    Raises:
        ApiError: naming the limit.
    """
    limits = service.settings.limits
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) > limits.texts:
        raise ApiError(400, f"got {len(texts)} texts; allowed: {limits.texts}", "input")
    if not all(texts):
        raise ApiError(400, "a text is empty", "input")
    if sum(map(len, texts)) > limits.text_characters:
        raise ApiError(400, f"the texts have more than {limits.text_characters:,} characters", "input")
    if any(len(word) > limits.word_characters for text in texts for word in text.split()):
        raise ApiError(400, f"a word has more than {limits.word_characters:,} characters", "input")


def written(vector: Tensor, encoding: str | None) -> Any:
    """A vector (D,) as a list of numbers, or as base64 of little-endian float32."""
    if encoding == "base64":
        return base64.b64encode(vector.numpy().astype(np.dtype("<f4")).tobytes()).decode()
    return vector.tolist()
