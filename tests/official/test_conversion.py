"""Files of one release become a tokenizer; files that disagree become one line each, and nothing is
written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_encoder import tiny_encoder
from tiny_release import Setting, write_release
from torch import Tensor

from v2l.errors import V2LError
from v2l.official.conversion import Report, convert, equal_in_half, examine
from v2l.official.files import OfficialFiles
from v2l.tokenizers.grid.model import V2LTokenizer

Weights = dict[str, Tensor]
Change = Callable[[Weights], object]


@pytest.fixture
def files(setting: Setting) -> OfficialFiles:
    """The release as it was read."""
    return OfficialFiles.read(setting.release.checkpoint, setting.release.codebooks)


def reported(setting: Setting, files: OfficialFiles, change: Change) -> Report:
    """The report on a release of which something was changed."""
    weights = dict(files.weights)
    change(weights)
    return examine(replace(files, weights=weights), setting.tokens, setting.encoder)


def test_a_whole_release_has_no_problem_and_says_what_it_is(setting: Setting, files: OfficialFiles) -> None:
    report = examine(files, setting.tokens, setting.encoder)
    assert report.problems == []
    assert {part.prefix: part.wanted for part in report.parts}["encoder"] == 106
    assert report.codebooks["local"] == {
        "rows": 400,
        "width": 16,
        "distinct rows": 400,
        "precision": "float32",
    }
    assert report.to_dict()["sha256"].keys() == {
        "v2l-decode.pth",
        "global_vocabulary.npy",
        "global_codebook_embedding.pth",
        "local_codebook_embedding.pth",
    }
    assert report.notes == (
        "perceptual_loss.: 1 tensors left aside, the perceptual network comes with its own package",
    )


def test_what_is_written_is_read_again_and_remembers_where_it_comes_from(
    converted: Path, setting: Setting, files: OfficialFiles
) -> None:
    model = V2LTokenizer.from_pretrained(converted, device="cpu")
    assert model.facts["converted from"] == dict(files.hashes)
    assert (model.config.models.encoder, model.config.models.llm) == (setting.clip, setting.llama)
    assert {path.suffix for path in converted.rglob("*") if path.is_file()} == {
        ".json",
        ".jsonl",
        ".safetensors",
        ".md",
    }


@pytest.mark.parametrize("layout", ["model", "bare", "wrapped"])
def test_every_layout_becomes_the_same_tokenizer(
    layout: str, setting: Setting, converted: Path, tmp_path: Path
) -> None:
    release = write_release(tmp_path / "release", setting.weights, layout, objects=False)
    report = examine(
        OfficialFiles.read(release.checkpoint, release.codebooks), setting.tokens, setting.encoder
    )
    other = convert(report, setting.tokens, setting.encoder, tmp_path / "out").state_dict()
    for name, tensor in V2LTokenizer.from_pretrained(converted, device="cpu").state_dict().items():
        assert torch.equal(tensor, other[name])


def halved(weights: Weights) -> None:
    """In half precision as `module.half()` leaves it: counts of batches stay whole numbers."""
    weights.update({name: tensor.half() for name, tensor in weights.items() if tensor.is_floating_point()})


def half_halved(weights: Weights) -> None:
    """The encoder in half precision, the decoder not."""
    weights.update({name: tensor.half() for name, tensor in weights.items() if name.startswith("encoder.")})


def test_half_precision_is_raised_and_the_report_says_so(
    setting: Setting, files: OfficialFiles, tmp_path: Path
) -> None:
    report = reported(setting, files, halved)
    assert report.problems == []
    assert "encoder.: 106 of 106 tensors are in half precision, and are raised to float32" in report.notes
    model = convert(report, setting.tokens, setting.encoder, tmp_path / "out")
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}


def test_rows_stored_in_full_in_one_place_and_in_half_in_the_other_are_the_same(
    setting: Setting, files: OfficialFiles
) -> None:
    report = reported(
        setting,
        files,
        lambda weights: weights.update(
            {"tok_embeddings.weight": weights["tok_embeddings.weight"] * (1 + 1e-4)}
        ),
    )
    assert report.problems == []
    assert report.codebooks["local"]["precision"] == "float32"


class OfAnotherDevice(Tensor):
    """Not comparable with tensors of the CPU before it is brought there."""

    def cpu(self) -> Tensor:
        return self.as_subclass(Tensor)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.allclose:
            raise RuntimeError("Expected all tensors to be on the same device")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_tensors_of_two_devices_are_compared() -> None:
    numbers = torch.linspace(-1, 1, 7)
    elsewhere = numbers.half().as_subclass(OfAnotherDevice)
    assert equal_in_half(numbers, elsewhere)
    assert equal_in_half(elsewhere, numbers)
    assert not equal_in_half(numbers * 1.01, elsewhere)


def rename(weights: Weights) -> None:
    """One tensor under a name that belongs to nothing."""
    weights["encoder.down.3.attn.0.norm.weight"] = weights.pop("encoder.norm_out.bias")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda w: w.pop("decoder.conv_out.bias"), "decoder.: 1 missing (decoder.conv_out.bias)"),
        (rename, "encoder.: 1 unexpected (encoder.down.3.attn.0.norm.weight)"),
        (rename, "encoder.: 1 missing (encoder.norm_out.bias)"),
        (
            half_halved,
            "a mix of precisions: 106 of 106 tensors of encoder. are stored in half, the others not; "
            "convert all by .float()",
        ),
        (lambda w: w.update({"strange.weight": torch.ones(2)}), "strange.: 1 unexpected (strange.weight)"),
        (
            lambda w: w.update({"post_quant_conv.bias": torch.ones(5)}),
            "post_quant_conv.: 1 misshapen (post_quant_conv.bias (5,) for (32,))",
        ),
        (
            lambda w: w.update({"quant_conv.bias": torch.full((16,), torch.nan)}),
            "quant_conv.: 1 not finite (quant_conv.bias)",
        ),
        (
            lambda w: w.pop("discriminator.main.8.bias"),
            "discriminator.: 1 missing (discriminator.main.8.bias)",
        ),
        (lambda w: w.pop("tok_embeddings.weight"), "tok_embeddings.: 1 missing (tok_embeddings.weight)"),
        (
            lambda w: w.update({"tok_embeddings.weight": w["tok_embeddings.weight"] * 1.01}),
            "local_codebook_embedding.pth holds other numbers than the checkpoint's own rows",
        ),
        (
            lambda w: w.update({"tok_embeddings_global.weight": w["tok_embeddings_global.weight"].flip(0)}),
            "global_codebook_embedding.pth holds other numbers than the checkpoint's own rows",
        ),
        (
            lambda w: w.update({"tok_embeddings.weight": w["tok_embeddings.weight"][:390]}),
            "the checkpoint has 390 local rows, and {llama} has 400 token ids",
        ),
        (
            lambda w: w.update({"tok_embeddings_global.weight": w["tok_embeddings_global.weight"][:59]}),
            "global_vocabulary.npy has 60 words for 59 global rows",
        ),
    ],
)
def test_each_disagreement_is_a_line(
    change: Change, problem: str, setting: Setting, files: OfficialFiles
) -> None:
    assert problem.format(llama=setting.llama) in reported(setting, files, change).problems


def test_a_released_file_may_lack_what_is_only_for_training(
    setting: Setting, files: OfficialFiles, tmp_path: Path
) -> None:
    lacking = ("discriminator", "global_encoder", "perceptual_loss", "tok_embeddings_global")
    weights = {name: tensor for name, tensor in files.weights.items() if not name.startswith(lacking)}
    report = examine(replace(files, weights=weights), setting.tokens, setting.encoder)
    assert report.problems == []
    assert any("not compared" in note for note in report.notes)
    model = convert(report, setting.tokens, setting.encoder, tmp_path / "out")
    assert torch.equal(model.global_rows, setting.weights["tok_embeddings_global.weight"])
    assert not (tmp_path / "out" / "discriminator.safetensors").exists()


def test_swapped_codebook_files_are_called_swapped(setting: Setting, files: OfficialFiles) -> None:
    swapped = replace(files, global_rows=files.local_rows, local_rows=files.global_rows)
    assert examine(swapped, setting.tokens, setting.encoder).problems == [
        "local_codebook_embedding.pth has 60 rows, as many as the other codebook: the two files are swapped",
        "global_codebook_embedding.pth has 400 rows, as many as the other codebook: "
        "the two files are swapped",
    ]


def test_no_global_rows_anywhere_is_a_line(setting: Setting, files: OfficialFiles) -> None:
    weights = {
        name: tensor for name, tensor in files.weights.items() if name != "tok_embeddings_global.weight"
    }
    (problem,) = examine(
        replace(files, weights=weights, global_rows=None), setting.tokens, setting.encoder
    ).problems
    assert problem.startswith("no global rows")


def test_another_clip_is_refused(setting: Setting, files: OfficialFiles, tmp_path: Path) -> None:
    other = tiny_encoder(tmp_path / "other", seed=1, quick_gelu=True)
    (problem,) = examine(files, setting.tokens, other).problems
    assert problem.startswith(f"{other.name} is another encoder than the checkpoint's: ")


def test_without_a_joint_encoder_the_report_says_what_it_left_out(
    setting: Setting, files: OfficialFiles
) -> None:
    report = examine(files, setting.tokens, None)
    assert report.problems == []
    assert (
        "global_encoder.: not compared with the joint encoder, for no joint encoder is loaded" in report.notes
    )


def test_nothing_is_written_of_files_that_disagree(
    setting: Setting, files: OfficialFiles, tmp_path: Path
) -> None:
    report = examine(replace(files, vocabulary=files.vocabulary[:-1]), setting.tokens, setting.encoder)
    with pytest.raises(
        V2LError, match=r"do not fit: global_vocabulary\.npy has 59 words for 60 global rows.*--check"
    ):
        convert(report, setting.tokens, setting.encoder, tmp_path / "out")
    assert not list(tmp_path.iterdir())
