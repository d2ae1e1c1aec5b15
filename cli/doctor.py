"""this machine ──► the parts of v2l found on it, and the command that installs each missing part.

Nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import typer

from v2l.cli.options import Json, Options, options, prepare_environment
from v2l.cli.output import output

PAPER_MODELS = {
    "timm/vit_large_patch14_clip_224.openai": "joint encoder of the paper: CLIP ViT-L/14 (--config paper)",
    "meta-llama/Llama-2-7b-hf": "frozen LLM of the paper: LLaMA-2 7B (--config paper)",
}

INSTALL_VGG = "python -c \"import torchvision; torchvision.models.vgg16(weights='IMAGENET1K_V1')\""


@dataclass(frozen=True)
class Check:
    """One part that v2l needs or can use.

    Attributes:
        group: packages, embedded models, checkpoint, device, or paper pipeline.
        name: of the part.
        found: whether it is on this machine and complete.
        needed: False for a part that only other settings use.
        detail: version, path, or purpose.
        run: the command that installs it.
    """

    group: str
    name: str
    found: bool
    needed: bool
    detail: str
    run: str = ""


def doctor(ctx: typer.Context, json: Json = False) -> None:
    """List the packages, models and weights that are here or missing, and how to install each."""
    prepare_environment(offline=True)
    with output(json) as out:
        checks, pipeline = [*packages(), *embedded_models()], None
        if all(check.found for check in checks if check.group == "packages"):
            checkpoint, pipeline = shipped()
            checks += [checkpoint, *device(options(ctx)), *paper_models()]
        ready = all(check.found for check in checks if check.needed)
        out.result(
            {"ready": ready, "stack": pipeline, "checks": [asdict(check) for check in checks]},
            page(checks, ready),
        )
    raise typer.Exit(0 if ready else 1)


def packages() -> Iterator[Check]:
    """The distributions that v2l depends on; none is imported."""
    for requirement in metadata.requires("v2l") or ():
        name, extra = re.split(r"[^\w.-]", requirement, maxsplit=1)[0], "extra ==" in requirement
        if extra:
            continue
        version = installed_version(name)
        yield Check(
            "packages", name, version is not None, True, version or "", f'pip install "{requirement}"'
        )


def installed_version(name: str) -> str | None:
    """The version of a distribution; None when it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def embedded_models() -> Iterator[Check]:
    """The models that come as ordinary packages."""
    from v2l.zoo import EMBEDDED

    for name, model in EMBEDDED.items():
        yield Check("embedded models", name, model.path() is not None, True, model.what, model.install)


def shipped() -> tuple[Check, dict[str, Any] | None]:
    """The checkpoint that ships, and its description; every byte is read and compared with its hash."""
    from v2l.errors import V2LError
    from v2l.pipeline.pipeline import Pipeline
    from v2l.tokenizers.grid.model import SHIPPED, V2LTokenizer

    try:
        pipeline = Pipeline.load(device="cpu")
    except V2LError as error:
        return Check(
            "checkpoint", SHIPPED.name, False, True, error.got, "pip install --force-reinstall --no-deps v2l"
        ), None
    model = pipeline.tokenizer
    assert isinstance(model, V2LTokenizer), "the checkpoint that ships is a V2LTokenizer"
    local, shared = model.local_codebook, model.global_codebook
    detail = f"{len(local):,} local and {len(shared):,} global words of {local.source.llm}, in {SHIPPED}"
    return Check("checkpoint", SHIPPED.name, True, True, detail), pipeline.describe()


def device(given: Options) -> Iterator[Check]:
    """The device and the dtype that models use."""
    from v2l.device import choose_device, choose_dtype

    chosen = choose_device(given.device)
    dtype = str(choose_dtype(given.dtype, chosen)).removeprefix("torch.")
    yield Check("device", str(chosen), True, True, f"frozen LLM in {dtype}")


def paper_models() -> Iterator[Check]:
    """Models that only the paper's settings need."""
    from v2l.errors import V2LError
    from v2l.perceptual import backbone_path
    from v2l.zoo import hub_folder

    backbone = backbone_path("lpips-vgg")
    yield Check(
        "paper stack",
        "lpips-vgg",
        backbone.is_file(),
        False,
        f"perceptual loss of the paper: {backbone}",
        INSTALL_VGG,
    )
    for name, what in PAPER_MODELS.items():
        try:
            yield Check("paper stack", name, True, False, f"{what}: {hub_folder(name)}")
        except V2LError:
            yield Check("paper stack", name, False, False, what, f"hf download {name}")


def page(checks: list[Check], ready: bool) -> str:
    """The checks as text: packages that are installed are counted, everything else is listed."""
    lines: list[str] = []
    for group in dict.fromkeys(check.group for check in checks):
        members = [check for check in checks if check.group == group]
        here = sum(check.found for check in members)
        lines.append(f"{group}: {here} of {len(members)} here" + ("" if members[0].needed else " (optional)"))
        lines += [line(check) for check in members if group != "packages" or not check.found]
    verdict = "ready" if ready else "not ready: run the commands above"
    return "\n".join([*lines, verdict])


def line(check: Check) -> str:
    """One check as text."""
    mark = "ok     " if check.found else "missing"
    return f"  {mark}  {check.name}: {check.detail}" + (
        "" if check.found else f"\n           bring it: {check.run}"
    )
