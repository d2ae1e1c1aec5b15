"""POST /v1/chat/completions: turns with texts and images ──► the LLM's next turn."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from v2l.server.errors import ApiError
from v2l.server.messages import ChatRequest, ImagePart
from v2l.server.responses import EXTENSION, Answer, AsciiJson, extension, with_extension
from v2l.server.service import Service, ServiceOf
from v2l.server.streaming import event_stream

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: ChatRequest, service: ServiceOf) -> Response:
    """Answer a chat. Each image becomes words; `detail` chooses how many: low 3, auto 5, high 21.

    The answer has the words of the images in the field `v2l`.
    """
    service.check_model(request.model, service.chat_model)
    check_size(request, service)
    images = await service.images.read(list(request.images()))
    if service.upstream:
        if request.stream:
            chunks = service.upstream.stream_chat(request, images)
            return await event_stream(with_extension(chunks, extension(images)))
        answer = await service.upstream.chat(request, images)
        return AsciiJson({**answer, EXTENSION: extension(images)})
    plan = service.llm.chat(request, images)
    head = Answer("chat.completion", service.chat_model)
    if request.stream:
        pieces = head.chunks(service.llm.stream(plan.answer), request.wants_usage)
        return await event_stream(with_extension(pieces, extension(images, plan.task)))
    written = await service.llm.write(plan.answer)
    return AsciiJson({**head.whole(written), EXTENSION: extension(images, plan.task)})


def check_size(request: ChatRequest, service: Service) -> None:
    """Refuse a chat with too many turns or too long texts, or with images outside a user's turn.

    Raises:
        ApiError: naming the limit.
    """
    limits = service.settings.limits
    if len(request.messages) > limits.messages:
        raise ApiError(400, f"got {len(request.messages)} messages; allowed: {limits.messages}", "messages")
    characters = sum(
        len(part.text) for message in request.messages for part in message.parts if part.type == "text"
    )
    if characters > limits.text_characters:
        got = f"got {characters:,} characters; allowed: {limits.text_characters:,}"
        raise ApiError(400, got, "messages", "context_length_exceeded")
    for message in request.messages:
        if message.role != "user" and any(isinstance(part, ImagePart) for part in message.parts):
            raise ApiError(400, "images are taken in the user's turns only", "messages")
