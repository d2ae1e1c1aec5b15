"""image, or its file ──► words, a reconstruction, an inpainted image: the commands as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from v2l.images import load_image
from v2l.masks import centre_mask, load_mask
from v2l.pipeline.image_words import ImageWords, words_of_images
from v2l.pipeline.pipeline import Pipeline
from v2l.pipeline.reconstruction import decode_photograph, encode_photograph, reconstruct_image
from v2l.prompts.vqa import check_question
from v2l.tasks.description.describe import Describer, DescribeSettings, Description
from v2l.tasks.description.interleaved import AskSettings, Reply
from v2l.tasks.description.interleaved import ask as ask_request
from v2l.tasks.restoration.inpaint import Inpainted
from v2l.tasks.restoration.inpaint import inpaint as inpaint_image
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.token_file import TokenFile
from v2l.tokens import Word

Image = Tensor | str | Path


@cache
def load(
    checkpoint: str | Path | None = None, llm: str | None = None, device: str = "auto", dtype: str = "auto"
) -> Pipeline:
    """Load the tokenizer and the frozen LLM; equal arguments load them once.

    The arguments are those of `Pipeline.load`. `checkpoint` is a name or a folder.

    Raises:
        V2LError: the tokenizer is unknown, or its checkpoint is missing or damaged.
    """
    return Pipeline.load(checkpoint, llm, device, dtype)


def words(
    image: Image, count: int = 8, pipeline: Pipeline | None = None, selection: str = "nearest"
) -> tuple[Word, ...]:
    """What an image shows, in words of the frozen LLM's vocabulary; `visibility_note` says when they mean
    little.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        count: at most so many.
        pipeline: what `load` gave; None is `load()`.
        selection: "nearest", those nearest to the image; "together", those that sum up to it, which few-shot
            classification gives to the LLM by default.

    Raises:
        V2LError: the file is no readable image, the tokenizer gives no words, or its codebook has fewer.

    Example:
        >>> import v2l
        >>> len(v2l.words("data/samples/shoes/boots.jpg", count=5))
        5
    """
    tokenizer = (pipeline or load()).tokenizer
    return tokenizer.image_words(opened(image)[None], count, selection).words[0]


def visibility_note(image: Image, pipeline: Pipeline | None = None) -> str | None:
    """Why there is too little to see in an image for its words to mean something; None when there is enough.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        pipeline: what `load` gave; None is `load()`.

    Raises:
        V2LError: the file is no readable image.

    Example:
        >>> import torch, v2l
        >>> v2l.visibility_note(torch.zeros(3, 1, 1))
        'little to see: 1 × 1 pixels, at least 8 × 8 are needed; the words are a guess'
    """
    return (pipeline or load()).tokenizer.visibility_note(opened(image))


def reconstruct(
    image: Image, pipeline: Pipeline | None = None, square: bool = False, scale: str | None = None
) -> Tensor:
    """An image through its tokens and back: (3, H, W) float32 in [0, 1], at the image's own size.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        pipeline: what `load` gave; None is `load()`.
        square: only the centre square, at the checkpoint's size S: (3, S, S).
        scale: "own", every pixel; "model", resized to the tokenizer's size and enlarged again; None is "own"
            where the tokenizer has it.

    Raises:
        V2LError: the file is no readable image, or the tokenizer has no decoder or not this scale.

    Example:
        >>> import v2l
        >>> v2l.reconstruct("data/samples/shoes/boots.jpg", square=True).shape
        torch.Size([3, 128, 128])
    """
    return reconstruct_image((pipeline or load()).tokenizer, opened(image), scale, square).image


def encode(
    image: Image, target: str | Path, pipeline: Pipeline | None = None, scale: str | None = None
) -> TokenFile:
    """Write an image's tokens as a small file (docs/token-files.md); returns what it holds.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        target: the file to write.
        pipeline: what `load` gave; None is `load()`.
        scale: as in `reconstruct`.

    Raises:
        V2LError: the image cannot be read, the file cannot be written, or the tokenizer has no decoder or not
            this scale.

    Example:
        >>> import v2l
        >>> v2l.encode("data/samples/shoes/boots.jpg", "boots.v2l").size
        (298, 224)
    """
    file = encode_photograph((pipeline or load()).tokenizer, opened(image), scale)
    file.write(target)
    return file


def decode(file: str | Path, pipeline: Pipeline | None = None) -> Tensor:
    """The image of a token file: (3, H, W) float32 in [0, 1], at its own size.

    Args:
        file: what `encode` or `v2l encode` wrote.
        pipeline: what `load` gave; None loads the tokenizer that the file names.

    Raises:
        V2LError: it is no token file, is damaged, or was written by another checkpoint.

    Example:
        >>> import v2l
        >>> _ = v2l.encode("data/samples/shoes/boots.jpg", "boots.v2l")
        >>> v2l.decode("boots.v2l").shape
        torch.Size([3, 298, 224])
    """
    tokens = TokenFile.read(file)
    return decode_photograph((pipeline or load(tokens.tokenizer)).tokenizer, tokens)


def inpaint(
    image: Image,
    mask: Image | None = None,
    settings: RestorationSettings | None = None,
    pipeline: Pipeline | None = None,
) -> Inpainted:
    """An image whose masked part the frozen LLM predicts from the visible part.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        mask: a file of the same size, white where to fill, or (H, W) bool; None is the centre.
        settings: hyperparameters of the task.
        pipeline: what `load` gave; None is `load()`.

    Raises:
        V2LError: a file is no readable image, or the mask does not fit, is empty or full.

    Example:
        >>> import v2l
        >>> v2l.inpaint("data/samples/pants/tartan.jpg").image.shape
        torch.Size([3, 267, 224])
    """
    pixels = opened(image)
    size = (pixels.shape[-2], pixels.shape[-1])
    if mask is None:
        mask = centre_mask(size)
    elif not isinstance(mask, Tensor):
        mask = load_mask(mask, size)
    return inpaint_image(pipeline or load(), pixels, mask, settings)


def caption(
    image: Image, settings: DescribeSettings | None = None, pipeline: Pipeline | None = None
) -> Description:
    """What an image shows, in a sentence that the frozen LLM writes from its words; `text` is the sentence.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        settings: hyperparameters of the task.
        pipeline: what `load` gave; None is `load()`.

    Raises:
        V2LError: the file is no readable image, or the examples of the settings cannot be read.

    Example:
        >>> import v2l
        >>> v2l.caption("data/samples/shoes/boots.jpg").words[0]
        'cowboy boot'
    """
    return _described(Describer(pipeline or load(), "caption", settings or DescribeSettings()), image, "")


def vqa(
    image: Image, question: str, settings: DescribeSettings | None = None, pipeline: Pipeline | None = None
) -> Description:
    """The frozen LLM's answer to a question about an image, from its words; `text` is the answer.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        question: one line.
        settings: hyperparameters of the task.
        pipeline: what `load` gave; None is `load()`.

    Raises:
        V2LError: the question is empty, the file is no readable image, or the examples of the settings cannot
            be read.

    Example:
        >>> import v2l
        >>> len(v2l.vqa("data/samples/shoes/boots.jpg", "What is it?").text) > 0
        True
    """
    return _described(
        Describer(pipeline or load(), "vqa", settings or DescribeSettings()), image, check_question(question)
    )


def ask(
    request: Sequence[Mapping[str, Any]],
    settings: AskSettings | None = None,
    pipeline: Pipeline | None = None,
) -> Reply:
    """The frozen LLM's answer to a request in which images, texts and boxes alternate.

    Args:
        request: parts `{"image": FILE}`, `{"text": TEXT}` and `{"ref": PHRASE, "box": [x1, y1, x2, y2]}`; a
            box is in pixels of the image before it.
        settings: hyperparameters of the task.
        pipeline: what `load` gave; None is `load()`.

    Raises:
        V2LError: a part is malformed, or a box does not lie inside its image.

    Example:
        >>> import v2l
        >>> request = [{"image": "data/samples/shoes/boots.jpg"}, {"text": "What is it?"}]
        >>> len(v2l.ask(request).text) > 0
        True
    """
    return ask_request(pipeline or load(), request, settings)


def _described(describer: Describer, image: Image, question: str) -> Description:
    read: list[ImageWords] = words_of_images(describer.pipeline.tokenizer, [opened(image)], describer.words)
    return describer.describe(read, [question])[0]


def opened(image: Image) -> Tensor:
    """The image itself, read from its file when it is one."""
    return image if isinstance(image, Tensor) else load_image(image)
