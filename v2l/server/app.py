"""pipeline and settings ──► the ASGI application with all routes behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from v2l.pipeline.pipeline import Pipeline
from v2l.server import chat, completions, edits, embeddings, state
from v2l.server.errors import ApiError, add_error_handlers
from v2l.server.guard import Guard
from v2l.server.late_page import LatePage
from v2l.server.service import Service
from v2l.server.settings import ServerSettings
from v2l.server.upstream import Upstream

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
ROUTERS = (chat.router, completions.router, embeddings.router, edits.router, state.router)


def create_app(
    pipeline: Pipeline,
    settings: ServerSettings | None = None,
    upstream: Upstream | None = None,
    page_built: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The server as an ASGI application; `app.state.service` holds its models.

    Args:
        pipeline: tokenizer and LLM.
        settings: who may use it, and limits.
        upstream: the server whose LLM answers; None is the pipeline's own.
        page_built: called once, when the page for people is there, some seconds after the rest.

    Raises:
        V2LError: the tokenizer gives no words.
    """
    service = Service(pipeline, settings or ServerSettings(), upstream)
    page = LatePage(lambda: page_of(service), page_built)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with page.opened():
            yield
        await service.close()

    app = FastAPI(
        title="v2l",
        version=version("v2l"),
        description="Images as words of a language model, by OpenAI's protocol.",
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router)
    app.add_route("/v1/{path:path}", unknown, METHODS, include_in_schema=False)  # else the page would answer
    add_error_handlers(app)
    app.mount("/", page)  # for people
    app.add_middleware(Guard, service=service)
    if service.settings.allow_origins:  # outermost: it answers a browser's questions before a request
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.allow_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    return app


def page_of(service: Service) -> FastAPI:
    """The page as an application of its own."""
    from v2l.server.page import build_page, mount_page  # gradio takes some seconds to import

    endpoint = service.upstream.endpoint if service.upstream else None
    return mount_page(FastAPI(openapi_url=None), build_page(service.pipeline, endpoint))


async def unknown(_: Request) -> Response:
    """The answer to a path of the protocol that is not there, or to a method that it does not have."""
    raise ApiError(404, "there is no such path, or it does not have this method; see /openapi.json")
