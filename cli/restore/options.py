"""options of the verbs that restore ──► how the LLM is asked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.tasks.restoration.token_prediction import RestorationSettings

Temperature = Annotated[
    float, typer.Option(help="0 takes the likeliest token; above, tokens are drawn.", min=0)
]
Wording = Annotated[str, typer.Option("--prompt", help="Wording of the prompt: tuned, paper, official.")]
Candidates = Annotated[
    int,
    typer.Option(
        help="So many answers are sampled, the likeliest by the LLM is kept; above 1, --temperature 1.", min=1
    ),
]
Protocol = Annotated[
    str,
    typer.Option(help="blind: what a user has. The paper's needs the clean image: v2l evaluate restoration."),
]
Examples = Annotated[
    list[str] | None,
    typer.Option(
        "--examples", help="Photographs that serve as examples, the first 16 of them.", metavar="PLACE"
    ),
]
Order = Annotated[str, typer.Option(help="Of the windows: raster, or centre-out.")]
Named = Annotated[
    str | None,
    typer.Option(
        "--levers",
        help="Settings by name: plain, blind, adapter, fast, strong; by default the task's best for the tuned prompt, else plain.",
        metavar="NAME",
    ),
]
Levers = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="How the LLM is asked, one setting at a time: n_context=16, contrast=0.5, draws=3 …",
        metavar="NAME=VALUE",
    ),
]
Page = Annotated[
    Path | None, typer.Option("--page", help="A picture of before and after, side by side.", metavar="FILE")
]
Tokens = Annotated[
    Path | None, typer.Option("--tokens", help="Write the tokens as JSON.", metavar="FILE.json")
]
Tiles = Annotated[
    bool,
    typer.Option(
        "--tiles", help="Work at the photograph's own scale, tile by tile, instead of on the whole at once."
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(help="LoRA adapter that v2l train-lora wrote; without it the LLM is frozen.", metavar="DIR"),
]
MOST = 16  # example photographs


def blind_only(protocol: str) -> None:
    """Refuse a protocol that a user's photograph cannot have.

    Raises:
        V2LError: it is not blind.
    """
    if protocol != "blind":
        got = (
            f"got the protocol {protocol!r}, whose examples are made from the clean image"
            if protocol == "paper"
            else f"got {protocol!r}"
        )
        raise V2LError(
            got,
            "blind: of a user's photograph nobody knows the clean one",
            "v2l evaluate restoration --protocol paper",
        )


def asking(chosen: dict[str, Any], levers: list[str] | None) -> RestorationSettings:
    """Settings of the options and of `--set`, which wins.

    Raises:
        V2LError: a setting is unknown, or its value is none.
    """
    from dataclasses import fields

    from v2l.tasks.restoration.token_prediction import RestorationSettings

    known = {field.name: type(field.default) for field in fields(RestorationSettings)}
    for lever in levers or ():
        name, sign, value = lever.partition("=")
        if name not in known or not sign:
            raise V2LError(f"got --set {lever}", ", ".join(f"{key}=…" for key in known), "--set contrast=0.5")
        try:
            chosen[name] = known[name](value)
        except ValueError as error:
            raise V2LError(
                f"got --set {lever}", f"a number of the kind {known[name].__name__}", f"--set {name}=1"
            ) from error
    return RestorationSettings(**chosen)


def named_levers(name: str | None, prompt: str, best: str) -> dict[str, Any]:
    """The settings of one name; by default the best ones for the tuned prompt, the plain ones for another.

    Raises:
        V2LError: no settings have that name.
    """
    from v2l.tasks.restoration.token_prediction import PRESETS

    name = name or (best if prompt == "tuned" else "plain")
    if name not in PRESETS:
        raise V2LError(f"got --levers {name}", ", ".join(PRESETS), f"--levers {best}")
    return dict(PRESETS[name])


def blind_levers(prompt: str, adapter: str | None) -> dict[str, Any]:
    """The settings of a user's photograph, with or without an adapter."""
    return named_levers(None, prompt, "adapter" if adapter else "blind")


def example_images(places: list[str] | None) -> list[Tensor]:
    """The photographs of --examples, at most as many as are of use; none when none are named.

    Raises:
        V2LError: a place holds no readable image.
    """
    from v2l.images import Skipped, load_images
    from v2l.sources import find_images

    if not places:
        return []
    skipped = Skipped()
    images = [image for _, image in load_images(find_images(*places)[:MOST], skipped)]
    if not images:
        raise V2LError(f"none of the example photographs could be read; the first: {skipped.files[0][1]}")
    return images


def sample_images() -> list[Tensor]:
    """The sample photographs of the repository.

    Raises:
        V2LError: v2l was installed without them.
    """
    import v2l

    folder = Path(v2l.__file__).resolve().parents[1] / "data" / "samples"
    if not folder.is_dir():
        raise V2LError(
            "got no example images, and the sample photographs of the repository are not here",
            "sharp photographs",
            "--examples FOLDER",
        )
    return example_images([str(folder)])
