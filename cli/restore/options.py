"""options of the restoration commands ──► RestorationOptions ──► RestorationSettings and examples.

The options that all five commands share are the fields of `RestorationOptions`.
`restoration_command` adds them to a command's own.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.option_groups import group_parameters, with_parameters
from v2l.cli.options import Json, Llm, Options, Photograph, Tokenizer, options
from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.tasks.restoration.settings import RestorationSettings

Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]
Temperature = Annotated[
    float, typer.Option(help="0 takes the most probable token; above 0, tokens are sampled.", min=0)
]
Wording = Annotated[str, typer.Option("--prompt", help="Wording of the prompt: tuned, paper, official.")]
Candidates = Annotated[
    int,
    typer.Option(
        help="Number of sampled answers; the most probable one is kept. Above 1, set --temperature 1.", min=1
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
Preset = Annotated[
    str | None,
    typer.Option(
        "--settings",
        help="Preset: plain, blind, adapter, fast, strong; by default the task's best for the tuned "
        "prompt, else plain.",
        metavar="NAME",
    ),
]
OldPreset = Annotated[str | None, typer.Option("--levers", hidden=True, metavar="NAME")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="One setting of the LLM's prompts at a time: n_context=16, contrast=0.5, draws=3 …",
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
MAX_EXAMPLES = 16  # photographs


@dataclass(frozen=True)
class RestorationOptions:
    """The options of a restoration command. Commands that lack one of them leave it at its default.

    Attributes:
        root: the options of the root command.
        image: the photograph.
        target: where the restored picture goes.
        page: a picture of before and after; None writes none.
        tokens: the tokens as JSON; None writes none.
    """

    root: Options
    image: Photograph
    target: Target
    page: Page = None
    tokens: Tokens = None
    candidates: Candidates = 1
    temperature: Temperature = 0.0
    prompt: Wording = "tuned"
    order: Order = "raster"
    assignments: Assignments = None
    examples: Examples = None
    tiles: Tiles = False
    protocol: Protocol = "blind"
    adapter: Adapter = None
    tokenizer: Tokenizer = None
    llm: Llm = None
    json: Json = False

    def settings(self) -> RestorationSettings:
        """How the LLM is prompted: the preset, then the options, then `--set`.

        Raises:
            V2LError: a value is out of its range, or a name of `--set` is unknown.
        """
        chosen = preset(None, self.prompt, "adapter" if self.adapter else "blind")
        own = {
            "seed": self.root.seed,
            "temperature": self.temperature,
            "prompt": self.prompt,
            "num_samples": self.candidates,
            "order": self.order,
        }
        return build_settings(chosen | own, self.assignments)

    def check(self) -> None:
        """Refuse a protocol or a file name that cannot work, before the models are loaded.

        Raises:
            V2LError: the protocol is not blind, or a suffix names no image format.
        """
        from v2l.images import check_suffix

        check_blind(self.protocol)
        for path in (self.target, self.page):
            if path is not None:
                check_suffix(path)


def restoration_command(
    target: str, without: Sequence[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the shared options to a command, written as `command(given: RestorationOptions, own)`.

    Typer reads the signature of the function that comes back: the context, IMAGE, the command's own options,
    and the fields of `RestorationOptions`.

    Args:
        target: default of `--output`.
        without: names of shared options that the command lacks.
    """
    shared = [field for field in group_parameters(RestorationOptions) if field.name not in {"root", *without}]
    image, output, *others = shared

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *own = inspect.signature(command, eval_str=True).parameters.values()

        @functools.wraps(command)
        def run(ctx: typer.Context, **values: Any) -> None:
            given = {field.name: values.pop(field.name) for field in shared}
            command(RestorationOptions(root=options(ctx), **given), **values)

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        keywords = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in own]
        return with_parameters(
            run, [context, image, *keywords, output.replace(default=Path(target)), *others]
        )

    return decorate


def check_blind(protocol: str) -> None:
    """Refuse a protocol that a user's photograph cannot have.

    Raises:
        V2LError: it is not blind.
    """
    if protocol != "blind":
        got = f"got the protocol {protocol!r}, whose examples are made from the clean image"
        raise V2LError(
            got if protocol == "paper" else f"got {protocol!r}",
            "blind: of a user's photograph nobody knows the clean one",
            "v2l evaluate restoration --protocol paper",
        )


def build_settings(chosen: dict[str, Any], assignments: list[str] | None) -> RestorationSettings:
    """Settings from options, overridden by `--set NAME=VALUE`.

    Raises:
        V2LError: a name is unknown, or a value cannot be read or is out of its range.
    """
    from dataclasses import fields

    from v2l.tasks.restoration.settings import RENAMED, RestorationSettings, current_names

    types: dict[str, type] = {field.name: type(field.default) for field in fields(RestorationSettings)}
    for assignment in assignments or ():
        name, sign, value = assignment.partition("=")
        kind = types.get(RENAMED.get(name, name))
        if kind is None or not sign:
            known = ", ".join(f"{name}=…" for name in types)
            raise V2LError(f"got --set {assignment}", known, "--set contrast=0.5")
        try:
            chosen |= current_names({name: kind(value)}, print_note)
        except ValueError as error:
            allowed = f"a number of the kind {kind.__name__}"
            raise V2LError(f"got --set {assignment}", allowed, f"--set {name}=1") from error
    return RestorationSettings(**chosen)


def print_note(line: str) -> None:
    """Print a remark on standard error."""
    print(f"v2l: {line}", file=sys.stderr)


def preset(name: str | None, prompt: str, best: str) -> dict[str, Any]:
    """The values of a preset; for None `best` with the tuned prompt, and `plain` with another.

    Raises:
        V2LError: no preset has that name.
    """
    from v2l.tasks.restoration.settings import PRESETS

    name = name or (best if prompt == "tuned" else "plain")
    if name not in PRESETS:
        raise V2LError(f"got --settings {name}", ", ".join(PRESETS), f"--settings {best}")
    return dict(PRESETS[name])


def preset_name(name: str | None, old: str | None) -> str | None:
    """The name given by `--settings`, or by its old spelling `--levers`, which prints a note."""
    if old is not None:
        print_note("--levers is called --settings now; --levers will be refused in the next version")
    return name if name is not None else old


def example_images(places: list[str] | None) -> list[Tensor]:
    """The photographs of --examples, at most `MAX_EXAMPLES`; none when no place is given.

    Raises:
        V2LError: a place holds no readable image.
    """
    from v2l.images import Skipped, load_images
    from v2l.sources import find_images

    if not places:
        return []
    skipped = Skipped()
    images = [image for _, image in load_images(find_images(*places)[:MAX_EXAMPLES], skipped)]
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
        got = "got no example images, and the sample photographs of the repository are not here"
        raise V2LError(got, "sharp photographs", "--examples FOLDER")
    return example_images([str(folder)])
