"""The latents learn to predict the features, resume exactly, and stage two trains the decoder alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_titok import TINY
from tiny_tokenizer import tiny_tokenizer

from v2l.checkpoint import load_tensors
from v2l.errors import V2LError
from v2l.images import save_image
from v2l.mapped import PickedRows
from v2l.processes import start_processes
from v2l.sources import ImageFile, find_images
from v2l.tokenizers.latents.frozen_grid import FrozenGrid
from v2l.tokenizers.latents.network import GridShape, LatentNetwork
from v2l.tokenizers.latents.settings import LatentConfig, LatentTraining
from v2l.training.loop import TrainingLoop, update_networks
from v2l.training.recipes.latent_data import GridFeatures
from v2l.training.recipes.latents import LatentRecipe, code_loss
from v2l.training.recipes.latents_run import LatentRun, build_recipe

CONFIG = LatentConfig(
    TINY,
    LatentTraining(
        steps=24,
        pixel_start=0.75,
        batch_size=4,
        learning_rate=1e-2,
        perceptual="none",
        adversarial_weight=0.0,
        ema_decay=0.9,
        save_every=12,
        log_every=6,
        validate_every=0,
        picture_every=24,
    ),
)
ADVERSARIAL = LatentConfig(
    TINY, replace(CONFIG.training, pixel_start=0.25, adversarial_weight=0.1, adversarial_start=0.1)
)
ADVERSARIAL_NAMES = {
    f"training.{name}" for name in ("adversarial_weight", "adversarial_start", "lecam_weight")
}
PUBLISHED = {"l-32": (32, 1024, 24), "b-64": (64, 768, 12), "s-128": (128, 512, 8)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)


def recipe_of(files: list[ImageFile], run: Path, config: LatentConfig = CONFIG) -> LatentRecipe:
    grid = FrozenGrid.of(tiny_tokenizer())
    return build_recipe(config, LatentRun(files, run, device="cpu"), grid, start_processes("cpu"))


def loss_of(recipe: LatentRecipe, step: int) -> float:
    """The loss of all training images in a stage, at the length that the step draws."""
    recipe.tokenizer.network.eval()
    loss = recipe.loss(step, torch.arange(len(recipe.features.files)), "model").value.item()
    recipe.tokenizer.network.train()
    return loss


@pytest.mark.parametrize(
    ("reads", "layers", "pixel_start"),
    [("features", 1, 1.0), ("features", 0, 1.0), ("pixels", 1, 1.0), ("features", 0, 0.0)],
)
def test_each_stage_lowers_its_loss(
    reads: str, layers: int, pixel_start: float, files: list[ImageFile], tmp_path: Path
) -> None:
    linear = reads == "features"
    network = replace(TINY, reads=reads, encoder_layers=layers, linear_path=linear, lengths=(8,))
    training = replace(CONFIG.training, pixel_start=pixel_start)
    recipe = recipe_of(files, tmp_path / "run", LatentConfig(network, training))
    loop = TrainingLoop(recipe, recipe.loop_settings(tmp_path / "run"))
    recipe.fit(0)
    before, seen = loss_of(recipe, 20), []
    assert loop.train(loop.resume(), lambda step, terms: seen.append(terms)) == 24
    assert loss_of(recipe, 20) < before
    terms = {"features", "quantizer", "codes"} if pixel_start else {"l1", "l2"}
    assert terms <= seen[-1].keys()
    assert recipe.validate(24).keys() == {"features_8", "psnr_8"}
    assert (tmp_path / "run" / "model" / "manifest.json").is_file()
    assert list((tmp_path / "run" / "pictures").glob("*.png"))


def test_a_file_that_became_unreadable_is_named(files: list[ImageFile], tmp_path: Path) -> None:
    lost = tmp_path / "lost.png"
    save_image(torch.rand(3, 16, 16), lost)
    features = GridFeatures(PickedRows.all_of(torch.zeros(2, 1, 1, 1)), (files[0], lost), 16)
    assert len(features.pixels(torch.tensor([0, 1]))) == 2
    lost.write_text("no image", encoding="utf-8")
    with pytest.raises(V2LError, match=r"lost\.png cannot be read any more"):
        features.pixels(torch.tensor([0, 1]))


def test_stage_two_leaves_encoder_latents_and_codes_as_they_are(
    files: list[ImageFile], tmp_path: Path
) -> None:
    recipe = recipe_of(files, tmp_path / "run")
    recipe.fit(0)
    before = {name: tensor.clone() for name, tensor in recipe.tokenizer.network.state_dict().items()}
    for step in (18, 19):
        update_networks(recipe, step, next(recipe.batches(step, step + 1)))
    changed = {
        name
        for name, tensor in recipe.tokenizer.network.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert changed
    assert all(name.startswith(("decoder.", "draft_embed.")) for name in changed)


@pytest.mark.parametrize("config", [CONFIG, ADVERSARIAL], ids=["plain", "adversarial"])
def test_a_stopped_run_goes_on_exactly(config: LatentConfig, files: list[ImageFile], tmp_path: Path) -> None:
    for run, stops in ((tmp_path / "whole", (24,)), (tmp_path / "parts", (12, 24))):
        for stop in stops:
            recipe = recipe_of(files, run, config)
            loop = TrainingLoop(recipe, recipe.loop_settings(run))
            first = loop.resume()
            for done, parts in enumerate(recipe.batches(first, stop), start=first + 1):
                loop.step(done - 1, parts)
            loop.save(stop)
    whole, parts = (
        load_tensors(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_adversarial_term_begins_in_stage_two(files: list[ImageFile], tmp_path: Path) -> None:
    recipe = recipe_of(files, tmp_path / "run", ADVERSARIAL)
    assert [(phase.first, phase.end) for phase in recipe.phases(24)] == [(0, 6), (6, 8), (8, 24)]
    seen: list[dict[str, float]] = []
    loop = TrainingLoop(recipe, recipe.loop_settings(tmp_path / "run"))
    loop.train(loop.resume(), lambda step, terms: seen.append(dict(terms)))
    new = {"adversarial", "discriminator", "lecam"}
    assert [new <= terms.keys() for terms in seen] == [step >= 8 for step in range(24)]
    discriminator = recipe.networks["discriminator"].network
    assert discriminator.real != 0
    assert discriminator.decoded != 0


def test_logits_that_are_not_finite_do_not_reach_the_averages(files: list[ImageFile], tmp_path: Path) -> None:
    recipe = recipe_of(files, tmp_path / "run", ADVERSARIAL)
    recipe.fit(0)
    discriminator = recipe.networks["discriminator"].network
    (parts,) = recipe.batches(20, 21)
    recipe.loss(20, parts[0], "model")
    real, decoded = recipe._pair
    recipe._pair = real, decoded * torch.nan
    for network in ("discriminator", "model"):
        assert recipe.loss(20, parts[0], network).value.isfinite() == (network == "model")
    recipe.after_update(20, "discriminator", updated=False)
    assert discriminator.real == discriminator.decoded == 0
    recipe.loss(20, parts[0], "discriminator")
    recipe.after_update(20, "discriminator", updated=True)
    assert discriminator.real != 0


def test_an_older_run_goes_on_without_a_discriminator(files: list[ImageFile], tmp_path: Path) -> None:
    recipe = recipe_of(files, tmp_path / "run")
    before = {name: value for name, value in recipe.metadata().items() if not ADVERSARIAL_NAMES & {name}}
    assert recipe.metadata_defaults() | before == recipe.metadata()


def test_the_learning_rate_is_half_a_cosine_in_each_stage(files: list[ImageFile], tmp_path: Path) -> None:
    config = replace(CONFIG, training=replace(CONFIG.training, pixel_rate=0.5, warmup_fraction=0.0))
    rates = [recipe_of(files, tmp_path, config).learning_rate(step) for step in (0, 9, 18, 21)]
    assert rates == pytest.approx([1e-2, 0.5e-2, 0.5e-2, 0.25e-2])


@pytest.mark.parametrize("preset", [*PUBLISHED, "small"])
def test_presets_have_the_published_sizes(preset: str) -> None:
    settings = LatentConfig.load(preset).network
    with torch.device("meta"):
        words = torch.empty(10, 12)
        network = LatentNetwork(settings, GridShape(12, 8), words)
    if preset in PUBLISHED:
        assert (settings.latents, settings.width, settings.encoder_layers) == PUBLISHED[preset]
        assert settings.width // settings.heads == 64
        assert settings.codes == 4096
    assert network.decoder.ffn[-1].out_channels == 12 * 4


def test_a_published_architecture_trains_at_tiny_sizes(files: list[ImageFile], tmp_path: Path) -> None:
    network = replace(
        LatentConfig.load("s-128").network,
        image_size=32,
        width=16,
        encoder_layers=1,
        decoder_layers=1,
        heads=2,
        lengths=(4,),
        codes=16,
        code_width=6,
    )
    recipe = recipe_of(files, tmp_path / "run", replace(CONFIG, network=network))
    for step in (0, 20):
        terms = update_networks(recipe, step, next(recipe.batches(step, step + 1)))
        assert not terms["skipped"]


def test_too_few_images_are_refused(files: list[ImageFile], tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="at least 16"):
        recipe_of(files[:5], tmp_path / "run")


def test_the_loss_of_codes_is_a_cross_entropy_over_normal_densities() -> None:
    torch.manual_seed(0)
    predicted, wanted, entries = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2), torch.randn(7, 3)
    variance = (predicted - wanted).square().mean().item()
    nats = []
    for image in range(2):
        for row in range(2):
            for column in range(2):
                own, goal = predicted[image, :, row, column], wanted[image, :, row, column]
                code = int((entries - goal).square().sum(dim=1).argmin())
                logits = -(entries - own).square().sum(dim=1) / (2 * variance)
                nats.append(-logits.log_softmax(dim=0)[code].item())
    assert code_loss(predicted, wanted, entries).item() == pytest.approx(sum(nats) / len(nats), rel=1e-4)


def test_codes_can_be_the_target_of_stage_one(files: list[ImageFile], tmp_path: Path) -> None:
    training = replace(CONFIG.training, pixel_start=1.0, target="codes")
    recipe = recipe_of(files, tmp_path / "run", LatentConfig(TINY, training))
    loop = TrainingLoop(recipe, recipe.loop_settings(tmp_path / "run"))
    recipe.fit(0)
    before, seen = loss_of(recipe, 20), []
    loop.train(loop.resume(), lambda step, terms: seen.append(terms))
    assert loss_of(recipe, 20) < before
    assert seen[-1]["nats"] > 0
