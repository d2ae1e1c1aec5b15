"""pipeline and settings ──► what all routes share: one copy of each model, its queues, and the figures."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

import torch
from fastapi import Depends, Request

from v2l.pipeline.pipeline import Pipeline
from v2l.server.errors import ApiError
from v2l.server.images import ImageReader
from v2l.server.local import LocalLLM
from v2l.server.metrics import Metrics
from v2l.server.settings import ServerSettings
from v2l.server.upstream import Upstream
from v2l.tokenizers.needs import require_words

ALIAS = "v2l"  # every endpoint takes this name of a model, too
JOINT_SPACE = "v2l-joint"  # name of the model of embeddings, where the encoder's own is a path


class Service:
    """The models, loaded once, and how far the server is.

    Args:
        pipeline: tokenizer and LLM; with an upstream server its LLM is loaded only for inpainting.
        settings: limits and hosts.
        upstream: makes the client of the server whose LLM answers; None is the pipeline's LLM.

    Raises:
        V2LError: the tokenizer gives no words, or a model is missing.
    """

    def __init__(
        self, pipeline: Pipeline, settings: ServerSettings, upstream: Upstream | None = None
    ) -> None:
        require_words(pipeline.tokenizer, "v2l serve")
        self.pipeline, self.settings, self.upstream = pipeline, settings, upstream
        self.metrics = Metrics() if upstream is None else upstream.metrics
        self.images = ImageReader(pipeline, settings, self.metrics)
        self.llm = LocalLLM(pipeline, settings.limits, self.metrics)
        self.stopping = False

    def warm_up(self) -> None:
        """Load every model and run each once, so that the first request is as fast as the others.

        Raises:
            V2LError: a model is missing or damaged.
        """
        grey = torch.full((3, 64, 64), 0.5)
        self.pipeline.tokenizer.image_words(grey[None], 1)
        if self.upstream is None:
            self.pipeline.llm.next_tokens(["a"])

    @property
    def chat_model(self) -> str:
        """The name of the LLM that answers, without the folders of a path."""
        return self.upstream.model if self.upstream else PurePath(self.pipeline.llm.name).name

    @property
    def embedding_model(self) -> str | None:
        """The name of the joint encoder; None if the tokenizer has none."""
        tagger = self.pipeline.tokenizer.tagger
        return None if tagger is None else PurePath(tagger.encoder_name).name or JOINT_SPACE

    @property
    def models(self) -> list[str]:
        """Every name that requests may use, apart from `ALIAS`."""
        return [name for name in (self.chat_model, self.embedding_model) if name]

    def check_model(self, name: str, known: str | None) -> None:
        """Refuse the name of another model.

        Raises:
            ApiError: 404, with the names that there are.
        """
        if known is None or name not in (known, ALIAS):
            allowed = known or "none of this server's models does this"
            raise ApiError(
                404, f"there is no model {name[:64]!r}; allowed: {allowed}", "model", "model_not_found"
            )

    async def close(self) -> None:
        """End the threads and close the connections; what waits is finished first."""
        self.stopping = True
        self.images.close()
        self.llm.close()
        if self.upstream:
            await self.upstream.close()


async def service_of(request: Request) -> Service:
    """The service of the application that got a request."""
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(service_of)]
