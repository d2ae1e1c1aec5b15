"""a set of images + an adapter for sets ──► what the frozen LLM says about them.

Source: SAM, arXiv 2408.12867. The soft tokens of each image are guided by the other images of the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from v2l.errors import V2LError
from v2l.images import load_image
from v2l.llm import GenerationConfig
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.caption import STOP
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.sets import EXAMPLES, set_prompt
from v2l.tasks.comparison.group import check_size
from v2l.tokenizers.needs import gives, require

LEAST = 2  # images that can be compared
TOKENS_BESIDE = 8  # of the prompt's text around each image, at most
NEW_TOKENS, NEW_TOKENS_A_LABEL = 16, 8


def reads_sets(pipeline: Pipeline) -> bool:
    """Whether the pipeline's tokenizer is an adapter for sets."""
    return gives(pipeline.tokenizer, "sets")


def describe_set(pipeline: Pipeline, files: Sequence[Path], task: str) -> str:
    """A sentence about a set of images.

    Args:
        pipeline: an adapter for sets and its LLM.
        files: the images, in order.
        task: common, difference or story.

    Raises:
        V2LError: the tokenizer is none for sets, there are too few or too many images, or one cannot be read.
    """
    require(pipeline.tokenizer, "sets", f"a description of a set ({task})")
    check_size(files, LEAST)
    new = NEW_TOKENS + (NEW_TOKENS_A_LABEL * len(files) if task == "story" else 0)
    check_context(pipeline, len(files), new + len(pipeline.llm.encode(EXAMPLES[task])))
    soft = pipeline.tokenizer.encode_set([load_image(file) for file in files])
    prompt = set_prompt(task, [Embeddings(image) for image in soft])
    (written,) = pipeline.llm.generate([prompt], GenerationConfig(new, stop=STOP))
    return written.text.strip()


def check_context(pipeline: Pipeline, images: int, beside: int) -> None:
    """Refuse more images than the LLM reads at once, before any is encoded.

    Args:
        pipeline: an adapter for sets and its LLM.
        images: how many.
        beside: tokens of the prompt's example and of the answer.

    Raises:
        V2LError: as said, with the LLM's context.
    """
    each = int(pipeline.tokenizer.describe()["soft_tokens"]) + TOKENS_BESIDE
    most = (pipeline.llm.context - beside) // each
    if images > most:
        context = f"{pipeline.llm.context:,} tokens of {pipeline.llm.name!r}"
        raise V2LError(f"got {images} images", f"at most {most}, by the context of {context}", "fewer images")
