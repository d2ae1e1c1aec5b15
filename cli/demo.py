"""v2l demo: photographs ──► words, a few-shot classification, and inpainted photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli import words
from v2l.cli.classify import fewshot as fewshot_classify
from v2l.cli.options import Json, Llm, Options, Tokenizer, options
from v2l.cli.output import Output, output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress
from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.pipeline.pipeline import Pipeline
    from v2l.tasks.classification.fewshot import FewShotResult, Prediction
    from v2l.tokens import Word

Folder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="Photographs; with one folder a class they are classified too."),
]
Target = Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.", metavar="DIR")]
Count = Annotated[int, typer.Option(help="Photographs to show, one a class where there are classes.", min=1)]
EPISODES = 6


@dataclass(frozen=True)
class Shown:
    """One photograph with everything that the demo shows of it.

    Attributes:
        path: its file.
        words: its global words, nearest first.
        pictures: the photograph, its reconstruction, the photograph with its hole, and the inpainted
            photograph; each (3, H, W).
        predicted: number of local words that the LLM predicted.
    """

    path: Path
    words: tuple[Word, ...]
    pictures: tuple[Tensor, ...]
    predicted: int


def demo(
    ctx: typer.Context,
    folder: Folder,
    target: Target = Path("demo"),
    count: Count = 3,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Run the pipeline on a folder of photographs: words, few-shot classification, inpainting.

    Writes the pictures to a folder.
    """
    from v2l.sources import find_images

    given = options(ctx)
    with output(json) as out:
        files = [file for file in find_images(folder) if isinstance(file, Path)]
        if not files:
            raise V2LError(f"{folder} holds tar shards only", "a folder of image files", "v2l demo FOLDER")
        photographs = one_of_each_folder(files, count)
        pipeline = load_pipeline(given, tokenizer, llm)
        out.note(
            f"{pipeline.llm.name} and {pipeline.grid.joint_encoder.name} are loaded; neither is ever trained"
        )
        shown = [show(pipeline, path) for path in photographs]
        for row in shown:
            out.result(
                {
                    "image": str(row.path),
                    "words": [vars(word) for word in row.words],
                    "stack": pipeline.describe(),
                },
                words_line(row),
            )
        classify(out, pipeline, folder, given)
        write_pictures(out, pipeline, shown, target)


def one_of_each_folder(paths: list[Path], count: int) -> list[Path]:
    """The first photograph of each folder, then the others, `count` in all."""
    first = list({path.parent: path for path in reversed(paths)}.values())
    return [*sorted(first, key=str), *(path for path in paths if path not in first)][:count]


def show(pipeline: Pipeline, path: Path) -> Shown:
    """Encode and decode one photograph, and let the LLM inpaint its centre."""
    import torch

    from v2l.images import load_image
    from v2l.masks import centre_mask
    from v2l.tasks.restoration.inpaint import inpaint, whole_at_model_size

    photograph = load_image(path)
    mask = centre_mask((photograph.shape[-2], photograph.shape[-1]))
    tokens = pipeline.grid.encode(whole_at_model_size(photograph, pipeline)[None], crop=False)
    with progress() as report:
        inpainted = inpaint(
            pipeline,
            photograph,
            mask,
            progress=lambda _, done, total: report(f"inpainting {path.name}", done, total),
        )
    reconstructed = pipeline.grid.decode(tokens)[0].cpu()
    hole = torch.where(mask, torch.full_like(photograph, 0.5), photograph)
    return Shown(
        path,
        pipeline.tokenizer.image_words(photograph[None], 8).words[0],
        (photograph, reconstructed, hole, inpainted.image),
        int(inpainted.hidden.sum()),
    )


def words_line(row: Shown) -> str:
    """Words of one photograph, as `v2l words` prints them."""
    return words.line(row.path, row.words)


def classify(out: Output, pipeline: Pipeline, folder: Path, given: Options) -> None:
    """A few 2-way 1-shot episodes, each with its answer; a remark when the folder has no classes for them."""
    from v2l.tasks.classification.fewshot import FewShotSettings, evaluate_fewshot, find_episodes

    settings = FewShotSettings(n_ways=2, k_shots=1, episodes=EPISODES, seed=given.seed)
    try:
        episodes = find_episodes(folder, settings)
    except V2LError as error:
        out.note(f"no few-shot classification: {error.got}")
        return
    result = evaluate_fewshot(pipeline, episodes, settings)
    out.result(result.to_dict(), fewshot_page(result))


def fewshot_page(result: FewShotResult) -> str:
    """Every answer of the LLM, then the figures."""
    return "\n".join(
        ["", *(answer_line(prediction) for prediction in result.predictions), fewshot_classify.page(result)]
    )


def answer_line(prediction: Prediction) -> str:
    """One answer with the log-probabilities that decided it."""
    scores = ", ".join(f"{label} {score:.1f}" for label, score in prediction.scores.items())
    verdict = (
        ""
        if prediction.truth is None
        else " right"
        if prediction.label == prediction.truth
        else f" wrong, it is {prediction.truth}"
    )
    return f"{prediction.query}: {prediction.label} ({scores}){verdict}"


def write_pictures(out: Output, pipeline: Pipeline, shown: list[Shown], target: Path) -> None:
    """Write a page of all pictures and each inpainted photograph by itself."""
    from v2l.drawings import image_grid
    from v2l.images import save_image

    page, labels = (
        target / "page.png",
        ("words: ", "from its local words", "centre hidden", "inpainted by the LLM"),
    )
    captions = [[labels[0] + ", ".join(word.word for word in row.words[:5]), *labels[1:]] for row in shown]
    save_image(image_grid([row.pictures for row in shown], captions, cell=200), page)
    for row in shown:
        save_image(row.pictures[-1], target / f"{row.path.stem}-inpainted.png")
    predicted = sum(row.predicted for row in shown)
    text = (
        f"\n{pipeline.llm.name} predicted {predicted} local words under the holes; "
        f"the pictures are {page} and {target}/*-inpainted.png"
    )
    # "told" is the older name of the same number, which programs may read.
    out.result(
        {"output": str(page), "predicted_tokens": predicted, "told": predicted, "stack": pipeline.describe()},
        text,
    )
    out.note("the same in a browser: v2l serve --open (http://127.0.0.1:8000)")
