"""POST /v1/completions: a text ──► its continuation by the LLM."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from v2l.server.errors import ApiError
from v2l.server.messages import CompletionRequest
from v2l.server.responses import Answer, AsciiJson
from v2l.server.service import ServiceOf
from v2l.server.streaming import event_stream

router = APIRouter()


@router.post("/v1/completions")
async def completions(request: CompletionRequest, service: ServiceOf) -> Response:
    """Continue a text, as it is. Images belong into /v1/chat/completions."""
    service.check_model(request.model, service.chat_model)
    if len(request.text) > service.settings.limits.text_characters:
        raise ApiError(400, "the prompt is too long", "prompt", "context_length_exceeded")
    if service.upstream:
        if request.stream:
            return await event_stream(service.upstream.stream_completion(request))
        return AsciiJson(await service.upstream.complete(request))
    plan = service.llm.completion(request)
    head = Answer("text_completion", service.chat_model)
    if request.stream:
        return await event_stream(head.chunks(service.llm.stream(plan.answer), request.wants_usage))
    return AsciiJson(head.whole(await service.llm.write(plan.answer)))
