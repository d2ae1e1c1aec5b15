"""Layer by layer, what a converted release computes equals a plain reading of every formula to 1e-5, and
token ids are equal."""

from __future__ import annotations

import copy
from pathlib import Path

import lpips
import plain_formulas as plain
import pytest
import torch
from PIL import Image
from tiny_release import Setting
from torch import Tensor, nn
from torchvision import transforms

from v2l.checkpoint import load_tensors
from v2l.config import load_config
from v2l.datasets import ImageDataset
from v2l.images import load_image
from v2l.official.layout import our_name
from v2l.perceptual import LPIPSDistance
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokens import ImageTokens
from v2l.training import losses
from v2l.training.data import crop_settings
from v2l.training.discriminator import build_discriminator

TOLERANCE = 1e-5
WORDS = 21


@pytest.fixture(scope="module")
def w(setting: Setting) -> dict[str, Tensor]:
    """The release's own weights."""
    return setting.weights


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Two pictures, (2, 3, 64, 96) in [-1, 1]: smooth, with some noise."""
    generator = torch.Generator().manual_seed(3)
    smooth = nn.functional.interpolate(
        torch.rand(2, 3, 8, 12, generator=generator), size=(64, 96), mode="bicubic", align_corners=False
    )
    return ((smooth + 0.05 * torch.randn(2, 3, 64, 96, generator=generator)) * 2 - 1).clamp(-1, 1)


@pytest.fixture(scope="module")
def words() -> Tensor:
    return torch.randint(0, 60, (2, WORDS), generator=torch.Generator().manual_seed(4))


@pytest.fixture
def discriminator(converted: Path) -> nn.Module:
    """The release's discriminator, as the conversion keeps it."""
    network = build_discriminator()
    network.load_state_dict(load_tensors(converted / "discriminator.safetensors"))
    return network


def distance(ours: Tensor, plainly: Tensor) -> float:
    """The largest difference, as a share of the largest number where that is above one."""
    assert ours.shape == plainly.shape
    return float(((ours - plainly).abs().max() / plainly.abs().max().clamp(min=1)).detach())


@torch.no_grad()
def test_the_encoder(model: V2LTokenizer, w: dict, images: Tensor) -> None:
    assert distance(model.encoder(images), plain.encode(w, images)) < TOLERANCE


@torch.no_grad()
def test_features_have_unit_length(model: V2LTokenizer, w: dict, images: Tensor) -> None:
    assert distance(model.features(images), plain.features(w, images)) < TOLERANCE


@torch.no_grad()
def test_the_projected_codebook(model: V2LTokenizer, w: dict) -> None:
    assert distance(model.quantizer.entries(), plain.entries(w)) < TOLERANCE


@torch.no_grad()
def test_local_token_ids(model: V2LTokenizer, w: dict, images: Tensor) -> None:
    ours = model.encode_local((images + 1) / 2)
    assert torch.equal(ours, plain.local_ids(w, plain.features(w, images)))
    assert len(ours.unique()) > 20


def test_a_double_row_gives_its_lowest_id(model: V2LTokenizer, w: dict) -> None:
    doubled = dict(w) | {"tok_embeddings.weight": w["tok_embeddings.weight"].clone()}
    doubled["tok_embeddings.weight"][7] = doubled["tok_embeddings.weight"][3]
    z = plain.entries(doubled)[[7, 3]].T[None, :, None]  # (1, d, 1, 2)
    assert plain.local_ids(doubled, z).flatten().tolist() == [3, 3]


@torch.no_grad()
def test_global_token_ids_by_distance_to_rows_as_they_are(model: V2LTokenizer, setting: Setting) -> None:
    pictures = torch.rand(6, 3, 40, 50, generator=torch.Generator().manual_seed(5))
    scores, rows = model.global_tokens(pictures)
    square = torch.stack([setting.encoder.prepare(picture) for picture in pictures])
    vectors = setting.encoder.model.encode_image((square - setting.encoder.mean) / setting.encoder.std)
    g = vectors / torch.sqrt((vectors**2).sum(dim=1, keepdim=True))
    assert torch.equal(rows, plain.global_ids(setting.weights, g, WORDS))
    chosen = setting.weights["tok_embeddings_global.weight"][rows]
    assert distance(scores, torch.cosine_similarity(g[:, None], chosen, dim=-1)) < TOLERANCE


@torch.no_grad()
def test_the_decoder_with_its_cross_attention(model: V2LTokenizer, w: dict, words: Tensor) -> None:
    ids = torch.randint(0, 400, (2, 8, 12), generator=torch.Generator().manual_seed(6))
    plainly = plain.decode(w, plain.entries(w)[ids].movedim(-1, 1), w["tok_embeddings_global.weight"][words])
    decoded = model.paint(model.quantizer.lookup(ids), model.context(words))
    assert distance(decoded, plainly) < TOLERANCE
    assert torch.equal(model.decode(ImageTokens(words, ids)), ((decoded + 1) / 2).clamp(0, 1))


@torch.no_grad()
def test_without_rounding_nothing_is_left_between_them(
    model: V2LTokenizer, w: dict, images: Tensor, words: Tensor
) -> None:
    exact = copy.deepcopy(model).double()
    doubles = {name: tensor.double() for name, tensor in w.items()}
    ids = torch.randint(0, 400, (2, 8, 12), generator=torch.Generator().manual_seed(6))
    rows = plain.entries(doubles)[ids].movedim(-1, 1)
    context = doubles["tok_embeddings_global.weight"][words]
    assert distance(exact.encoder(images.double()), plain.encode(doubles, images.double())) < 1e-12
    assert distance(exact.paint(rows, context), plain.decode(doubles, rows, context)) < 1e-12


