"""an adapter ──► a page of unselected captions, and a page of what it says about unselected sets.

    python benchmarks/choices/soft_pages.py captions PLACE --tokenizer DIR -o captions.png [--count 30]
    python benchmarks/choices/soft_pages.py sets FOLDER --tokenizer DIR -o sets.png [--count 10] [--task common]

PLACE is of images; FOLDER is what `v2l make-sets` wrote. Images and sets are the first that the seed draws. Each
caption stands below its image. Each set is a row of images; below it stands what the LLM says, and the right answer.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from v2l.drawings import image_grid
from v2l.image_sets import TASKS, ImageSet, read_sets
from v2l.images import load_image, save_image
from v2l.llm import GenerationConfig
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.caption import MAX_NEW_TOKENS, STOP
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.sets import set_prompt, set_sentence
from v2l.prompts.soft import NO_REPEAT, soft_prompt
from v2l.sources import find_images

COLUMNS = 6  # captions in a row


def write(pipeline: Pipeline, prompts: list, no_repeat: int = 0) -> list[str]:
    """What the LLM writes behind each prompt, up to the end of a sentence."""
    config = GenerationConfig(MAX_NEW_TOKENS, stop=STOP, no_repeat=no_repeat)
    return [generation.text.strip() for generation in pipeline.llm.generate(prompts, config)]


def captions(pipeline: Pipeline, place: str, draw: Random, count: int) -> Tensor:
    """The page of captions."""
    files = draw.sample(find_images(place), count)
    images = [load_image(file) for file in files]
    soft = [pipeline.tokenizer.encode(image[None]).embeddings for image in images]
    prompts = [soft_prompt(Embeddings(one[0])) for one in soft if one is not None]
    texts = write(pipeline, prompts, NO_REPEAT)
    for file, text in zip(files, texts, strict=True):
        print(f"{file.parent.name}: {text}")
    rows = range(0, count, COLUMNS)
    return image_grid(
        [images[row : row + COLUMNS] for row in rows], [texts[row : row + COLUMNS] for row in rows]
    )


def describe(pipeline: Pipeline, sets: list[ImageSet]) -> Tensor:
    """The page of sets."""
    rows, labels = [], []
    for one in sets:
        images = [load_image(file) for file in one.images]
        soft = pipeline.tokenizer.encode_set(images)
        (text,) = write(pipeline, [set_prompt(one.task, [Embeddings(image) for image in soft])])
        right = set_sentence(one.task, one.labels, one.change)
        print(f"{one.task}: {text} | {right}")
        rows.append(images)
        labels.append([f"{one.task}: {text}", f"right: {right}", *[""] * (len(images) - 2)])
    return image_grid(rows, labels)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("captions", "sets"))
    parser.add_argument("place")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--count", type=int, default=0, help="by default 30 captions or 10 sets")
    parser.add_argument("--task", choices=TASKS, default="", help="sets of one task; by default of all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    pipeline, draw = Pipeline.load(given.tokenizer, device="cpu"), Random(given.seed)
    if given.what == "captions":
        page = captions(pipeline, given.place, draw, given.count or 30)
    else:
        sets = [one for one in read_sets(Path(given.place)) if given.task in ("", one.task)]
        page = describe(pipeline, draw.sample(sets, given.count or 10))
    save_image(page, given.output)


if __name__ == "__main__":
    main()
