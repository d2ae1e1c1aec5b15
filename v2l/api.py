"""image, or its file ──► words, a reconstruction, an inpainted image: the verbs as functions, whose models are loaded once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from torch import Tensor

from v2l.images import centre_mask, load_image, load_mask
from v2l.tasks.inpaint import Inpainted, InpaintSettings
from v2l.tasks.inpaint import inpaint as inpaint_image
from v2l.tasks.stack import Stack
from v2l.tokens import Word

Image = Tensor | str | Path


@cache
def load(checkpoint: str | Path | None = None, llm: str | None = None, device: str = "auto", dtype: str = "auto") -> Stack:
    """The tokenizer and the frozen LLM, loaded once for equal arguments; see `Stack.load`.

    Raises:
        V2LError: the checkpoint is missing or damaged.
    """
    return Stack.load(checkpoint, llm, device, dtype)


def words(image: Image, count: int = 8, stack: Stack | None = None) -> tuple[Word, ...]:
    """What an image shows, in words of the frozen LLM's vocabulary.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        count: how many, nearest first; at most the checkpoint's number.
        stack: what `load` gave; None is `load()`.

    Raises:
        V2LError: the file is no readable image.

    Example:
        >>> import v2l
        >>> len(v2l.words("data/samples/shoes/boots.jpg", count=5))
        5
    """
    tokenizer = (stack or load()).tokenizer
    return tokenizer.encode(opened(image)[None]).words[0][:count]


def reconstruct(image: Image, stack: Stack | None = None) -> Tensor:
    """An image through its tokens and back: (3, S, S) float32 in [0, 1], S the checkpoint's size.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1]; it is resized and cropped to the square first.
        stack: what `load` gave; None is `load()`.

    Raises:
        V2LError: the file is no readable image.

    Example:
        >>> import v2l
        >>> v2l.reconstruct("data/samples/shoes/boots.jpg").shape
        torch.Size([3, 128, 128])
    """
    tokenizer = (stack or load()).tokenizer
    return tokenizer.decode(tokenizer.encode(opened(image)[None]))[0].cpu()


def inpaint(image: Image, mask: Image | None = None, settings: InpaintSettings | None = None, stack: Stack | None = None) -> Inpainted:
    """An image with its masked part told by the frozen LLM from the visible one.

    Args:
        image: a file, or (3, H, W) float32 in [0, 1].
        mask: a file of the same size, white where to paint, or (H, W) bool; None is the centre.
        settings: how the LLM is asked.
        stack: what `load` gave; None is `load()`.

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
    return inpaint_image(stack or load(), pixels, mask, settings)


def opened(image: Image) -> Tensor:
    """The image itself, read from its file when it is one."""
    return image if isinstance(image, Tensor) else load_image(image)