@torch.no_grad()
def test_the_answer_of_the_cross_attention_replaces_the_features(model: V2LTokenizer, words: Tensor) -> None:
    one = model.context(words[:, :1].expand(2, WORDS))  # all rows alike: what remains of space is nothing
    pictures = [model.paint(torch.randn(2, 16, 8, 8), one) for _ in range(2)]
    assert distance(*pictures) < TOLERANCE


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_the_discriminator(discriminator: nn.Module, w: dict, images: Tensor, training: bool) -> None:
    assert distance(discriminator.train(training)(images), plain.verdicts(w, images, training)) < TOLERANCE


@pytest.fixture(scope="module")
def trunk() -> lpips.LPIPS:
    """LPIPS over a VGG16 with random weights."""
    torch.manual_seed(8)
    return lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()


def plain_lpips(trunk: lpips.LPIPS, x: Tensor, y: Tensor) -> Tensor:
    levels = [trunk.net.slice1, trunk.net.slice2, trunk.net.slice3, trunk.net.slice4, trunk.net.slice5]
    heads = [lin.model[-1].weight for lin in trunk.lins]
    return plain.lpips(levels, trunk.scaling_layer.shift, trunk.scaling_layer.scale, heads, x, y)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_term_of_both_losses_and_the_adaptive_weight(
    model: V2LTokenizer, discriminator: nn.Module, trunk: lpips.LPIPS, w: dict, images: Tensor, words: Tensor
) -> None:
    y, config, last = model(images, words).images, load_config("official").training, model.decoder.last_weight
    perceptual = plain_lpips(trunk, images, y).mean()
    reconstruction = (images - y).abs().mean() + 0.1 * perceptual
    adversarial = -plain.verdicts(w, y, training=True).mean()
    lam = plain.adversarial_weight(reconstruction, adversarial, last)
    hinge = plain.discriminator_loss(plain.verdicts(w, images, True), plain.verdicts(w, y, True))

    terms = losses.reconstruction_terms(images, y, LPIPSDistance(trunk, "lpips-vgg"))
    total = losses.weighted_sum(terms, config)
    generator_term = losses.generator_term(discriminator.train()(y))
    our_hinge = losses.discriminator_term(discriminator(images), discriminator(y))
    ours = config.adversarial_weight * losses.adaptive_ratio(
        losses.GradientBalance.of(total, generator_term, y, last).at_layer
    )
    for mine, plainly in (
        (terms["perceptual"], perceptual),
        (total, reconstruction),
        (generator_term, adversarial),
        (our_hinge, hinge),
    ):
        assert distance(mine, plainly) < TOLERANCE
    assert distance(ours, lam) < TOLERANCE


def test_the_gradient_goes_straight_through_the_lookup(
    model: V2LTokenizer, w: dict, images: Tensor, words: Tensor
) -> None:
    learned = {
        "decoder.conv_out.weight",
        "quant_conv.weight",
        "codebook_projection.weight",
        "encoder.conv_in.weight",
    }
    leaves = {
        name: tensor.clone().requires_grad_(name in learned)
        for name, tensor in w.items()
        if tensor.is_floating_point()
    }
    pull = torch.randn(images.shape, generator=torch.Generator().manual_seed(9)) / images.numel()
    y, z, z_q = plain.forward(leaves, images, words)
    vq = plain.quantizer_loss(z, z_q)
    plainly = torch.autograd.grad((y * pull).sum() + vq, [leaves[name] for name in sorted(learned)])

    output, parameters = model(images, words), dict(model.named_parameters())
    ours = torch.autograd.grad(
        (output.images * pull).sum() + output.quantized.loss,
        [parameters[our_name(name)] for name in sorted(learned)],
    )
    assert distance(output.images, y) < TOLERANCE
    assert distance(output.quantized.loss, vq) < TOLERANCE
    for mine, other in zip(ours, plainly, strict=True):
        assert distance(mine / other.norm(), other / other.norm()) < TOLERANCE


def test_the_square_is_the_two_steps_of_the_release(model: V2LTokenizer, samples: Path) -> None:
    clip = transforms.Compose(
        [
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
        ]
    )
    for path in sorted(samples.rglob("*.jpg"))[:6]:
        with Image.open(path) as picture:
            seen = clip(picture.convert("RGB"))[None]
        plainly = nn.functional.interpolate(
            seen, size=(128, 128), mode="bilinear", align_corners=False, antialias=False
        )
        assert distance(model.square(load_image(path)[None]), plainly) < TOLERANCE
        trained = ImageDataset([path], crop_settings(load_config("official"), seed=0))[0]
        assert torch.equal(trained[None], model.square(load_image(path)[None]))


def test_words_and_ids_of_the_codebooks(model: V2LTokenizer, setting: Setting) -> None:
    assert model.local_codebook.token_ids.tolist() == list(range(400))
    assert torch.equal(model.local_codebook.embeddings.float(), setting.weights["tok_embeddings.weight"])
    assert torch.equal(
        model.global_codebook.embeddings.float(), setting.weights["tok_embeddings_global.weight"]
    )
    dog = next(entry for entry in model.global_codebook.entries if entry.word == "reddog")
    assert list(dog.ids) == setting.tokens.encode_pieces("reddog")
