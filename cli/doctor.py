"""this machine ──► what v2l finds on it, what is missing, and the command that brings each missing part; nothing is downloaded."""

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

BRING_VGG = "python -c \"import torchvision; torchvision.models.vgg16(weights='IMAGENET1K_V1')\""


@dataclass(frozen=True)
class Check:
    """One part that v2l needs or can use.

    Attributes:
        group: packages, embedded models, checkpoint, device, or paper pipeline.
        name: of the part.
        found: whether it is here and whole.
        needed: False for what only other settings use.
        detail: version, place, or what it is for.
        run: the command that brings it.
    """

    group: str
    name: str
    found: bool
    needed: bool
    detail: str
    run: str = ""


def doctor(ctx: typer.Context, json: Json = False) -> None:
    """List which packages, models and weights are here, which are missing, and the command that brings each."""
    prepare_environment(offline=True)
    with output(json) as out:
        checks, pipeline = [*packages(), *embedded_models()], None
        if all(check.found for check in checks if check.group == "packages"):
            checkpoint, pipeline = shipped()
            checks += [checkpoint, *device(options(ctx)), *paper_stack()]
        ready = all(check.found for check in checks if check.needed)
        out.result(
            {"ready": ready, "stack": pipeline, "checks": [asdict(check) for check in checks]},
            page(checks, ready),
        )
    raise typer.Exit(0 if ready else 1)


def packages() -> Iterator[Check]:
    """The distributions that v2l depends on, located without importing them."""
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
    """The checkpoint that ships, read whole (a changed or missing byte is found), and its description."""
    from v2l.errors import V2LError
    from v2l.pipeline.pipeline import Pipeline
    from v2l.tokenizers.grid.model import SHIPPED

    try:
        pipeline = Pipeline.load(device="cpu")
    except V2LError as error:
        return Check(
            "checkpoint", SHIPPED.name, False, True, error.got, "pip install --force-reinstall --no-deps v2l"
        ), None
    model = pipeline.grid
    detail = f"{len(model.local_codebook):,} local and {len(model.global_codebook):,} global words of {model.local_codebook.source.llm}"
    return Check("checkpoint", SHIPPED.name, True, True, f"{detail}, in {SHIPPED}"), pipeline.describe()


def device(given: Options) -> Iterator[Check]:
    """Where models would run."""
    from v2l.device import choose_device, choose_dtype

    chosen = choose_device(given.device)
    dtype = str(choose_dtype(given.dtype, chosen)).removeprefix("torch.")
    yield Check("device", str(chosen), True, True, f"frozen LLM in {dtype}")


def paper_stack() -> Iterator[Check]:
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
        BRING_VGG,
    )
    for name, what in PAPER_MODELS.items():
        try:
            yield Check("paper stack", name, True, False, f"{what}: {hub_folder(name)}")
        except V2LError:
            yield Check("paper stack", name, False, False, what, f"hf download {name}")


def page(checks: list[Check], ready: bool) -> str:
    """The checks for people; packages that are here are counted, all else is listed."""
    lines: list[str] = []
    for group in dict.fromkeys(check.group for check in checks):
        members = [check for check in checks if check.group == group]
        here = sum(check.found for check in members)
        lines.append(f"{group}: {here} of {len(members)} here" + ("" if members[0].needed else " (optional)"))
        lines += [line(check) for check in members if group != "packages" or not check.found]
    verdict = "ready" if ready else "not ready: run the commands above"
    return "\n".join([*lines, verdict])


def line(check: Check) -> str:
    """One check for people."""
    mark = "ok     " if check.found else "missing"
    return f"  {mark}  {check.name}: {check.detail}" + (
        "" if check.found else f"\n           bring it: {check.run}"
    )
