"""image URLs of a request ──► decoded images ──► words and vectors, many requests' images in one batch.

Two threads work one behind the other: one decodes and prepares, one encodes. What waits between them is the
small square that the encoder sees, not the photograph.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import EncodedImage, load_image
from v2l.pipeline.image_words import ImageWords, WordSelection, words_of_images
from v2l.pipeline.pipeline import Pipeline
from v2l.server.errors import ApiError, refused
from v2l.server.messages import ImageUrl
from v2l.server.metrics import Metrics
from v2l.server.remote import RemoteImages
from v2l.server.settings import ServerSettings
from v2l.server.work_queue import WorkQueue
from v2l.tokenizers.word_tagger import WordTagger
from v2l.visibility import measure_visibility

WORDS = {"low": 3, "auto": 5, "high": 21}  # of an image by its `detail`; 5 is what `v2l vqa` reads
DATA_URL = re.compile(r"data:(image/[\w.+-]{1,64})?;base64,", re.IGNORECASE | re.ASCII)
SPACE = b" \t\r\n"
BATCH = 8  # images that are encoded together
FETCHES = 16  # images that are fetched and decoded at once: their bytes count in no body


@dataclass(frozen=True)
class Prepared:
    """An image that waits for the encoder.

    Attributes:
        image: (3, S, S) float32 in [0, 1], what a tagger's encoder sees; without a tagger the file, which is
            decoded again, because many whole photographs would fill the memory.
        count: words that are wanted.
        note: why there is too little to see in it; else None.
    """

    image: Tensor | EncodedImage
    count: int
    note: str | None


class ImageReader:
    """Reads the images of all requests.

    Args:
        pipeline: whose tokenizer gives the words.
        settings: limits, and the hosts from which images may be fetched.
        metrics: of the server.
    """

    def __init__(self, pipeline: Pipeline, settings: ServerSettings, metrics: Metrics) -> None:
        self.pipeline, self.limits = pipeline, settings.limits
        self.remote = RemoteImages(settings.allow_hosts, self.limits.remote_bytes, self.limits.remote_seconds)
        self._fetches = asyncio.Semaphore(FETCHES)
        limit = self.limits.images_waiting
        self.decoder: WorkQueue[tuple[EncodedImage, int], Prepared] = WorkQueue(
            "decoder", self._prepare, limit, metrics
        )
        self.encoder: WorkQueue[Prepared, ImageWords] = WorkQueue(
            "encoder", self._encode, limit, metrics, BATCH
        )
        self.texts: WorkQueue[str, tuple[Tensor, int]] = WorkQueue(
            "text encoder", self._encode_texts, 4 * self.limits.texts, metrics, BATCH
        )

    def close(self) -> None:
        """End the threads."""
        for worker in (self.decoder, self.encoder, self.texts):
            worker.close()

    async def read(self, images: Sequence[ImageUrl]) -> list[ImageWords]:
        """The words of the images of one request, in their order.

        Raises:
            ApiError: there are too many, or one cannot be had or read.
        """
        if len(images) > self.limits.images:
            raise ApiError(400, f"got {len(images)} images; allowed: {self.limits.images}", "messages")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._read_one(f"image {number}", image))
                    for number, image in enumerate(images, start=1)
                ]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def text_vector(self, text: str) -> tuple[Tensor, int]:
        """The unit vector (D,) of a text, and how many tokens the joint encoder read."""
        return await self.texts.run(text)

    async def _read_one(self, name: str, image: ImageUrl) -> ImageWords:
        if image.url[:5].lower() == "data:":
            prepared = await self._decode(name, decode_data_url(name, image.url), image)
        else:
            self._check_hosts(name)
            async with self._fetches:
                prepared = await self._decode(name, await self.remote.fetch(image.url), image)
        return await self.encoder.run(prepared)

    async def _decode(self, name: str, content: bytes, image: ImageUrl) -> Prepared:
        return await self.decoder.run((EncodedImage(name, content, self.limits.pixels), WORDS[image.detail]))

    def _check_hosts(self, name: str) -> None:
        """Refuse an address where no host is allowed.

        Raises:
            ApiError: 400.
        """
        if not self.remote.hosts:
            raise ApiError(
                400,
                f"{name}: images are taken as data: URLs; addresses are fetched only from hosts that the "
                "server was started with (--allow-host)",
                "image_url",
                "remote_images_refused",
            )

    def _prepare(self, images: Sequence[tuple[EncodedImage, int]]) -> list[Prepared | Exception]:
        return [self._prepared(received, count) for received, count in images]

    @torch.inference_mode()
    def _prepared(self, received: EncodedImage, count: int) -> Prepared | Exception:
        try:
            image = load_image(received)
            view = self.pipeline.tokenizer.image_view(image)
            note = measure_visibility(image, view).note
        except V2LError as error:
            return refused(error, "image_url")
        return Prepared(received if self.pipeline.tokenizer.tagger is None else view, count, note)

    @torch.inference_mode()
    def _encode(self, images: Sequence[Prepared]) -> list[ImageWords | Exception]:
        """One pass for all images where the words come from a tagger; else image by image."""
        tagger = self.pipeline.tokenizer.tagger
        if tagger is None:
            return [self._words_of(image) for image in images]
        encoder = tagger.joint_encoder(self.pipeline.tokenizer.device)
        views = [image.image for image in images if isinstance(image.image, Tensor)]
        vectors = encoder.encode_images(torch.stack(views))
        return [
            ImageWords(words_near(tagger, vector, image.count), vector.cpu(), image.note)
            for image, vector in zip(images, vectors, strict=True)
        ]

    def _words_of(self, prepared: Prepared) -> ImageWords:
        """The words of one image, by a tokenizer without a tagger."""
        image = load_image(prepared.image) if isinstance(prepared.image, EncodedImage) else prepared.image
        choice = WordSelection(prepared.count, "nearest")
        return words_of_images(self.pipeline.tokenizer, [image], choice)[0]

    @torch.inference_mode()
    def _encode_texts(self, texts: Sequence[str]) -> list[tuple[Tensor, int] | Exception]:
        encoder = self.pipeline.joint_encoder
        vectors, ids = encoder.encode_texts(texts).cpu(), encoder.tokenize_texts(texts)
        return [(vector, len(tokens)) for vector, tokens in zip(vectors, ids, strict=True)]


def words_near(tagger: WordTagger, vector: Tensor, count: int) -> tuple[str, ...]:
    """The nearest words of an image with the vector (D,), fewer where the codebook has fewer."""
    selection = WordSelection(min(count, len(tagger.codebook.entries)), "nearest")
    return selection.words_by(tagger, vector[None])[0]


def decode_data_url(name: str, url: str) -> bytes:
    """The bytes of a `data:` URL.

    Raises:
        ApiError: it is not of the form data:image/png;base64,…, or its base64 is malformed.
    """
    head = DATA_URL.match(url)
    if head is None:
        raise ApiError(400, f"{name}: allowed are URLs of the form data:image/png;base64,…", "image_url")
    try:
        content = url[head.end() :].encode("ascii").translate(None, SPACE)
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(400, f"{name}: the base64 of the data: URL is malformed", "image_url") from None
