"""GET /v1/models, /healthz, /metrics: the names of the models, whether the server is ready, its figures."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from v2l.server.errors import ApiError
from v2l.server.responses import AsciiJson
from v2l.server.service import ALIAS, ServiceOf

router = APIRouter()
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/v1/models")
async def models(service: ServiceOf) -> Response:
    """The names that requests may use; every endpoint takes `v2l`, too."""
    return AsciiJson({"object": "list", "data": [described(name) for name in [*service.models, ALIAS]]})


@router.get("/v1/models/{name:path}")
async def model(name: str, service: ServiceOf) -> Response:
    """One of the models."""
    if name not in (*service.models, ALIAS):
        raise ApiError(404, f"there is no model {name[:64]!r}", "model", "model_not_found")
    return AsciiJson(described(name))


@router.get("/healthz")
async def healthz(service: ServiceOf) -> Response:
    """200 and `ready`, or 503 and `stopping`."""
    if service.stopping:
        return AsciiJson({"status": "stopping"}, 503)
    return AsciiJson({"status": "ready"})


@router.get("/metrics")
async def metrics(service: ServiceOf) -> Response:
    """Figures for Prometheus."""
    return Response(service.metrics.page(), media_type=PROMETHEUS)


def described(name: str) -> dict[str, object]:
    """A model as OpenAI's protocol lists it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "v2l"}
