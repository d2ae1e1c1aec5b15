"""a list of images, texts and boxes ──► prompt ──► frozen LLM ──► an answer.

Source of the input's form: Qwen-VL, arXiv 2308.12966, section 2.2, and its released code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from v2l.errors import V2LError
from v2l.images import load_image
from v2l.llm import GenerationConfig
from v2l.llm.endpoint import Endpoint
from v2l.pipeline.image_words import WordSelection, words_of_images
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.dialogue import turn
from v2l.prompts.interleaved import (
    MAX_NEW_TOKENS,
    STOP,
    Part,
    Picture,
    Reference,
    interleaved_prompt,
)
from v2l.prompts.prompt import Prompt
from v2l.prompts.regions import expand_regions
from v2l.tokenizers.part_views import name_boxes
from v2l.tokenizers.regions.boxes import boxes_in_shares

KINDS = ("image", "text", "ref", "box")
ALLOWED = '{"image": FILE}, {"text": TEXT} or {"ref": PHRASE, "box": [left, top, right, bottom]}'
EXAMPLE = 'v2l ask FILE.json, with [{"image": "a.jpg"}, {"text": "What is it?"}]'


@dataclass(frozen=True)
class AskSettings:
    """How a request is written and answered.

    Attributes:
        prompt: wording, tuned or qwen.
        n_words: words of a picture.
        n_part_words: words of a box.
        seed: of the generation.
    """

    prompt: str = "tuned"
    n_words: int = 5
    n_part_words: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Reply:
    """The answer to a request.

    Attributes:
        text: what the LLM generated; None if only the prompt was wanted.
        prompt: what it read.
        words: of each picture, as the prompt writes them.
    """

    text: str | None
    prompt: str
    words: tuple[tuple[str, ...], ...]


def ask(
    pipeline: Pipeline,
    request: Sequence[Mapping[str, Any]],
    settings: AskSettings | None = None,
    endpoint: Endpoint | None = None,
    folder: Path = Path(),
) -> Reply:
    """Answer a request of images, texts and boxes.

    Args:
        pipeline: tokenizer and LLM.
        request: parts like `{"image": FILE}`, `{"text": TEXT}`, `{"ref": PHRASE, "box": [x1, y1, x2, y2]}`;
            a box is in pixels of the image before it. An image may be a tensor (3, H, W) in [0, 1].
        settings: how the request is written.
        endpoint: a server whose LLM answers instead of the pipeline's.
        folder: to which the paths of images are relative.

    Raises:
        V2LError: a part is malformed, a box lies outside its image, the question names a region that is not
            there, or the prompt is longer than the LLM's context.
    """
    settings = settings or AskSettings()
    prompt, words = build_prompt(pipeline, request, settings, folder)
    config = GenerationConfig(MAX_NEW_TOKENS, seed=settings.seed, stop=STOP)
    turns = [turn("user", prompt.text(str))]
    # In the chat's format, because a small LLM answers a plain text with an empty line.
    text = (endpoint or pipeline.llm).reply(turns, config)
    return Reply(text.strip(), prompt.text(str), words)


def build_prompt(
    pipeline: Pipeline, request: Sequence[Mapping[str, Any]], settings: AskSettings, folder: Path
) -> tuple[Prompt, tuple[tuple[str, ...], ...]]:
    """The prompt of a request, and the words of its pictures.

    Raises:
        V2LError: as for `ask`.
    """
    parts: list[Part] = []
    image: Tensor | None = None
    for number, values in enumerate(request, start=1):
        kind = check_part(values, number)
        if kind == "text":
            pictures = [part.words for part in parts if isinstance(part, Picture)]
            parts.append(expand_regions(str(values["text"]), pictures[-1] if pictures else ()))
        elif kind == "image":
            given = values["image"]
            image = given if isinstance(given, Tensor) else load_image(folder / str(given))
            choice = WordSelection(settings.n_words, "nearest")
            (found,) = words_of_images(pipeline.tokenizer, [image], choice)
            parts.append(Picture(found.prompt_words))
        elif image is None:
            raise V2LError(f"part {number} has a box before any image", "an image first", EXAMPLE)
        else:
            parts.append(_reference(pipeline, image, values, settings.n_part_words))
    return interleaved_prompt(parts, settings.prompt), tuple(
        part.words for part in parts if isinstance(part, Picture)
    )


def check_part(values: Mapping[str, Any], number: int) -> str:
    """Which kind of part it is: image, text or box.

    Raises:
        V2LError: it is none of these.
    """
    keys = set(values)
    kind = "image" if keys == {"image"} else "text" if keys == {"text"} else "box"
    if kind == "box" and not ("box" in keys and keys <= {"ref", "box"}):
        raise V2LError(
            f"part {number} has the keys {', '.join(map(str, values)) or 'none'}", ALLOWED, EXAMPLE
        )
    if kind == "text" and not isinstance(values["text"], str):
        raise V2LError(f"part {number} has the text {values['text']!r}", ALLOWED, EXAMPLE)
    if kind == "image" and not isinstance(values["image"], str | Path | Tensor):
        raise V2LError(f"part {number} has the image {values['image']!r}", ALLOWED, EXAMPLE)
    if kind == "box" and not _is_box(values["box"]):
        raise V2LError(f"part {number} has the box {values['box']!r}", ALLOWED, EXAMPLE)
    return kind


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(isinstance(side, int | float) and not isinstance(side, bool) for side in value)
    )


def _reference(pipeline: Pipeline, image: Tensor, values: Mapping[str, Any], count: int) -> Reference:
    """A box of an image, with the words of its pixels if the tokenizer can name parts."""
    (box,) = boxes_in_shares([values["box"]], (image.shape[-2], image.shape[-1])).tolist()
    namer = pipeline.tokenizer.part_namer
    words: tuple[str, ...] = ()
    if namer is not None:
        (named,) = name_boxes(namer, image, [tuple(box)], count, pipeline.tokenizer.device)
        words = tuple(word.word for word in named)
    return Reference(str(values.get("ref", "")), (box[0], box[1], box[2], box[3]), words)
