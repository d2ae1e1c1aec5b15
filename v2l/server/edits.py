"""POST /v1/images/edits: a photograph and a mask ──► the photograph with the hole painted, as base64 PNG."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from fastapi import APIRouter, Form, UploadFile
from fastapi.responses import Response
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import EncodedImage, encode_image, load_image
from v2l.masks import check_mask, load_mask, transparent_part
from v2l.server.errors import ApiError, refused, unsupported
from v2l.server.local import GoneError
from v2l.server.responses import EXTENSION, AsciiJson
from v2l.server.service import Service, ServiceOf
from v2l.tasks.restoration.inpaint import Inpainted, inpaint
from v2l.tokenizers.needs import require_grid_codes

router = APIRouter()
OPAQUE = "neither the mask nor the image is transparent or white where to paint"


@dataclass(frozen=True)
class Hole:
    """What is to be painted.

    Attributes:
        image: (3, H, W) in [0, 1].
        mask: (H, W) bool, True where to paint.
    """

    image: Tensor
    mask: Tensor


@router.post("/v1/images/edits")
async def edits(
    service: ServiceOf,
    image: UploadFile,
    mask: UploadFile | None = None,
    prompt: Annotated[str, Form(max_length=32_000)] = "",
    model: Annotated[str, Form(max_length=256)] = "v2l",
    n: Annotated[int, Form(ge=1, le=10)] = 1,
    size: Annotated[str, Form(max_length=32)] = "auto",
    response_format: Literal["b64_json", "url"] = Form("b64_json"),
) -> Response:
    """Paint the part of a photograph that the mask marks: transparent (as OpenAI has it), or white.

    Without a mask, the transparent part of the image itself is painted. The prompt is not read, because the
    LLM predicts the hidden tokens from the visible ones alone.
    """
    service.check_model(model, service.chat_model)
    if n != 1:
        raise unsupported("n", "one image is painted at a time")
    if response_format != "b64_json":
        raise unsupported("response_format", "images are answered as b64_json")
    if size != "auto":
        raise unsupported("size", "the answer has the size of the image; allowed: auto")
    pixels = service.settings.limits.pixels
    pictures = [EncodedImage("the image", await image.read(), pixels)]
    if mask is not None:
        pictures.append(EncodedImage("mask", await mask.read(), pixels))
    try:
        require_grid_codes(service.pipeline.tokenizer, "/v1/images/edits")
        painted = await service.llm.call(partial(paint, service, pictures))
    except V2LError as error:
        raise refused(error, "image") from error
    encoded = await asyncio.to_thread(encode_image, painted.image, format="PNG")
    field = {"prompt_read": False, "predicted_tokens": int(painted.hidden.sum())}
    data = [{"b64_json": base64.b64encode(encoded).decode()}]
    return AsciiJson({"created": int(time.time()), "data": data, EXTENSION: field})


def paint(service: Service, pictures: list[EncodedImage], gone: threading.Event) -> Inpainted:
    """Decode, find the hole, and let the LLM predict it; on the LLM's thread.

    Raises:
        V2LError: a picture cannot be read, or the mask does not fit.
        GoneError: the client went away.
    """

    def progress(*_: object) -> None:
        if gone.is_set():
            raise GoneError

    progress()
    hole = hole_of(pictures)
    with torch.inference_mode():
        return inpaint(service.pipeline, hole.image, hole.mask, progress=progress)


def hole_of(pictures: list[EncodedImage]) -> Hole:
    """Image and mask.

    Raises:
        V2LError: one cannot be read, or the mask does not fit.
    """
    image = load_image(pictures[0])
    size = (image.shape[-2], image.shape[-1])
    marked = transparent_part(pictures[-1])
    if marked is None and len(pictures) == 1:
        raise ApiError(400, OPAQUE, "mask")
    if marked is None:
        return Hole(image, load_mask(pictures[1], size))
    return Hole(image, check_mask(marked, size, "the transparent part of the mask"))
