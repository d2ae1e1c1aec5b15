"""v2l convert-official: every command accepts the converted release, and bad files give one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoder import write_tiny_clip
from tiny_llama import write_tiny_llama
from tiny_release import SMALL, Release, random_weights, words, write_release
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.encoders import load_encoder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a release, a LLaMA and a CLIP that belong together."""
    folder = tmp_path_factory.mktemp("release")
    write_tiny_llama(folder / "llama", context=2048)
    encoder = load_encoder(write_tiny_clip(folder / "clip", quick_gelu=True), device="cpu")
    write_release(folder / "release", random_weights(SMALL, image_half=encoder.image_weights()))
    return folder


@pytest.fixture
def release(place: Path, tmp_path: Path) -> Release:
    """A copy of the release, to be spoilt."""
    shutil.copytree(place / "release", tmp_path / "release")
    return Release(tmp_path / "release" / "v2l-decode.pth", tmp_path / "release")


def run(place: Path, release: Release, target: Path, *more: str) -> Result:
    """`v2l convert-official …`."""
    args = [
        "--checkpoint",
        release.checkpoint,
        "--codebooks",
        release.codebooks,
        "--llm",
        place / "llama",
        "-o",
        target,
    ]
    clip = f"openclip:local-dir:{place / 'clip'}"
    return CliRunner().invoke(
        app, ["convert-official", *map(str, args), "--encoder", clip, "--device", "cpu", *more]
    )


@pytest.fixture(scope="module")
def converted(place: Path) -> Path:
    release = Release(place / "release" / "v2l-decode.pth", place / "release")
    result = run(place, release, place / "converted")
    assert result.exit_code == 0, result.output
    assert "encoder.                  106 of 106" in result.stdout
    assert "all fits; written to" in result.stdout
    return place / "converted"


def printed_by(*args: object) -> str:
    """The output of a command."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_words_come_in_the_order_of_the_release(converted: Path, samples: Path) -> None:
    record = json.loads(
        printed_by(
            "words", samples / "hat" / "straw.jpg", "-n", 21, "--local", "--checkpoint", converted, "--json"
        )
    )
    assert {word["word"] for word in record["words"]} <= set(words(60))
    assert len(record["words"]) == 21
    assert record["stack"]["variant"] == "official"
    assert torch.tensor(record["local_ids"]).shape == (16, 16)


def test_a_photograph_is_reconstructed(converted: Path, samples: Path, tmp_path: Path) -> None:
    printed_by(
        "reconstruct", samples / "hat" / "straw.jpg", "--checkpoint", converted, "-o", tmp_path / "out.png"
    )
    assert (tmp_path / "out.png").is_file()


def test_the_frozen_llama_classifies_and_inpaints(converted: Path, samples: Path, tmp_path: Path) -> None:
    record = json.loads(
        printed_by(
            "fewshot-classify",
            samples,
            "--episodes",
            2,
            "--checkpoint",
            converted,
            "--prompt",
            "official",
            "--rule",
            "loglikelihood",
            "--json",
        )
    )
    assert record["n"] == 2
    box = ("--box", "0,0,60,60")
    printed_by(
        "inpaint",
        samples / "hat" / "straw.jpg",
        *box,
        "--checkpoint",
        converted,
        "--prompt",
        "official",
        "-o",
        tmp_path / "out.png",
    )
    assert (tmp_path / "out.png").is_file()


def test_check_reports_everything_and_writes_nothing(place: Path, release: Release, tmp_path: Path) -> None:
    spoilt = torch.load(release.checkpoint, weights_only=False)
    for name in ("decoder.conv_out.bias", "decoder.norm_out.bias", "encoder.conv_in.bias"):
        del spoilt["state_dict"][name]
    torch.save(spoilt, release.checkpoint)
    result = run(place, release, tmp_path / "out", "--check")
    assert result.exit_code == 1
    assert all(
        f"missing: {name}" in result.stdout
        for name in ("decoder.conv_out.bias", "decoder.norm_out.bias", "encoder.conv_in.bias")
    )
    assert "nothing was written" in result.stdout
    assert not (tmp_path / "out").exists()


def test_check_of_a_whole_release_is_content(place: Path, release: Release, tmp_path: Path) -> None:
    result = run(place, release, tmp_path / "out", "--check", "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["problems"], report["output"]) == ([], None)
    assert not (tmp_path / "out").exists()


class Harmless:
    """Would make a file when it is read."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def swap(release: Release) -> None:
    first, second = (release.codebooks / f"{name}_codebook_embedding.pth" for name in ("local", "global"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def spoil(kind: str, release: Release) -> None:
    """One of the ways in which files come wrong."""
    match kind:
        case "hostile":
            torch.save({"state_dict": {}, "args": Harmless(release.codebooks / "made")}, release.checkpoint)
        case "truncated":
            release.checkpoint.write_bytes(release.checkpoint.read_bytes()[:5000])
        case "swapped":
            swap(release)
        case "mixed":
            content = torch.load(release.checkpoint, weights_only=False)
            content["state_dict"]["decoder.conv_out.bias"] = content["state_dict"][
                "decoder.conv_out.bias"
            ].half()
            torch.save(content, release.checkpoint)
        case "one word less":
            np.save(
                release.codebooks / "global_vocabulary.npy",
                np.array(words(60)[:-1], dtype=object),
                allow_pickle=True,
            )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("hostile", "asks to run"),
        ("truncated", "truncated"),
        ("swapped", "swapped"),
        ("mixed", "1 of 143 tensors of decoder. are stored in half, the others not"),
        ("one word less", "59 words for 60 global rows"),
    ],
)
def test_bad_files_are_one_line_and_nothing_is_written(
    kind: str, message: str, place: Path, release: Release, tmp_path: Path
) -> None:
    spoil(kind, release)
    result = run(place, release, tmp_path / "out")
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("v2l: ")
    assert message in line
    assert not (tmp_path / "out").exists()
    assert not (release.codebooks / "made").exists()


def test_another_clip_is_one_line(place: Path, release: Release, tmp_path: Path) -> None:
    other = write_tiny_clip(tmp_path / "other", seed=5, quick_gelu=True)
    result = run(place, release, tmp_path / "out", "--encoder", other)
    assert result.exit_code == 1
    assert "is another encoder than the checkpoint's" in result.stderr
    assert not (tmp_path / "out").exists()


def test_llama_in_metas_format_is_refused_with_the_command_that_converts_it(
    place: Path, release: Release, tmp_path: Path
) -> None:
    meta = tmp_path / "llama-2-7b"
    meta.mkdir()
    for name in ("consolidated.00.pth", "consolidated.01.pth", "params.json", "tokenizer.model"):
        (meta / name).touch()
    result = run(place, release, tmp_path / "out", "--llm", str(meta))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert (
        f"convert_llama_weights_to_hf --input_dir {meta} --num_shards 2 --llama_version 2 "
        f"--output_dir {meta}-hf" in line
    )
    (meta / "tokenizer.model").unlink()
    assert (
        f"cp {tmp_path / 'tokenizer.model'} {meta}"
        in run(place, release, tmp_path / "out", "--llm", str(meta)).stderr
    )
